"""Pipelines declared in tables: versions, their contracts and checks; a run's pinned version."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TABLES = ("versions", "version_contracts", "version_checks")
REFUSED = "a version is never changed or removed: store a new one"


def upgrade() -> None:
    op.add_column("runs", sa.Column("pipeline_version", sa.Integer))
    op.create_table(
        "versions",
        sa.Column("name", sa.String(200)),
        sa.Column("version", sa.Integer),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("author", sa.String(200), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("definition", sa.Text),
        sa.Column("table_name", sa.String(1024)),
        sa.Column("source_kind", sa.String(64)),
        sa.Column("source_location", sa.Text),
        sa.Column("write_mode", sa.String(16)),
        sa.Column("owners", sa.Text),
        sa.PrimaryKeyConstraint("name", "version", name="pk_versions"),
    )
    op.create_index("ix_versions_table_name", "versions", ["table_name"])
    op.create_table(
        "version_contracts",
        *_key("version_contracts"),
        sa.Column("path", sa.String(255), nullable=False),
        sa.Column("definition", sa.Text, nullable=False),
        _reference("version_contracts"),
    )
    op.create_table(
        "version_checks",
        *_key("version_checks"),
        sa.Column("check_name", sa.Text, nullable=False),
        sa.Column("relation", sa.String(1024), nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("column_name", sa.Text),
        sa.Column("blocking", sa.Boolean, nullable=False),
        _reference("version_checks"),
    )
    _append_only()


def _key(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("name", sa.String(200)),
        sa.Column("version", sa.Integer),
        sa.Column("position", sa.Integer),
        sa.PrimaryKeyConstraint("name", "version", "position", name=f"pk_{table}"),
    )


def _reference(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["name", "version"], ["versions.name", "versions.version"], name=f"fk_{table}_versions"
    )


def _append_only() -> None:
    """Whoever comes with SQL of his own can add versions, too, and change none."""
    if op.get_bind().dialect.name == "sqlite":
        for table in TABLES:
            for action in ("UPDATE", "DELETE"):
                op.execute(
                    f"CREATE TRIGGER {table}_no_{action.lower()} BEFORE {action} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{REFUSED}'); END"
                )
        return
    op.execute(
        "CREATE FUNCTION wap_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN RAISE EXCEPTION '{REFUSED}'; END $$"
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION wap_append_only()"
        )
