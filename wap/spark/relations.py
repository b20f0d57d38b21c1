"""Snapshots as tables of one Spark session: exactly their files, read by Iceberg's field ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from catalog.base import BranchCatalog, Staging
from catalog.refs import TableName
from checks.base import Relation
from checks.spark import SparkConnection
from wap.errors import EngineUnavailableError, RelationError
from wap.relations import check_readable, connect, pinned, scans_of
from wap.spark.scratch import CATALOG, delete_leftovers, scratch, session_conf
from wap.spark.session import Spark, translated
from wap.spark.types import spark_schema
from wap.standing import Standing
from wap.type_texts import type_text


@contextmanager
def spark_relation(
    catalog: BranchCatalog,
    staging: Staging,
    *,
    spark: Spark,
    temp_directory: Path,
    neighbours: Sequence[TableName] = (),
    beside: Sequence[TableName] = (),
    masked: frozenset[str] = frozenset(),
    keys: Sequence[str] = (),
    memory_limit: str = "400MB",
    at: datetime | None = None,
    standing: Standing = Standing(),  # noqa: ARG001, B008 - Spark looks at every row
) -> Iterator[Relation]:
    """What an audit on Spark looks at; see :func:`wap.relations.audit_relation`.

    Args:
        spark: whose session it lives in.
        standing: not used.
        memory_limit: of the look at the files' footers.

    Raises:
        RelationError: delete files, files that are not Parquet or carry no field ids.
        ConfigError: a column's type is none of Spark's.
        EngineError, EngineUnavailableError: Spark cannot be started or asked.
    """
    table, own = staging.table, scans_of(catalog, staging)
    # The schema of a contract is one word to DuckDB, so it is one to Spark.
    named = {(".".join(table.namespace), name): scan for name, scan in own.items()}
    others = pinned(catalog, staging, neighbours, beside)
    for other, snapshot in others.items():
        name = (".".join(other.namespace), other.name)
        if name in named:
            raise RelationError(f"a table {other.name} already exists here", where=str(other))
        named[name] = catalog.scan(other, snapshot, staging.branch)
    with connect(temp_directory=temp_directory, memory_limit=memory_limit) as con:
        for name, scan in named.items():
            spark_schema(scan.schema)
            check_readable(con, scan, ".".join(name))
    delete_leftovers(staging.io, staging.data_location)
    with (
        spark.session(session_conf(staging.io)) as session,
        scratch(session, staging.io, staging.data_location) as tables,
    ):
        with translated(str(table)):
            for name, scan in named.items():
                tables.to_read(name, scan)
            session.sql(f"USE {CATALOG}")
        connection = SparkConnection(session)
        yield Relation(
            connection=connection,
            source=CATALOG,
            schema=".".join(table.namespace),
            table=table.name,
            columns={f.name: type_text(f.field_type) for f in own[table.name].schema.fields},
            rows={name: scan.rows for name, scan in own.items()},
            masked=masked,
            keys=tuple(keys),
            neighbours={str(other): snapshot for other, snapshot in others.items()},
            at=at,
        )
        # Whoever audited took it for an error of a check, which would be a verdict.
        if connection.lost:
            raise EngineUnavailableError(
                f"Spark went away in the audit: {connection.lost[0]}", where=str(table)
            )
