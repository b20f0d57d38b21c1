"""A catalog for tests that only read: snapshots are Parquet files put on a shelf by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io.pyarrow import PyArrowFileIO, schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record
from pyiceberg.types import IcebergType, NestedField

from catalog.base import BranchCatalog, Published, Scan, Staging
from catalog.errors import BranchNotFoundError, TableNotFoundError, UnsupportedError
from catalog.refs import Branch, BranchState, Capabilities, Snapshot, TableName

AT = datetime(2026, 1, 1, tzinfo=UTC)


def schema_of(**columns: IcebergType) -> Schema:
    """A schema of optional columns, ids counted from 1."""
    fields = (NestedField(n, c, t, required=False) for n, (c, t) in enumerate(columns.items(), 1))
    return Schema(*fields)


@dataclass
class Shelf(BranchCatalog):
    """Published tables and staged heads; what changes a branch it cannot do, and says so."""

    root: Path
    scans: dict[int, Scan] = field(default_factory=dict)
    main: dict[TableName, int] = field(default_factory=dict)
    staged: dict[tuple[Branch, TableName], tuple[int, Scan]] = field(default_factory=dict)

    name = "shelf"
    capabilities = Capabilities(atomic_groups=False, staged_schema=True, rollback=False)

    def file(self, schema: Schema, rows: Sequence[dict[str, Any]]) -> DataFile:
        """Rows as one data file."""
        path = self.root / f"data file [{len(list(self.root.glob('*.parquet')))}].parquet"
        pq.write_table(pa.Table.from_pylist(list(rows), schema=schema_to_pyarrow(schema)), path)
        return DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=f"file://{path}",
            file_format=FileFormat.PARQUET,
            partition=Record(),
            record_count=len(rows),
            file_size_in_bytes=path.stat().st_size,
        )

    def snapshot(self, schema: Schema, *files: DataFile) -> int:
        """A snapshot of those files; returns its id."""
        number = 100 + len(self.scans)
        self.scans[number] = Scan(schema, files, PyArrowFileIO())
        return number

    def publish_rows(self, table: str, schema: Schema, rows: Sequence[dict[str, Any]]) -> DataFile:
        """Make main of a table show exactly these rows."""
        made = self.file(schema, rows)
        self.main[TableName.parse(table)] = self.snapshot(schema, made)
        return made

    def stage_files(self, table: str, schema: Schema, *files: DataFile, batch: DataFile) -> Staging:
        """Put a candidate on the branch ``wap/r1``."""
        head = self.snapshot(schema, *files)
        key = (Branch.of_run("r1"), TableName.parse(table))
        self.staged[key] = (head, Scan(schema, (batch,), PyArrowFileIO()))
        return self.staging(*key)

    def tables(self) -> list[TableName]:
        return sorted(self.main)

    def published(self, table: TableName) -> Published | None:
        if table not in self.main:
            return None
        head = self.main[table]
        return Published(
            snapshot=Snapshot(table, head, None, AT, "append", 0),
            schema=self.scans[head].schema,
            spec=UNPARTITIONED_PARTITION_SPEC,
            location=f"file://{self.root}",
            io=PyArrowFileIO(),
        )

    def scan(self, table: TableName, snapshot_id: int, branch: Branch | None = None) -> Scan:
        heads = {self.main.get(table), *(h for (b, t), (h, _) in self.staged.items()
                                         if (b, t) == (branch, table))}  # fmt: skip
        if snapshot_id not in heads:
            raise TableNotFoundError(f"no snapshot {snapshot_id}", where=str(table))
        return self.scans[snapshot_id]

    def staging(self, branch: Branch, table: TableName) -> Staging:
        if (branch, table) not in self.staged:
            raise BranchNotFoundError("no such branch", where=f"{table} on {branch}")
        head, _ = self.staged[branch, table]
        return Staging(
            branch=branch,
            table=table,
            expected=self.main.get(table),
            head=head,
            staged=True,
            schema=self.scans[head].schema,
            spec=UNPARTITIONED_PARTITION_SPEC,
            location=f"file://{self.root}",
            io=PyArrowFileIO(),
            properties={},
        )

    def batch(self, staging: Staging) -> Scan:
        return self.staged[staging.branch, staging.table][1]

    def branches(self) -> list[BranchState]:
        return [
            BranchState(b, t, head, self.main.get(t), self.main.get(t), AT)
            for (b, t), (head, _) in self.staged.items()
        ]

    def log(self, table: TableName) -> list[Snapshot]:
        published = self.published(table)
        return [published.snapshot] if published else []

    def _read_only(self, *_: object, **__: object) -> NoReturn:
        raise UnsupportedError("a shelf is only read")

    open_branch = stage = restage = seal = publish = rebase = drop = roll_back = made_of = (
        _read_only
    )
    covered = restage_on = _read_only
    expire = sweep = _read_only
