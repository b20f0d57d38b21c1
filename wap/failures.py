"""The one table of what is retried, how often and for how long."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.common import RetryPolicy
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    TimeoutError,  # noqa: A004 - Temporal's own, which is not Python's
)

#: Error types (class names) that a later attempt can overcome by itself.
RETRIED = frozenset(
    {
        "AuditorUnavailableError",
        "CatalogUnavailableError",
        "EngineUnavailableError",
        "LedgerUnavailableError",
        "LineageUnavailableError",
        "SourceUnavailableError",
        "StoreUnavailableError",
    }
)

#: A sick neighbour is asked again for half a minute beside what each attempt itself waits.
#: (A locked SQLite is waited for up to a minute an attempt, so such a run ends after minutes.)
STEP = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(seconds=30),
    maximum_attempts=6,
    # Temporal refuses a payload that is too large on every attempt alike.
    non_retryable_error_types=["PayloadsTooLarge"],
)

#: An undo, and what follows a publish, is worth waiting longer for: about four minutes.
FORWARD = RetryPolicy(
    initial_interval=timedelta(seconds=1),
    backoff_coefficient=2.0,
    maximum_interval=timedelta(minutes=1),
    maximum_attempts=10,
    non_retryable_error_types=["PayloadsTooLarge"],
)

#: The lineage may be late, but it must not keep a run open.
LINEAGE = RetryPolicy(
    initial_interval=timedelta(seconds=1), backoff_coefficient=2.0, maximum_attempts=3
)

#: Longest time one attempt of a step may take.
SHORT = timedelta(minutes=10)
LONG = timedelta(hours=24)


def is_retried(error_type: str) -> bool:
    """Whether another attempt is worth it."""
    return error_type in RETRIED


def cause_of(error: BaseException) -> ApplicationError | None:
    """The application error at the bottom of an activity error, None for a timeout or a crash."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ApplicationError):
            return seen
        seen = seen.__cause__
    return None


def describe(error: BaseException) -> str:
    """One message for people: what happened, where, and the hint."""
    cause = cause_of(error)
    if cause is not None:
        return cause.message
    inner = error.__cause__ if isinstance(error, ActivityError) else error
    if isinstance(inner, CancelledError | asyncio.CancelledError):
        return "cancelled"
    if isinstance(inner, TimeoutError):
        return f"the step did not answer in time ({inner.message})"
    return str(inner or error)


def type_of(error: BaseException) -> str:
    """Class name of the error at the bottom."""
    cause = cause_of(error)
    return (cause.type if cause is not None else None) or type(error).__name__


def is_type(error: BaseException, *names: str) -> bool:
    """Whether the error at the bottom is of one of these types (class names)."""
    cause = cause_of(error)
    return cause is not None and cause.type in names
