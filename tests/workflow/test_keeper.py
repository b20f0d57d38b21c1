"""Many runs of one table at once: each ends as it should, and every row is published once."""

import asyncio
import contextlib
import threading
import uuid
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from temporalio import workflow
from temporalio.client import WorkflowFailureError
from temporalio.common import RawValue
from temporalio.service import RPCError
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.workflow.crowd import Crowd
from wap import keeper, turns
from wap.keeper import TableKeeper
from wap.model import Ending, Progress, RunRequest
from wap.turns import keeper_id
from wap.workflow import WriteAuditPublish

STEPS_OF_A_UNION = ("unite", "reconcile", "audit", "seal", "publish", "dissolve")


class Runs:
    """Runs on one queue, each with its batch for an input."""

    def __init__(self, env: WorkflowEnvironment, world: Crowd, cached: int) -> None:
        self.env, self.world, self.cached = env, world, cached
        self.queue = uuid.uuid4().hex
        self.project = f"p{self.queue[:8]}"
        self.handles = {}

    @property
    def keeper(self):
        return self.env.client.get_workflow_handle(keeper_id(self.project, "ns.t"))

    def worker(self, threads):
        return Worker(
            self.env.client,
            task_queue=self.queue,
            workflows=[WriteAuditPublish, TableKeeper],
            activities=self.world.all(),
            activity_executor=threads,
            max_cached_workflows=self.cached,
            max_concurrent_activities=16,
        )

    async def start(self, *batches: str):
        for batch in batches:
            request = RunRequest(
                project=self.project, pipeline="t", inputs=(batch,), heartbeat_seconds=30
            )
            self.handles[batch] = await self.env.client.start_workflow(
                WriteAuditPublish.run, request, id=f"{self.queue}-{len(self.handles)}",
                task_queue=self.queue,
            )  # fmt: skip

    async def endings(self):
        """How each batch ended."""
        found = {}
        for batch, handle in self.handles.items():
            with contextlib.suppress(WorkflowFailureError):
                await handle.result()
            progress = await handle.query("progress", result_type=Progress)
            found[batch] = progress.result
        return found

    async def queued(self, count):
        """Wait until so many are in the queue."""
        while True:
            with contextlib.suppress(RPCError):
                if len(await self.keeper.query("waiting", result_type=list[str])) >= count:
                    return
            await asyncio.sleep(0.02)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    for module in (turns, keeper):
        monkeypatch.setattr(module, "FIRST_LOOK", timedelta(seconds=1))


@pytest.fixture
def play(environment, temporal_loop):
    """Run a scene on a worker of the world's; returns how each batch ended."""

    def run(world, scene, cached=100, *, skips=False):
        async def played():
            runs = Runs(environment, world, cached)
            with ThreadPoolExecutor(16) as threads:
                async with runs.worker(threads):
                    still = environment.with_time_skipping_disabled
                    with contextlib.nullcontext() if skips else still():
                        await scene(runs)
                    endings = await runs.endings()
                    # A keeper ends with the last that waits.
                    with contextlib.suppress(RPCError, WorkflowFailureError):
                        await runs.keeper.result()
                    return endings

        return asyncio.run_coroutine_threadsafe(played(), temporal_loop).result()

    return run


def all_at_once(*batches: str):
    async def scene(runs):
        await runs.start(*batches)

    return scene


def gathered(world: Crowd, *batches: str):
    """A scene in which all have lost the race when the first of them has its turn."""
    together = threading.Barrier(len(batches))
    first = set()

    def meet(run):
        if run.run_id not in first and not run.run_id.startswith("union-"):
            first.add(run.run_id)
            together.wait(120)

    world.during["seal"] = meet
    return all_at_once(*batches)


def proved(world, endings, published, rejected=()):
    """Every row once, each ending as it should be, nothing left."""
    assert {b for b, r in endings.items() if r.ending is Ending.PUBLISHED} == set(published)
    assert {b for b, r in endings.items() if r.ending is Ending.REJECTED} == set(rejected)
    expected = Counter(row for batch in published for row in batch.split())
    assert Counter(row for row in world.rows if not row.startswith("other")) == expected
    assert world.branches == {}
    assert world.wronged == []
    begun, ended = ({r for s, r in world.calls if s == step} for step in ("unite", "dissolve"))
    assert begun == ended
    assert all(not r.incomplete for r in endings.values())


@pytest.mark.parametrize("cached", [0, 100])
def test_a_crowd_is_published_whole(play, cached):
    world, batches = Crowd(), [f"a{i} b{i}" for i in range(12)]
    endings = play(world, all_at_once(*batches), cached)
    proved(world, endings, batches)
    assert world.count("audit") <= 2 * len(batches)


def test_who_cannot_be_united_is_given_a_turn_each(play):
    world, batches = Crowd(alone=True), [f"a{i}" for i in range(8)]
    endings = play(world, gathered(world, *batches))
    proved(world, endings, batches)
    assert "unite" not in {step for step, _ in world.calls}
    assert world.count("audit") == 2 * len(batches) - 1


def test_those_who_wait_are_audited_once_together(play):
    world, batches = Crowd(), [f"a{i}" for i in range(8)]
    endings = play(world, gathered(world, *batches))
    proved(world, endings, batches)
    together = {by for run, by in world.published_by.items() if by != run}
    assert together
    assert world.count("audit") < 2 * len(batches) - 1


def test_a_run_that_meets_nobody_pays_nothing(play):
    world = Crowd()
    endings = play(world, all_at_once("a"))
    proved(world, endings, ["a"])
    assert world.count("enlist") == 0


def test_a_bad_one_never_blocks_the_good_ones(play):
    """Each passes alone; of each pair both hold the same row, so that a union of them fails."""
    batches = [f"a{i}" for i in range(7)]
    twins = ("x y", "x z"), ("u v", "u w")
    world = Crowd()
    endings = play(world, gathered(world, *batches, *twins[0], *twins[1]))
    good = [b for pair in twins for b in pair if endings[b].ending is Ending.PUBLISHED]
    bad = [b for pair in twins for b in pair if b not in good]
    assert len(good) == len(bad) == 2
    proved(world, endings, [*batches, *good], bad)
    assert {endings[b].reason for b in bad} == {"wrong: x", "wrong: u"}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", STEPS_OF_A_UNION)
@pytest.mark.parametrize("error", ["CatalogUnavailableError", "EngineError"])
def test_an_error_in_a_unions_step_loses_nothing(play, step, when, error):
    batches = [f"a{i}" for i in range(4)]
    world = Crowd()
    scene = gathered(world, *batches)

    def arm(run):
        if run.run_id.startswith("union-"):
            world.faults.setdefault((step, when), (error, 1))

    if step in world.during:
        meet = world.during[step]
        world.during[step] = lambda run: (arm(run), meet(run))
    else:
        world.during[step] = arm
    endings = play(world, scene)
    if step in ("unite", "dissolve"):
        assert world.faults[step, when] == (error, 0)
    proved(world, endings, batches)


def test_main_that_moves_under_a_union_is_followed(play):
    batches = [f"a{i}" for i in range(4)]
    world, others = Crowd(), iter(["other1", "other2"])
    scene = gathered(world, *batches)

    def somebody(run):
        if run.run_id.startswith("union-") and (row := next(others, None)):
            world.somebody_publishes(row)

    world.during["publish"] = somebody
    endings = play(world, scene)
    proved(world, endings, batches)
    assert {"other1", "other2"} <= set(world.rows)


def _queue_behind_first(world: Crowd, *batches: str, then: Any):
    """The first has its turn, and is held back at its audit; the others wait behind it."""
    inside, go_on = threading.Event(), threading.Event()
    moved = []

    def lose(run):
        if run.run_id not in moved:
            moved.append(run.run_id)
            world.somebody_publishes(f"other{len(moved)}")

    def wait(run):
        if run.request.inputs[0] == "first" and ("enlist", run.run_id) in world.calls:
            inside.set()
            assert go_on.wait(120)

    world.during["publish"], world.during["audit"] = lose, wait

    async def scene(runs):
        await runs.start("first")
        assert await asyncio.to_thread(inside.wait, 120)
        await runs.start(*batches)
        await runs.queued(len(batches) + 1)
        await then(runs)
        go_on.set()

    return scene


def test_who_is_cancelled_while_it_waits_is_rolled_back_and_the_others_go_on(play):
    async def cancel(runs):
        await runs.handles["b"].cancel()

    world = Crowd()
    endings = play(world, _queue_behind_first(world, "a", "b", "c", then=cancel))
    assert endings.pop("b").ending is Ending.ROLLED_BACK
    proved(world, endings, ["first", "a", "c"])


def test_a_keeper_that_is_terminated_is_replaced(play):
    async def terminate(runs):
        await runs.keeper.terminate()

    world = Crowd()
    endings = play(world, _queue_behind_first(world, "a", "b", "c", then=terminate))
    proved(world, endings, ["first", "a", "b", "c"])


def test_a_run_that_is_terminated_in_its_turn_holds_up_nobody(play):
    async def terminate(runs):
        await runs.handles.pop("first").terminate()

    world = Crowd()
    endings = play(world, _queue_behind_first(world, "a", "b", then=terminate))
    world.branches = {k: v for k, v in world.branches.items() if v.batch != ("first",)}
    proved(world, endings, ["a", "b"])


def test_a_run_that_is_cancelled_while_a_union_holds_it_hears_how_that_ends(play):
    # One publishes first, and another may get a turn before the rest have queued.
    batches = [f"a{i}" for i in range(6)]
    world = Crowd()
    scene = gathered(world, *batches)
    inside, go_on = threading.Event(), threading.Event()

    def wait(run):
        if run.run_id.startswith("union-"):
            inside.set()
            assert go_on.wait(120)

    world.during["reconcile"] = wait

    async def cancelled_inside(runs):
        await scene(runs)
        assert await asyncio.to_thread(inside.wait, 120)
        (union,) = (b for name, b in world.branches.items() if name.startswith("union-"))
        handle = runs.handles[union.batch[0]]
        await handle.cancel()
        while (await handle.describe()).raw_description.pending_activities:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        go_on.set()

    endings = play(world, cancelled_inside)
    proved(world, endings, batches)


def test_who_is_rejected_alone_and_published_by_a_union_says_that_it_is_published(play):
    """It had stopped waiting for the union, whose audit was of another main, or another hour."""
    world = Crowd()

    def publish(run):
        with world.lock:
            if run.run_id not in world.published_by:
                world.published_by[run.run_id] = "union-0"
                world.somebody_publishes("bad")

    world.during["audit"] = publish
    endings = play(world, all_at_once("bad"))
    proved(world, endings, ["bad"])


def test_without_a_keeper_the_catalog_has_the_last_word(play):
    world, batches = Crowd(), [f"a{i}" for i in range(4)]
    scene = gathered(world, *batches)
    world.faults["enlist", "before"] = ("NobodyError", 1000)
    endings = play(world, scene)
    proved(world, endings, batches)
    assert world.count("unite") == 0


@workflow.defn(name="TableKeeper", sandboxed=False)
class Mute:
    """A keeper that is there, and neither answers nor ends."""

    @workflow.signal(dynamic=True)
    def hear(self, name: str, args: Sequence[RawValue]) -> None:
        pass

    @workflow.run
    async def run(self, table: str) -> None:
        await workflow.wait_condition(lambda: False)


def test_a_keeper_that_says_nothing_is_not_waited_for_for_ever(play, monkeypatch):
    monkeypatch.setattr(turns, "PATIENCE", 4 * turns.FIRST_LOOK)
    monkeypatch.setattr(turns, "FAREWELL", turns.FIRST_LOOK)
    world, moved = Crowd(), []

    def lose(run):
        if not moved:
            moved.append(run)
            world.somebody_publishes("other")

    world.during["publish"] = lose

    async def scene(runs):
        async with Worker(runs.env.client, task_queue="mute", workflows=[Mute]):
            mute = await runs.env.client.start_workflow(
                "TableKeeper", "ns.t", id=keeper_id(runs.project, "ns.t"), task_queue="mute"
            )
            await runs.start("a")
            await runs.handles["a"].result()
            await mute.terminate()

    endings = play(world, scene, skips=True)
    proved(world, endings, ["a"])
    assert world.count("enlist") > 1
