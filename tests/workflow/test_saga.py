"""The saga ends in one of its endings, whatever goes wrong in whichever step."""

import asyncio
import threading

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError, CancelledError

from tests.workflow.world import World
from wap.activities import Activities
from wap.model import Ending, ExitCode
from wap.steps import Steps

FORWARD = ["resolve", "open_branch", "stage", "reconcile", "audit", "seal", "publish"]
BEFORE_PUBLISH = FORWARD[:-1]


def test_good_batch_is_published(saga):
    world = World()
    result, failure = saga(world)
    assert failure is None
    assert world.calls == [*FORWARD, "record_lineage", "close"]
    assert result.ending is Ending.PUBLISHED
    assert (result.snapshot.before, result.snapshot.after) == (1, world.main)
    assert result.rows.published == 5
    assert result.report == "reports/x.html"
    assert result.exit_code is ExitCode.PUBLISHED


def test_failed_audit_is_an_ending_not_an_exception(saga):
    world = World(passes=False)
    result, failure = saga(world)
    assert failure is None
    assert (result.ending, result.reason) == (Ending.REJECTED, "id has 2 nulls")
    assert world.main == 1
    assert world.branch is None
    assert "seal" not in world.calls
    assert "publish" not in world.calls
    assert result.rows.published == 0
    assert result.exit_code is ExitCode.REJECTED


def test_what_main_holds_that_nobody_sealed_is_said_once(saga):
    world = World(said=("main holds 7",))
    world.during["audit"] = lambda: (
        setattr(world, "main", 9) if "rebase" not in world.calls else None
    )
    result, _ = saga(world)
    assert "rebase" in world.calls
    assert result.warnings == ("main holds 7", "and more")


@pytest.mark.parametrize("step", ["resolve", "stage"])
def test_batch_that_does_not_fit_is_rejected(saga, step):
    world = World(refuse_in=step)
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.REJECTED
    assert (world.main, world.branch) == (1, None)
    assert "audit" not in world.calls


def test_nothing_new_touches_nothing(saga):
    world = World(nothing_new=True)
    result, failure = saga(world)
    assert failure is None
    assert result.nothing_new
    assert result.exit_code is ExitCode.PUBLISHED
    assert world.calls == ["resolve", "close"]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", BEFORE_PUBLISH)
def test_error_in_a_step_is_rolled_back(saga, step, when):
    world = World(faults={step: [(when, "EngineError", 1)]})
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert result.ending is Ending.ROLLED_BACK
    assert "EngineError" in result.reason
    assert (world.main, world.branch) == (1, None)
    assert result.exit_code is ExitCode.ROLLED_BACK
    assert [r.ending for r in world.closed] == [Ending.ROLLED_BACK]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", [*FORWARD, "record_lineage", "close"])
def test_passing_outage_is_outlived(saga, step, when):
    world = World(faults={step: [(when, "CatalogUnavailableError", 2)]})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert not result.warnings
    assert world.calls.count(step) == 3
    assert len(world.published_by) == 1


def test_publish_that_took_effect_but_never_answered_is_published(saga):
    world = World(faults={"publish": [("after", "SomeError", 99)]})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert world.main == result.snapshot.after != 1
    assert result.rows.published == 5


def test_publish_that_had_no_effect_is_rolled_back(saga):
    world = World(faults={"publish": [("before", "SomeError", 99)]})
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert result.ending is Ending.ROLLED_BACK
    assert (world.main, world.branch) == (1, None)


def test_moved_main_is_rebased_and_audited_again(saga):
    world = World()
    moves = iter([7, 8])

    def somebody_publishes():
        if (head := next(moves, None)) is not None:
            world.main = head

    world.during["publish"] = somebody_publishes
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert result.snapshot.before == 8
    assert world.calls.count("audit") == 3
    assert world.calls.count("stage") == 1


def test_batch_that_cannot_follow_is_planned_anew(saga):
    world = World(redo_once=True)
    moved = []

    def somebody_publishes():
        if not moved:
            moved.append(1)
            world.main = 7

    world.during["publish"] = somebody_publishes
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert world.calls.count("resolve") == 2
    assert world.calls.count("stage") == 2
    assert world.calls.index("drop_branch") < len(world.calls) - world.calls[::-1].index("resolve")


def test_undo_that_fails_for_good_says_what_is_left(saga):
    world = World(
        faults={"audit": [("before", "BadError", 1)], "drop_branch": [("before", "WorseError", 99)]}
    )
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert result.exit_code is ExitCode.INCOMPLETE
    assert "WorseError" in result.incomplete[0]


def test_lineage_can_never_fail_a_run(saga):
    world = World(faults={"record_lineage": [("before", "OddError", 99)]})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert "lineage" in result.warnings[0]


def test_ledger_that_stays_away_is_a_warning(saga):
    world = World(faults={"close": [("before", "LedgerError", 99)]})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert "ledger" in result.warnings[0]


@pytest.mark.parametrize("cached", [0, 100])
@pytest.mark.parametrize("step", BEFORE_PUBLISH)
def test_cancel_in_a_step_rolls_back_even_if_the_step_never_hears_of_it(saga, step, cached):
    world = World()
    inside, go_on = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert go_on.wait(20)

    world.during[step] = wait

    async def drive(handle):
        assert await asyncio.to_thread(inside.wait, 20)
        await handle.cancel()
        go_on.set()

    result, failure = saga(world, drive, cached=cached)
    assert isinstance(failure, CancelledError)
    assert result.ending is Ending.ROLLED_BACK
    assert (world.main, world.branch) == (1, None)
    assert "publish" not in world.calls


def test_cancel_during_publish_comes_too_late(saga):
    world = World()
    inside, go_on = threading.Event(), threading.Event()

    def wait():
        inside.set()
        assert go_on.wait(20)

    world.during["publish"] = wait

    async def drive(handle):
        assert await asyncio.to_thread(inside.wait, 20)
        await handle.cancel()
        go_on.set()

    result, _ = saga(world, drive)
    assert result.ending is Ending.PUBLISHED
    assert world.main == result.snapshot.after


def test_second_cancel_does_not_cut_the_undo_short(saga):
    world = World()
    in_audit, in_undo, go_on = threading.Event(), threading.Event(), threading.Event()
    world.during["audit"] = lambda: (in_audit.set(), go_on.wait(20))
    undo_goes_on = threading.Event()
    world.during["drop_branch"] = lambda: (in_undo.set(), undo_goes_on.wait(20))

    async def drive(handle):
        assert await asyncio.to_thread(in_audit.wait, 20)
        await handle.cancel()
        go_on.set()
        assert await asyncio.to_thread(in_undo.wait, 20)
        await handle.cancel()
        undo_goes_on.set()

    result, failure = saga(world, drive)
    assert isinstance(failure, CancelledError)
    assert result.ending is Ending.ROLLED_BACK
    assert (world.main, world.branch) == (1, None)


def test_every_declared_step_is_done_under_its_own_name():
    for name in Steps.__abstractmethods__:
        for owner in (Activities, World):
            definition = activity._Definition.from_callable(getattr(owner, name))
            assert definition is not None
            assert definition.name == name
