"""The people who decide on a held run: how they see it, and what they say."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowHandle

from wap.model import Held, Progress, Refusal, RunResult, Waiver


async def held(handle: WorkflowHandle[Any, Any], *, unlike: RunResult | None = None) -> RunResult:
    """How the run stands once it waits, for another audit than ``unlike``."""
    while True:
        progress = await handle.query("progress", result_type=Progress)
        waiting = progress.held
        if waiting is not None and (unlike is None or waiting.held != unlike.held):
            return waiting
        await asyncio.sleep(0.02)


def _held(waiting: RunResult) -> Held:
    assert waiting.held is not None
    return waiting.held


def waiver(waiting: RunResult, **changes: Any) -> Waiver:
    """A yes that fits, but for what a test changes."""
    facts = {
        "run_id": waiting.run_id,
        "report_digest": _held(waiting).report_digest,
        "checks": _held(waiting).names,
        "person": "ann",
        "reason": "mended by Friday",
        "at": datetime(2026, 1, 1, tzinfo=UTC),
        "until": _held(waiting).since + timedelta(days=30),
    }
    return Waiver.model_validate({**facts, **changes})


def refusal(waiting: RunResult, **changes: Any) -> Refusal:
    """A no that fits, but for what a test changes."""
    facts = {
        "run_id": waiting.run_id,
        "report_digest": _held(waiting).report_digest,
        "person": "ann",
        "reason": "the feed is broken",
    }
    return Refusal.model_validate({**facts, **changes})
