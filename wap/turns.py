"""A run's place in the queue of its table: what it says to the table's keeper, and hears of it."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
import hashlib
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import ActivityError, FailureError

from wap.model import RunRequest, Value
from wap.saga import uninterrupted

#: What a run and its keeper call each other by.
KEEPER = "TableKeeper"
ENLIST, LEAVE, HEAR = "enlist", "leave", "hear"

#: Whoever waits looks so soon whether the other one is still there, then ever more seldom.
FIRST_LOOK = timedelta(seconds=15)
LAST_LOOK = timedelta(minutes=5)
#: So long a run waits for a keeper that is there and says nothing; then it goes its own way.
PATIENCE = timedelta(hours=1)
#: So long somebody who leaves waits for the end of a union that holds it.
FAREWELL = timedelta(minutes=10)


class Ticket(Value):
    """A run that waits for its turn.

    Attributes:
        workflow_id, execution: where it hears the answer.
        run_id, request, round: which run it is, as its steps know it.
        number: how often it has asked: an answer to an earlier question is none.
        kin: runs of the same kin may be published together; "": it goes alone.
    """

    workflow_id: str
    execution: str
    run_id: str
    request: RunRequest
    round: int
    number: int
    kin: str = ""


class Answer(Value):
    """What a keeper says to a run.

    Attributes:
        number: of the ticket.
        kind: ``turn``: it is the run's turn until it gives it back; ``settled``: a union has
            published the batch; ``left``: the run is no longer in the queue.
    """

    number: int
    kind: Literal["turn", "settled", "left"]


def keeper_id(project: str, table: str) -> str:
    """Workflow id of a table's keeper; it tells the name to nobody who must not read payloads."""
    return f"wap-{project}-keeper-{hashlib.sha256(table.encode()).hexdigest()[:16]}"


class Place:
    """A run's place in the queue, inside its workflow.

    A turn keeps runs from losing races against each other. It is no lock: what is right rests on
    the compare-and-swap of the catalog, so that a run whose keeper is gone, or who has waited long
    enough, goes on without one.
    """

    def __init__(self) -> None:
        self._keeper = ""
        self._ticket: Ticket | None = None
        self._asked = 0
        self._answer: Answer | None = None

    @property
    def has_turn(self) -> bool:
        """Whether it is the run's turn."""
        return self._ticket is not None and self._said("turn")

    def hear(self, answer: Answer) -> None:
        """The keeper says something; what it says to an earlier question is not meant."""
        if self._ticket is not None and answer.number == self._ticket.number:
            self._answer = answer

    async def wait(
        self, keeper: str, ticket: Ticket, enlist: Callable[[Ticket], Awaitable[None]]
    ) -> None:
        """Queue, until it is the run's turn, a union has taken it, or nobody gives turns.

        Whoever is cancelled meanwhile has left the queue when this raises.

        Args:
            keeper: workflow id of the table's keeper.
            ticket: the run's; its number is given here.
            enlist: hands it in; starts the keeper where there is none.
        """
        self._asked += 1
        self._keeper, self._answer = keeper, None
        self._ticket = ticket = ticket.model_copy(update={"number": self._asked})
        since, look = workflow.now(), FIRST_LOOK
        try:
            while self._answer is None and workflow.now() - since < PATIENCE:
                # Again and again: a keeper that was terminated has forgotten who waits.
                await enlist(ticket)
                look = await self._listen(look)
        except ActivityError:
            if workflow.cancellation_reason() is not None:
                raise
            workflow.logger.warning("no keeper can be had; the run goes on without one")
        finally:
            if not self.has_turn:
                await uninterrupted(self.leave())

    async def leave(self) -> None:
        """Give the turn back, or leave the queue; not before a union that holds the run is over.

        A keeper that is gone, or says nothing, is not waited for: a batch that is dropped is
        published by nobody.
        """
        ticket, held = self._ticket, self.has_turn
        if ticket is None or self._said("settled", "left"):
            self._ticket = None
            return
        handle = workflow.get_external_workflow_handle(self._keeper)
        until, look = workflow.now() + FAREWELL, FIRST_LOOK
        try:
            while workflow.now() < until:
                await handle.signal(LEAVE, ticket)
                if held:
                    break
                look = await self._listen(look)
                if self._answer is not None:
                    break  # a turn that came just now ends with the signal that was sent before
        except FailureError as exc:
            workflow.logger.info("the keeper is gone: %s", exc)
        self._ticket = None

    def _said(self, *kinds: str) -> bool:
        return self._answer is not None and self._answer.kind in kinds

    async def _listen(self, limit: timedelta) -> timedelta:
        """Wait for an answer; how long to wait the next time."""
        try:
            await workflow.wait_condition(lambda: self._answer is not None, timeout=limit)
        except TimeoutError:
            return min(limit * 2, LAST_LOOK)
        return limit
