"""What every door does around a run: server, worker, start, follow, cancel, and leave."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from temporalio.client import Client, Interceptor
from temporalio.service import RPCError

from catalog.errors import CatalogError
from wap import attributes, connecting, runtime
from wap import client as temporal
from wap.client import Handle
from wap.errors import StoreUnavailableError
from wap.logs import log_to
from wap.model import Held, Refusal, RunRequest, Waiver
from wap.project import Project
from wap.queues import CONTROL, DATA, DOOR, ROLES, is_served, queue_of
from wap.telemetry import tracing
from wap.watched import Watched

#: Starts a run, or tells one that is there what was decided.
Begin = Callable[[Client, Watched], Awaitable[Handle]]

#: How often a door looks whether the warm worker still lives.
STAND_BY_SECONDS = 1.0
#: How often it asks a given server whether workers are there.
LOOK_FOR_WORKERS_SECONDS = 5.0


def run_requests(
    project: Project,
    requests: Sequence[RunRequest],
    *,
    changed: Callable[[Sequence[Watched]], None],
    server_found: Callable[[runtime.Server], None],
) -> list[Watched]:
    """Run pipelines side by side to their ends; Ctrl-C cancels them and waits for the roll-back.

    Args:
        changed: told whenever there is news.
        server_found: told where the server answers, before anything starts.

    Raises:
        TemporalUnavailableError: no server can be reached or started.
    """
    watched = [Watched(request) for request in requests]

    async def begin(client: Client, one: Watched) -> Handle:
        return await temporal.start(client, queue_of(project), one)

    return _attend(project, watched, begin, changed=changed, server_found=server_found)


def decide(
    project: Project,
    held: Held,
    said: Waiver | Refusal,
    *,
    changed: Callable[[Sequence[Watched]], None],
    server_found: Callable[[runtime.Server], None],
) -> Watched:
    """Tell a held run what a person decided, and take it to its end, or until it is held again.

    Raises:
        DecisionRefusedError: it cannot be decided so; nothing was changed.
        TemporalUnavailableError: no server can be reached or started.
    """
    watched = [Watched(held.request, resumed=True)]

    async def begin(client: Client, _: Watched) -> Handle:
        return await temporal.decide(client, held, said)

    return _attend(project, watched, begin, changed=changed, server_found=server_found)[0]


def _attend(
    project: Project,
    watched: list[Watched],
    begin: Begin,
    *,
    changed: Callable[[Sequence[Watched]], None],
    server_found: Callable[[runtime.Server], None],
) -> list[Watched]:
    log_to(project.state)
    warm = runtime.has_warm_worker(folder_of(project))
    with ThreadPoolExecutor(1) as beside:
        # A second of imports, while the server starts beside us; a given one may have its workers.
        alone = not warm and project.temporal.address is None
        imports = beside.submit(importlib.import_module, "wap.worker") if alone else None
        with server_of(project) as server:
            server_found(server)
            if imports is not None:
                imports.result()
            told = _run(project, server, watched, begin, lambda: changed(watched), warm=warm)
            asyncio.run(told)
            if project.runs.location is not None:
                _fetch_reports(project, watched)
            return watched


def _fetch_reports(project: Project, watched: Sequence[Watched]) -> None:
    """Bring the reports that workers elsewhere wrote to where the door says they are."""
    from wap.homes import open_home  # noqa: PLC0415 - heavy, and seldom needed

    for one in watched:
        if one.result is None or one.result.report is None:
            continue
        told = [one.result, *one.result.members]
        try:
            for run in told:
                if run.report is not None:
                    open_home(project).fetch_report(run.run_id, project.reports)
        except (StoreUnavailableError, CatalogError) as exc:
            said = f"the report was not brought here: {exc.what}"
            warnings = (*one.result.warnings, said)
            one.result = one.result.model_copy(update={"warnings": warnings})


def folder_of(project: Project) -> Path:
    """Where the project's own server keeps its database and locks."""
    return project.state / "temporal"


def server_of(project: Project) -> contextlib.AbstractContextManager[runtime.Server]:
    """The given server, or the project's own, kept running inside the context."""
    if project.temporal.address is not None:
        return contextlib.nullcontext(runtime.Server(project.temporal.address))
    return runtime.embedded(folder_of(project))


async def _run(
    project: Project,
    server: runtime.Server,
    watched: Sequence[Watched],
    begin: Begin,
    changed: Callable[[], None],
    *,
    warm: bool,
) -> None:
    with tracing(project, os.environ) as interceptors:
        client = await connect(project, server, interceptors)
        for one in watched:
            if not one.resumed:
                one.request = await _fitted(project, client, one.request)
        await _run_all(project, client, watched, begin, changed, warm=warm)


async def _run_all(
    project: Project,
    client: Client,
    watched: Sequence[Watched],
    begin: Begin,
    changed: Callable[[], None],
    *,
    warm: bool,
) -> None:
    async with _worker(project, client, watched, warm=warm):
        stopped = asyncio.Event()
        _hear(stopped)
        handles = [await begin(client, one) for one in watched]

        async def cancel_when_told() -> None:
            await stopped.wait()
            await temporal.cancel(handles, watched)
            changed()

        cancelling = asyncio.create_task(cancel_when_told())
        await asyncio.gather(
            *(temporal.follow(h, w, changed) for h, w in zip(handles, watched, strict=True))
        )
        if not stopped.is_set():
            cancelling.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cancelling


def _hear(stopped: asyncio.Event) -> None:
    """Hear Ctrl-C and SIGTERM from here on: a started run is cancelled, never left to itself.

    To the door's end, not the loop's as asyncio's own handlers: what comes when the run is over
    comes too late, and must not take its result from whoever waits for it.
    """
    loop = asyncio.get_running_loop()

    def hear(*_: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run is over
            loop.call_soon_threadsafe(stopped.set)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, hear)


async def connect(
    project: Project, server: runtime.Server, interceptors: Sequence[Interceptor] = ()
) -> Client:
    """A client for the project's server.

    Raises:
        ConfigError: what TLS needs cannot be read.
        TemporalUnavailableError: it does not answer, or refuses us.
    """
    return await connecting.connect(
        server.address, project.temporal, project.root, interceptors=interceptors
    )


async def _fitted(project: Project, client: Client, request: RunRequest) -> RunRequest:
    """The request with what this server and its workers can do."""
    if project.temporal.address is None:
        # Our own server was started with the search attributes, and has no worker but ours.
        return request.model_copy(update={"indexed": project.temporal.search_attributes != "off"})
    return request.model_copy(
        update={
            "indexed": await attributes.are_set(client, project.temporal),
            "data_queue": await is_served(client, project, DATA),
        }
    )


async def _leaves_work_to_others(project: Project, client: Client) -> bool:
    """Whether workers of a given server are there to do the run."""
    if project.temporal.address is None or project.worker.door == "always":
        return False
    return project.worker.door == "never" or await is_served(client, project, CONTROL)


@asynccontextmanager
async def _worker(
    project: Project, client: Client, watched: Sequence[Watched], *, warm: bool
) -> AsyncIterator[None]:
    """Our own worker, unless ``wap up`` keeps a warm one or workers serve the queue."""
    others = not warm and await _leaves_work_to_others(project, client)
    if not warm and not others:
        # A run that was begun for data workers needs one, also where none is there any more.
        both = any(one.resumed and one.request.data_queue for one in watched)
        async with _own_worker(project, client, ROLES if both else (CONTROL,)):
            yield
        return
    if others and project.worker.door == "never":
        yield
        return
    needed = ROLES if any(one.request.data_queue for one in watched) else (CONTROL,)
    watch = _until_unserved(project, client, needed) if others else _until_cold(project)
    standing_by = asyncio.create_task(_stand_by(project, client, watch))
    try:
        yield
    finally:
        standing_by.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await standing_by


@asynccontextmanager
async def _own_worker(
    project: Project, client: Client, roles: Sequence[str]
) -> AsyncIterator[None]:
    from wap import worker  # noqa: PLC0415 - heavy; imported beside the server's start

    with worker.open_activities(project) as activities:
        async with AsyncExitStack() as stack:
            for role in roles:
                await stack.enter_async_context(
                    worker.make_worker(
                        client, queue_of(project, role), activities, identity=_identity(client)
                    )
                )
            yield


def _identity(client: Client) -> str:
    return f"{DOOR}-{client.identity}"


async def _stand_by(project: Project, client: Client, dead: Coroutine[None, None, None]) -> None:
    """Take over when the workers die under a run: nobody else would, and it would wait."""
    await dead
    async with _own_worker(project, client, ROLES if project.temporal.address else (CONTROL,)):
        await asyncio.Event().wait()


async def _until_cold(project: Project) -> None:
    while runtime.has_warm_worker(folder_of(project)):  # noqa: ASYNC110 - another process's lock
        await asyncio.sleep(STAND_BY_SECONDS)


async def _until_unserved(project: Project, client: Client, roles: Sequence[str]) -> None:
    while True:
        await asyncio.sleep(LOOK_FOR_WORKERS_SECONDS)
        with contextlib.suppress(RPCError):  # a server that is away is asked again
            if not all([await is_served(client, project, role) for role in roles]):
                return
