"""``Attempt``: the attempt at a step that runs now, known without Temporal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime


def _never() -> bool:
    return False


@dataclass(slots=True)
class Attempt:
    """The attempt that runs now: where a step reports how far it is.

    Attributes:
        step: its name; "" outside of Temporal.
        number: which attempt at it this is, from 1.
        begun_at: when it was begun, by Temporal's clock: a worker's own may be hours off.
        stopped: whether it was told to stop.
    """

    step: str = ""
    number: int = 1
    begun_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    stopped: Callable[[], bool] = _never
    progress: dict[str, int] = field(default_factory=dict)

    def report(self, **progress: int) -> None:
        """Numbers for the live display: ``rows``, ``bytes_read``, ``bytes_written``."""
        self.progress.update(progress)


_CURRENT: ContextVar[Attempt] = ContextVar("wap_attempt")


def current() -> Attempt:
    """The attempt this thread works for; a fresh one outside of Temporal."""
    return _CURRENT.get(Attempt())


@contextmanager
def working_on(attempt: Attempt) -> Iterator[None]:
    """Make it the current one, also of threads that are started from here with this context."""
    token = _CURRENT.set(attempt)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def cancelled() -> bool:
    """Whether the attempt was told to stop; False outside of Temporal."""
    return current().stopped()


def begun_at() -> datetime:
    """When the attempt that runs now was begun."""
    return current().begun_at
