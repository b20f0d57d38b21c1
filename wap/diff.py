"""What a staging branch would change: rows, schema, and figures of every column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path

import duckdb
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IntegerType,
    LongType,
    NestedField,
    PrimitiveType,
)

from catalog.base import BranchCatalog, Scan, Staging
from catalog.refs import Branch, TableName
from wap.errors import RelationError
from wap.field_map import quoted
from wap.model import Value
from wap.relations import connect, create_view
from wap.remote_files import failure_of
from wap.type_texts import type_text

#: Columns measured in one pass: bounds what DuckDB keeps at a time for tables with hundreds.
COLUMNS_A_PASS = 50
#: Longest text of a value that is shown.
TEXT = 80

_NUMBERS = (IntegerType, LongType, FloatType, DoubleType, DecimalType)
_BYTES = (BinaryType, FixedType)


class Figures(Value):
    """One column of one snapshot, in figures.

    Attributes:
        nulls: rows without a value.
        distinct: different values, approximately (HyperLogLog, about 2 % off); None where the
            column is nested or masked.
        min, max: smallest and largest value as text; None where nothing is ordered, all values
            are null, or the column is masked.
        mean: of numbers; None elsewhere, or where it is not finite.
    """

    nulls: int
    distinct: int | None = None
    min: str | None = None
    max: str | None = None
    mean: float | None = None


class ColumnDiff(Value):
    """One column before and after; matched by field id, so a rename is one column.

    Attributes:
        name: as consumers would see it after the publish, or saw it, where it goes.
        renamed_from: its name before, where that differs.
        type_before, type_after: Iceberg types as text; None: there is no such column.
        before, after: figures; None: no such column, or no snapshot.
    """

    name: str
    renamed_from: str | None = None
    type_before: str | None
    type_after: str | None
    before: Figures | None
    after: Figures | None

    @property
    def schema_changed(self) -> bool:
        """Whether the column comes, goes, is renamed or gets another type."""
        return self.type_before != self.type_after or self.renamed_from is not None


class TableDiff(Value):
    """What publishing a branch would change of one table.

    Attributes:
        branch, table: which.
        before: main's snapshot that the branch would replace; None: the table is new.
        after: the branch's head.
        main: main's snapshot now; another one than ``before`` means that the run will rebase.
        rows_before, rows_after: rows that consumers see, and would see.
        rows_added: rows of the batch.
        rows_removed: rows that consumers would no longer see.
        files_added, files_removed: data files.
        columns: every column, in the order of the candidate; those that go come last.
    """

    branch: str
    table: str
    before: int | None
    after: int
    main: int | None
    rows_before: int
    rows_after: int
    rows_added: int
    rows_removed: int
    files_added: int
    files_removed: int
    columns: tuple[ColumnDiff, ...]

    @property
    def main_moved(self) -> bool:
        """Whether somebody published since the branch was opened."""
        return self.main != self.before


def diff(
    catalog: BranchCatalog,
    branch: Branch,
    table: TableName,
    *,
    temp_directory: Path,
    masked: frozenset[str] = frozenset(),
    memory_limit: str = "400MB",
    threads: int = 2,
) -> TableDiff:
    """Compare a branch's head with the published snapshot it would replace; reads both.

    Args:
        catalog, branch, table: what is compared.
        temp_directory: where DuckDB may spill; it gets ``memory_limit`` and ``threads``.
        masked: columns whose values are not shown (nulls still are counted).

    Raises:
        BranchNotFoundError: it is gone.
        RelationError: the files cannot be read.
        CatalogUnavailableError: try again.
    """
    staging = catalog.staging(branch, table)
    after = catalog.scan(table, staging.head, branch)
    before = _before(catalog, staging)
    main = catalog.published(table)
    con = connect(temp_directory=temp_directory, memory_limit=memory_limit, threads=threads)
    try:
        columns = tuple(_columns(con, before, after, masked))
    finally:
        con.close()
    return TableDiff(
        branch=str(branch),
        table=str(table),
        before=staging.expected,
        after=staging.head,
        main=main.snapshot.id if main else None,
        columns=columns,
        **_counts(before, after, catalog.batch(staging)),
    )


def _before(catalog: BranchCatalog, staging: Staging) -> Scan:
    """What the publish would replace; no column and no row when the table is new."""
    if staging.expected is None:
        return Scan(schema=Schema(), files=(), io=staging.io)
    return catalog.scan(staging.table, staging.expected)


def _counts(before: Scan, after: Scan, batch: Scan) -> dict[str, int]:
    were, are = _files(before), _files(after)
    return {
        "rows_before": before.rows,
        "rows_after": after.rows,
        "rows_added": batch.rows,
        # Not counted by files: a file may be rewritten to carry some of its rows over.
        "rows_removed": before.rows + batch.rows - after.rows,
        "files_added": len(are - were),
        "files_removed": len(were - are),
    }


def _files(scan: Scan) -> frozenset[str]:
    return frozenset(f.file_path for f in scan.files)


def _columns(
    con: duckdb.DuckDBPyConnection, before: Scan, after: Scan, masked: frozenset[str]
) -> Iterator[ColumnDiff]:
    were = {f.field_id: f for f in before.schema.fields}
    are = {f.field_id: f for f in after.schema.fields}
    # By id: a column is not less private under the name it had before.
    hidden = {n for fields in (were, are) for n, f in fields.items() if f.name in masked}
    old, new = _figures(con, "before", before, hidden), _figures(con, "after", after, hidden)
    for number in dict.fromkeys([*are, *were]):
        was, is_ = were.get(number), are.get(number)
        name = (is_ or were[number]).name
        yield ColumnDiff(
            name=name,
            renamed_from=was.name if was and was.name != name else None,
            type_before=type_text(was.field_type) if was else None,
            type_after=type_text(is_.field_type) if is_ else None,
            before=old.get(number),
            after=new.get(number),
        )


def _figures(
    con: duckdb.DuckDBPyConnection, view: str, scan: Scan, hidden: set[int]
) -> dict[int, Figures]:
    """Figures of every column by field id, in as few passes as memory allows."""
    fields = scan.schema.fields
    if not fields:
        return {}
    create_view(con, "diff", view, scan)
    found: dict[int, Figures] = {}
    for start in range(0, len(fields), COLUMNS_A_PASS):
        found |= _measure(con, view, fields[start : start + COLUMNS_A_PASS], hidden)
    return found


def _measure(
    con: duckdb.DuckDBPyConnection, view: str, fields: Iterable[NestedField], hidden: set[int]
) -> dict[int, Figures]:
    wanted = {f.field_id: _expressions(f, shown=f.field_id not in hidden) for f in fields}
    listed = [f"{sql} AS f{n}_{name}" for n, e in wanted.items() for name, sql in e.items()]
    try:
        relation = con.sql(f"SELECT {', '.join(listed)} FROM diff.{quoted(view)}")  # noqa: S608 - quoted by sqlglot
        values = dict(zip(relation.columns, relation.fetchall()[0], strict=True))
    except duckdb.Error as exc:
        failure = failure_of(con)
        if failure is not None:
            raise failure from exc
        raise RelationError(f"cannot measure the columns: {exc}", where=view) from exc
    return {
        n: Figures.model_validate({name: _shown(values[f"f{n}_{name}"]) for name in e})
        for n, e in wanted.items()
    }


def _expressions(field: NestedField, *, shown: bool) -> dict[str, str]:
    """SQL of the figures that make sense for a column, by their name in :class:`Figures`."""
    column, kind = quoted(field.name), field.field_type
    sql = {"nulls": f"count(*) - count({column})"}
    if not shown or not isinstance(kind, PrimitiveType):
        return sql
    sql["distinct"] = f"approx_count_distinct({column})"
    if not isinstance(kind, _BYTES):
        sql["min"] = f"CAST(min({column}) AS VARCHAR)"
        sql["max"] = f"CAST(max({column}) AS VARCHAR)"
    if isinstance(kind, _NUMBERS):
        sql["mean"] = f"avg(CAST({column} AS DOUBLE))"
    return sql


def _shown(value: float | str | None) -> float | str | None:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, str) and len(value) > TEXT:
        return f"{value[: TEXT - 1]}…"
    return value
