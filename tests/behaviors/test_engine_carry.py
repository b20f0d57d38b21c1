"""Rows of replaced files that stay: written anew, by field id, in the candidate's columns."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.expressions import (
    AlwaysFalse,
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    In,
    IsNull,
    LessThan,
    Not,
    StartsWith,
)
from pyiceberg.schema import Schema
from pyiceberg.types import (
    DoubleType,
    FloatType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
    StructType,
)

from catalog.base import Scan
from tests.unit.wap.engines.staging import Given, paths, rows_of, scan, staging, write
from wap.engines.arrow import ArrowEngine
from wap.errors import EngineError

OLD_ELEMENT = StructType(NestedField(7, "z", FloatType(), required=False))
TABLE = pa.table({"id": range(6), "v": ["a", "b", None, "a", "c", None]})


def kept(tmp_path: Path, drop: BooleanExpression) -> list[int]:
    old = staging(tmp_path, TABLE.schema, run="old")
    published = scan(write(Given.of(TABLE), old), old)
    new = staging(tmp_path, TABLE.schema, run="new")
    written = ArrowEngine().carry(published, drop, new, cancelled=lambda: False)
    assert all(name.startswith("kept-") for name in paths(new))
    return sorted(rows_of(written, new).column("id").to_pylist())


@pytest.mark.parametrize(
    ("drop", "stay"),
    [
        (EqualTo("v", "a"), [1, 2, 4, 5]),
        (Not(EqualTo("v", "a")), [0, 2, 3, 5]),
        (IsNull("v"), [0, 1, 3, 4]),
        (In("v", ["a", "b"]), [2, 4, 5]),
        (StartsWith("v", "a"), [1, 2, 4, 5]),
        (And(GreaterThanOrEqual("id", 2), LessThan("id", 4)), [0, 1, 4, 5]),
        (AlwaysTrue(), []),
        (AlwaysFalse(), [0, 1, 2, 3, 4, 5]),
    ],
)
def test_what_matches_goes_and_null_stays(tmp_path: Path, drop: BooleanExpression, stay: list[int]):
    assert kept(tmp_path, drop) == stay


def test_old_files_in_new_columns(tmp_path: Path):
    """A renamed, a widened, a new column; fields of a struct added, and inside of a list."""
    old_inner = StructType(NestedField(5, "x", IntegerType(), required=False))
    old = Schema(
        NestedField(1, "id", IntegerType(), required=False),
        NestedField(2, "name", StringType(), required=False),
        NestedField(3, "s", old_inner, required=False),
        NestedField(4, "l", ListType(6, OLD_ELEMENT, element_required=False), required=False),
    )
    new_inner = StructType(
        NestedField(8, "y", StringType(), required=False),
        NestedField(5, "x", LongType(), required=False),
    )
    new = Schema(
        NestedField(9, "later", DoubleType(), required=False),
        NestedField(2, "title", StringType(), required=False),
        NestedField(1, "id", LongType(), required=False),
        NestedField(3, "s", new_inner, required=False),
        NestedField(
            4,
            "l",
            ListType(6, StructType(NestedField(7, "z", DoubleType(), required=False)),
                     element_required=False),
            required=False,
        ),
    )  # fmt: skip
    table = pa.table(
        {
            "id": pa.array([1, None], pa.int32()),
            "name": ["x", None],
            "s": pa.array([{"x": 7}, None], pa.struct([("x", pa.int32())])),
            "l": pa.array([[{"z": 1.5}, None], None], pa.list_(pa.struct([("z", pa.float32())]))),
        }
    )
    where = staging(tmp_path, old, run="old")
    published = Scan(old, write(Given.of(table), where).files, where.io)
    target = staging(tmp_path, new, run="new")
    written = ArrowEngine().carry(published, AlwaysFalse(), target, cancelled=lambda: False)
    # Read as it lies: pyiceberg 0.12 makes [] of a null list when it adds a column.
    (file,) = written.files
    found = pq.read_table(file.file_path.removeprefix("file://"))
    assert found.to_pylist() == [
        {"later": None, "title": "x", "id": 1, "s": {"y": None, "x": 7}, "l": [{"z": 1.5}, None]},
        {"later": None, "title": None, "id": None, "s": None, "l": None},
    ]


def test_kept_rows_go_to_their_partitions(tmp_path: Path):
    old = staging(tmp_path, TABLE.schema, run="old")
    published = scan(write(Given.of(TABLE), old), old)
    new = staging(tmp_path, TABLE.schema, [("v", "identity")], run="new")
    written = ArrowEngine().carry(published, EqualTo("v", "a"), new, cancelled=lambda: False)
    assert {next(iter(f.partition)) for f in written.files} == {"b", "c", None}


def test_a_filter_on_a_column_that_is_not_there(tmp_path: Path):
    with pytest.raises(EngineError, match="does not fit the table"):
        kept(tmp_path, EqualTo("nope", 1))


def test_a_published_file_that_is_gone(tmp_path: Path):
    where = staging(tmp_path, TABLE.schema, run="old")
    published = scan(write(Given.of(TABLE), where), where)
    ArrowEngine().clear(where)
    new = staging(tmp_path, TABLE.schema, run="new")
    with pytest.raises(EngineError, match="cannot be read"):
        ArrowEngine().carry(published, AlwaysFalse(), new, cancelled=lambda: False)


def test_carrying_can_be_cancelled(tmp_path: Path):
    where = staging(tmp_path, TABLE.schema, run="old")
    published = scan(write(Given.of(TABLE), where), where)
    new = staging(tmp_path, TABLE.schema, run="new")
    with pytest.raises(EngineError, match="cancelled"):
        ArrowEngine().carry(published, AlwaysFalse(), new, cancelled=lambda: True)
