"""The saga's compensations: registered before the step they undo, run backwards, all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

Undo = Callable[[], Awaitable[None]]


@dataclass(slots=True)
class Saga:
    """A stack of compensations.

    A compensation is registered *before* its step starts, because a step can take effect and
    fail to say so; it must therefore be harmless where the step did nothing.
    """

    _stack: list[tuple[str, Undo]] = field(default_factory=list)

    def undo_with(self, name: str, undo: Undo) -> None:
        """Register the undo of the step that starts next."""
        self._stack.append((name, undo))

    def commit(self) -> None:
        """Pass the point of no return: from here on the saga only goes forward."""
        self._stack.clear()

    async def compensate(self) -> dict[str, Exception]:
        """Run every compensation, last registered first; one that fails does not stop the rest.

        Returns:
            The failures by compensation name; empty when everything was undone.
        """
        failures: dict[str, Exception] = {}
        while self._stack:
            name, undo = self._stack.pop()
            try:
                await undo()
            except Exception as exc:  # noqa: BLE001 - collected, and reported by the caller
                failures[name] = exc
        return failures


async def uninterrupted(work: Coroutine[Any, Any, T]) -> T:
    """Finish ``work`` whatever the caller is told: a cancel, or a second one, cannot cut it short.

    The cancels are not lost: a caller that cares looks at ``asyncio.current_task().cancelling()``.
    """
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
        except Exception:  # noqa: BLE001 - raised by task.result() below
            break
    return task.result()
