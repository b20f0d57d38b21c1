"""Starting runs and following them to their end, on whatever Temporal server there is."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.failure.v1 import Failure
from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowUpdateFailedError,
)
from temporalio.common import WorkflowIDConflictPolicy
from temporalio.exceptions import FailureError, TerminatedError
from temporalio.service import RPCError, RPCStatusCode

from wap.errors import DecisionRefusedError
from wap.holding import NOT_HELD
from wap.membership import member_id
from wap.model import Ending, Held, Progress, Refusal, RunRequest, RunResult, Waiver
from wap.turns import ENLIST, KEEPER, Ticket, keeper_id
from wap.watched import Watched

Handle = WorkflowHandle[Any, Any]

#: How often a follower looks; a look costs the server a few milliseconds.
LOOK_SECONDS = 0.25

#: How long the worker of a run that failed is asked what came of it.
TELL_SECONDS = 60.0


def workflow_id(request: RunRequest) -> str:
    """The same for the same request: asking again while it runs follows it, never doubles it."""
    kind = ["compact"] * request.compact + ["group"] * bool(request.members)
    if request.replay is not None:
        kind.append(request.replay.model_dump_json())
    own = json.dumps([request.inputs, request.interval, *kind])
    digest = hashlib.sha256(own.encode()).hexdigest()[:8]
    return f"wap-{request.project}-{request.pipeline}-{digest}"


async def start(client: Client, task_queue: str, watched: Watched) -> WorkflowHandle[Any, Any]:
    """Start the run, or take up the one that runs for the same request."""
    asked_at = datetime.now(UTC)
    handle: WorkflowHandle[Any, Any] = await client.start_workflow(
        "PublishTogether" if watched.request.members else "WriteAuditPublish",
        watched.request,
        id=workflow_id(watched.request),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        static_summary=f"{watched.request.pipeline}: write, audit, publish",
        result_type=RunResult,
        request_eager_start=True,
    )
    description = await handle.describe()
    watched.resumed = description.start_time < asked_at - _CLOCKS
    return handle


async def enlist(client: Client, task_queue: str, table: str, ticket: Ticket) -> None:
    """Queue a run at its table's keeper, which is started where there is none.

    Raises:
        RPCError: the server refuses, or does not answer.
    """
    await client.start_workflow(
        KEEPER,
        table,
        id=keeper_id(ticket.request.project, table),
        task_queue=task_queue,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        start_signal=ENLIST,
        start_signal_args=[ticket],
        static_summary="gives turns",
    )


async def decide(client: Client, held: Held, said: Waiver | Refusal) -> Handle:
    """Tell a held run what a person decided, or refuse to.

    Raises:
        DecisionRefusedError: the run is not held any more, or what was said does not fit.
    """
    handle: Handle = client.get_workflow_handle(held.workflow_id, result_type=RunResult)
    name = "approve" if isinstance(said, Waiver) else "reject"
    try:
        await _told_until_heard(handle, name, said)
    except RPCError as exc:
        if exc.status is not RPCStatusCode.NOT_FOUND:
            raise
        raise DecisionRefusedError(
            "the run is over, or Temporal knows it no more",
            where=f"run {said.run_id}",
            hint="see `wap status`; docs/operations.md says what to do with a branch nobody ends",
        ) from exc
    return handle


async def _told_until_heard(handle: Handle, name: str, said: Waiver | Refusal) -> None:
    """Tell it again while the run is held and yet says that it is not.

    A run whose server was stopped just as it was held may hear of both in one message, and then it
    looks at what it is told first.
    """
    for is_last in (False, False, True):
        try:
            await handle.execute_update(name, said)
        except WorkflowUpdateFailedError as exc:
            refused = _refused(exc.cause, said.run_id)
            if is_last or refused.what != NOT_HELD or (await _progress(handle)).held is None:
                raise refused from exc
        else:
            return


def _refused(cause: BaseException, run_id: str) -> DecisionRefusedError:
    """The run's own refusal, in its words."""
    said = cause.message if isinstance(cause, FailureError) else str(cause)
    what, _, hint = said.partition("\nHint: ")
    place = f" [run {run_id}]"
    return DecisionRefusedError(what.removesuffix(place), where=f"run {run_id}", hint=hint)


#: So far the clocks of door and server may differ.
_CLOCKS = timedelta(seconds=1)


async def follow(
    handle: WorkflowHandle[Any, Any], watched: Watched, changed: Callable[[], None]
) -> RunResult:
    """Wait until a run ends or is held, telling ``changed`` whenever there is news."""
    looking = asyncio.create_task(_look(handle, watched, changed))
    ending = asyncio.create_task(handle.result())
    try:
        await asyncio.wait({looking, ending}, return_when=asyncio.FIRST_COMPLETED)
        if looking.done() and not ending.done():
            watched.result = looking.result()
            return watched.result
        watched.result = await ending
    except WorkflowFailureError as exc:
        watched.result = await _result_of_failed(handle, watched, exc.cause)
    finally:
        ending.cancel()
        looking.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await looking  # what ended the looking ends us, too: nobody reads us any more
    with contextlib.suppress(RPCError):
        watched.progress = await _progress(handle)
    changed()
    return watched.result


async def cancel(handles: Sequence[WorkflowHandle[Any, Any]], watched: Sequence[Watched]) -> None:
    """Ask runs to roll back; those that are over stay as they are."""
    for handle, one in zip(handles, watched, strict=True):
        if one.result is None:
            one.cancelling = True
            with contextlib.suppress(RPCError):  # it ended in this very moment
                await handle.cancel(reason="cancelled at the door")


async def _look(
    handle: WorkflowHandle[Any, Any], watched: Watched, changed: Callable[[], None]
) -> RunResult:
    """Look again and again, until the run is held: how it stands then."""
    while True:
        # A worker that is busy, or not there yet, answers a later look.
        with contextlib.suppress(RPCError):
            watched.progress = await _progress(handle)
            watched.numbers, watched.trouble = await _pending(handle)
            changed()
            if watched.progress.held is not None:
                return watched.progress.held
        await asyncio.sleep(LOOK_SECONDS)


async def _progress(handle: WorkflowHandle[Any, Any]) -> Progress:
    progress: Progress = await handle.query(
        "progress", result_type=Progress, rpc_timeout=timedelta(seconds=5)
    )
    return progress


async def _pending(handle: WorkflowHandle[Any, Any]) -> tuple[dict[str, int], str]:
    """Numbers of the step that runs, and why its last attempt failed."""
    description = await handle.describe()
    converter = description.data_converter
    numbers: dict[str, int] = {}
    trouble = ""
    for pending in description.raw_description.pending_activities:
        if pending.HasField("last_failure"):
            # A copy: decoding writes into it.
            failure = Failure.FromString(pending.last_failure.SerializeToString())
            trouble = _message(await converter.decode_failure(failure))
        if pending.heartbeat_details.payloads:
            decoded = await converter.decode(pending.heartbeat_details.payloads)
            numbers = dict(decoded[0])
    return numbers, trouble


def _message(failure: BaseException) -> str:
    """The first line of what failed, without the name of its type."""
    said = failure.message if isinstance(failure, FailureError) else str(failure)
    return said.partition("\n")[0]


async def _result_of_failed(
    handle: WorkflowHandle[Any, Any], watched: Watched, cause: BaseException
) -> RunResult:
    """A failed or cancelled workflow tells its result when asked; a terminated one cannot."""
    terminated = isinstance(cause, TerminatedError)
    told = None if terminated else await _told(handle, watched)
    if told is not None:
        return told
    run_id = watched.progress.run_id if watched.progress else handle.id
    reason = "the workflow was terminated from outside, so nothing was compensated"
    if not terminated:
        reason = f"the run has ended, but no worker told how: {cause}"
    request = watched.request
    return RunResult(
        run_id=run_id,
        pipeline=request.pipeline,
        members=tuple(
            RunResult(
                run_id=member_id(run_id, name),
                pipeline=name,
                table="",
                ending=Ending.ROLLED_BACK,
                reason=reason,
            )
            for name in request.members
        ),
        table=(watched.progress.table if watched.progress else None) or "",
        ending=Ending.ROLLED_BACK,
        reason=reason,
        incomplete=(f"branch wap/{run_id} and its files may still be there: see `wap maintain`",),
    )


async def _told(handle: WorkflowHandle[Any, Any], watched: Watched) -> RunResult | None:
    """What the ended workflow says; a worker that is too busy to answer is asked again."""
    deadline = asyncio.get_running_loop().time() + TELL_SECONDS
    while True:
        try:
            watched.progress = await _progress(handle)
        except RPCError:
            if asyncio.get_running_loop().time() > deadline:
                return None
            await asyncio.sleep(LOOK_SECONDS)
        else:
            return watched.progress.result
