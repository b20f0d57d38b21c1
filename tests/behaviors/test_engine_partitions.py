"""Every partition transform: rows lie where Iceberg looks for them, nulls among them."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.partitioning import PartitionField, partition_record_value
from pyiceberg.schema import Schema
from pyiceberg.transforms import parse_transform
from pyiceberg.types import LongType, NestedField, StructType

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
from wap.engines.transforms import partition_values
from wap.engines.writing import MAX_OPEN
from wap.errors import EngineError
from wap.types import from_arrow

UTC = dt.UTC
DAY = dt.datetime(2013, 1, 1, tzinfo=UTC)
VALUES: dict[pa.DataType, list[Any]] = {
    pa.int32(): [0, 1, -1, 7, 2**31 - 1, -(2**31)],
    pa.int64(): [0, 1, -1, 34, 2**63 - 1, -(2**63)],
    pa.bool_(): [True, False],
    pa.string(): ["", "a", "iceberg", "größe", "日本語テキスト", "a/b=c d"],
    pa.decimal128(9, 2): [Decimal("14.20"), Decimal("-0.01"), Decimal("9999999.99")],
    pa.date32(): [dt.date(1969, 12, 31), dt.date(1970, 1, 1), dt.date(2013, 2, 3)],
    pa.timestamp("us"): [
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999),  # noqa: DTZ001 - it has no zone
        dt.datetime(1970, 1, 1),  # noqa: DTZ001 - as above
        dt.datetime(2013, 2, 3, 4, 5, 6),  # noqa: DTZ001 - as above
    ],
    pa.timestamp("us", "UTC"): [DAY - dt.timedelta(days=365 * 50), DAY, DAY.replace(hour=23)],
    pa.time64("us"): [dt.time(0), dt.time(22, 31, 8)],
    pa.uuid(): [uuid.UUID(int=0), uuid.UUID("f79c3e09-677c-4bbd-a479-3f349cb785e7")],
    pa.binary(): [b"", b"\x00\x01\x02\x03", b"\xff" * 9],
    pa.binary(4): [b"\x00\x01\x02\x03", b"abcd"],
}
TEMPORAL = ("year", "month", "day", "hour")
SUITED = {
    "identity": list(VALUES),
    "void": list(VALUES),
    "bucket[16]": [t for t in VALUES if t != pa.bool_()],
    "truncate[3]": [pa.int32(), pa.int64(), pa.string(), pa.decimal128(9, 2), pa.binary()],
    **{name: [pa.date32(), pa.timestamp("us"), pa.timestamp("us", "UTC")] for name in TEMPORAL[:3]},
    "hour": [pa.timestamp("us"), pa.timestamp("us", "UTC")],
}
CASES = [(text, kind) for text, suited in SUITED.items() for kind in suited]


def internal(value: Any, of: pa.DataType) -> Any:
    """A value as Iceberg keeps it, by pyiceberg."""
    schema = from_arrow(pa.schema([("v", of)]))
    part = PartitionField(schema.fields[0].field_id, 1000, "identity", "v")
    return partition_record_value(part, value, schema)


def suited(text: str, of: pa.DataType) -> list[Any]:
    """The least number has no truncation that fits its type (and pyiceberg gives one)."""
    low = {pa.int32(): -(2**31), pa.int64(): -(2**63)}.get(of)
    return [v for v in VALUES[of] if not (text.startswith("truncate") and v == low)]


@pytest.mark.parametrize(("text", "of"), CASES)
def test_values_are_those_of_pyiceberg(text: str, of: pa.DataType):
    iceberg = from_arrow(pa.schema([("v", of)])).fields[0].field_type
    transform = parse_transform(text)
    values = [*suited(text, of), None]
    expected = [transform.transform(iceberg)(internal(v, of)) for v in values]
    found = partition_values(transform, iceberg, pa.array(values, of)).to_pylist()
    assert found == expected


@given(st.lists(st.none() | st.integers(-(2**63), 2**63 - 1)), st.integers(1, 1000))
def test_buckets_of_numbers_are_those_of_pyiceberg(values: list[int | None], count: int):
    transform = parse_transform(f"bucket[{count}]")
    expected = [transform.transform(LongType())(v) for v in values]
    assert partition_values(transform, LongType(), pa.array(values, pa.int64())).to_pylist() == (
        expected
    )


@given(st.lists(st.none() | st.datetimes()), st.sampled_from(TEMPORAL))
def test_times_are_those_of_pyiceberg(values: list[dt.datetime | None], text: str):
    of = pa.timestamp("us")
    iceberg = from_arrow(pa.schema([("v", of)])).fields[0].field_type
    transform = parse_transform(text)
    expected = [transform.transform(iceberg)(internal(v, of)) for v in values]
    assert partition_values(transform, iceberg, pa.array(values, of)).to_pylist() == expected


@pytest.mark.parametrize(("text", "of"), CASES)
def test_rows_are_found_where_they_lie(tmp_path: Path, text: str, of: pa.DataType):
    values = [*suited(text, of), None] * 3
    table = pa.table({"id": range(len(values)), "v": pa.array(values, of)})
    where = staging(tmp_path, table.schema, [("v", text)])
    written = write(Given.of(table, 5), where)
    assert written.rows == len(values)
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()
    keys = [tuple(f.partition) for f in written.files]
    transform = parse_transform(text)
    iceberg = where.schema.find_field("v").field_type
    expected = {transform.transform(iceberg)(internal(v, of)) for v in values}
    assert {key[0] for key in keys} == expected
    assert len(keys) == len(expected), "one file each"
    assert {f.spec_id for f in written.files} == {1}


def test_null_has_a_partition_of_its_own(tmp_path: Path):
    """A file with 'a' and null in it would be taken for one of 'a' alone (research, trap 9)."""
    table = pa.table({"id": range(6), "v": ["a", None, "a", "b", None, "a"]})
    where = staging(tmp_path, table.schema, [("v", "identity")])
    reader = iceberg_table(tmp_path, where, write(Given.of(table), where).files)

    def ids(condition: str) -> list[int]:
        return sorted(reader.scan(condition).to_arrow().column("id").to_pylist())

    assert ids("v is null") == [1, 4]
    assert ids("v = 'a'") == [0, 2, 5]
    assert reader.scan("v = 'a'").count() == 3
    assert reader.scan("v is null").count() == 2


def test_several_fields_and_one_column_twice(tmp_path: Path):
    at = [DAY + dt.timedelta(hours=i) for i in range(50)]
    table = pa.table({"id": range(50), "at": pa.array(at, pa.timestamp("us", "UTC"))})
    where = staging(tmp_path, table.schema, [("at", "day"), ("id", "bucket[2]"), ("at", "hour")])
    written = write(Given.of(table), where)
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()
    assert len(written.files) == 50
    for file in written.files:
        day, bucket, hour = tuple(file.partition)
        assert (day, hour // 24) == (hour // 24, day)
        assert bucket in (0, 1)


def test_many_partitions_take_few_open_files(tmp_path: Path):
    count = MAX_OPEN * 3
    table = pa.table({"id": range(count * 4), "v": [i % count for i in range(count * 4)]})
    where = staging(tmp_path, table.schema, [("v", "identity")])
    # So small a budget that partitions are written before they are complete.
    engine = ArrowEngine(1)
    object.__setattr__(engine._limits, "group", 2000)
    written = write(Given.of(table, 100), where, engine)
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()
    assert {next(iter(f.partition)) for f in written.files} == set(range(count))
    assert len(written.files) > count, "some were closed and begun again"
    assert len(paths(where)) == len(written.files)


def test_duckdb_does_not_write_a_partitioned_table(tmp_path: Path):
    """Its COPY would put every row into one file, under no partition."""
    table = pa.table({"id": range(4), "v": ["a", None, "a", "b"]})
    pq.write_table(table, tmp_path / "in.parquet")
    source = Project(tmp_path).source("in.parquet", "parquet")
    where = staging(tmp_path, table.schema, [("v", "identity")])
    with source.open(source.plan(None, everything=False), table.schema) as extract:
        assert extract.sql is not None
        written = write(extract, where, ArrowEngine(copy=True))
    assert {next(iter(f.partition)) for f in written.files} == {"a", "b", None}
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()


def test_a_nested_field_cannot_partition(tmp_path: Path):
    inner = StructType(NestedField(2, "x", LongType(), required=False))
    schema = Schema(NestedField(1, "s", inner, required=False))
    where = staging(tmp_path, schema, [("s.x", "identity")])
    with pytest.raises(EngineError, match=r"nested field: s\.x"):
        write(Given.of(pa.table({"s": [{"x": 1}]})), where)
