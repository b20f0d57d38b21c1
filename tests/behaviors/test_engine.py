"""The engine ``arrow``: both ways of writing give one table; what does not fit is named."""

from __future__ import annotations

import datetime as dt
import errno
import os
import resource
import signal
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyiceberg.io.pyarrow import parquet_file_to_data_file
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.types import (
    DecimalType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    StructType,
)

from catalog.base import Staging
from tests.unit.wap.engines.staging import (
    Given,
    iceberg_table,
    paths,
    rows_of,
    sorted_rows,
    staging,
    write,
)
from tests.unit.wap.sources.feeding import Project
from wap.engines.arrow import ArrowEngine
from wap.engines.base import Progress, Written
from wap.engines.copy import Copy
from wap.engines.data_files import write_error
from wap.errors import BatchRefusedError, EngineError, SourceError
from wap.types import from_arrow, to_arrow

UTC = dt.UTC
TYPES = pa.schema(
    [
        ("id", pa.int64()),
        ("i", pa.int32()),
        ("b", pa.bool_()),
        ("f", pa.float32()),
        ("d", pa.float64()),
        ("small", pa.decimal128(9, 2)),
        ("money", pa.decimal128(15, 2)),
        ("wide", pa.decimal128(38, 10)),
        ("s", pa.string()),
        ("day", pa.date32()),
        ("at", pa.timestamp("us")),
        ("zoned", pa.timestamp("us", "UTC")),
    ]
)
NESTED = pa.schema(
    [
        ("id", pa.int64()),
        ("t", pa.time64("us")),
        ("u", pa.uuid()),
        ("raw", pa.binary()),
        ("four", pa.binary(4)),
        ("l", pa.list_(pa.int64())),
        ("st", pa.struct([("x", pa.int64()), ("y", pa.list_(pa.string()))])),
        ("m", pa.map_(pa.string(), pa.float64())),
    ]
)


def rows(count: int) -> list[dict[str, Any]]:
    start = dt.datetime(1969, 12, 30, 23, 59, 59, 999999)  # noqa: DTZ001 - it has no zone
    return [
        {
            "id": i,
            "i": i - 5 if i % 7 else None,
            "b": i % 3 == 0 if i % 5 else None,
            "f": i / 2 if i % 11 else None,
            "d": -i / 3 if i % 13 else None,
            "small": Decimal(i % 1000) / 100,
            "money": -Decimal(i) / 100 if i % 3 else None,
            "wide": Decimal("9" * 28 + f".{i:010d}"),
            "s": f"naïve {i} 'x'" if i % 4 else None,
            "day": (start + dt.timedelta(days=i)).date(),
            "at": start + dt.timedelta(hours=i) if i % 6 else None,
            "zoned": start.replace(tzinfo=UTC) + dt.timedelta(minutes=i),
        }
        for i in range(count)
    ]


def nested_rows(count: int) -> list[dict[str, Any]]:
    return [
        {
            "id": i,
            "t": dt.time(i % 24, 1, 2, 3) if i % 3 else None,
            "u": uuid.UUID(int=i) if i % 4 else None,
            "raw": bytes([i % 256, 0]) if i % 5 else None,
            "four": i.to_bytes(4, "big"),
            "l": [i, None, -i][: i % 4] if i % 6 else None,
            "st": {"x": i if i % 2 else None, "y": ["a"] * (i % 3)} if i % 5 else None,
            "m": [(f"k{j}", j / 2) for j in range(i % 3)] if i % 7 else None,
        }
        for i in range(count)
    ]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    return Project(root)


def from_parquet(
    project: Project,
    table: pa.Table,
    where: Staging,
    *,
    copy: bool,
    engine: ArrowEngine | None = None,
) -> Written:
    """Write a table by way of a Parquet file, with or without DuckDB's COPY."""
    pq.write_table(table, project.root / "in.parquet", row_group_size=1000)
    source = project.source("in.parquet", "parquet")
    plan = source.plan(None, everything=False)
    columns = [f.name for f in where.schema.fields if f.name in table.schema.names]
    full = to_arrow(where.schema)
    schema = pa.schema([full.field(name) for name in columns])
    with source.open(plan, schema) as extract:
        if copy:
            assert Copy.possible(extract, where, "batch") is not None
        written = write(extract, where, engine or ArrowEngine(copy=copy))
        assert extract.finish().read == len(table)
    return written


@pytest.fixture(params=["copy", "stream"])
def copy(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "copy")


def test_rows_are_the_same(project: Project, tmp_path: Path, copy: bool):
    table = pa.Table.from_pylist(rows(5000), TYPES)
    where = staging(tmp_path, TYPES)
    written = from_parquet(project, table, where, copy=copy)
    assert written.rows == 5000
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()
    assert written.bytes == sum(
        Path(f.file_path.removeprefix("file://")).stat().st_size for f in written.files
    )
    assert all(name.startswith("batch-") and name.endswith(".parquet") for name in paths(where))
    assert {Path(f.file_path).name for f in written.files} == set(paths(where))


def test_nested_and_rare_types(tmp_path: Path):
    table = pa.Table.from_pylist(nested_rows(500), NESTED)
    where = staging(tmp_path, NESTED)
    written = write(Given.of(table), where)
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()


def bounds(file: DataFile) -> tuple[Any, ...]:
    return (
        file.record_count,
        file.null_value_counts,
        file.value_counts,
        file.lower_bounds,
        file.upper_bounds,
    )


@pytest.mark.parametrize("kinds", ["plain", "nested"])
def test_statistics_are_those_of_pyiceberg(tmp_path: Path, kinds: str):
    """pyiceberg writes the same rows; its own DataFile says what ours must say."""
    schema, given_rows = (TYPES, rows(3000)) if kinds == "plain" else (NESTED, nested_rows(300))
    table = pa.Table.from_pylist(given_rows, schema)
    where = staging(tmp_path, schema)
    (mine,) = write(Given.of(table), where, ArrowEngine(1 << 30)).files
    other = iceberg_table(tmp_path, where, [], "theirs")
    other.append(table)
    (task,) = other.scan().plan_files()
    assert bounds(mine) == bounds(task.file)


def test_statistics_of_copy_are_those_of_pyiceberg(project: Project, tmp_path: Path):
    table = pa.Table.from_pylist(rows(3000), TYPES)
    where = staging(tmp_path, TYPES)
    (mine,) = from_parquet(project, table, where, copy=True).files
    other = iceberg_table(tmp_path, where, [], "theirs")
    other.append(table)
    (task,) = other.scan().plan_files()
    assert bounds(mine) == bounds(task.file)
    again = parquet_file_to_data_file(where.io, other.metadata, mine.file_path)
    assert bounds(mine) == bounds(again)


SPECIAL = [0.0, -0.0, 1.5, float("nan"), float("inf"), float("-inf"), None]


@pytest.mark.parametrize("values", [SPECIAL, [-0.0, 0.0], [float("nan")], [None]])
def test_special_floats(project: Project, tmp_path: Path, values: list[float | None], copy: bool):
    """Bounds may be missing (with NaN), never wrong: every number lies within them."""
    schema = pa.schema([("id", pa.int64()), ("d", pa.float64())])
    table = pa.Table.from_pylist([{"id": i, "d": d} for i, d in enumerate(values)], schema)
    where = staging(tmp_path, schema)
    written = from_parquet(project, table, where, copy=copy)
    found = [row["d"] for row in sorted_rows(rows_of(written, where))]
    assert list(map(repr, found)) == list(map(repr, values))
    (file,) = written.files
    assert file.null_value_counts[2] == values.count(None)
    inspected = iceberg_table(tmp_path, where, written.files)
    for value in (v for v in values if v is not None and v == v):  # noqa: PLR0124 - not NaN
        condition = f"d = {value!r}" if abs(value) < 10 else "d > 10 or d < -10"
        assert inspected.scan(condition).to_arrow().num_rows


def test_a_table_with_more_columns_than_the_batch(project: Project, tmp_path: Path, copy: bool):
    table = pa.table({"id": [1, 2], "name": ["x", None]})
    schema = Schema(
        NestedField(7, "name", StringType(), required=False),
        NestedField(9, "later", DecimalType(10, 2), required=False),
        NestedField(3, "id", LongType(), required=False),
    )
    where = staging(tmp_path, schema)
    written = from_parquet(project, table, where, copy=copy)
    assert rows_of(written, where).to_pylist() == [
        {"name": "x", "later": None, "id": 1},
        {"name": None, "later": None, "id": 2},
    ]
    parquet = pq.read_schema(written.files[0].file_path.removeprefix("file://"))
    ids = {f.name: f.metadata[b"PARQUET:field_id"] for f in parquet}
    assert ids == {"name": b"7", "later": b"9", "id": b"3"}
    assert written.files[0].null_value_counts[9] == 2


def test_types_are_widened(project: Project, tmp_path: Path, copy: bool):
    table = pa.table(
        {"id": pa.array([1, None], pa.int32()), "d": pa.array([1.5, None], pa.float32())}
    )
    schema = pa.schema([("id", pa.int64()), ("d", pa.float64())])
    where = staging(tmp_path, schema)
    assert rows_of(from_parquet(project, table, where, copy=copy), where).to_pylist() == [
        {"id": 1, "d": 1.5},
        {"id": None, "d": None},
    ]


NAMES = ["a b", "a.b", 'say "x"', "größe", "select", "l'eau", "a;b", "{x}", "A"]
NAMES += [str(i) for i in range(300)]


def test_names_are_kept(project: Project, tmp_path: Path, copy: bool):
    table = pa.table({name: [i] for i, name in enumerate(NAMES)})
    where = staging(tmp_path, table.schema)
    written = from_parquet(project, table, where, copy=copy)
    assert rows_of(written, where).to_pylist() == table.to_pylist()


def test_names_that_differ_in_case_only(project: Project, tmp_path: Path):
    """DuckDB takes A and a for one column, so it must not be the one to write them."""
    table = pa.table({"A": [1], "a": [2]})
    for names in (["A", "a"], ["a"]):
        asked = table.select(names)
        where = staging(tmp_path, asked.schema)
        written = from_parquet(project, table, where, copy=False, engine=ArrowEngine())
        assert rows_of(written, where).to_pylist() == asked.to_pylist()


def test_no_rows_are_no_files(project: Project, tmp_path: Path, copy: bool):
    where = staging(tmp_path, TYPES)
    written = from_parquet(project, TYPES.empty_table(), where, copy=copy)
    assert (list(written.files), written.rows, paths(where)) == ([], 0, [])


def test_files_are_rolled(project: Project, tmp_path: Path, copy: bool):
    table = pa.table(
        {"id": range(400_000), "s": [str(uuid.UUID(int=i * i)) for i in range(400_000)]}
    )
    where = staging(tmp_path, table.schema)
    engine = ArrowEngine(24 << 20 if not copy else 200 << 20, 1 << 20, copy=copy)
    written = from_parquet(project, table, where, copy=copy, engine=engine)
    assert len(written.files) >= 2
    assert written.rows == 400_000
    assert sorted(rows_of(written, where).column("id").to_pylist()) == list(range(400_000))


def test_clear_deletes_the_runs_own_files_only(tmp_path: Path):
    table = pa.table({"id": [1]})
    mine, other = staging(tmp_path, table.schema), staging(tmp_path, table.schema, run="run-2")
    engine = ArrowEngine()
    engine.clear(mine)
    for where in (mine, other):
        write(Given.of(table), where, engine)
    before = paths(other)
    engine.clear(mine)
    assert (paths(mine), paths(other)) == ([], before)
    engine.clear(mine)


def test_clear_keeps_what_is_committed(tmp_path: Path):
    table = pa.table({"id": [1]})
    mine = staging(tmp_path, table.schema)
    write(Given.of(table), mine)
    committed = write(Given.of(table), mine)
    assert len(paths(mine)) == 2
    ArrowEngine().clear(mine, lambda: {f.file_path for f in committed.files})
    assert rows_of(committed, mine).to_pylist() == table.to_pylist()
    assert len(paths(mine)) == 1


def test_two_attempts_never_share_a_name(project: Project, tmp_path: Path, copy: bool):
    """The thread of an attempt that is taken for dead may still write: into files of its own."""
    table = pa.Table.from_pylist(rows(10), TYPES)
    where = staging(tmp_path, TYPES)
    first = from_parquet(project, table, where, copy=copy)
    second = from_parquet(project, table, where, copy=copy)
    names = [{f.file_path for f in w.files} for w in (first, second)]
    assert not names[0] & names[1]
    assert sorted_rows(rows_of(first, where)) == table.to_pylist()
    assert sorted_rows(rows_of(second, where)) == table.to_pylist()


def test_a_second_attempt_writes_the_same(project: Project, tmp_path: Path, copy: bool):
    table = pa.Table.from_pylist(rows(100), TYPES)
    where = staging(tmp_path, TYPES)
    for _ in range(2):
        ArrowEngine().clear(where)
        written = from_parquet(project, table, where, copy=copy)
        assert sorted_rows(rows_of(written, where)) == table.to_pylist()


def test_progress_is_told(project: Project, tmp_path: Path, copy: bool):
    table = pa.Table.from_pylist(rows(3000), TYPES)
    where = staging(tmp_path, TYPES)
    pq.write_table(table, project.root / "in.parquet")
    source = project.source("in.parquet", "parquet")
    plan = source.plan(None, everything=False)
    seen: list[Progress] = []
    with source.open(plan, TYPES) as extract:
        written = write(extract, where, ArrowEngine(copy=copy), seen)
    assert (seen[-1].rows, seen[-1].bytes_written) == (3000, written.bytes)


def test_cancel_ends_the_write(project: Project, tmp_path: Path, copy: bool):
    table = pa.table({"id": range(3_000_000)})
    pq.write_table(table, project.root / "in.parquet", compression="none")
    where = staging(tmp_path, table.schema)
    source = project.source("in.parquet", "parquet")
    plan = source.plan(None, everything=False)
    with source.open(plan, table.schema) as extract:
        if copy:
            # A statement that would take for ever, so that only the interrupt ends it.
            assert extract.sql is not None
            sql = f"SELECT a.id FROM ({extract.sql.query}) a, range(1000000) b(x)"
            object.__setattr__(extract.sql, "query", sql)
        with pytest.raises(EngineError, match="cancelled"):
            ArrowEngine(copy=copy).write(
                extract, where, report=lambda _: None, cancelled=lambda: True
            )


def refuse(table: pa.Table, schema: Schema, tmp_path: Path) -> tuple[str, ...]:
    where = staging(tmp_path, schema)
    with pytest.raises(BatchRefusedError) as caught:
        write(Given.of(table, 10), where)
    return caught.value.differences


def fields(*kinds: tuple[str, Any, bool]) -> Schema:
    return Schema(*(NestedField(i, n, t, required=r) for i, (n, t, r) in enumerate(kinds, 1)))


def test_a_null_where_none_may_be(tmp_path: Path):
    table = pa.table({"id": [*range(25), None]})
    schema = fields(("id", LongType(), True))
    assert refuse(table, schema, tmp_path) == ("row 26, column id: 'None' may not be null",)


def test_a_required_column_that_is_not_there(tmp_path: Path):
    schema = fields(("id", LongType(), False), ("name", StringType(), True))
    differences = refuse(pa.table({"id": [1]}), schema, tmp_path)
    assert differences == ("row 1, column name: 'None' may not be null",)


def test_a_null_inside_of_a_column(tmp_path: Path):
    inner = StructType(NestedField(3, "x", LongType(), required=True))
    schema = fields(("id", LongType(), False), ("s", inner, False))
    table = pa.table({"id": [1, 2, 3], "s": [None, {"x": 1}, {"x": None}]})
    assert refuse(table, schema, tmp_path)[0].startswith("row 3, column s: ")
    listed = ListType(3, LongType(), element_required=True)
    schema = fields(("id", LongType(), False), ("l", listed, False))
    table = pa.table({"id": [1, 2, 3], "l": [None, [1], [1, None]]})
    assert refuse(table, schema, tmp_path)[0].startswith("row 3, column l: ")


def test_required_nested_fields_are_written(tmp_path: Path):
    inner = StructType(NestedField(3, "x", LongType(), required=True))
    schema = fields(("id", LongType(), True), ("s", inner, False))
    table = pa.table({"id": [1, 2], "s": [None, {"x": 1}]})
    where = staging(tmp_path, schema)
    assert rows_of(write(Given.of(table), where), where).to_pylist() == table.to_pylist()


def test_a_number_that_is_too_large(tmp_path: Path):
    table = pa.table({"id": [*range(15), 2**31]})
    differences = refuse(table, fields(("id", IntegerType(), False)), tmp_path)
    assert differences == ("row 16, column id: '2147483648' does not fit int (32 bits)",)


def test_a_decimal_with_too_many_digits(tmp_path: Path):
    """Arrow keeps such a value, and Parquet would cut its first digits off."""
    scaled = pa.array([Decimal("12345.67")], pa.decimal128(38, 2))
    buffers = scaled.buffers()
    lying = pa.Array.from_buffers(pa.decimal128(5, 2), 1, buffers)
    table = pa.Table.from_arrays([lying], names=["d"])
    differences = refuse(table, fields(("d", DecimalType(5, 2), False)), tmp_path)
    assert "does not fit decimal(5, 2)" in differences[0]
    assert "row 1, column d" in differences[0]


def test_a_null_that_copy_finds_afterwards(project: Project, tmp_path: Path):
    table = pa.table({"id": [1, None]})
    where = staging(tmp_path, fields(("id", LongType(), True)))
    with pytest.raises(BatchRefusedError) as caught:
        from_parquet(project, table, where, copy=True)
    assert "column id: 1 row" in caught.value.differences[0]


def test_a_disk_that_is_full(project: Project, tmp_path: Path, copy: bool):
    """The system holds a process to a size of files as it holds all to the size of the disk."""
    table = pa.table({"s": [str(uuid.UUID(int=i * i * i)) for i in range(200_000)]})
    where = staging(tmp_path, table.schema)
    pq.write_table(table, project.root / "in.parquet")
    source = project.source("in.parquet", "parquet")
    plan = source.plan(None, everything=False)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limit[1]))
    try:
        with source.open(plan, table.schema) as extract, pytest.raises(EngineError) as caught:
            write(extract, where, ArrowEngine(copy=copy))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, old)
    assert "run-1" in caught.value.where


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "disk is full"), (errno.EROFS, "may not be written"), (errno.EIO, "cannot")],
)
def test_what_a_refused_write_says(number: int, words: str):
    error = write_error(OSError(number, os.strerror(number)), "file:///x/batch-0.parquet")
    assert words in error.what
    assert error.where == "file:///x/batch-0.parquet"


def test_a_folder_that_may_not_be_written(tmp_path: Path, project: Project, copy: bool):
    table = pa.table({"id": [1]})
    where = staging(tmp_path, table.schema)
    (tmp_path / "table").write_text("a file where a folder is expected")
    with pytest.raises(EngineError):
        from_parquet(project, table, where, copy=copy)


def test_input_that_breaks_off_under_copy(project: Project, tmp_path: Path):
    table = pa.table({"s": [str(uuid.UUID(int=i * i)) for i in range(20_000)]})
    path = project.root / "in.parquet"
    pq.write_table(table, path)
    data = bytearray(path.read_bytes())
    data[1000:9000] = bytes(8000)
    path.write_bytes(bytes(data))
    where = staging(tmp_path, table.schema)
    source = project.source("in.parquet", "parquet")
    plan = source.plan(None, everything=False)
    with source.open(plan, table.schema) as extract, pytest.raises((SourceError, EngineError)):
        write(extract, where)


SIMPLE = {
    pa.int32(): st.integers(-(2**31), 2**31 - 1),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=20),
    pa.date32(): st.dates(),
    pa.timestamp("us"): st.datetimes(),
    pa.timestamp("us", "UTC"): st.datetimes(timezones=st.just(UTC)),
    pa.decimal128(20, 4): st.decimals(-(10**15), 10**15, places=4),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    chosen = draw(st.lists(st.sampled_from(list(SIMPLE)), min_size=1, max_size=5))
    wrap = draw(st.lists(st.sampled_from(["plain", "list", "struct"]), min_size=5, max_size=5))
    count = draw(st.integers(0, 30))
    columns: dict[str, pa.Array] = {"id": pa.array(range(count), pa.int64())}
    for i, (kind, how) in enumerate(zip(chosen, wrap, strict=False)):
        value = st.none() | SIMPLE[kind]
        if how == "list":
            kind, value = pa.list_(kind), st.none() | st.lists(value, max_size=3)  # noqa: PLW2901
        elif how == "struct":
            kind = pa.struct([("x", kind)])  # noqa: PLW2901
            value = st.none() | st.fixed_dictionaries({"x": value})
        columns[f"c{i}"] = pa.array(draw(st.lists(value, min_size=count, max_size=count)), kind)
    return pa.table(columns)


@given(tables(), st.integers(1, 7), st.booleans())
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_what_goes_in_comes_out(
    tmp_path_factory: pytest.TempPathFactory, table: pa.Table, batch: int, copy: bool
):
    root = tmp_path_factory.mktemp("any")
    project = Project(root)
    where = staging(root, table.schema)
    given_rows = Given.of(table, batch)
    written = write(given_rows, where)
    assert written.rows == len(table)
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()
    ArrowEngine().clear(where)
    again = from_parquet(project, table, where, copy=False, engine=ArrowEngine(copy=copy))
    assert sorted_rows(rows_of(again, where)) == table.to_pylist()


def test_schema_helpers_agree():
    assert to_arrow(from_arrow(TYPES)) == TYPES
