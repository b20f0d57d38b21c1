"""Every attempt of a step: its heartbeat, its facts, and errors that Temporal can read."""

from __future__ import annotations

import asyncio
import logging
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, CancelledError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ExecuteActivityInput,
    Interceptor,
)

from catalog.errors import CatalogError
from checks.errors import ChecksError
from wap import failures
from wap.attempt import Attempt, cancelled, working_on
from wap.drill.crash import When
from wap.errors import WapError
from wap.metrics import step_ended
from wap.model import StepFacts

#: Beats per second decide how soon a cancel is heard and how live the progress looks.
BEAT_SECONDS = 0.5

_KIB = 1024

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AttemptInterceptor(Interceptor):
    """Wraps every attempt.

    Attributes:
        began: told of an attempt that follows another, before it does anything: the run's id, the
            step, which attempt it is.
        record: told the facts of each finished attempt (run id first).
        boundary: called before a step and after its effect; a drill crashes there.
    """

    began: Callable[[str, str, int], None]
    record: Callable[[str, StepFacts], None]
    boundary: Callable[[str, When, int], None]

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - Temporal's name
        """Put ourselves before the step."""
        return _Inbound(next, self)


class _Inbound(ActivityInboundInterceptor):
    def __init__(self, next: ActivityInboundInterceptor, outer: AttemptInterceptor) -> None:  # noqa: A002 - Temporal's name
        super().__init__(next)
        self._outer = outer

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - Temporal's name
        run_id, info = input.args[0].run_id, activity.info()
        attempt = Attempt(
            info.activity_type, info.attempt, info.started_time, activity.is_cancelled
        )
        beat = asyncio.create_task(_beat(attempt))
        usage, failed = _Usage(), True
        try:
            with working_on(attempt), _translated():
                try:
                    if attempt.number > 1:
                        await asyncio.to_thread(
                            self._outer.began, run_id, attempt.step, attempt.number
                        )
                    self._outer.boundary(info.activity_type, "before", info.attempt)
                    value = await self.next.execute_activity(input)
                    self._outer.boundary(info.activity_type, "after", info.attempt)
                    failed = False
                    return value
                finally:
                    facts = usage.facts()
                    step_ended(activity.metric_meter(), facts.name, facts.seconds, failed=failed)
                    # Off the event loop: the run's folder may lie across a network.
                    await asyncio.to_thread(self._outer.record, run_id, facts)
        finally:
            beat.cancel()


async def _beat(attempt: Attempt) -> None:
    """Tell the server that the worker lives; the step's thread may be deep in native code.

    In a threaded step Temporal's heartbeat waits for the event loop, so it is called off the loop.
    """
    while True:
        await asyncio.to_thread(activity.heartbeat, attempt.progress)
        await asyncio.sleep(BEAT_SECONDS)


class _Usage:
    """What an attempt takes; CPU and peak memory are the worker process's own."""

    def __init__(self) -> None:
        self._began, self._started_at = time.perf_counter(), datetime.now(UTC)
        self._before = resource.getrusage(resource.RUSAGE_SELF)

    def facts(self) -> StepFacts:
        before, after = self._before, resource.getrusage(resource.RUSAGE_SELF)
        info = activity.info()
        return StepFacts(
            name=info.activity_type,
            started_at=self._started_at,
            seconds=time.perf_counter() - self._began,
            attempts=info.attempt,
            cpu_seconds=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
            peak_memory_bytes=after.ru_maxrss * _KIB,
        )


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of ours become application errors by class name; only ``…Unavailable…`` is retried."""
    try:
        yield
    except (ApplicationError, CancelledError, asyncio.CancelledError):
        raise
    except Exception as exc:
        if cancelled():
            # What broke off because it was told to stop is a cancel, whatever it raised. When its
            # worker stops, and not its run, the SDK makes of it a failure that is tried again.
            raise CancelledError("cancelled") from exc
        name = type(exc).__name__
        ours = isinstance(exc, WapError | CatalogError | ChecksError)
        message = str(exc) if ours else f"{name}: {exc}"
        _log.warning("%s came from:\n%s", name, frames_of(exc))
        # Without its cause: the history keeps causes, and a vendor's may quote a URL with its key.
        raise ApplicationError(
            message, type=name, non_retryable=not failures.is_retried(name)
        ) from None


def frames_of(exc: BaseException) -> str:
    """Where an error and its causes came from: types and lines of code, no message of theirs."""
    parts: list[str] = []
    seen: set[int] = set()
    cause: BaseException | None = exc
    # Errors can be each other's context: a vendor's that was raised while ours was handled, as its
    # cause. Followed for ever, the worker would stand still and eat memory.
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        parts.append(f"{type(cause).__name__}\n{''.join(traceback.format_tb(cause.__traceback__))}")
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "".join(parts)
