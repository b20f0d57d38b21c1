"""One real Temporal server with time skipping for the suite, and a way to run a saga."""

import asyncio
import contextlib
import threading
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from tests.workflow.group_world import GroupWorld
from tests.workflow.world import World
from wap.group_workflow import PublishTogether
from wap.keeper import TableKeeper
from wap.model import Progress, RunRequest, RunResult
from wap.runtime import binary
from wap.workflow import WriteAuditPublish

Drive = Callable[[WorkflowHandle[Any, Any]], Awaitable[None]]
Saga = Callable[..., tuple[RunResult, BaseException | None]]


async def _environment() -> WorkflowEnvironment:
    return await WorkflowEnvironment.start_time_skipping_v2(
        dev_server_existing_path=binary(),
        dev_server_extra_args=[
            "--dynamic-config-value",
            "frontend.WorkflowTimeSkippingEnabled=true",
            "--dynamic-config-value",
            "history.transferProcessorMaxPollRPS=2000",
        ],
        dev_server_startup_timeout=timedelta(seconds=60),
        data_converter=pydantic_data_converter,
    )


async def _run_saga(
    env: WorkflowEnvironment,
    world: World | GroupWorld,
    drive: Drive | None,
    cached: int,
    *,
    skips: bool,
) -> tuple[RunResult, BaseException | None]:
    """Run one saga to its end: its result as the query tells it, and the workflow's failure."""
    queue = uuid.uuid4().hex
    with ThreadPoolExecutor(4) as threads:
        async with Worker(
            env.client,
            task_queue=queue,
            workflows=[WriteAuditPublish, TableKeeper, PublishTogether],
            activities=world.all(),
            activity_executor=threads,
            max_cached_workflows=cached,
        ):
            name, members, abreast = (
                ("nyc", world.names, world.abreast)
                if isinstance(world, GroupWorld)
                else ("flights", (), 1)
            )
            request = RunRequest(
                project="p",
                pipeline=name,
                members=members,
                heartbeat_seconds=30,
                abreast=abreast,
            )
            workflow = PublishTogether if members else WriteAuditPublish
            with contextlib.nullcontext() if skips else env.with_time_skipping_disabled():
                handle: WorkflowHandle[Any, Any] = await env.client.start_workflow(
                    workflow.__name__, request, id=f"wap-{queue}", task_queue=queue
                )
            if drive is not None:
                await drive(handle)
            failure: BaseException | None = None
            try:
                await handle.result()
            except WorkflowFailureError as exc:
                failure = exc.cause
            progress = await handle.query("progress", result_type=Progress)
            assert progress.result is not None
            return progress.result, failure


@pytest.fixture(scope="session")
def temporal_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture(scope="session")
def environment(temporal_loop: asyncio.AbstractEventLoop) -> Iterator[WorkflowEnvironment]:
    env = asyncio.run_coroutine_threadsafe(_environment(), temporal_loop).result()
    yield env
    asyncio.run_coroutine_threadsafe(env.shutdown(), temporal_loop).result()


@pytest.fixture
def saga(environment: WorkflowEnvironment, temporal_loop: asyncio.AbstractEventLoop) -> Saga:
    def run(
        world: World | GroupWorld,
        drive: Drive | None = None,
        *,
        cached: int = 100,
        skips: bool = True,
    ) -> tuple[RunResult, BaseException | None]:
        work = _run_saga(environment, world, drive, cached, skips=skips)
        return asyncio.run_coroutine_threadsafe(work, temporal_loop).result()

    return run
