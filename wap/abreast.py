"""Work for several members of a group at once: so many as fit, and never one left behind."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from temporalio import workflow

from wap.saga import uninterrupted

T = TypeVar("T")


class Abreast:
    """Does the same for each of several members, with a limit.

    Where one fails, or the run is cancelled, no other is begun, those under way are cancelled, and
    all of them have ended before anybody hears of it: what is undone then is written by nobody any
    more.

    Attributes:
        limit: so many at once; 1: in turn, as one failing step ends them all.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._over = False

    def raise_if_over(self) -> None:
        """End the work for a member when another has failed: its step may not have heard of it.

        Raises:
            CancelledError: one has.
        """
        if self._over:
            raise asyncio.CancelledError

    async def each(self, work: Callable[[T], Awaitable[None]], members: Sequence[T]) -> None:
        """Do the work for each.

        Raises:
            Exception: that of the first one that failed.
            CancelledError: the run is cancelled.
        """
        waiting = list(members)
        if self.limit == 1:
            for member in waiting:
                await work(member)
            return

        async def lane() -> None:
            while waiting and not self._over:
                await work(waiting.pop(0))

        lanes = [asyncio.create_task(lane()) for _ in range(min(self.limit, len(waiting)))]
        first: list[asyncio.Task[None]] = []
        try:
            if lanes:
                done, _ = await workflow.wait(lanes, return_when=asyncio.FIRST_EXCEPTION)
                first = [task for task in lanes if task in done]
        finally:
            self._over = any(not task.done() or _failed(task) for task in lanes)
            for task in lanes:
                task.cancel()
            await uninterrupted(_ended(lanes))
        for task in first:
            task.result()


def _failed(task: asyncio.Task[None]) -> bool:
    return task.cancelled() or task.exception() is not None


async def _ended(lanes: Sequence[asyncio.Task[None]]) -> None:
    """Wait until all have ended, however they do."""
    if lanes:
        await workflow.wait(lanes)
