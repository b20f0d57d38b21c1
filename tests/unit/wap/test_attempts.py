"""What every attempt is told of itself, and what the worker logs of an error."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from wap.attempt import begun_at
from wap.attempts import AttemptInterceptor, frames_of
from wap.model import RunRequest
from wap.steps import RunRef


def raised(exc: Exception) -> Exception:
    try:
        raise exc  # noqa: TRY301 - it wants a traceback
    except Exception as caught:  # noqa: BLE001 - whatever it is
        return caught


def test_frames_of_an_error_and_its_causes_are_told_without_their_messages():
    outer = raised(ValueError("password=hunter2"))
    outer.__cause__ = raised(KeyError("hunter2"))
    told = frames_of(outer)
    assert told.count("in raised") == 2
    assert told.startswith("ValueError\n")
    assert "KeyError\n" in told
    assert "hunter2" not in told


def test_errors_that_are_each_others_context_come_to_an_end():
    one, other = raised(ValueError()), raised(KeyError())
    one.__cause__, other.__context__ = other, one
    assert frames_of(one).count("in raised") == 2


class Step(ActivityInboundInterceptor):
    """A step that tells when it was begun."""

    def __init__(self) -> None: ...

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - Temporal's
        return begun_at()


def test_an_attempt_was_begun_when_temporals_clock_says_so():
    """A worker's own may be years off; a waiver's end is told by this."""
    there = datetime(2001, 1, 1, tzinfo=UTC)
    outer = AttemptInterceptor(lambda *_: None, lambda *_: None, lambda *_: None)
    run = RunRef(run_id="r1", request=RunRequest(project="p", pipeline="orders"))
    given = ExecuteActivityInput(fn=lambda: None, args=[run], executor=None, headers={})
    temporal = ActivityEnvironment()
    temporal.info = replace(temporal.info, started_time=there)
    told = asyncio.run(temporal.run(outer.intercept_activity(Step()).execute_activity, given))
    assert told == there
