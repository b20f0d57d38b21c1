"""A batch that meets the rows of main is staged again when main has moved, once and in its turn."""

import asyncio
import threading

import pytest

from tests.workflow.people import held, waiver
from tests.workflow.world import World
from wap.model import Ending
from wap.steps import Restaged


def moved(world, *heads: int):
    """Somebody else publishes while we do."""
    moves = iter(heads)

    def somebody_publishes():
        if (head := next(moves, None)) is not None:
            world.main = head

    world.during["publish"] = somebody_publishes
    return world


def test_it_meets_the_new_main_and_is_audited_again(saga):
    world = moved(World(meets=True), 7, 8)
    result, failure = saga(world)
    assert failure is None
    assert (result.ending, result.snapshot.before) == (Ending.PUBLISHED, 8)
    assert world.calls.count("stage") == world.calls.count("resolve") == 1
    assert "drop_branch" not in world.calls
    again = ["rebase", "restage", "reconcile", "audit", "seal", "publish"]
    first, last = world.calls.index("rebase"), world.calls.index("record_lineage")
    # It queues once: the turn is its own until it is published.
    assert world.calls[first:last] == ["rebase", "enlist", *again[1:], *again]


def test_it_waits_for_its_turn_before_rows_are_moved(saga):
    world = moved(World(meets=True), 7)
    world.during["enlist"] = lambda: setattr(world, "main", 9)  # whoever has the turn publishes
    result, _ = saga(world)
    assert (result.ending, result.snapshot.before) == (Ending.PUBLISHED, 9)
    assert world.calls.count("restage") == 1


def test_what_cannot_be_staged_again_is_planned_anew(saga):
    world = moved(World(meets=True, restage_says=Restaged(redo="it is not here")), 7)
    result, failure = saga(world)
    assert failure is None
    assert (result.ending, result.snapshot.before) == (Ending.PUBLISHED, 7)
    assert world.calls.count("stage") == world.calls.count("resolve") == 2
    assert world.calls.count("enlist") == 1
    after = world.calls[world.calls.index("restage") :]
    assert after.index("drop_branch") < after.index("resolve")


def test_rows_that_cannot_meet_the_new_main_reject_the_run(saga):
    world = moved(World(meets=True, restage_says=Restaged(refused="key 1 is there twice")), 7)
    result, failure = saga(world)
    assert failure is None
    assert (result.ending, result.reason) == (Ending.REJECTED, "key 1 is there twice")
    assert (world.main, world.branch) == (7, None)


def test_a_new_main_that_the_audit_refuses_rejects_the_run(saga):
    world = moved(World(meets=True), 7)
    world.during["restage"] = lambda: setattr(world, "passes", False)
    result, _ = saga(world)
    assert (result.ending, result.reason) == (Ending.REJECTED, "id has 2 nulls")
    assert (world.main, world.branch) == (7, None)


def test_what_it_builds_on_is_said(saga):
    world = moved(World(meets=True), 7)
    world.during["restage"] = lambda: setattr(world, "said", ("main holds 7",))
    result, _ = saga(world)
    assert result.warnings == ("main holds 7",)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_passing_outage_is_outlived(saga, when):
    faults = {"restage": [(when, "CatalogUnavailableError", 2)]}
    world = moved(World(meets=True, faults=faults), 7)
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert world.calls.count("restage") == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_error_is_rolled_back(saga, when):
    faults = {"restage": [(when, "EngineError", 1)]}
    world = moved(World(meets=True, faults=faults), 7)
    result, failure = saga(world)
    assert failure is not None
    assert result.ending is Ending.ROLLED_BACK
    assert (world.main, world.branch) == (7, None)


def test_the_word_of_a_person_reaches_to_the_new_main(saga):
    world = World(meets=True, passes=False, hold_seconds=86_400)

    async def drive(handle):
        waiting = await held(handle)
        world.main = 7
        await handle.execute_update("approve", waiver(waiting))

    result, _ = saga(world, drive, skips=False)
    assert result.ending is Ending.PUBLISHED
    assert world.calls.count("hold") == world.calls.count("restage") == 1
    assert result.waiver is not None


def test_a_cancel_while_it_is_staged_again_rolls_back(saga):
    world = moved(World(meets=True), 7)
    inside, go_on = threading.Event(), threading.Event()
    world.during["restage"] = lambda: (inside.set(), go_on.wait(20))

    async def drive(handle):
        assert await asyncio.to_thread(inside.wait, 20)
        await handle.cancel()
        go_on.set()

    result, _ = saga(world, drive)
    assert result.ending is Ending.ROLLED_BACK
    assert (world.main, world.branch) == (7, None)
