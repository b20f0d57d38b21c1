"""Record a history of each ending, for ``test_replay``: ``python -m tests.workflow.record``.

A recorded history is never changed: it stands for runs that are at work when a new version is
deployed. A change of ``wap/workflow.py`` that needs new ones adds them under another name, and goes
behind ``workflow.patched`` as long as the old ones are here.
"""

import asyncio
import json
import sys
import threading
import uuid
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowFailureError, WorkflowHandle, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.workflow.group_world import GROUP, GroupWorld, moved_once
from tests.workflow.people import held, refusal, waiver
from tests.workflow.world import World
from wap import attributes
from wap.group_workflow import PublishTogether
from wap.keeper import TableKeeper
from wap.model import RunRequest
from wap.runtime import binary
from wap.turns import keeper_id
from wap.workflow import WriteAuditPublish

FOLDER = Path(__file__).with_name("histories")
#: Nobody's machine is named in a history.
IDENTITY = "recorder"


@dataclass
class Scene:
    """One run: its world, what happens meanwhile, and how it was asked for."""

    world: World | GroupWorld
    drive: Callable[[WorkflowHandle[Any, Any]], Awaitable[None]] | None = None
    asked: dict[str, Any] = field(default_factory=dict)


def _moved(world: World, *heads: int) -> World:
    """A world whose main somebody else moves while we publish."""
    moves = iter(heads)

    def somebody_publishes() -> None:
        if (head := next(moves, None)) is not None:
            world.main = head

    world.during["publish"] = somebody_publishes
    return world


def _cancelled() -> Scene:
    inside, go_on = threading.Event(), threading.Event()
    world = World()
    world.during["audit"] = lambda: (inside.set(), go_on.wait(20))

    async def drive(handle: WorkflowHandle[Any, Any]) -> None:
        assert await asyncio.to_thread(inside.wait, 20)
        await handle.cancel()
        go_on.set()

    return Scene(world, drive)


def _bad(seconds: float = 86_400) -> World:
    return World(passes=False, hold_seconds=seconds)


def _decided(world: World, update: str, *, main: int = 1, **then: Any) -> Scene:
    """A held run that somebody decides after somebody else has moved main."""

    async def drive(handle: WorkflowHandle[Any, Any]) -> None:
        seen = None
        for last in (not then, True):
            waiting = await held(handle, unlike=seen)
            world.main = main
            for name, value in then.items():
                setattr(world, name, value)
            said = waiver(waiting) if update == "approve" else refusal(waiting)
            await handle.execute_update(update, said)
            if last:
                break
            seen = waiting

    return Scene(world, drive)


def _failing(step: str, when: str, error: str, times: int) -> World:
    return World(faults={step: [(when, error, times)]})


SCENES: dict[str, Callable[[], Scene]] = {
    "published": lambda: Scene(World()),
    "nothing_new": lambda: Scene(World(nothing_new=True)),
    "rejected": lambda: Scene(World(passes=False)),
    "refused": lambda: Scene(World(refuse_in="stage")),
    "rolled_back": lambda: Scene(_failing("seal", "after", "EngineError", 1)),
    "tried_again": lambda: Scene(_failing("stage", "before", "CatalogUnavailableError", 2)),
    "answer_lost": lambda: Scene(_failing("publish", "after", "SomeError", 99)),
    "cancelled": _cancelled,
    "rebased": lambda: Scene(_moved(World(), 7, 8)),
    "redone": lambda: Scene(_moved(World(redo_once=True), 7)),
    "queued": lambda: Scene(_moved(World(), 7, 8)),
    "restaged": lambda: Scene(_moved(World(meets=True), 7, 8)),
    "queued_and_redone": lambda: Scene(_moved(World(redo_once=True), 7)),
    "held_and_approved": lambda: _decided(_bad(), "approve"),
    "held_and_rejected": lambda: _decided(_bad(), "reject"),
    "held_and_late": lambda: Scene(_bad(0.2)),
    "held_and_rebased": lambda: _decided(_bad(), "approve", main=7),
    "held_again": lambda: _decided(_bad(), "approve", main=7, failing={"c.yml:b": 1}),
    "divided": lambda: Scene(World(passes=False, broken=2)),
    "divided_and_restaged": lambda: Scene(_moved(World(passes=False, broken=2, meets=True), 7)),
    "group_divided": lambda: Scene(GroupWorld(broken={"planes": 2, "flights": 1})),
    "group_published": lambda: Scene(GroupWorld()),
    "group_rejected": lambda: Scene(GroupWorld(bad=frozenset({"planes"}))),
    "group_rolled_back": lambda: Scene(
        GroupWorld(faults={"seal weather": [("after", "EngineError", 1)]})
    ),
    "group_rebased": lambda: Scene(
        moved_once(GroupWorld(redone={"weather"}, done_meanwhile={"flights"}), *GROUP)
    ),
    "group_restaged": lambda: Scene(
        moved_once(GroupWorld(meets={"planes", "flights"}), *GROUP), asked={"abreast": 2}
    ),
    "group_in_a_cluster": lambda: Scene(GroupWorld(), asked={"indexed": True, "data_queue": True}),
    "group_abreast": lambda: Scene(
        moved_once(GroupWorld(redone={"weather"}), "weather"), asked={"abreast": 2}
    ),
    "group_abreast_rolled_back": lambda: Scene(
        GroupWorld(faults={"stage weather": [("before", "EngineError", 1)]}), asked={"abreast": 3}
    ),
    "in_a_cluster": lambda: Scene(World(), asked={"indexed": True, "data_queue": True}),
}


def _without_traces(value: Any) -> Any:
    """Without stack traces, which name the paths of one machine; no replay reads them."""
    if isinstance(value, dict):
        return {k: _without_traces(v) for k, v in value.items() if k != "stackTrace"}
    return [_without_traces(v) for v in value] if isinstance(value, list) else value


async def _record(client: Client, name: str, scene: Scene) -> None:
    queue = uuid.uuid4().hex
    workflow = PublishTogether if isinstance(scene.world, GroupWorld) else WriteAuditPublish
    members = scene.world.names if isinstance(scene.world, GroupWorld) else ()
    request = RunRequest(project="p", pipeline="flights", members=members, **scene.asked)
    with ThreadPoolExecutor(4) as threads:
        workers = [
            Worker(
                client, task_queue=queue_,
                workflows=[workflow, TableKeeper] if first else [],
                activities=scene.world.all(), activity_executor=threads, identity=IDENTITY,
            )
            for first, queue_ in ((True, queue), (False, f"{queue}-data"))
        ]  # fmt: skip
        async with workers[0], workers[1]:
            handle: WorkflowHandle[Any, Any] = await client.start_workflow(
                workflow.__name__, request, id=f"wap-{name}", task_queue=queue
            )
            if scene.drive is not None:
                await scene.drive(handle)
            try:
                await handle.result()
            except WorkflowFailureError:
                print(f"{name}: failed, as it must")  # noqa: T201 - a script
            history = await handle.fetch_history()
            if name == "queued":
                keeper = client.get_workflow_handle(keeper_id("p", "ns.t"))
                await keeper.result()
                _save("queued_keeper", await keeper.fetch_history())
    _save(name, history)


def _save(name: str, history: WorkflowHistory) -> None:
    document = _without_traces(json.loads(history.to_json()))
    (FOLDER / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")


async def main(names: list[str]) -> None:
    """Record the scenes that are named, or those that were never recorded."""
    chosen = names or [n for n in SCENES if not (FOLDER / f"{n}.json").exists()]
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=binary(),
        dev_server_startup_timeout=timedelta(seconds=60),
        search_attributes=[attributes.TABLE, attributes.STATUS, attributes.GROUP],
        data_converter=pydantic_data_converter,
        identity=IDENTITY,
    ) as env:
        for name in chosen:
            await _record(env.client, name, SCENES[name]())
            print(f"{name}: recorded")  # noqa: T201 - a script


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
