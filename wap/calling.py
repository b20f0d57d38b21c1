"""How a workflow has a step done: the worker, the time and the attempts it is given."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy

from wap import failures
from wap.model import data_queue
from wap.steps import RunRef


async def call(
    step: Callable[..., Any],
    run: RunRef,
    *arguments: Any,
    limit: timedelta = failures.SHORT,
    retry: RetryPolicy = failures.STEP,
    moves_rows: bool = False,
) -> Any:
    """Have a step done, and wait for it; a cancel is passed on and its end waited for, too.

    Args:
        step: as it is declared.
        run: whose step it is.
        arguments: the others that the step takes.
        limit: for one attempt.
        retry: how often it is tried.
        moves_rows: it belongs to the workers with memory for rows, where there are any.

    Raises:
        ActivityError: it failed for good, or was cancelled.
    """
    queue = data_queue(workflow.info().task_queue) if run.request.data_queue else None
    return await workflow.execute_activity_method(
        step,
        args=[run, *arguments],
        task_queue=queue if moves_rows else None,
        start_to_close_timeout=limit,
        heartbeat_timeout=timedelta(seconds=run.request.heartbeat_seconds),
        retry_policy=retry,
        cancellation_type=workflow.ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
        summary=run.run_id,
    )
