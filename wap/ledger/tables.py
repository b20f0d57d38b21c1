"""The ledger's tables, as SQLAlchemy Core knows them; the migrations make them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: stored in UTC, and aware when read, also where the database has no zones."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC; a naive value is refused, since nobody knows which moment it is."""
        del dialect
        if value is not None and value.tzinfo is None:
            msg = f"{value} has no time zone"
            raise ValueError(msg)
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """In UTC."""
        del dialect
        if value is None:
            return None
        moment: datetime = value
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

#: Each version of each pipeline, with its resolved definition as JSON text.
pipelines = Table(
    "pipelines",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("digest", String(64), primary_key=True),
    Column("definition", Text, nullable=False),
    Column("first_seen", UtcDateTime, nullable=False),
)

#: One row a run. ``facts`` holds what has no column of its own, as JSON; null until it ends.
runs = Table(
    "runs",
    metadata,
    Column("run_id", String(255), primary_key=True),
    Column("pipeline", String(255), nullable=False),
    Column("table_name", String(1024), nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("ending", String(16)),
    Column("nothing_new", Boolean),
    Column("reason", Text),
    Column("pipeline_digest", String(64)),
    Column("pipeline_version", Integer),
    Column("contract_digest", String(64)),
    Column("report_digest", String(64)),
    Column("rows_read", BigInteger),
    Column("rows_staged", BigInteger),
    Column("rows_quarantined", BigInteger),
    Column("rows_deduplicated", BigInteger),
    Column("rows_discarded", BigInteger),
    Column("rows_published", BigInteger),
    Column("snapshot_before", BigInteger),
    Column("snapshot_after", BigInteger),
    Column("checks_passed", Integer),
    Column("checks_failed", Integer),
    Column("checks_warned", Integer),
    Column("seconds", Double),
    Column("facts", Text),
    Index(None, "pipeline", "started_at"),
    Index(None, "started_at"),
)


def _of_run(name: str, *columns: Column[Any] | Index) -> Table:
    """A table of details that go when their run goes."""
    run = ForeignKey("runs.run_id", ondelete="CASCADE")
    return Table(name, metadata, Column("run_id", String(255), run, primary_key=True), *columns)


#: One row a step: its last attempt, and how many there were.
steps = _of_run(
    "steps",
    Column("name", String(64), primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime, nullable=False),
    Column("seconds", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("cpu_seconds", Double),
    Column("peak_memory_bytes", BigInteger),
)

#: One row a check, without sample rows: those stay in the report, whose columns are masked.
checks = _of_run(
    "checks",
    Column("position", Integer, primary_key=True),
    Column("name", Text, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("column_name", Text),
    Column("title", Text, nullable=False),
    Column("expected", Text, nullable=False),
    Column("measured", Text, nullable=False),
    Column("value", Double),
    Column("failing_rows", BigInteger),
    Column("blocking", Boolean, nullable=False),
    Column("outcome", String(16), nullable=False),
)

#: One row an input that a run loaded.
files = _of_run(
    "files",
    Column("position", Integer, primary_key=True),
    Column("path", Text, nullable=False),
    Column("bytes", BigInteger),
    Column("version", Text, nullable=False),
    Index(None, "path"),
)

#: Each version of each pipeline that people declare here and not in a file; a row stays as it was
#: written (a trigger sees to it). ``definition`` is the YAML text and the truth; the columns from
#: ``table_name`` on are read off it for those who ask in SQL. Null in a version that deletes.
versions = Table(
    "versions",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("deleted", Boolean, nullable=False),
    Column("author", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("reason", Text, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("definition", Text),
    Column("table_name", String(1024)),
    Column("source_kind", String(64)),
    Column("source_location", Text),
    Column("write_mode", String(16)),
    Column("owners", Text),
    Index(None, "table_name"),
)


def _of_version(name: str, *columns: Column[Any]) -> Table:
    """A table of details of a version."""
    return Table(
        name,
        metadata,
        Column("name", String(200), primary_key=True),
        Column("version", Integer, primary_key=True),
        Column("position", Integer, primary_key=True),
        *columns,
        ForeignKeyConstraint(["name", "version"], ["versions.name", "versions.version"]),
    )


#: The contracts of a version, in the order the pipeline names them.
version_contracts = _of_version(
    "version_contracts",
    Column("path", String(255), nullable=False),
    Column("definition", Text, nullable=False),
)

#: The checks those contracts declare, read off them for those who ask in SQL.
version_checks = _of_version(
    "version_checks",
    Column("check_name", Text, nullable=False),
    Column("relation", String(1024), nullable=False),
    Column("kind", String(64), nullable=False),
    Column("column_name", Text),
    Column("blocking", Boolean, nullable=False),
)
