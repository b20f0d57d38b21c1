"""The workflow ``TableKeeper``: the queue of the runs that wait to publish into one table."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
import re
from collections.abc import Collection, Sequence
from typing import Literal

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from wap.joint import Joint, Outcome
    from wap.steps import RunRef
    from wap.turns import FIRST_LOOK, HEAR, LAST_LOOK, Answer, Ticket

#: So many runs a union takes at once; its seal names them all in a snapshot's summary.
MAX_UNION = 64


def union_id(first: Ticket, number: int) -> str:
    """Names a union; ends as the ids of runs do, with the mark of the keeper's execution.

    So whoever asks which runs are at work finds the keeper behind it.
    """
    info = workflow.info()
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", first.request.pipeline).strip("-")
    mark = info.first_execution_run_id.replace("-", "")[-8:]
    return f"union-{stem}-{number}-{info.start_time:%Y%m%d-%H%M%S}-{mark}"


@workflow.defn
class TableKeeper:
    """The queue of one table. It begins with the first run that waits and ends with the last.

    Who waits alone gets a turn, and publishes by itself. Several that fit together are published
    as a union, with one audit; where that fails, by halves, until whoever is bad has a turn of its
    own and hears the verdict from its own audit.

    Whatever becomes of a keeper, nothing is lost: runs that wait ask again, and start another one.
    """

    @workflow.init
    def __init__(self, table: str, queue: tuple[Ticket, ...] = (), unions: int = 0) -> None:
        self._table = table
        #: All who wait or have the turn, first come first.
        self._tickets = {ticket.execution: ticket for ticket in queue}
        #: What a failed union was split into; it goes before all others.
        self._groups: list[list[str]] = []
        self._turn = ""
        self._joined: frozenset[str] = frozenset()
        self._leaving: set[str] = set()
        self._unions = unions

    @workflow.signal
    def enlist(self, ticket: Ticket) -> None:
        """A run waits for its turn; asking again changes nothing."""
        known = self._tickets.get(ticket.execution)
        if known is not None and known.number == ticket.number:
            return
        if self._turn == ticket.execution:
            self._turn = ""  # it asks for another turn, so it has done with this one
        self._tickets.pop(ticket.execution, None)
        self._tickets[ticket.execution] = ticket

    @workflow.signal
    async def leave(self, ticket: Ticket) -> None:
        """A run gives its turn back, or waits no longer."""
        if ticket.execution in self._joined:
            self._leaving.add(ticket.execution)  # told when the union is over
            return
        self._tickets.pop(ticket.execution, None)
        if self._turn == ticket.execution:
            self._turn = ""
            return
        await self._tell(ticket, "left")

    @workflow.query
    def waiting(self) -> list[str]:
        """Ids of the runs that are in the queue, those whose turn it is included."""
        return [ticket.run_id for ticket in self._tickets.values()]

    @workflow.run
    async def run(self, table: str, queue: tuple[Ticket, ...] = (), unions: int = 0) -> int:
        """Serve whoever waits; how many unions it has tried.

        Args:
            table: whose queue it is.
            queue: who waited already, when an execution goes on as another one.
            unions: how many that one has tried.
        """
        del table, queue, unions  # held since ``__init__``
        while self._tickets:
            group = self._next()
            if len(group) == 1:
                await self._give_turn(self._tickets[group[0]])
            elif group:
                await self._unite([self._tickets[name] for name in group])
            # Else it would end while somebody who leaves is not told so yet.
            await workflow.wait_condition(workflow.all_handlers_finished)
            if self._tickets and not self._groups and self._is_long():
                left = tuple(self._tickets.values())
                workflow.continue_as_new(args=[self._table, left, self._unions])
        return self._unions

    def _is_long(self) -> bool:
        return workflow.info().is_continue_as_new_suggested()

    def _next(self) -> list[str]:
        """Whose turn it is: one run, or several that may be published together."""
        if self._groups:
            return [name for name in self._groups.pop(0) if name in self._tickets]
        first = next(iter(self._tickets.values()))
        if not first.kin:
            return [first.execution]
        return [t.execution for t in self._tickets.values() if t.kin == first.kin][:MAX_UNION]

    async def _give_turn(self, ticket: Ticket) -> None:
        """Let a run publish by itself, until it gives the turn back or turns out to be over."""
        self._turn, look = ticket.execution, FIRST_LOOK
        while self._turn == ticket.execution and await self._tell(ticket, "turn"):
            try:
                await workflow.wait_condition(lambda: self._turn != ticket.execution, timeout=look)
            except TimeoutError:
                look = min(look * 2, LAST_LOOK)
        self._turn = ""
        if self._tickets.get(ticket.execution) == ticket:
            del self._tickets[ticket.execution]

    async def _unite(self, tickets: Sequence[Ticket]) -> None:
        """Publish together; where that fails, the queue goes on with the runs split up."""
        self._unions += 1
        first = tickets[0]
        union = RunRef(run_id=union_id(first, self._unions), request=first.request)
        runs = [RunRef(run_id=t.run_id, request=t.request, round=t.round) for t in tickets]
        self._joined = frozenset(t.execution for t in tickets)
        try:
            outcome = await Joint(union).publish(runs)
        finally:
            self._joined = frozenset()
        held = [t for t in tickets if t.run_id in outcome.members]
        others = [t for t in tickets if t.run_id not in outcome.members]
        if outcome.ending == "published":
            await self._dismiss(held, "settled")
            held = []
        leaving = [t for t in (*held, *others) if t.execution in self._leaving]
        await self._dismiss(leaving, "left")
        self._leaving.clear()
        self._groups = _split(outcome, held, others) + self._groups

    async def _dismiss(self, tickets: Collection[Ticket], kind: Literal["settled", "left"]) -> None:
        for ticket in tickets:
            if self._tickets.get(ticket.execution) == ticket:
                del self._tickets[ticket.execution]
            await self._tell(ticket, kind)

    async def _tell(self, ticket: Ticket, kind: Literal["turn", "settled", "left"]) -> bool:
        """Answer a run; False when it is over."""
        run = workflow.get_external_workflow_handle(ticket.workflow_id, run_id=ticket.execution)
        try:
            await run.signal(HEAR, Answer(number=ticket.number, kind=kind))
        except FailureError:
            return False
        return True


def _split(outcome: Outcome, held: Sequence[Ticket], others: Sequence[Ticket]) -> list[list[str]]:
    """How those go on who were not published: halves of what failed, everybody else alone."""
    names = [t.execution for t in held]
    alone = [[t.execution] for t in others]
    if outcome.ending != "failed":
        return [[name] for name in names] + alone
    middle = len(names) // 2
    return [names[:middle], names[middle:], *alone]
