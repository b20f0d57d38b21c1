"""A worker that is told to stop hands its step over; a run is not cancelled by a deployment."""

import asyncio
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio.worker import Worker

from tests.workflow.world import World
from wap import attempt
from wap.attempts import AttemptInterceptor
from wap.keeper import TableKeeper
from wap.model import Ending, RunRequest
from wap.workflow import WriteAuditPublish


def _worker(client, queue, world, threads):
    return Worker(
        client,
        task_queue=queue,
        workflows=[WriteAuditPublish, TableKeeper],
        activities=world.all(),
        activity_executor=threads,
        interceptors=[AttemptInterceptor(lambda *_: None, lambda *_: None, lambda *_: None)],
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=1),
        graceful_shutdown_timeout=timedelta(0),
    )


async def _deployed_meanwhile(env, world, inside):
    queue = uuid.uuid4().hex
    with ThreadPoolExecutor(4) as threads, ThreadPoolExecutor(4) as others:
        async with _worker(env.client, queue, world, threads):
            handle = await env.client.start_workflow(
                WriteAuditPublish.run,
                RunRequest(project="p", pipeline="flights", heartbeat_seconds=30),
                id=f"wap-{queue}",
                task_queue=queue,
            )
            assert await asyncio.to_thread(inside.wait, 20)
        async with _worker(env.client, queue, world, others):
            return await handle.result()


def test_a_step_that_is_stopped_is_done_by_another_worker(environment, temporal_loop):
    world, inside = World(), threading.Event()

    def until_told():
        if inside.is_set():
            return
        inside.set()
        told = threading.Event()
        while not attempt.cancelled():
            told.wait(0.01)
        raise RuntimeError("the engine broke off")

    world.during["stage"] = until_told
    work = _deployed_meanwhile(environment, world, inside)
    result = asyncio.run_coroutine_threadsafe(work, temporal_loop).result(60)
    assert result.ending is Ending.PUBLISHED
    assert world.calls.count("stage") == 2
    assert "drop_branch" not in world.calls
