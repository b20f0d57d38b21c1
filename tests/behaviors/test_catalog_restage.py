"""Another change in place of the staged one: what a run leaves out after it was audited."""

from __future__ import annotations

from typing import Any

import pytest
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.manifest import DataFile
from pyiceberg.types import NestedField, StringType

from catalog import (
    BranchNotFoundError,
    HeadMovedError,
    RebaseRefusedError,
    TableName,
    UnsealedError,
)
from catalog.base import Change
from tests.behaviors.conftest import FLIGHTS, Run

NOTES = {"wap.quarantine": "t1", "wap.pipeline": "flights"}


def restage(run: Run, ids: list[int], name: str = "batch-1", *kept: DataFile, **change: Any):
    added = [*kept, *([run.write(ids, name)] if ids else [])]
    return run.catalog.restage(run.now, Change(added, summary=NOTES, **change))


@pytest.mark.storage
@pytest.mark.parametrize("first_load", [True, False])
def test_the_batch_is_another_one_and_main_is_as_it_was(lake, first_load):
    if not first_load:
        lake.publish([1])
    before = lake.ids()
    run = lake.run()
    run.open()
    staged = run.stage([2, 3])
    run.staging = restage(run, [2])
    assert run.now.head != staged.head
    assert run.now.expected == staged.expected
    assert run.now.notes["wap.quarantine"] == "t1"
    assert run.batch_ids() == [2]
    assert lake.ids() == before
    run.finish()
    assert lake.ids() == [*(before or []), 2]
    assert lake.catalog.verify(FLIGHTS) == []
    assert lake.catalog.branches() == []


def test_files_of_the_old_change_can_stay(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    first, other = run.write([2], "batch-0"), run.write([3, 4], "batch-x")
    run.staging = run.catalog.stage(run.now, Change([first, other]))
    run.staging = restage(run, [3], "batch-1", first)
    assert run.batch_ids() == [2, 3]
    run.finish()
    assert lake.ids() == [1, 2, 3]


def test_what_was_superseded_leaves_no_metadata_behind(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2, 3])
    before = {f for f in lake.files() if f.endswith(".avro")}
    run.staging = restage(run, [2])
    assert len({f for f in lake.files() if f.endswith(".avro")}) == len(before)
    run.drop()
    assert not any(run.branch.run_id in f for f in lake.files())


def test_restage_twice_is_one_change(lake):
    run = lake.run()
    run.open()
    staged = run.stage([1, 2])
    change = Change([run.write([1], "batch-1")], summary=NOTES)
    first = lake.catalog.restage(staged, change)
    assert lake.catalog.restage(staged, change).head == first.head
    assert lake.catalog.restage(first, change).head == first.head


def test_a_late_attempt_with_other_files_is_refused(lake):
    run = lake.run()
    run.open()
    staged = run.stage([1, 2])
    late = Change([run.write([2], "batch-late")])
    run.staging = restage(run, [1])
    with pytest.raises(HeadMovedError):
        lake.catalog.restage(staged, late)
    with pytest.raises(HeadMovedError):
        lake.catalog.stage(staged, late)
    assert run.batch_ids() == [1]


def test_there_must_be_a_change(lake):
    run = lake.run()
    run.open()
    with pytest.raises(HeadMovedError):
        restage(run, [1])
    assert not lake.catalog.staging(run.branch, run.table).staged


def test_a_dropped_branch_stays_dropped(lake):
    run = lake.run()
    run.open()
    run.stage([1, 2])
    change = Change([run.write([1], "batch-1")])
    run.drop()
    with pytest.raises(BranchNotFoundError):
        lake.catalog.restage(run.now, change)
    assert lake.catalog.branches() == []


def test_a_seal_goes_with_the_change_that_it_is_about(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2, 3])
    old = run.audited()
    run.seal()
    run.staging = lake.catalog.staging(run.branch, run.table)
    run.staging = restage(run, [2])
    with pytest.raises((HeadMovedError, UnsealedError)):
        lake.catalog.publish([old])
    assert lake.ids() == [1]
    run.finish()
    assert lake.ids() == [1, 2]
    assert lake.catalog.verify(FLIGHTS) == []


@pytest.mark.parametrize(
    "extra", [[], [NestedField(9, "note", StringType(), required=False)]], ids=["same", "grows"]
)
def test_it_stands_on_what_a_rebase_has_put_the_run_on(lake, make_schema, extra):
    """Also where main's schema is not the run's own, and only its notes tell what it grew from."""
    lake.publish([1])
    run = lake.run()
    run.open(make_schema(*extra))
    run.stage([2, 3])
    lake.publish([9])
    run.rebase()
    run.staging = restage(run, [2])
    assert run.candidate_ids() == [1, 2, 9]
    lake.publish([10])
    run.rebase()
    assert run.batch_ids() == [2]
    assert run.now.notes["wap.quarantine"] == "t1"
    run.finish()
    assert lake.ids() == [1, 2, 9, 10]
    assert lake.catalog.verify(FLIGHTS) == []


def test_files_that_main_does_not_show_cannot_be_replaced(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    foreign = run.write([7], "batch-7")
    with pytest.raises(RebaseRefusedError):
        restage(run, [3], removed=[foreign])
    run.staging = lake.catalog.staging(run.branch, run.table)
    assert run.batch_ids() == [2]


def test_a_change_that_replaces_can_be_restaged(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    gone = lake.catalog.scan(run.table, run.now.expected).files
    run.stage([2, 3], removed=gone)
    run.staging = restage(run, [2], removed=gone)
    assert run.candidate_ids() == [2]
    run.finish()
    assert lake.ids() == [2]


@pytest.mark.kinds("sqlite", "portable", "nessie")
@pytest.mark.parametrize("when", ["before", "after"])
def test_an_answer_that_was_lost_is_no_second_change(lake, when):
    run = lake.run()
    run.open()
    run.stage([1, 2])
    fault = CommitFailedException("x") if when == "before" else CommitStateUnknownException("x")
    getattr(lake.faults, when).append(fault)
    run.staging = restage(run, [1])
    assert run.batch_ids() == [1]
    run.finish()
    assert lake.ids() == [1]


def test_two_tables_are_restaged_and_published_in_one_step(lake):
    aside = TableName.parse("nyc.flights__quarantine")
    lake.publish([1])
    lake.publish([1], aside)
    if not lake.catalog.capabilities.atomic_groups:
        return
    runs = [lake.run("both"), lake.run("both", aside)]
    for run, left in zip(runs, ([2], [3]), strict=True):
        run.open()
        run.stage([2, 3])
        run.staging = restage(run, left)
        run.seal()
    lake.catalog.publish([run.audited() for run in runs])
    assert (lake.ids(), lake.ids(aside)) == ([1, 2], [1, 3])
