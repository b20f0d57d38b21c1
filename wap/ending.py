"""The last steps of a run, whatever it came to; none of them can change the ending any more."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
from collections.abc import Awaitable, Callable
from typing import Any

from temporalio.exceptions import ActivityError

from wap import failures
from wap.model import RunResult
from wap.steps import Steps


async def told_and_closed(step: Callable[..., Awaitable[Any]], result: RunResult) -> RunResult:
    """Lineage, report and ledger of one table; what could not be told of it is a warning.

    Args:
        step: has a step of the run done, and waits for it.
        result: what the run came to.
    """
    if not result.nothing_new:
        try:
            await step(Steps.record_lineage, result, retry=failures.LINEAGE, heed_cancel=False)
        except ActivityError as exc:
            result = result.warned(f"lineage not recorded: {failures.describe(exc)}")
    try:
        closed: RunResult = await step(
            Steps.close, result, retry=failures.FORWARD, heed_cancel=False
        )
    except ActivityError as exc:
        return result.warned(f"report or ledger not written: {failures.describe(exc)}")
    return closed
