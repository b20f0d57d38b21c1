"""``wap worker``: a process that serves the project's queues until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from temporalio.client import Client
from temporalio.runtime import Runtime
from temporalio.worker import Worker

from catalog.errors import CatalogError
from wap import builds, health, metrics, worker
from wap.doors import connect, server_of
from wap.errors import ConfigError, TemporalUnavailableError
from wap.group_activities import GroupActivities
from wap.project import Project
from wap.queues import DATA, ROLES, queue_of
from wap.settings import size_in_bytes
from wap.telemetry import tracing
from wap.workflow import WriteAuditPublish

#: What a worker takes beside the rows of its steps: interpreter, libraries, workflow cache.
BASE_BYTES = 350_000_000
#: Of the machine's memory, when nothing is said.
_SHARE = 0.8
#: Between the last step's grace and leaving anyhow: it goes to answers on their way.
_LEAVE_SECONDS = 5.0
#: A build must have polled before it can be made current, and a busy server answers later.
_SEEN_SECONDS = 90.0
#: The longest wait between two questions for that.
_ASK_SECONDS = 5.0

_log = logging.getLogger(__name__)


def data_slots(project: Project) -> int:
    """How many data steps one worker does at once, so that their budgets fit its memory.

    Stage takes ``[engine] memory``, audit ``[audit] memory``; a slot has to hold either. What does
    not fit waits at the server, where a worker with room can take it.

    Raises:
        ConfigError: not even one step fits.
    """
    need = max(project.engine.memory, size_in_bytes(project.audit.memory))
    memory = project.worker.memory or machine_memory()
    slots = (memory - BASE_BYTES) // need
    if slots < 1:
        raise ConfigError(
            f"a worker of {memory / 1e6:,.0f} MB has no room for one step of {need / 1e6:,.0f} MB "
            f"beside the {BASE_BYTES / 1e6:,.0f} MB it takes itself",
            where="[worker] memory",
            hint="give it more, or lower [engine] memory and [audit] memory",
        )
    return int(slots)


def machine_memory() -> int:
    """80 % of what this process may take: the cgroup's limit or the machine's memory, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            total = min(total, int(Path(path).read_text()))
    return int(total * _SHARE)


async def serve(project: Project, roles: Sequence[str], tell: Callable[[str], None]) -> None:
    """Serve until SIGTERM or Ctrl-C; then end, or hand over, what runs.

    Args:
        roles: ``control`` and ``data``, or one of them.
        tell: told when the worker takes work, and when it was told to stop.

    Raises:
        ConfigError: an unknown role, or too little memory.
        TemporalUnavailableError: the server cannot be reached.
    """
    for role in roles:
        if role not in ROLES:
            raise ConfigError(f"{role!r} is not a queue", hint=f"there are: {', '.join(ROLES)}")
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with (
        server_of(project) as server,
        tracing(project, os.environ) as interceptors,
        worker.open_activities(project) as activities,
    ):
        worker.warm(activities)
        client = await connect(project, server, interceptors)
        workers = [_worker(project, client, activities, role) for role in dict.fromkeys(roles)]
        async with _running(workers, project.worker.graceful_seconds) as running:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(
                    health.told(project.worker.health, client, running, stop)
                )
                await _begin(project, client, activities)
                tell(_said(project, server.address, roles))
                waiting = asyncio.create_task(stop.wait())
                await asyncio.wait([waiting, *running], return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                stop.set()
            tell("told to stop: no new work is taken")


def _said(project: Project, address: str, roles: Sequence[str]) -> str:
    build = f", build {builds.build_of(project)}" if builds.deployment_of(project) else ""
    rows = f", {data_slots(project)} data step(s) at once" if DATA in roles else ""
    return f"takes work of {project.name} from {address}: {', '.join(roles)}{rows}{build}"


def _worker(project: Project, client: Client, activities: GroupActivities, role: str) -> Worker:
    return worker.make_worker(
        client,
        queue_of(project, role),
        activities,
        slots=data_slots(project) if role == DATA else worker.PARALLEL_STEPS,
        graceful_seconds=project.worker.graceful_seconds,
    )


@asynccontextmanager
async def _running(
    workers: Sequence[Worker], graceful_seconds: float
) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Run workers side by side and stop them together.

    A step deep in native code cannot be told to stop. It gets its grace, and a little more, and is
    then left behind with the process: its heartbeat ends, and another worker takes it over.
    """
    tasks = [asyncio.create_task(one.run()) for one in workers]
    try:
        yield tasks
    finally:
        stopping = asyncio.gather(*(one.shutdown() for one in workers))
        try:
            await asyncio.wait_for(stopping, graceful_seconds + _LEAVE_SECONDS)
        except TimeoutError:
            _log.warning("a step did not end in time; it is left to another worker")
    for task in tasks:
        if task.done():
            task.result()


async def _begin(project: Project, client: Client, activities: GroupActivities) -> None:
    """What a worker tells once: its build, if it is the first, and how fresh the tables are."""
    # With the labels of the workflow's own meter, so that it is one series.
    labels = {
        "namespace": client.namespace,
        "task_queue": queue_of(project),
        "workflow_type": WriteAuditPublish.__name__,
    }
    meter = Runtime.default().metric_meter.with_additional_attributes(labels)
    for table in activities.catalog.tables():
        try:
            published = activities.catalog.published(table)
        except CatalogError as exc:
            # Its own runs will say so; those of other tables need this worker.
            _log.warning("how fresh %s is cannot be told: %s", table, exc.what)
            continue
        if published is not None:
            metrics.published(meter, str(table), published.snapshot.committed_at)
    config = builds.deployment_of(project)
    if config is None:
        return
    name, build = config.version.deployment_name, config.version.build_id
    deadline, wait = asyncio.get_running_loop().time() + _SEEN_SECONDS, 0.2
    while True:
        try:
            if await builds.make_current(client, name, build, only_first=True):
                _log.warning("build %s is the first of %s and takes new runs", build, name)
        except (ConfigError, TemporalUnavailableError):
            # The server has not heard of this worker yet, or several workers asked it at once:
            # it takes few changes of a deployment at a time, so each asks less and less often.
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - not a secret
            wait = min(2 * wait, _ASK_SECONDS)
        else:
            return
