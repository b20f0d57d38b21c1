"""Which runs are at work: asked of Temporal, which alone knows, by the mark in a run's id."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Container
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from temporalio.client import (
    Client,
    WorkflowExecution,
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
)
from temporalio.service import RPCError

from wap import connecting, doors
from wap.errors import TemporalUnavailableError
from wap.project import Project
from wap.runtime import Server

T = TypeVar("T")

#: How a run's id ends: when it started, and its mark.
_RUN_ID = re.compile(r"-(\d{8}-\d{6})-([0-9a-f]{8})$")
#: So far the clocks of those who name and of those who keep may differ.
_AROUND = timedelta(minutes=5)


def mark_of(execution: str) -> str:
    """The part of a run's id that comes from Temporal's id of the execution."""
    return execution.replace("-", "")[-8:]


@dataclass(frozen=True)
class AtWork(Container[str]):
    """The runs that are at work, by their marks; holds the ids of all that bear one of them.

    Two runs may bear the same mark by chance, one in four thousand million: then both stay.
    """

    marks: frozenset[str]

    def __contains__(self, run_id: object) -> bool:
        found = _RUN_ID.search(run_id) if isinstance(run_id, str) else None
        return found is not None and found[2] in self.marks


@dataclass(frozen=True, slots=True)
class Ended:
    """A run whose workflow is over.

    Attributes:
        at: when.
        how: Temporal's word: ``terminated``, ``failed``, ``completed``, …
    """

    at: datetime
    how: str


class Liveness:
    """Asks one project's Temporal server.

    Every method raises TemporalUnavailableError when it does not answer: then nobody knows, and
    nothing may be removed.
    """

    def __init__(self, project: Project, server: Server) -> None:
        """Name the server; it is asked by each method anew."""
        self._project = project
        self._server = server

    def at_work(self) -> AtWork:
        """The runs of the namespace, whatever project's, whose workflow is open."""
        return AtWork(frozenset(self._ask(_open_marks)))

    def ended(self, run_id: str) -> Ended | None:
        """How a run ended; None: it is at work, or the server does not know it (any more)."""
        told = _RUN_ID.search(run_id)
        if told is None:
            return None
        started = datetime.strptime(told[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
        return self._ask(lambda client: _ended(client, started, told[2]))

    def _ask(self, question: Callable[[Client], Awaitable[T]]) -> T:
        async def asked() -> T:
            client = await doors.connect(self._project, self._server)
            try:
                return await question(client)
            except RPCError as exc:
                raise connecting.refused(exc, self._server.address, self._project.temporal) from exc

        try:
            return asyncio.run(asked())
        except TemporalUnavailableError as exc:
            raise TemporalUnavailableError(
                f"nobody can tell which runs are at work, so nothing is removed: {exc.what}",
                where=exc.where,
                hint=exc.hint,
            ) from exc


async def _open_marks(client: Client) -> set[str]:
    marks: set[str] = set()
    async for execution in client.list_workflows("ExecutionStatus = 'Running'"):
        marks |= await _marks(client, execution)
    return marks


async def _marks(client: Client, execution: WorkflowExecution) -> set[str]:
    """Marks of an execution: its own, and that of the one it goes on from (a reset, a retry)."""
    first = execution.raw_info.first_run_id or (await _described(client, execution)).first
    return {mark_of(execution.run_id), mark_of(first)}


@dataclass(frozen=True, slots=True)
class _Described:
    first: str
    description: WorkflowExecutionDescription


async def _described(client: Client, execution: WorkflowExecution) -> _Described:
    """What the server itself says; the list comes from an index, which may lag behind."""
    handle = client.get_workflow_handle(execution.id, run_id=execution.run_id)
    found = await handle.describe()
    return _Described(found.raw_info.first_run_id or found.run_id, found)


async def _ended(client: Client, started: datetime, mark: str) -> Ended | None:
    """The last end of the executions that bear the mark; None while one of them is open."""
    ends: list[Ended] = []
    async for execution in client.list_workflows(_started(started)):
        if mark not in await _marks(client, execution):
            continue
        told = (await _described(client, execution)).description
        if told.status is WorkflowExecutionStatus.RUNNING or told.close_time is None:
            return None
        how = told.status.name.lower() if told.status is not None else "ended"
        ends.append(Ended(told.close_time, how))
    return max(ends, key=lambda end: end.at, default=None)


def _started(at: datetime) -> str:
    first, last = (at - _AROUND).isoformat(), (at + _AROUND).isoformat()
    return f"StartTime >= '{first}' AND StartTime <= '{last}'"
