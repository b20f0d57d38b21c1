"""What a branch would change, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    ListType,
    LongType,
    NestedField,
    StringType,
)

from catalog.errors import BranchNotFoundError
from catalog.refs import Branch, TableName
from tests.unit.wap.shelf import Shelf, schema_of
from wap.diff import ColumnDiff, Figures, TableDiff, diff

T = TableName.parse("nyc.t")
B = Branch.of_run("r1")
OLD = schema_of(id=IntegerType(), name=StringType())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "w").mkdir()
    return Shelf(tmp_path / "w")


def compare(shelf: Shelf, **options: Any) -> TableDiff:
    return diff(shelf, B, T, temp_directory=shelf.root.parent / "tmp", **options)


def column(found: TableDiff, name: str) -> ColumnDiff:
    return next(c for c in found.columns if c.name == name)


def test_an_append_adds_rows_and_moves_figures(shelf):
    old = shelf.publish_rows("nyc.t", OLD, [{"id": 1, "name": "b"}, {"id": 3, "name": None}])
    new = shelf.file(OLD, [{"id": 8, "name": "a"}])
    staging = shelf.stage_files("nyc.t", OLD, old, new, batch=new)

    found = compare(shelf)

    assert (found.branch, found.table) == ("wap/r1", "nyc.t")
    assert (found.before, found.after, found.main_moved) == (staging.expected, staging.head, False)
    assert (found.rows_before, found.rows_after) == (2, 3)
    assert (found.rows_added, found.rows_removed) == (1, 0)
    assert (found.files_added, found.files_removed) == (1, 0)
    assert column(found, "id").before == Figures(nulls=0, distinct=2, min="1", max="3", mean=2.0)
    assert column(found, "id").after == Figures(nulls=0, distinct=3, min="1", max="8", mean=4.0)
    assert column(found, "name").before == Figures(nulls=1, distinct=1, min="b", max="b")
    assert not any(c.schema_changed for c in found.columns)


def test_a_replace_that_carries_rows_over_removes_only_the_others(shelf):
    shelf.publish_rows("nyc.t", OLD, [{"id": n} for n in range(5)])
    kept = shelf.file(OLD, [{"id": 0}, {"id": 1}])
    new = shelf.file(OLD, [{"id": 7}])
    shelf.stage_files("nyc.t", OLD, kept, new, batch=new)

    found = compare(shelf)

    assert (found.rows_added, found.rows_removed) == (1, 3)
    assert (found.files_added, found.files_removed) == (2, 1)


def test_a_new_table_has_no_before(shelf):
    new = shelf.file(OLD, [{"id": 1}])
    shelf.stage_files("nyc.t", OLD, new, batch=new)

    found = compare(shelf)

    assert (found.before, found.main, found.rows_before, found.rows_removed) == (None, None, 0, 0)
    assert [(c.type_before, c.type_after, c.before) for c in found.columns] == [
        (None, "int", None),
        (None, "string", None),
    ]


def test_columns_are_the_same_by_id_not_by_name(shelf):
    old = shelf.publish_rows("nyc.t", OLD, [{"id": 1, "name": "x"}])
    wide = Schema(
        NestedField(3, "name", DateType(), required=False),
        NestedField(1, "number", LongType(), required=False),
    )
    new = shelf.file(wide, [{"number": 2**40}])
    shelf.stage_files("nyc.t", wide, old, new, batch=new)

    found = compare(shelf)

    shapes = [(c.name, c.renamed_from, c.type_before, c.type_after) for c in found.columns]
    assert shapes == [
        ("name", None, None, "date"),
        ("number", "id", "int", "long"),
        ("name", None, "string", None),
    ]
    assert all(c.schema_changed for c in found.columns)
    gone = found.columns[2]
    assert gone.before == Figures(nulls=0, distinct=1, min="x", max="x")
    assert gone.after is None
    assert found.columns[1].after == Figures(
        nulls=0, distinct=2, min="1", max=str(2**40), mean=(1 + 2**40) / 2
    )


def test_figures_make_sense_for_every_kind_of_column(shelf):
    schema = schema_of(
        d=DecimalType(38, 2),
        nan=DoubleType(),
        b=BinaryType(),
        li=ListType(9, LongType(), element_required=False),
        text=StringType(),
    )
    rows = [{"nan": float("nan"), "b": b"\xff", "li": [1], "text": "é" * 500}, {"nan": 1.0}]
    new = shelf.file(schema, rows)
    shelf.stage_files("nyc.t", schema, new, batch=new)

    found = {c.name: c.after for c in compare(shelf).columns}

    assert found["d"] == Figures(nulls=2, distinct=0)
    assert found["nan"] == Figures(nulls=0, distinct=2, min="1.0", max="nan", mean=None)
    assert found["b"] == Figures(nulls=1, distinct=1)
    assert found["li"] == Figures(nulls=1)
    assert found["text"] is not None
    assert found["text"].max == "é" * 79 + "…"


def test_values_of_masked_columns_are_not_shown(shelf):
    new = shelf.file(OLD, [{"id": 4711, "name": "Ada"}])
    shelf.stage_files("nyc.t", OLD, new, batch=new)
    text = compare(shelf, masked=frozenset({"id", "name"})).model_dump_json()
    assert "4711" not in text
    assert "Ada" not in text


def test_a_masked_column_stays_masked_under_its_earlier_name(shelf):
    old = shelf.publish_rows("nyc.t", OLD, [{"id": 4711}])
    renamed = schema_of(number=IntegerType(), name=StringType())
    shelf.stage_files("nyc.t", renamed, old, batch=shelf.file(renamed, []))
    assert "4711" not in compare(shelf, masked=frozenset({"number"})).model_dump_json()


def test_a_batch_without_rows_changes_nothing(shelf):
    old = shelf.publish_rows("nyc.t", OLD, [{"id": 1}])
    empty = shelf.file(OLD, [])
    shelf.stage_files("nyc.t", OLD, old, batch=empty)
    found = compare(shelf)
    assert (found.rows_added, found.rows_removed, found.files_added) == (0, 0, 0)
    assert [c.before for c in found.columns] == [c.after for c in found.columns]


def test_hundreds_of_columns_with_odd_names(shelf):
    names = [f'c "{n}" é.' for n in range(120)]
    schema = schema_of(**{name: LongType() for name in names})
    new = shelf.file(schema, [{name: n for n, name in enumerate(names)}])
    shelf.stage_files("nyc.t", schema, new, batch=new)
    found = compare(shelf)
    assert [c.name for c in found.columns] == names
    assert [c.after.max for c in found.columns if c.after] == [str(n) for n in range(120)]


def test_a_branch_that_is_gone_is_an_error(shelf):
    with pytest.raises(BranchNotFoundError):
        compare(shelf)


def test_it_goes_through_json_and_back(shelf):
    new = shelf.file(OLD, [{"id": 1}])
    shelf.stage_files("nyc.t", OLD, new, batch=new)
    found = compare(shelf)
    assert TableDiff.model_validate(json.loads(found.model_dump_json())) == found
    assert list((shelf.root.parent / "tmp").iterdir()) == []
