"""A held run: it waits for a person, takes only a decision that fits, and ends whatever comes."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from temporalio.client import WorkflowUpdateFailedError
from temporalio.exceptions import ApplicationError, CancelledError

from tests.workflow.people import held, refusal, waiver
from tests.workflow.world import World
from wap.model import Ending, ExitCode, Progress, Refusal

AUDIT = ["resolve", "open_branch", "stage", "reconcile", "audit"]
CHECK = "c.yml:id"
DAY = 86_400.0


def bad(**more: object) -> World:
    return World(passes=False, hold_seconds=DAY, **more)


def test_an_approved_run_is_published_under_the_waiver(saga):
    world = bad()

    async def drive(handle):
        waiting = await held(handle)
        assert world.main == 1
        assert world.branch is not None
        assert waiting.exit_code is ExitCode.HELD
        await handle.execute_update("approve", waiver(waiting))

    result, failure = saga(world, drive, skips=False)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert result.held is None
    assert world.calls == [*AUDIT, "hold", "seal", "publish", "record_lineage", "close"]
    assert world.published_under == [result.waiver]
    assert (result.waiver.person, result.waiver.checks) == ("ann", {CHECK})
    assert result.waiver.at != datetime(2026, 1, 1, tzinfo=UTC), "the run says when, not the door"
    (waiting,) = world.held
    assert waiting.ending is Ending.HELD
    assert waiting.held.until - waiting.held.since == timedelta(days=1)


def test_a_rejected_run_leaves_nothing_and_says_who(saga):
    world = bad()

    async def drive(handle):
        await handle.execute_update("reject", refusal(await held(handle)))

    result, failure = saga(world, drive, skips=False)
    assert failure is None
    assert result.ending is Ending.REJECTED
    assert "rejected by ann: the feed is broken" in result.reason
    assert (world.main, world.branch) == (1, None)
    assert "publish" not in world.calls


def test_a_run_that_nobody_decides_is_rejected_when_time_is_up(saga):
    world = bad()
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.REJECTED
    assert "nobody decided until" in result.reason
    assert (world.main, world.branch) == (1, None)


def test_a_held_run_that_is_cancelled_is_rolled_back(saga):
    world = bad()

    async def drive(handle):
        await held(handle)
        await handle.cancel()

    result, failure = saga(world, drive, skips=False)
    assert isinstance(failure, CancelledError)
    assert result.ending is Ending.ROLLED_BACK
    assert (world.main, world.branch) == (1, None)


def test_a_hold_that_cannot_be_told_is_rolled_back(saga):
    world = bad(faults={"hold": [("before", "LedgerError", 1)]})
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert result.ending is Ending.ROLLED_BACK
    assert (world.main, world.branch) == (1, None)


def test_nobody_is_asked_where_nobody_may_answer(saga):
    world = bad(failing={})
    result, _ = saga(world)
    assert result.ending is Ending.REJECTED
    assert "hold" not in world.calls


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"run_id": "another"}, "the run is over"),
        ({"report_digest": "another"}, "audited again"),
        ({"checks": frozenset()}, f"{CHECK} is missing"),
        ({"checks": frozenset({CHECK, "c.yml:b"})}, "did not fail: c.yml:b"),
        ({"reason": "  "}, "a person and a reason"),
        ({"person": ""}, "a person and a reason"),
        ({"until": datetime(2026, 1, 1, tzinfo=UTC)}, "expired at 2026-01-01"),
        ({"until": datetime(2126, 1, 1, tzinfo=UTC)}, "366 days at most"),
    ],
)
def test_a_waiver_that_does_not_fit_changes_nothing(saga, changes, said):
    world = bad()

    async def drive(handle):
        waiting = await held(handle)
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("approve", waiver(waiting, **changes))
        assert refused.value.cause.type == "DecisionRefusedError"
        assert said in str(refused.value.cause)
        assert await held(handle) == waiting
        await handle.execute_update("reject", refusal(waiting))

    assert saga(world, drive, skips=False)[0].ending is Ending.REJECTED


@pytest.mark.parametrize("changes", [{"run_id": "another"}, {"report_digest": "x"}, {"reason": ""}])
def test_a_refusal_that_does_not_fit_changes_nothing(saga, changes):
    world = bad()

    async def drive(handle):
        waiting = await held(handle)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("reject", refusal(waiting, **changes))
        await handle.execute_update("approve", waiver(waiting))

    assert saga(world, drive, skips=False)[0].ending is Ending.PUBLISHED


def test_a_run_is_decided_once_and_may_be_told_so_again(saga):
    """The second door of a person whose first one was killed follows the run to its end."""
    world = bad(faults={"seal": [("before", "CatalogUnavailableError", 1)]})

    async def drive(handle):
        waiting = await held(handle)
        await handle.execute_update("approve", waiver(waiting))
        await handle.execute_update("approve", waiver(waiting, until=waiting.held.until))
        for update, said in (
            ("reject", refusal(waiting)),
            ("approve", waiver(waiting, person="bob")),
        ):
            with pytest.raises(
                WorkflowUpdateFailedError, match="Workflow update failed"
            ) as refused:
                await handle.execute_update(update, said)
            assert "not held" in str(refused.value.cause)

    result, _ = saga(world, drive, skips=False)
    assert result.ending is Ending.PUBLISHED
    assert result.waiver.until - result.waiver.at > timedelta(days=29), "the first word counts"


def test_a_run_that_is_not_held_takes_no_decision(saga):
    world = World()
    told = []

    async def drive(handle):
        run = (await handle.query("progress", result_type=Progress)).run_id
        said = Refusal(run_id=run, report_digest="r", person="ann", reason="why")
        with pytest.raises(WorkflowUpdateFailedError) as refused:
            await handle.execute_update("reject", said)
        told.append(str(refused.value.cause))

    inside = _wait_inside(world, "stage")
    result, _ = saga(world, _then(inside, drive))
    assert result.ending is Ending.PUBLISHED
    assert "not held" in told[0]


def _wait_inside(world, step):
    """A step that stays where it is until the drive is through."""
    begun, done = threading.Event(), threading.Event()
    world.during[step] = lambda: (begun.set(), done.wait(20))
    return begun, done


def _then(inside, drive):
    begun, done = inside

    async def both(handle):
        assert await asyncio.to_thread(begun.wait, 20)
        try:
            await drive(handle)
        finally:
            done.set()

    return both


# --- main moves while the run is held -----------------------------------------------------------


def moved(world, **then: object):
    """Somebody publishes while we are held; the next audit finds what ``then`` says."""

    async def drive(handle):
        waiting = await held(handle)
        world.main = 7
        for name, value in then.items():
            setattr(world, name, value)
        await handle.execute_update("approve", waiver(waiting))

    return drive


def test_main_that_moved_is_audited_again_under_the_same_waiver(saga):
    world = bad()
    result, failure = saga(world, moved(world), skips=False)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert result.snapshot.before == 7
    assert (world.calls.count("audit"), world.calls.count("hold")) == (2, 1)
    assert result.waiver.report_digest == f"report of {world.main}"


def test_an_audit_that_passes_then_needs_no_waiver(saga):
    world = bad()
    result, _ = saga(world, moved(world, passes=True), skips=False)
    assert result.ending is Ending.PUBLISHED
    assert result.waiver is None
    assert world.published_under == [None]


@pytest.mark.parametrize(
    "failing",
    [{CHECK: 2, "c.yml:b": 1}, {"c.yml:b": 1}, {"c.yml:b": None}, {CHECK: 3}, {CHECK: None}],
)
def test_what_the_waiver_does_not_cover_is_held_again(saga, failing):
    world = bad()

    async def drive(handle):
        first = await held(handle)
        await moved(world, failing=failing)(handle)
        again = await held(handle, unlike=first)
        assert world.main == 7
        assert again.held.names == set(failing)
        with pytest.raises(WorkflowUpdateFailedError):
            await handle.execute_update("approve", waiver(first))
        await handle.execute_update("reject", refusal(again))

    result, _ = saga(world, drive, skips=False)
    assert result.ending is Ending.REJECTED
    assert world.calls.count("hold") == 2
    assert world.published_under == []


@pytest.mark.parametrize("failing", [{CHECK: 1}, {CHECK: 2}])
def test_no_more_rows_than_were_seen_are_covered(saga, failing):
    world = bad()
    result, _ = saga(world, moved(world, failing=failing), skips=False)
    assert result.ending is Ending.PUBLISHED
    assert world.calls.count("hold") == 1


def test_what_is_read_anew_is_decided_anew(saga):
    world = bad(redo_once=True)

    async def drive(handle):
        first = await held(handle)
        await moved(world)(handle)
        again = await held(handle, unlike=first)
        assert again.held.round == 1
        await handle.execute_update("approve", waiver(again, reason="still right"))

    result, _ = saga(world, drive, skips=False)
    assert result.ending is Ending.PUBLISHED
    assert world.calls.count("hold") == 2
    assert result.waiver.reason == "still right"
