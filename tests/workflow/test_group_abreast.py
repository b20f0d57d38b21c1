"""Tables of a group are staged and audited side by side, and undone when none is at work."""

import asyncio
import threading

import pytest
from temporalio.exceptions import ApplicationError, CancelledError

from tests.workflow.group_world import GROUP, GroupWorld, moved_once
from wap.model import Ending, Progress


@pytest.mark.parametrize("step", ["stage", "audit"])
@pytest.mark.parametrize("abreast", [2, 3])
def test_so_many_tables_are_at_work_at_once_and_no_more(saga, step, abreast):
    world, inside, go_on = GroupWorld(abreast=abreast), threading.Semaphore(0), threading.Event()
    world.during[step] = lambda: (inside.release(), go_on.wait(20))
    begun = []

    async def drive(handle):
        for _ in range(abreast):
            assert await asyncio.to_thread(inside.acquire, timeout=20)
        progress = await handle.query("progress", result_type=Progress)
        begun.extend(s.member for s in progress.steps if s.name in (step, "reconcile"))
        go_on.set()

    result, failure = saga(world, drive)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert sorted(set(begun)) == sorted(GROUP[:abreast])
    assert sorted(world.count(step)) == sorted(f"{step} {name}" for name in GROUP)
    (heads,) = world.published.values()
    for name in GROUP:
        assert world.seen[name] == {n: h for n, h in heads.items() if n != name}


async def _seen_failed(handle, step, member):
    """The steps as they were when the workflow had just heard that one of them failed."""
    while True:
        progress = await handle.query("progress", result_type=Progress)
        if any((s.name, s.member, s.failed) == (step, member, True) for s in progress.steps):
            return progress.steps
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("step", ["stage", "audit"])
def test_nothing_is_undone_while_a_table_is_still_at_work(saga, step):
    """What a late writer writes behind the undo would stay for ever."""
    world = GroupWorld(abreast=3, faults={f"{step} planes": [("before", "EngineError", 1)]})
    inside, go_on, left = threading.Event(), threading.Event(), []

    def at_work() -> None:
        inside.set()
        assert go_on.wait(20)
        left.append(world.count("drop_branch"))

    world.during[f"{step} weather"] = at_work
    world.during[f"{step} planes"] = lambda: inside.wait(20)
    steps = []

    async def drive(handle):
        steps.extend(await _seen_failed(handle, step, "planes"))
        go_on.set()

    result, failure = saga(world, drive)
    assert isinstance(failure, ApplicationError)
    assert result.ending is Ending.ROLLED_BACK
    assert "EngineError" in result.reason
    assert "drop_branch" not in {s.name for s in steps}
    assert left == [[]]
    assert world.untouched


def test_a_table_whose_step_ends_behind_the_failure_of_another_begins_no_further_one(saga):
    world = GroupWorld(abreast=2, faults={"audit planes": [("before", "EngineError", 1)]})
    inside, go_on = threading.Event(), threading.Event()
    world.during["reconcile weather"] = lambda: (inside.set(), go_on.wait(20))
    world.during["audit planes"] = lambda: inside.wait(20)

    async def drive(handle):
        await _seen_failed(handle, "audit", "planes")
        go_on.set()

    result, _ = saga(world, drive)
    assert result.ending is Ending.ROLLED_BACK
    assert world.untouched
    assert "audit weather" not in world.calls
    assert not [call for call in world.calls if "flights" in call and "reconcile" in call]


@pytest.mark.parametrize("cached", [0, 100])
def test_a_cancel_while_two_are_at_work_waits_for_both(saga, cached):
    world, inside = GroupWorld(abreast=2), threading.Barrier(3)
    go_on, left = threading.Event(), []

    def at_work() -> None:
        inside.wait(20)
        assert go_on.wait(20)
        left.append(world.count("drop_branch"))

    world.during["stage planes"] = world.during["stage weather"] = at_work

    async def drive(handle):
        await asyncio.to_thread(inside.wait, 20)
        await handle.cancel()
        go_on.set()

    result, failure = saga(world, drive, cached=cached)
    assert isinstance(failure, CancelledError)
    assert result.ending is Ending.ROLLED_BACK
    assert left == [[], []]
    assert world.untouched
    assert "stage flights" not in world.calls


def test_one_failed_audit_rejects_all_and_every_table_was_audited(saga):
    world = GroupWorld(abreast=2, bad=frozenset({"planes"}))
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.REJECTED
    assert result.reason == "nyc.planes: planes has 2 nulls"
    assert sorted(world.count("audit")) == ["audit flights", "audit planes", "audit weather"]
    assert world.untouched


def test_an_outage_of_one_is_outlived_beside_the_others(saga):
    world = GroupWorld(
        abreast=3, faults={"stage weather": [("after", "CatalogUnavailableError", 2)]}
    )
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert world.calls.count("stage weather") == 3


def test_after_a_conflict_only_what_cannot_follow_is_staged_again(saga):
    world = moved_once(GroupWorld(abreast=2, redone={"planes"}), "planes", "weather")
    result, failure = saga(world)
    assert failure is None
    assert [m.snapshot.before for m in result.members] == [50, 50, 1]
    assert world.calls.count("stage planes") == 2
    assert len(world.count("stage")) == 4
    assert len(world.count("audit")) == 6
