"""History: versions on one time axis or two, against a model and case by case."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.behaviors.keyed import AT, HistoryModel, Table, rule, runs, sorted_rows
from wap.engines.arrow import ArrowEngine
from wap.errors import BatchRefusedError

SCHEMA = pa.schema(
    [("id", pa.int64()), ("day", pa.date32()), ("x", pa.float64()), ("s", pa.string())]
)
STAMP = pa.timestamp("us", "UTC")
VALID = [("valid_from", pa.date32()), ("valid_to", pa.date32()), ("is_current", pa.bool_())]
RUN_TIME = [("valid_from", STAMP), ("valid_to", STAMP), ("is_current", pa.bool_())]
RECORDED = [("recorded_from", STAMP), ("recorded_to", STAMP)]

ROWS = st.fixed_dictionaries(
    {
        "id": st.integers(0, 3),
        "day": st.integers(1, 9).map(lambda n: date(2026, 1, n)),
        "x": st.sampled_from([None, 0.0, -0.0, math.nan, 1.0]),
        "s": st.sampled_from([None, "a"]),
        "op": st.sampled_from([None, "U", "U", "U", "D"]),
    }
)
BATCHES = st.lists(
    st.lists(ROWS, max_size=9, unique_by=lambda row: (row["id"], row["day"])),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("copy", [True, False])
@runs
@given(batches=BATCHES)
def test_versions_are_what_a_line_of_time_says(copy, batches):
    with tempfile.TemporaryDirectory() as folder:
        said = rule("history", order_by="day")
        table = Table(Path(folder), SCHEMA, said, own=VALID, engine=ArrowEngine(copy=copy))
        model = HistoryModel(said)
        for batch in batches:
            assert table.apply(batch).became == model.apply(batch)
            assert sorted_rows(table.rows()) == sorted_rows(model.rows())
            again = table.apply(batch)
            assert (again.added.rows, again.removed) == (0, []), "the same once more: no version"


@runs
@given(batches=BATCHES)
def test_with_both_axes_every_earlier_state_can_still_be_asked_for(batches):
    with tempfile.TemporaryDirectory() as folder:
        said = rule("history", order_by="day", recorded=True)
        table = Table(Path(folder), SCHEMA, said, own=[*VALID, *RECORDED])
        model = HistoryModel(said)
        told = []
        for number, batch in enumerate(batches):
            at = AT + timedelta(hours=number)
            table.apply(batch, replace(said, at=at))
            model.apply(batch)
            told.append((at, sorted_rows(model.rows())))
        for at, rows in told:
            assert sorted_rows(as_recorded(table.rows(), at)) == rows


def as_recorded(rows, at):
    """The versions as the table told them at a time."""
    found = []
    for row in rows:
        since, until = row["recorded_from"], row["recorded_to"]
        if since <= at and (until is None or at < until):
            kept = {k: v for k, v in row.items() if not k.startswith("recorded")}
            found.append({**kept, "is_current": row["valid_to"] is None})
        assert row["is_current"] is (row["valid_to"] is None and until is None)
    return found


@runs
@given(batches=BATCHES)
def test_without_an_axis_of_its_own_a_version_begins_with_the_run(batches):
    with tempfile.TemporaryDirectory() as folder:
        said = rule("history")
        table, model = Table(Path(folder), SCHEMA, said, own=RUN_TIME), HistoryModel(said)
        for number, batch in enumerate(batches):
            at = AT + timedelta(hours=number)
            rows = list({row["id"]: row for row in batch}.values())
            assert table.apply(rows, replace(said, at=at)).became == model.apply(rows, at)
            assert sorted_rows(table.rows()) == sorted_rows(model.rows())


def row(number: int, day: int | None, text: str = "a", **more: object):
    return {"id": number, "day": day and date(2026, 1, day), "x": None, "s": text, **more}


def versions(table: Table):
    return sorted(
        (r["id"], r["s"], r["valid_from"].day, r["valid_to"] and r["valid_to"].day)
        for r in table.rows()
    )


@pytest.fixture
def table(tmp_path: Path):
    made = Table(tmp_path, SCHEMA, rule("history", order_by="day"), own=VALID)
    made.apply([row(1, 2, "a"), row(1, 5, "b"), row(2, 2, "a")])
    return made


def test_a_late_row_goes_between(table: Table):
    became = table.apply([row(1, 3, "late")]).became
    assert became.updated == 1
    assert versions(table) == [
        (1, "a", 2, 3),
        (1, "b", 5, None),
        (1, "late", 3, 5),
        (2, "a", 2, None),
    ]


def test_a_late_row_that_says_what_is_valid_then_is_no_version(table: Table):
    merged = table.apply([row(1, 3, "a"), row(2, 9, "a")])
    assert merged.became.unchanged == 2
    assert (merged.added.rows, merged.removed) == (0, [])


def test_a_row_that_says_it_was_so_before_takes_the_place_of_the_version(table: Table):
    table.apply([row(2, 1, "a")])
    assert (2, "a", 1, None) in versions(table)
    assert len(versions(table)) == 3


def test_a_deleted_key_ends_and_may_come_again(table: Table):
    assert table.apply([row(2, 4, op="D"), row(7, 4, op="D")]).became.deleted == 1
    assert (2, "a", 2, 4) in versions(table)
    table.apply([row(2, 6, "a")])
    assert [v for v in versions(table) if v[0] == 2] == [(2, "a", 2, 4), (2, "a", 6, None)]


def test_a_correction_of_a_version_takes_its_place(table: Table):
    table.apply([row(1, 5, "B")])
    assert versions(table) == [(1, "B", 5, None), (1, "a", 2, 5), (2, "a", 2, None)]


def test_two_rows_at_one_time_are_refused(table: Table):
    with pytest.raises(BatchRefusedError) as refused:
        table.apply([row(1, 7, "x"), row(1, 7, "y")])
    assert refused.value.differences == ("columns id, day: '1', '2026-01-07' 2 times",)


def test_a_row_without_a_time_is_refused(table: Table):
    with pytest.raises(BatchRefusedError) as refused:
        table.apply([row(1, None)])
    assert refused.value.differences == ("column day: 1 row is null, and none may be",)


def test_a_clock_that_went_back_does_not_reorder_versions(tmp_path: Path):
    said = rule("history")
    table = Table(tmp_path, SCHEMA, said, own=RUN_TIME)
    table.apply([row(1, 1, "a")])
    table.apply([row(1, 1, "b")], replace(said, at=AT - timedelta(days=1)))
    found = sorted((r["s"], r["valid_from"], r["valid_to"]) for r in table.rows())
    later = AT + timedelta(microseconds=1)
    assert found == [("a", AT, later), ("b", later, None)]


def test_the_inputs_own_column_may_be_when_it_is_valid_from(tmp_path: Path):
    schema = pa.schema([("id", pa.int64()), ("valid_from", STAMP), ("s", pa.string())])
    own = [("valid_to", STAMP), ("is_current", pa.bool_())]
    said = rule("history", order_by="valid_from", delete=False)
    table = Table(tmp_path, schema, said, own=own)
    first, second = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
    table.apply([{"id": 1, "valid_from": first, "s": "a"}])
    table.apply([{"id": 1, "valid_from": second, "s": "b"}])
    assert sorted((r["s"], r["valid_from"], r["valid_to"]) for r in table.rows()) == [
        ("a", first, second), ("b", second, None),
    ]  # fmt: skip


def test_versions_that_do_not_change_stay_in_their_files(tmp_path: Path):
    table = Table(tmp_path, SCHEMA, rule("history", order_by="day"), own=VALID)
    table.apply([row(1, 1), row(2, 1)])
    table.apply([row(1, 2, "b")])
    old, kept = table.files[1], table.files[0]
    merged = table.apply([row(1, 3, "c")])
    assert old not in merged.removed or kept not in merged.removed
    assert len(merged.removed) == 1
