"""What every door does around a run: server, worker, start, follow, cancel, and leave."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client

from wap import client as temporal
from wap import runtime
from wap.client import Watched
from wap.logs import log_to
from wap.model import RunRequest
from wap.project import Project

#: How often a door looks whether the warm worker still lives.
STAND_BY_SECONDS = 1.0


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
    log_to(project.state)
    warm = runtime.has_warm_worker(folder_of(project))
    with ThreadPoolExecutor(1) as beside:
        # A second of imports, while the server starts beside us.
        imports = None if warm else beside.submit(importlib.import_module, "wap.worker")
        with server_of(project) as server:
            server_found(server)
            if imports is not None:
                imports.result()
            watched = [Watched(request) for request in requests]
            asyncio.run(_run(project, server, watched, lambda: changed(watched), warm=warm))
            return watched


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
    changed: Callable[[], None],
    *,
    warm: bool,
) -> None:
    client = await connect(project, server)
    async with _worker(project, client, warm=warm):
        # Heard from here on: a run that has been started is cancelled, never left to itself.
        stopped = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stopped.set)
        handles = [await temporal.start(client, queue_of(project), one) for one in watched]

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


async def connect(project: Project, server: runtime.Server) -> Client:
    """A client for the project's server."""
    settings = project.temporal
    key = settings.api_key.get_secret_value() if settings.api_key else None
    return await temporal.connect(
        server.address, namespace=settings.namespace, api_key=key, tls=settings.tls or None
    )


@asynccontextmanager
async def _worker(project: Project, client: Client, *, warm: bool) -> AsyncIterator[None]:
    """Our own worker, unless ``wap up`` keeps a warm one."""
    if not warm:
        async with _own_worker(project, client):
            yield
        return
    standing_by = asyncio.create_task(_stand_by(project, client))
    try:
        yield
    finally:
        standing_by.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await standing_by


@asynccontextmanager
async def _own_worker(project: Project, client: Client) -> AsyncIterator[None]:
    from wap import worker  # noqa: PLC0415 - heavy; imported beside the server's start

    with worker.open_activities(project) as activities:
        async with worker.make_worker(client, queue_of(project), activities):
            yield


async def _stand_by(project: Project, client: Client) -> None:
    """Take over when the warm worker dies under a run: nobody else would, and it would wait."""
    while runtime.has_warm_worker(folder_of(project)):  # noqa: ASYNC110 - another process's lock
        await asyncio.sleep(STAND_BY_SECONDS)
    async with _own_worker(project, client):
        await asyncio.Event().wait()


def queue_of(project: Project) -> str:
    """The queue that the project's runs and workers meet at."""
    return f"wap-{project.id}"
