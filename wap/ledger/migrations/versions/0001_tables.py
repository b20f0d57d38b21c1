"""The first tables: pipelines, runs, steps, checks, files."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "pipelines",
        sa.Column("name", sa.String(255)),
        sa.Column("digest", sa.String(64)),
        sa.Column("definition", sa.Text, nullable=False),
        sa.Column("first_seen", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("name", "digest", name="pk_pipelines"),
    )
    op.create_table(
        "runs",
        sa.Column("run_id", sa.String(255)),
        sa.Column("pipeline", sa.String(255), nullable=False),
        sa.Column("table_name", sa.String(1024), nullable=False),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT),
        sa.Column("ending", sa.String(16)),
        sa.Column("nothing_new", sa.Boolean),
        sa.Column("reason", sa.Text),
        sa.Column("pipeline_digest", sa.String(64)),
        sa.Column("contract_digest", sa.String(64)),
        sa.Column("report_digest", sa.String(64)),
        sa.Column("rows_read", sa.BigInteger),
        sa.Column("rows_staged", sa.BigInteger),
        sa.Column("rows_quarantined", sa.BigInteger),
        sa.Column("rows_deduplicated", sa.BigInteger),
        sa.Column("rows_discarded", sa.BigInteger),
        sa.Column("rows_published", sa.BigInteger),
        sa.Column("snapshot_before", sa.BigInteger),
        sa.Column("snapshot_after", sa.BigInteger),
        sa.Column("checks_passed", sa.Integer),
        sa.Column("checks_failed", sa.Integer),
        sa.Column("checks_warned", sa.Integer),
        sa.Column("seconds", sa.Double),
        sa.Column("facts", sa.Text),
        sa.PrimaryKeyConstraint("run_id", name="pk_runs"),
    )
    op.create_index("ix_runs_pipeline_started_at", "runs", ["pipeline", "started_at"])
    op.create_index("ix_runs_started_at", "runs", ["started_at"])
    op.create_table(
        "steps",
        _run("steps"),
        sa.Column("name", sa.String(64)),
        sa.Column("started_at", MOMENT, nullable=False),
        sa.Column("ended_at", MOMENT, nullable=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("cpu_seconds", sa.Double),
        sa.Column("peak_memory_bytes", sa.BigInteger),
        sa.PrimaryKeyConstraint("run_id", "name", name="pk_steps"),
    )
    op.create_table(
        "checks",
        _run("checks"),
        sa.Column("position", sa.Integer),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("column_name", sa.Text),
        sa.Column("title", sa.Text, nullable=False),
        sa.Column("expected", sa.Text, nullable=False),
        sa.Column("measured", sa.Text, nullable=False),
        sa.Column("value", sa.Double),
        sa.Column("failing_rows", sa.BigInteger),
        sa.Column("blocking", sa.Boolean, nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position", name="pk_checks"),
    )
    op.create_table(
        "files",
        _run("files"),
        sa.Column("position", sa.Integer),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("bytes", sa.BigInteger),
        sa.Column("version", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("run_id", "position", name="pk_files"),
    )
    op.create_index("ix_files_path", "files", ["path"])


def _run(table: str) -> sa.Column[str]:
    reference = sa.ForeignKey("runs.run_id", ondelete="CASCADE", name=f"fk_{table}_runs")
    return sa.Column("run_id", sa.String(255), reference)
