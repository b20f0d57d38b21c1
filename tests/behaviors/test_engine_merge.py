"""Merge, and append without duplicates: against a model, and case by case."""

from __future__ import annotations

import math
import tempfile
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField, StringType

from tests.behaviors.keyed import MergeModel, Table, rule, runs, sorted_rows
from wap.engines.arrow import ArrowEngine
from wap.errors import BatchRefusedError, EngineError

SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("seq", pa.int32()),
        ("x", pa.float64()),
        ("d", pa.decimal128(9, 2)),
        ("t", pa.timestamp("us", "UTC")),
        ("s", pa.string()),
    ]
)
ENGINES = {
    "copy": ArrowEngine,
    "stream": lambda: ArrowEngine(copy=False),
}
#: Values among which some are equal in one way and not in another.
FLOATS = st.sampled_from([None, 0.0, -0.0, 450.0, math.nan, math.inf, -1.5])
DECIMALS = st.sampled_from([None, Decimal(450), Decimal("450.00"), Decimal("-0.00"), Decimal(0)])
TIMES = st.sampled_from(
    [
        None,
        datetime(2026, 1, 1, 12, tzinfo=UTC),
        datetime.fromisoformat("2026-01-01T13:00:00+01:00"),
        datetime(2026, 1, 2, tzinfo=UTC),
    ]
)
ROWS = st.fixed_dictionaries(
    {
        "id": st.integers(-3, 8),
        "seq": st.one_of(st.none(), st.integers(0, 4)),
        "x": FLOATS,
        "d": DECIMALS,
        "t": TIMES,
        "s": st.sampled_from([None, "", "a", "A", "é"]),
        "op": st.sampled_from([None, "U", "U", "U", "D"]),
    }
)
#: One row a key and order, so that there is always one that counts.
BATCHES = st.lists(ROWS, max_size=12, unique_by=lambda row: (row["id"], row["seq"]))


PARTITIONINGS = [(), (("id", "bucket[3]"),), (("s", "identity"),)]


@pytest.mark.parametrize("order_by", [None, "seq"])
@runs
@given(
    data=st.data(),
    partitioning=st.sampled_from(PARTITIONINGS),
    engine=st.sampled_from(sorted(ENGINES)),
)
def test_merge_is_what_a_dictionary_does(order_by, data, partitioning, engine):
    with tempfile.TemporaryDirectory() as folder:
        said = rule("merge", order_by=order_by)
        table = Table(Path(folder), SCHEMA, said, partitioning, ENGINES[engine]())
        model = MergeModel(said)
        for batch in data.draw(st.lists(BATCHES, min_size=1, max_size=4)):
            given_rows = batch if order_by else list({row["id"]: row for row in batch}.values())
            merged = table.apply(given_rows)
            assert merged.became == model.apply(given_rows)
            assert sorted_rows(table.rows()) == sorted_rows(model.rows.values())
            again = table.apply(given_rows)
            if not order_by:
                model.apply(given_rows)
                assert (again.added.rows, list(again.removed)) == (0, [])


@runs
@given(batches=st.lists(BATCHES, min_size=1, max_size=4))
def test_append_by_key_changes_no_published_row(batches):
    with tempfile.TemporaryDirectory() as folder:
        said = rule("append", delete=False, order_by="seq")
        table = Table(Path(folder), SCHEMA, said)
        model: dict = {}
        for batch in batches:
            given_rows = [{k: v for k, v in row.items() if k != "op"} for row in batch]
            won = MergeModel(said)
            won.apply(given_rows)
            new = {k: row for k, row in won.rows.items() if k not in model}
            model |= new
            merged = table.apply(given_rows)
            assert list(merged.removed) == []
            assert merged.became.inserted == len(new)
            assert merged.became.deduplicated == len(batch) - len(new)
            assert sorted_rows(table.rows()) == sorted_rows(model.values())


def row(number: int, text: str | None = "a", **more: object):
    return {"id": number, "seq": 1, "x": None, "d": None, "t": None, "s": text, **more}


@pytest.fixture
def table(tmp_path: Path):
    made = Table(tmp_path, SCHEMA, rule("merge"))
    made.apply([row(i) for i in range(10)])
    made.apply([row(i) for i in range(100, 110)])
    return made


def test_only_files_that_hold_a_changed_row_are_rewritten(table: Table):
    first, second = table.files
    merged = table.apply([row(3), row(104, "b")])
    assert [f.file_path for f in merged.removed] == [second.file_path]
    assert first in table.files
    assert (merged.kept.rows, merged.added.rows) == (9, 1)


def test_files_whose_bounds_hold_no_key_are_not_opened(table: Table):
    table.apply([row(104, "b")])
    assert table.looked_at == 1
    table.apply([row(50)])
    assert table.looked_at == 0


def test_rewritten_files_stay_apart_so_the_next_run_finds_as_few(tmp_path: Path):
    table = Table(tmp_path, SCHEMA, rule("merge"), engine=ArrowEngine(target_file_bytes=1))
    for start in (0, 100, 200):
        table.apply([row(i) for i in range(start, start + 10)])
    table.apply([row(5, "b"), row(205, "b")])
    table.apply([row(7, "c")])
    assert table.looked_at == 2, "the rewritten file, and the new image of row 5 beside 205"


def test_what_a_delete_says_beside_its_key_may_be_missing(tmp_path: Path):
    table = Table(tmp_path, SCHEMA, rule("merge"))
    table.iceberg = Schema(
        NestedField(1, "id", LongType(), required=True),
        NestedField(2, "s", StringType(), required=True),
    )
    table.schema = pa.schema([("id", pa.int64()), ("s", pa.string())])
    table.apply([{"id": 1, "s": "a"}, {"id": 2, "s": "b"}])
    merged = table.apply([{"id": 1, "op": "D"}, {"id": 3, "op": "D"}])
    assert (merged.became.deleted, merged.became.unchanged) == (1, 1)
    with pytest.raises(BatchRefusedError) as refused:
        table.apply([{"id": 2, "s": None}])
    assert refused.value.differences == ("column s: 1 row is null, and none may be",)


def test_null_keys_are_refused_with_their_number(table: Table):
    with pytest.raises(BatchRefusedError) as refused:
        table.apply([row(1), {**row(0), "id": None}, {**row(0), "id": None}])
    assert refused.value.differences == (
        "column id: 2 rows are null, and none may be (it is a key)",
    )


def test_rows_that_differ_under_one_key_are_refused_with_the_key(table: Table):
    with pytest.raises(BatchRefusedError) as refused:
        table.apply([row(1, "a"), row(1, "b"), row(2, "it's"), row(2, "it's")])
    assert refused.value.differences == ("column id: '1' 2 times",)
    assert "order_by" in (refused.value.hint or "")


def test_rows_of_one_order_that_differ_are_refused(table: Table):
    with pytest.raises(BatchRefusedError, match="more than once"):
        table.apply([row(1, "a"), row(1, "b")], rule("merge", order_by="seq"))


def test_equal_rows_are_one(table: Table):
    became = table.apply([row(1, "b"), row(1, "b"), row(1, "b")]).became
    assert (became.updated, became.deduplicated) == (1, 2)


def test_a_delete_and_a_row_of_one_key_are_refused(table: Table):
    with pytest.raises(BatchRefusedError, match="more than once"):
        table.apply([row(1), row(1, op="D")])


def test_a_key_that_is_published_twice_is_refused(table: Table):
    table.files += table.files[:1]
    with pytest.raises(BatchRefusedError) as refused:
        table.apply([row(3, "b"), row(104, "b")])
    assert "holds 1 of the batch's keys" in refused.value.what
    assert refused.value.differences == ("column id: '3' 2 times",)


def test_a_cancel_is_heard(table: Table):
    with pytest.raises(EngineError, match="cancelled"):
        table.apply([row(1, "b")], cancelled=lambda: True)


def test_nested_and_odd_values_are_compared_by_value(tmp_path: Path):
    schema = pa.schema(
        [
            ("id", pa.uuid()),
            ("m", pa.map_(pa.string(), pa.float64())),
            ("l", pa.list_(pa.struct([("z", pa.float64())]))),
            ("b", pa.binary()),
            ("ti", pa.time64("us")),
            ("day", pa.date32()),
        ]
    )
    table = Table(tmp_path, schema, rule("merge", delete=False))
    key = b"\x01" * 16
    one = {"id": key, "m": [("a", 1.0), ("b", math.nan)], "l": [{"z": math.nan}, None],
           "b": b"\x00'", "ti": None, "day": None}  # fmt: skip
    table.apply([one])
    other = {**one, "m": [("b", math.nan), ("a", 1.0)]}
    assert table.apply([other]).became.unchanged == 1
    assert table.apply([{**one, "l": [{"z": 1.0}, None]}]).became.updated == 1
    assert [r["l"] for r in table.rows()] == [[{"z": 1.0}, None]]


def test_floats_can_be_keys(tmp_path: Path):
    schema = pa.schema([("id", pa.float64()), ("s", pa.string())])
    table = Table(tmp_path, schema, rule("merge", delete=False))
    table.apply([{"id": -0.0, "s": "zero"}, {"id": math.nan, "s": "nan"}])
    became = table.apply([{"id": 0.0, "s": "Zero"}, {"id": math.nan, "s": "nan"}]).became
    assert (became.updated, became.unchanged, became.inserted) == (1, 1, 0)


def test_a_composite_key(tmp_path: Path):
    table = Table(tmp_path, SCHEMA, rule("merge", keys=("id", "s")))
    table.apply([row(1, "a"), row(1, "b"), row(2, "a")])
    became = table.apply([row(1, "b", x=1.0), row(2, "a", op="D"), row(2, "b")]).became
    assert (became.updated, became.deleted, became.inserted) == (1, 1, 1)
    assert sorted((r["id"], r["s"], r["x"]) for r in table.rows()) == [
        (1, "a", None), (1, "b", 1.0), (2, "b", None),
    ]  # fmt: skip
