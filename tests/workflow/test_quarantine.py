"""The saga around the division of a batch: it is counted and audited again, or all is undone."""

import asyncio
import threading

import pytest
from temporalio.exceptions import ApplicationError, CancelledError

from tests.workflow.test_restage import moved
from tests.workflow.world import World
from wap.model import Ending

AUDIT = ["reconcile", "audit"]
UNTIL = ["resolve", "open_branch", "stage", *AUDIT, "quarantine"]


def broken(rows: int = 2, **more: object) -> World:
    return World(passes=False, broken=rows, **more)


def test_what_is_left_is_audited_again_and_both_are_published(saga):
    world = broken()
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert world.calls == [*UNTIL, *AUDIT, "seal", "publish", "record_lineage", "close"]
    assert world.published_rows == [(3, 2)]
    assert (result.rows.staged, result.rows.quarantined, result.rows.published) == (3, 2, 3)
    assert result.rows.balanced
    assert result.quarantine.rows == 2


def test_a_batch_that_cannot_be_divided_is_rejected(saga):
    world = broken(4)
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.REJECTED
    assert result.reason == "id has 2 nulls; too many rows"
    assert (world.main, world.branch, result.quarantine) == (1, None, None)


def test_checks_that_name_no_rows_reject_at_once(saga):
    world = World(passes=False)
    result, _ = saga(world)
    assert result.ending is Ending.REJECTED
    assert "quarantine" not in world.calls


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_division_is_tried_again(saga, when):
    world = broken(faults={"quarantine": [(when, "CatalogUnavailableError", 1)]})
    result, failure = saga(world)
    assert failure is None
    assert world.published_rows == [(3, 2)]
    assert world.calls.count("quarantine") == 2
    assert result.quarantine.rows == 2


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_division_that_fails_is_undone(saga, when):
    world = broken(faults={"quarantine": [(when, "QuarantineError", 1)]})
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert result.ending is Ending.ROLLED_BACK
    assert (world.main, world.branch, world.aside, result.quarantine) == (1, None, 0, None)


def test_a_run_that_is_cancelled_while_it_divides_is_rolled_back(saga):
    seen, gate = threading.Event(), threading.Event()
    world = broken(during={"quarantine": lambda: (seen.set(), gate.wait(30))})

    async def drive(handle):
        await asyncio.to_thread(seen.wait, 30)
        await handle.cancel()
        gate.set()

    result, failure = saga(world, drive, skips=False)
    assert isinstance(failure, CancelledError)
    assert result.ending is Ending.ROLLED_BACK
    assert (world.main, world.branch, world.aside) == (1, None, 0)


def test_when_main_moves_the_rest_is_rebased_and_not_divided_again(saga):
    world = broken()
    world.during["seal"] = lambda: _moved(world)
    result, failure = saga(world)
    assert failure is None
    assert world.calls.count("quarantine") == 1
    # Behind the publish that lost, and once more when its turn has come.
    assert world.calls.count("rebase") == 2
    assert world.published_rows == [(3, 2)]
    assert result.quarantine.rows == 2


def test_rows_that_only_the_moved_main_breaks_are_set_aside_too(saga):
    world = broken(1)

    def moved() -> None:
        _moved(world)
        world.passes = False

    world.during["seal"] = moved
    result, failure = saga(world)
    assert failure is None
    assert world.calls.count("quarantine") == 2
    assert world.published_rows == [(3, 2)]
    assert result.quarantine.rows == 2


def test_a_batch_that_is_planned_anew_begins_without_what_was_set_aside(saga):
    world = broken(redo_once=True)
    world.during["seal"] = lambda: _moved(world)
    world.during["resolve"] = lambda: setattr(world, "passes", world.calls.count("resolve") > 1)
    result, failure = saga(world)
    assert failure is None
    assert world.published_rows == [(5, 0)]
    assert result.quarantine is None


def test_a_publish_whose_answer_is_lost_tells_what_was_set_aside(saga):
    world = broken(faults={"publish": [("after", "CatalogError", 1)]})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert result.quarantine.rows == 2


def _moved(world: World) -> None:
    if world.calls.count("seal") == 1:
        world.main = world._new()


def test_a_divided_batch_that_met_another_main_is_whole_and_divided_anew(saga):
    world = moved(broken(meets=True), 7)
    result, failure = saga(world)
    assert failure is None
    assert (result.ending, result.snapshot.before) == (Ending.PUBLISHED, 7)
    assert world.calls.count("stage") == world.calls.count("restage") == 1
    assert world.calls.count("quarantine") == 2
    assert world.published_rows == [(3, 2)]
    assert result.quarantine.rows == 2


def test_what_is_not_set_aside_on_the_new_main_is_not_told(saga):
    world = moved(broken(meets=True), 7)
    world.during["restage"] = lambda: setattr(world, "broken", None)
    result, failure = saga(world)
    assert failure is None
    assert world.calls.count("quarantine") == 1
    assert world.published_rows == [(5, 0)]
    assert (result.rows.quarantined, result.quarantine) == (0, None)
