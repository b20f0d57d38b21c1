"""How a workflow calls one step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from wap.model import data_queue
    from wap.steps import RunRef


async def call(
    step: Callable[..., Any],
    run: RunRef,
    *arguments: Any,
    limit: timedelta,
    retry: RetryPolicy,
    moves_rows: bool,
) -> Any:
    """Run one step, and wait until a worker that is told to stop has stopped.

    Args:
        step: as declared.
        run: its first argument.
        limit: longest time of one attempt.
        retry: what is tried again.
        moves_rows: workers with memory for rows take it, where the request says there are some.
    """
    request = run.request
    return await workflow.execute_activity_method(
        step,
        args=[run, *arguments],
        task_queue=data_queue(workflow.info().task_queue)
        if moves_rows and request.data_queue
        else None,
        start_to_close_timeout=limit,
        heartbeat_timeout=timedelta(seconds=request.heartbeat_seconds),
        retry_policy=retry,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=run.run_id,
    )
