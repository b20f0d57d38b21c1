"""The way of a union: several runs' batches staged as one, audited once, published or undone."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import ActivityError

from wap import failures
from wap.calling import call
from wap.saga import uninterrupted
from wap.steps import Audited, Rebased, RunRef, Steps, Undone, United

#: Main may move under a union so often; then its members go alone.
MAX_REBASES = 10


Ending = Literal["published", "failed", "broken"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a union.

    Attributes:
        ending: ``published``; ``failed``: its audit did not pass; ``broken``: anything else.
        members: ids of the runs that it held.
    """

    ending: Ending
    members: frozenset[str] = frozenset()


class Joint:
    """One union on its way to main."""

    def __init__(self, union: RunRef) -> None:
        self._union = union
        self._published = False

    async def publish(self, runs: Sequence[RunRef]) -> Outcome:
        """Publish the batches of the runs together, or leave no trace of the attempt.

        Raises:
            CancelledError: the keeper was cancelled; the union is undone.
        """
        members: frozenset[str] = frozenset()
        ending: Ending = "broken"
        try:
            united: United = await call(Steps.unite, self._union, tuple(runs))
            members = frozenset(united.members)
            if members:
                ending = await self._audit_and_publish()
        except ActivityError as exc:
            if workflow.cancellation_reason() is not None:
                raise
            workflow.logger.warning("union %s: %s", self._union.run_id, failures.describe(exc))
        finally:
            await uninterrupted(self._dissolve())
        return Outcome("published" if self._published else ending, members)

    async def _audit_and_publish(self) -> Ending:
        for _ in range(MAX_REBASES):
            await call(Steps.reconcile, self._union)
            audited: Audited = await call(
                Steps.audit, self._union, limit=failures.LONG, moves_rows=True
            )
            if not audited.passed:
                return "failed"
            await call(Steps.seal, self._union, audited)
            try:
                await call(Steps.publish, self._union, audited, retry=failures.FORWARD)
            except ActivityError as exc:
                if not failures.is_type(exc, "HeadMovedError"):
                    raise
            else:
                return "published"
            rebased: Rebased = await call(Steps.rebase, self._union)
            if rebased.redo is not None:
                break
        return "broken"

    async def _dissolve(self) -> None:
        """Undo the union unless main holds it: a publish may have had effect and not said so."""
        try:
            undone: Undone = await call(Steps.dissolve, self._union, retry=failures.FORWARD)
        except ActivityError as exc:
            # Nobody publishes it any more; `wap maintain` finds what is left by its folder.
            workflow.logger.warning("union %s: %s", self._union.run_id, failures.describe(exc))
        else:
            self._published = undone.published is not None
