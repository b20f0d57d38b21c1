"""The engine ``spark`` writes what the engine ``arrow`` writes: rows, refusals and books."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import DecimalType, LongType, NestedField, StringType, TimeType

from catalog.base import Staging
from tests.behaviors.test_engine import NESTED, TYPES, nested_rows, rows
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
from wap.engines.base import Engine
from wap.engines.spark import SparkEngine
from wap.errors import BatchRefusedError, ConfigError, EngineError, SourceError
from wap.sources import parts
from wap.sources.base import Interval
from wap.types import to_arrow

pytestmark = pytest.mark.server


@pytest.fixture
def engine(spark) -> SparkEngine:
    return SparkEngine(spark, ArrowEngine())


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "project").mkdir()
    return Project(tmp_path / "project")


def load(
    engine: Engine, source: Any, where: Staging, interval: Interval | None = None
) -> tuple[Any, Any]:
    """All of a source's planned input into a staging: what was written, and the books."""
    plan = source.plan(None, everything=False, interval=interval)
    names = source.schema(plan).names
    full = to_arrow(where.schema)
    schema = pa.schema([full.field(n) for n in full.names if n in names])
    with source.open(plan, schema) as extract:
        assert extract.split is not None
        return write(extract, where, engine), extract.finish()


def from_parquet(engine: Engine, project: Project, table: pa.Table, where: Staging) -> Any:
    pq.write_table(table, project.root / "in.parquet", row_group_size=1000)
    written, counts = load(engine, project.source("in.parquet", "parquet"), where)
    assert counts.read == len(table)
    return written


def test_rows_are_the_same(engine, project, tmp_path, monkeypatch):
    """Each row group is a part of its own, read by another task."""
    monkeypatch.setattr(parts, "PORTION_BYTES", 1)
    monkeypatch.setattr("wap.engines.spark.TASK_BYTES", 1)
    table = pa.Table.from_pylist(rows(2500), TYPES)
    where = staging(tmp_path, TYPES)
    written = from_parquet(engine, project, table, where)
    assert written.rows == 2500
    assert len(written.files) == 3
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()
    assert all(f.file_path.startswith(where.data_location + "/") for f in written.files)
    sizes = [Path(f.file_path.removeprefix("file://")).stat().st_size for f in written.files]
    assert written.bytes == sum(sizes)


def test_nested_and_rare_types(engine, project, tmp_path):
    schema = NESTED.remove(NESTED.get_field_index("t"))
    table = pa.Table.from_pylist(nested_rows(300), NESTED).select(schema.names)
    where = staging(tmp_path, schema)
    written = from_parquet(engine, project, table, where)
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()
    read = iceberg_table(tmp_path, where, written.files).scan().to_arrow()
    assert sorted_rows(read) == table.to_pylist()


def test_a_time_of_day_is_refused_before_anything_is_written(engine, project, tmp_path):
    where = staging(tmp_path, Schema(NestedField(1, "t", TimeType(), required=False)))
    with pytest.raises(ConfigError, match="time of day"):
        from_parquet(engine, project, pa.table({"t": pa.array([], pa.time64("us"))}), where)
    assert paths(where) == []


def test_field_ids_lacking_columns_and_odd_names(engine, project, tmp_path):
    schema = Schema(
        NestedField(7, "a b`", StringType(), required=False),
        NestedField(9, "books", DecimalType(10, 2), required=False),
        NestedField(3, "id.x", LongType(), required=True),
    )
    where = staging(tmp_path, schema)
    table = pa.table({"id.x": [1, 2], "a b`": ["x", None]})
    written = from_parquet(engine, project, table, where)
    assert rows_of(written, where).to_pylist() == [
        {"a b`": "x", "books": None, "id.x": 1},
        {"a b`": None, "books": None, "id.x": 2},
    ]
    (file,) = written.files
    found = pq.read_schema(file.file_path.removeprefix("file://"))
    assert [f.metadata[b"PARQUET:field_id"] for f in found] == [b"7", b"9", b"3"]


def test_partitions_are_those_of_arrow(engine, project, tmp_path):
    table = pa.table({"id": range(40), "v": ["a", "b", None, "c"] * 10})
    by = [("v", "identity"), ("id", "bucket[3]")]
    found = []
    for one, run in ((engine, "run-1"), (ArrowEngine(), "run-2")):
        where = staging(tmp_path, table.schema, by, run=run)
        written = from_parquet(one, project, table, where)
        assert sorted_rows(rows_of(written, where)) == table.to_pylist()
        found.append(sorted((tuple(map(str, f.partition)), f.record_count) for f in written.files))
    assert found[0] == found[1]


def test_no_rows_are_no_files(engine, project, tmp_path):
    where = staging(tmp_path, TYPES)
    written = from_parquet(engine, project, TYPES.empty_table(), where)
    assert (list(written.files), written.rows, paths(where)) == ([], 0, [])


CSV = "id,day\n1,2024-01-01\nx,2024-01-02\n3,soon\n4,2024-01-04\n5\n"
DAYS = pa.schema([("id", pa.int64()), ("day", pa.date32())])


def test_what_is_refused_is_refused_in_the_same_words(engine, project, tmp_path):
    project.put("a.csv", CSV)
    said = []
    for one in (engine, ArrowEngine()):
        with pytest.raises(BatchRefusedError) as caught:
            load(one, project.source("*.csv"), staging(tmp_path, DAYS))
        said.append((caught.value.what, caught.value.differences, caught.value.where))
    assert said[0] == said[1]
    assert "a.csv, line 3, column id" in said[0][1][0]


def test_a_null_where_none_may_be(engine, project, tmp_path):
    project.put("a.csv", "id\n1\n\n")
    schema = Schema(NestedField(1, "id", LongType(), required=True))
    with pytest.raises(BatchRefusedError) as caught:
        load(engine, project.source("a.csv"), staging(tmp_path, schema))
    assert caught.value.differences == ("row 2, column id: 'None' may not be null",)
    assert caught.value.where == "a.csv"


def test_rows_set_aside_are_booked_and_kept_alike(engine, project, tmp_path):
    project.put("a.csv", CSV)
    project.put("b.csv", CSV.replace("soon", "2024-01-03"))
    interval = Interval(column="day", start="2024-01-01", end="2024-01-04")
    found = []
    for one, run in ((engine, "run-1"), (ArrowEngine(), "run-2")):
        kept = tmp_path / f"{run}.jsonl"
        source = project.source("*.csv", malformed="set_aside", rejects=kept)
        where = staging(tmp_path, DAYS, run=run)
        written, counts = load(one, source, where, interval)
        table = sorted_rows(rows_of(written, where))
        books = (counts.read, counts.rejected, counts.discarded, counts.bytes, counts.rejects)
        found.append((table, books, kept.read_text()))
    assert found[0] == found[1]
    assert found[0][1][:3] == (10, 5, 2)


def test_a_damaged_file_is_named(engine, project, tmp_path):
    project.put("a.csv.gz", b"\x1f\x8b\x08\x00broken")
    source = project.source("a.csv.gz")
    plan = source.plan(None, everything=False)
    where = staging(tmp_path, DAYS)
    with source.open(plan, DAYS) as extract, pytest.raises(SourceError, match="cut off") as caught:
        write(extract, where, engine)
    assert caught.value.where == "a.csv.gz"


def test_two_attempts_never_share_a_name_and_clear_leaves_nothing(engine, project, tmp_path):
    table = pa.Table.from_pylist(rows(10), TYPES)
    where = staging(tmp_path, TYPES)
    first, second = (from_parquet(engine, project, table, where) for _ in range(2))
    names = [{f.file_path for f in w.files} for w in (first, second)]
    assert not names[0] & names[1]
    engine.clear(where, lambda: names[1])
    assert paths(where) == [Path(next(iter(names[1]))).name]
    engine.clear(where)
    assert paths(where) == []


def test_cancel_ends_the_write(engine, project, tmp_path):
    """The input is a pipe that nobody writes to: only the interrupt ends the task."""
    project.put("in.csv", "id\n1\n")
    source = project.source("in.csv")
    plan = source.plan(None, everything=False)
    where = staging(tmp_path, pa.schema([("id", pa.int64())]))
    with source.open(plan, to_arrow(where.schema)) as extract:
        (project.root / "in.csv").unlink()
        os.mkfifo(project.root / "in.csv")
        with pytest.raises(EngineError, match="cancelled"):
            engine.write(extract, where, report=lambda _: None, cancelled=lambda: True)
    assert [p for p in paths(where) if not p.startswith("scratch-")] == []


def test_what_only_this_process_can_read_is_written_by_arrow(engine, tmp_path):
    table = pa.table({"id": [1, 2]})
    where = staging(tmp_path, table.schema)
    written = write(Given.of(table), where, engine)
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()
