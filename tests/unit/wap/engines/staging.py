"""A staging area on the local disk, and what a plain Iceberg reader finds in what was written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.expressions import AlwaysTrue, BooleanExpression
from pyiceberg.io.pyarrow import ArrowScan, PyArrowFileIO
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.table import FileScanTask, Table
from pyiceberg.table.metadata import new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.transforms import parse_transform

from catalog.base import Scan, Staging
from catalog.refs import Branch, TableName
from wap.engines.arrow import ArrowEngine
from wap.engines.base import Progress, Written
from wap.sources.base import Counts, Split, SqlStream
from wap.types import from_arrow


@dataclass
class Given:
    """An extract of batches at hand."""

    given: Sequence[pa.RecordBatch]
    schema: pa.Schema
    counts: Counts = field(default_factory=Counts)
    sql: SqlStream | None = None
    split: Split | None = None

    @classmethod
    def of(cls, table: pa.Table, rows: int = 1000) -> Given:
        return cls(table.to_batches(rows), table.schema)

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self.given

    def finish(self) -> Counts:
        return self.counts


def staging(
    root: Path,
    schema: Schema | pa.Schema,
    partitioning: Sequence[tuple[str, str]] = (),
    run: str = "run-1",
) -> Staging:
    """An unstaged run of a table whose files lie under ``root``."""
    iceberg = from_arrow(schema) if isinstance(schema, pa.Schema) else schema
    spec = UNPARTITIONED_PARTITION_SPEC
    if partitioning:
        spec = PartitionSpec(
            *(
                PartitionField(
                    iceberg.find_field(name).field_id, 1000 + i, parse_transform(text), f"p{i}"
                )
                for i, (name, text) in enumerate(partitioning)
            ),
            spec_id=1,
        )
    return Staging(
        branch=Branch.of_run(run),
        table=TableName.parse("nyc.flights"),
        expected=None,
        head=1,
        staged=False,
        schema=iceberg,
        spec=spec,
        location=f"file://{root}/table",
        io=PyArrowFileIO(),
        properties={},
    )


def write(
    given: Any,
    where: Staging,
    engine: ArrowEngine | None = None,
    seen: list[Progress] | None = None,
) -> Written:
    """Write an extract."""
    told = seen if seen is not None else []
    return (engine or ArrowEngine()).write(
        given, where, report=told.append, cancelled=lambda: False
    )


def scan(written: Written, where: Staging) -> Scan:
    """The written files as a snapshot's."""
    return Scan(where.schema, list(written.files), where.io)


def iceberg_table(root: Path, where: Staging, files: Sequence[DataFile], name: str = "t") -> Table:
    """A table of a fresh SQLite catalog with these files committed, as any reader would see it."""
    catalog = SqlCatalog(name, uri=f"sqlite:///{root}/{name}.db", warehouse=f"file://{root}/{name}")
    catalog.create_namespace("ns")
    table = catalog.create_table(
        "ns.t", where.schema, partition_spec=where.spec, properties={"format-version": "2"}
    )
    with table.transaction() as change, change.update_snapshot().fast_append() as append:
        for file in files:
            file.spec_id = table.spec().spec_id
            append.append_data_file(file)
    return catalog.load_table("ns.t")


def rows_of(
    written: Written, where: Staging, row_filter: BooleanExpression | None = None
) -> pa.Table:
    """What pyiceberg reads from the files, in the staging's schema."""
    condition = row_filter or AlwaysTrue()
    reader = ArrowScan(_metadata(where), where.io, where.schema, condition)
    return reader.to_table([FileScanTask(file) for file in written.files])


def _metadata(where: Staging) -> Any:
    return new_table_metadata(
        where.schema, where.spec, UNSORTED_SORT_ORDER, where.location, {"format-version": "2"}
    )


def paths(where: Staging) -> list[str]:
    """Names of the files in the run's data location."""
    folder = Path(where.data_location.removeprefix("file://"))
    return sorted(p.name for p in folder.glob("*")) if folder.exists() else []


def sorted_rows(table: pa.Table, key: str = "id") -> list[dict[str, Any]]:
    """Rows by key, to compare."""
    return sorted(table.to_pylist(), key=lambda row: row[key])
