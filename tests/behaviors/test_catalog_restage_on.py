"""Another change in place of the staged one, on main's new head: for what is no plain append."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.manifest import DataFile
from pyiceberg.types import LongType, NestedField

from catalog import (
    MAIN,
    BranchNotFoundError,
    HeadMovedError,
    RebaseRefusedError,
    TableName,
    UnsealedError,
)
from catalog.base import Change
from tests.behaviors.conftest import FLIGHTS, Lake, Run, schema

WEATHER = TableName.parse("nyc.weather")
NOTES = {"wap.restaged": "t1", "wap.pipeline": "flights"}


def head(lake: Lake) -> int:
    published = lake.catalog.published(FLIGHTS)
    assert published is not None
    return published.snapshot.id


def shown(lake: Lake) -> list[DataFile]:
    return list(lake.catalog.scan(FLIGHTS, head(lake)).files)


def replacing(lake: Lake, ids: list[int]) -> Run:
    """A run that replaces all that main shows."""
    run = lake.run()
    run.open()
    run.stage(ids, removed=shown(lake))
    return run


def follow(run: Run, ids: list[int] | None = None, name: str = "again-1", **change: Any) -> Run:
    """The run's change made anew on main: its own batch, or new rows, in place of all of main's."""
    lake = run.lake
    own = list(run.catalog.batch(run.now).files) if ids is None else [run.write(ids, name)]
    change = {"removed": shown(lake), **change}
    run.staging = run.catalog.restage_on(run.now, Change(own, summary=NOTES, **change), head(lake))
    return run


@pytest.mark.storage
def test_a_replace_follows_main_with_its_own_files(lake):
    lake.publish([1])
    run = replacing(lake, [2, 3])
    before = {f for f in lake.files() if f.endswith(".parquet")}
    lake.publish([9])
    follow(run)
    assert run.now.expected == head(lake)
    assert run.now.notes["wap.restaged"] == "t1"
    assert run.batch_ids() == [2, 3]
    assert run.candidate_ids() == [2, 3]
    assert lake.ids() == [1, 9]
    # The rival wrote one file, and nobody any other.
    assert len({f for f in lake.files() if f.endswith(".parquet")} - before) == 1
    run.finish()
    assert lake.ids() == [2, 3]
    assert lake.catalog.verify(FLIGHTS) == []
    assert lake.catalog.branches() == []


@pytest.mark.embedded
def test_rows_that_stay_are_carried_and_are_no_part_of_the_batch(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    lake.publish([9])
    kept = run.write([9], "kept-again-1")
    follow(run, [2, 3], kept=[kept])
    assert run.batch_ids() == [2, 3]
    assert run.candidate_ids() == [2, 3, 9]
    run.finish()
    assert lake.ids() == [2, 3, 9]
    assert lake.catalog.verify(FLIGHTS) == []


def test_the_proof_of_the_publish_is_about_the_new_main(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    old = run.audited()
    run.seal()
    lake.publish([9])
    run.staging = lake.catalog.staging(run.branch, run.table)
    follow(run, [2])
    with pytest.raises((HeadMovedError, UnsealedError)):
        lake.catalog.publish([old])
    with pytest.raises(UnsealedError):
        lake.catalog.publish([run.audited()])
    assert lake.ids() == [1, 9]
    run.finish()
    assert lake.ids() == [2]
    assert lake.catalog.gaps(FLIGHTS) == []


@pytest.mark.embedded
def test_main_that_moves_again_is_followed_again(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    for number, ids in enumerate(([9], [10], [11])):
        lake.publish(ids)
        with pytest.raises(HeadMovedError):
            run.finish()
        run.staging = lake.catalog.staging(run.branch, run.table)
        follow(run, [2], f"again-{number}")
    run.finish()
    assert lake.ids() == [2]


@pytest.mark.embedded
def test_what_was_superseded_leaves_no_metadata_behind(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    before = {f for f in lake.files() if f.endswith(".avro") and run.branch.run_id in f}
    lake.publish([9])
    follow(run)
    after = {f for f in lake.files() if f.endswith(".avro") and run.branch.run_id in f}
    assert not before & after
    run.drop()
    assert not any(run.branch.run_id in f for f in lake.files())
    assert lake.ids() == [1, 9]


@pytest.mark.embedded
def test_twice_is_one_change(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    lake.publish([9])
    staged, main = run.now, head(lake)
    change = Change([run.write([2], "again-1")], removed=shown(lake), summary=NOTES)
    first = lake.catalog.restage_on(staged, change, main)
    assert lake.catalog.restage_on(staged, change, main).head == first.head
    assert lake.again().catalog.restage_on(first, change, main).head == first.head


@pytest.mark.embedded
def test_the_same_change_on_another_main_is_not_done_yet(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    own = Change(list(lake.catalog.batch(run.now).files), summary=NOTES)
    for number in (9, 10):
        lake.publish([number])
        run.staging = lake.catalog.restage_on(run.now, own, head(lake))
    assert run.candidate_ids() == [1, 2, 9, 10]
    run.finish()
    assert lake.ids() == [1, 2, 9, 10]


def test_a_late_attempt_with_other_files_is_refused(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    lake.publish([9])
    staged, main = run.now, head(lake)
    late = Change([run.write([2], "again-late")], removed=shown(lake))
    follow(run)
    for call in (
        lambda: lake.catalog.restage_on(staged, late, main),
        lambda: lake.catalog.restage(staged, late),
        lambda: lake.catalog.stage(staged, late),
    ):
        with pytest.raises(HeadMovedError):
            call()
    assert run.batch_ids() == [2]


def test_a_main_that_has_moved_meanwhile_is_said(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    lake.publish([9])
    seen, files = head(lake), shown(lake)
    lake.publish([10])
    own = Change(list(lake.catalog.batch(run.now).files), removed=files)
    with pytest.raises(HeadMovedError) as caught:
        lake.catalog.restage_on(run.now, own, seen)
    assert (caught.value.ref, caught.value.found) == (MAIN, head(lake))
    assert run.catalog.staging(run.branch, run.table).head == run.now.head


@pytest.mark.embedded
def test_there_must_be_a_change(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    lake.publish([9])
    with pytest.raises(HeadMovedError):
        follow(run, [2])
    assert not lake.catalog.staging(run.branch, run.table).staged


@pytest.mark.embedded
def test_a_dropped_branch_stays_dropped(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    lake.publish([9])
    change = Change([run.write([2], "again-1")], removed=shown(lake))
    run.drop()
    with pytest.raises(BranchNotFoundError):
        lake.catalog.restage_on(run.now, change, head(lake))
    assert lake.catalog.branches() == []


def test_a_schema_that_changed_beneath_it_is_refused(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    other = lake.run()
    grown = schema(NestedField(9, "delay", LongType(), required=False))
    other.open(grown)
    other.stage([9])
    other.finish()
    with pytest.raises(RebaseRefusedError):
        follow(run)
    assert lake.ids() == [1, 9]


@pytest.mark.embedded
def test_columns_of_its_own_go_with_it(lake):
    lake.publish([1])
    run = lake.run()
    run.open(schema(NestedField(9, "delay", LongType(), required=False)))
    run.stage([2], removed=shown(lake))
    lake.publish([9])
    follow(run, [2])
    assert "delay" in run.now.schema.column_names
    published = lake.catalog.published(FLIGHTS)
    assert "delay" not in published.schema.column_names
    run.finish()
    assert lake.ids() == [2]
    assert "delay" in lake.catalog.published(FLIGHTS).schema.column_names


def test_a_new_table_that_another_made_first_is_refused(lake):
    run = lake.run()
    run.open()
    run.stage([2])
    lake.publish([9])
    with pytest.raises(RebaseRefusedError):
        follow(run, removed=())
    assert lake.ids() == [9]


@pytest.mark.embedded
def test_files_that_main_does_not_show_cannot_be_replaced(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    lake.publish([9])
    foreign = run.write([7], "batch-7")
    with pytest.raises(RebaseRefusedError):
        follow(run, [3], removed=[foreign])
    assert run.catalog.staging(run.branch, run.table).head == run.now.head
    assert not any("again-1" in f for f in lake.files() if f.endswith(".avro"))


@pytest.mark.kinds("sqlite", "portable", "nessie")
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_was_lost_is_no_second_change(lake, when):
    lake.publish([1])
    run = replacing(lake, [2])
    lake.publish([9])
    change = Change([run.write([2], "again-1")], removed=shown(lake), summary=NOTES)
    fault = CommitFailedException("x") if when == "before" else CommitStateUnknownException("x")
    getattr(lake.faults, when).append(fault)
    run.staging = lake.catalog.restage_on(run.now, change, head(lake))
    assert run.candidate_ids() == [2]
    run.finish()
    assert lake.ids() == [2]


@pytest.mark.kinds("sqlite", "portable", "nessie")
def test_a_rival_right_before_the_commit_is_noticed(lake):
    lake.publish([1])
    run = replacing(lake, [2])
    lake.publish([9])
    change = Change(list(lake.catalog.batch(run.now).files), removed=shown(lake))
    seen = head(lake)

    def rival() -> None:
        lake.again().publish([10])

    lake.faults.before.append(rival)
    # Where a run's branch is no ref of the table its commit cannot tell; the publish does.
    with suppress(HeadMovedError):
        lake.catalog.restage_on(run.now, change, seen)
    run.staging = lake.catalog.staging(run.branch, run.table)
    with pytest.raises(HeadMovedError):
        run.finish()
    assert lake.ids() == [1, 9, 10]
    run.staging = lake.catalog.staging(run.branch, run.table)
    follow(run).finish()
    assert lake.ids() == [2]


def test_tables_of_one_branch_follow_as_one(lake):
    """Of a group one table appends, the other one replaces: each follows in its own way."""
    if not lake.catalog.capabilities.atomic_groups:
        return
    for table in (FLIGHTS, WEATHER):
        lake.publish([1], table)
    weather = lake.run("both-1", WEATHER)
    weather.open()
    flights = lake.run("both-1")
    flights.open()
    weather.stage([5])
    flights.stage([2], removed=shown(lake))
    before = [flights.audited(), weather.audited()]
    for run in (flights, weather):
        run.seal()
    lake.publish([9])
    lake.publish([8], WEATHER)
    with pytest.raises(HeadMovedError):
        lake.catalog.publish(before)
    weather.rebase()
    flights.staging = lake.catalog.staging(flights.branch, FLIGHTS)
    follow(flights)
    # None of them goes by itself, nor with the head that the other one had.
    with pytest.raises((HeadMovedError, UnsealedError)):
        lake.catalog.publish([flights.audited(), before[1]])
    assert lake.ids() == [1, 9]
    heads = [flights.audited(), weather.audited()]
    for run in (flights, weather):
        run.seal()
    lake.catalog.publish(heads)
    assert lake.ids() == [2]
    assert lake.ids(WEATHER) == [1, 5, 8]
    assert lake.catalog.branches() == []
    assert lake.catalog.verify(FLIGHTS) == lake.catalog.verify(WEATHER) == []
