"""What Spark's tasks tell: no portion may be lost, differ when read twice, or end unheard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.unit.wap.sources.feeding import Project
from wap.errors import BatchRefusedError, EngineError, SourceError
from wap.spark.tasks import PartBooks, ReadParts, complete, spoken, with_books
from wap.spark.types import spark_schema
from wap.types import from_arrow

IDS = pa.schema([("id", pa.int64())])


def books(part: int, **facts: Any) -> str:
    return PartBooks(part=part, **facts).model_dump_json()


def test_books_told_twice_count_once():
    lines = [books(1, rows=5), books(0, rows=3), books(1, rows=5)]
    assert [(b.part, b.rows) for b in complete(lines, 2)] == [(0, 3), (1, 5)]


def test_a_part_that_is_lost_is_an_error():
    with pytest.raises(EngineError, match="given 3 parts to read and told of 2"):
        complete([books(0), books(2)], 3)


def test_a_part_that_reads_otherwise_the_second_time_is_an_error():
    with pytest.raises(EngineError, match="part 0 was read twice"):
        complete([books(0, rows=3), books(0, rows=4)], 1)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"type": "SourceError", "what": "cut off", "where": "a.csv", "hint": ""}, SourceError),
        ({"type": "BatchRefusedError", "what": "no", "where": "", "hint": "",
          "differences": ["a.csv, line 2"]}, BatchRefusedError),
    ],
)  # fmt: skip
def test_what_ended_a_part_is_raised_here(error, kind):
    with pytest.raises(kind) as caught:
        complete([books(0), books(1, error=error)], 2)
    assert type(caught.value) is kind
    assert caught.value.where == error["where"]


def read(project: Project, **more: Any) -> tuple[list[int], list[PartBooks]]:
    """All parts of a project's csv files as one task reads them."""
    source = project.source("*.csv", **more)
    plan = source.plan(None, everything=False)
    with source.open(plan, IDS) as extract:
        parts = extract.split.parts()
    schema = from_arrow(IDS)
    task = ReadParts(parts, [range(len(parts))], schema, with_books(spark_schema(schema)))
    batches = list(task([pa.record_batch([pa.array([0])], names=["id"])]))
    found = [row for batch in batches for row in batch.to_pylist()]
    lines = [row["books"] for row in found if row["books"]]
    rows = [row["id"] for row in found if not row["books"]]
    return rows, [PartBooks.model_validate_json(line) for line in lines]


def test_rows_come_with_their_books(tmp_path: Path):
    project = Project(tmp_path)
    project.put("a.csv", "id\n1\n2\n")
    project.put("b.csv", "id\n3\nx\n")
    rows, told = read(project, malformed="set_aside")
    assert rows == [1, 2, 3]
    assert [(b.part, b.rows, b.counts["read"], b.counts["rejected"]) for b in told] == [
        (0, 2, 2, 0),
        (1, 1, 2, 1),
    ]


def test_a_part_that_ends_in_an_error_says_so_and_the_next_is_read(tmp_path: Path):
    project = Project(tmp_path)
    project.put("a.csv", "id\nx\n")
    project.put("b.csv", "id\n3\n")
    rows, told = read(project)
    assert rows == [3]
    assert told[0].error is not None
    assert told[0].error["differences"][0].startswith("a.csv, line 2, column id")


def test_the_books_column_takes_no_name_of_the_table():
    assert with_books(pa.schema([("books", pa.int64())])).names == ["books", "books_"]


def test_types_of_spark_deep_inside():
    inner = pa.struct([("u", pa.uuid()), ("f", pa.binary(2))])
    schema = pa.schema([("l", pa.list_(inner)), ("m", pa.map_(pa.string(), inner))])
    value = {"u": b"\x00" * 16, "f": b"ab"}
    want = {"u": "00000000-0000-0000-0000-000000000000", "f": b"ab"}
    kinds = spark_schema(from_arrow(schema))
    storage = pa.struct([("u", pa.binary(16)), ("f", pa.binary(2))])
    given = pa.array([value, None], storage).cast(inner)
    lists = pa.ListArray.from_arrays([0, 2, 2], given, type=pa.list_(inner))
    assert spoken(lists, kinds.field("l").type).to_pylist() == [[want, None], []]
    maps = pa.MapArray.from_arrays([0, 2], ["a", "b"], given, type=pa.map_(pa.string(), inner))
    assert spoken(maps, kinds.field("m").type).to_pylist() == [[("a", want), ("b", None)]]
