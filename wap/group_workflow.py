"""The saga ``PublishTogether``: several pipelines' tables staged, audited and published as one."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
import asyncio
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from wap import attributes, failures, metrics
    from wap.abreast import Abreast
    from wap.calling import call
    from wap.ending import told_and_closed
    from wap.group_steps import GroupSteps, Ready
    from wap.member import Member, told, total
    from wap.membership import member_id
    from wap.model import (
        CheckCounts,
        Ending,
        Progress,
        Rows,
        RunRequest,
        RunResult,
        SnapshotMove,
        StepState,
    )
    from wap.saga import Saga, uninterrupted
    from wap.steps import (
        Audited,
        Divided,
        Group,
        Opened,
        Rebased,
        Resolved,
        Restaged,
        RunRef,
        Staged,
        Steps,
        Undone,
    )
    from wap.workflow import MAX_REBASES, MAX_ROUNDS, RESTAGE, run_id_of


class _RejectedError(Exception):
    """A member's batch does not fit, or its audit failed: none is published."""


@workflow.defn
class PublishTogether:
    """One run of a group: all of it published, or none. It is never held."""

    @workflow.init
    def __init__(self, request: RunRequest) -> None:
        info = workflow.info()
        run_id = run_id_of(request.pipeline, info.first_execution_run_id, info.start_time)
        self._run = RunRef(run_id=run_id, request=request)
        self._members = [
            Member(RunRef(run_id=member_id(run_id, name), request=request.of_member(name)))
            for name in request.members
        ]
        self._saga = Saga()
        self._abreast = Abreast(request.abreast)
        self._steps: list[StepState] = []
        self._undo_failures: dict[str, Exception] = {}
        self._result: RunResult | None = None
        self._status = ""

    @workflow.query
    def progress(self) -> Progress:
        """Where the run stands."""
        resolved = [m.resolved for m in self._members if m.resolved is not None]
        planned = len(resolved) == len(self._members)
        tables = ", ".join(r.table for r in resolved if not r.nothing_new)
        return Progress(
            run_id=self._run.run_id,
            summary=(tables or "nothing new") if planned else "",
            bytes=sum(r.bytes or 0 for r in resolved) or None,
            steps=tuple(self._steps),
            result=self._result,
        )

    @workflow.run
    async def run(self, request: RunRequest) -> RunResult:
        """Run all steps of all members; the request is held since ``__init__``.

        Raises:
            ApplicationError: of type RolledBack, when an error was compensated; its cause is
                the error. The result is what the ``progress`` query tells.
            CancelledError: the run was cancelled and compensated.
        """
        del request
        error: BaseException | None = None
        try:
            result = await self._attempt()
        except (Exception, asyncio.CancelledError) as exc:  # noqa: BLE001 - raised again below
            error = exc
            await uninterrupted(self._undo())
            result = self._conclude(Ending.ROLLED_BACK, failures.describe(exc))
            result = result.model_copy(update={"error_type": failures.type_of(exc)})
            if any(member.published for member in self._members):
                # The publish had taken effect, for all or none, although its answer never came.
                error, result = None, self._conclude(Ending.PUBLISHED)
        self._result = await uninterrupted(self._finish(result))
        self._tell_status(self._result.ending.value)
        self._count(self._result)
        if error is None:
            return self._result
        if isinstance(error, asyncio.CancelledError) or _cancelled():
            raise asyncio.CancelledError
        raise ApplicationError(
            f"rolled back: {self._result.reason}", type="RolledBack", non_retryable=True
        ) from error

    async def _attempt(self) -> RunResult:
        self._tell_group()
        try:
            return await self._publish_all()
        except _RejectedError:
            await uninterrupted(self._undo())
            _raise_if_cancelled()
            said = [f"{m.table or m.name}: {m.reason}" for m in self._members if m.reason]
            return self._conclude(Ending.REJECTED, "; ".join(said))

    async def _publish_all(self) -> RunResult:
        for member in self._members:
            await self._resolve(member)
        self._reject_if_any_is_bad()
        if self._active:
            await self._group_step(GroupSteps.check_group, [m.run for m in self._active])
        for _ in range(MAX_REBASES):
            await self._stage_all()
            if not self._active:
                return self._conclude(Ending.PUBLISHED)
            self._name_group()
            await self._audit_all()
            for member in self._active:
                await self._step(member, Steps.seal, member.audited)
            if await self._publish():
                return self._conclude(Ending.PUBLISHED)
            await self._follow_main()
        raise ApplicationError(
            f"main moved {MAX_REBASES} times while the group was audited; run again when it is "
            "quieter",
            non_retryable=True,
        )

    @property
    def _active(self) -> list[Member]:
        return [member for member in self._members if member.takes_part]

    def _reject_if_any_is_bad(self) -> None:
        if any(member.reason for member in self._members):
            raise _RejectedError

    async def _audit_all(self) -> None:
        """Audit every table beside the others; once more, where rows of one were set aside."""
        divided = True
        while divided:
            await self._abreast.each(self._audit, self._active)
            divided = await self._divided()
        # All were audited before the group is rejected: its report tells of every table.
        self._reject_if_any_is_bad()

    # --- one member -----------------------------------------------------------------------------

    async def _resolve(self, member: Member) -> None:
        resolved: Resolved = await self._step(member, Steps.resolve)
        member.resolved = resolved
        member.reason = resolved.refused or ""

    async def _stage_all(self) -> None:
        """Have every batch on the branch; those that are staged already stay as they are."""
        members = [member for member in self._active if not member.staged]
        if self._abreast.limit > 1:
            # In turn: on some catalogs the branch is one for all tables, and the first makes it.
            for member in members:
                await self._open(member)
            await self._abreast.each(self._write, members)
            return
        for member in members:
            await self._open(member)
            await self._write(member)

    async def _open(self, member: Member) -> None:
        if not member.opened:
            member.opened = True
            self._saga.undo_with(f"drop_branch {member.name}", lambda: self._drop_branch(member))
        opened: Opened = await self._step(member, Steps.open_branch)
        member.warn(opened.warnings)

    async def _write(self, member: Member) -> None:
        staged: Staged = await self._step(member, Steps.stage, limit=failures.LONG, moves_rows=True)
        member.rows = staged.rows
        member.bytes_written += staged.bytes
        if staged.refused is not None:
            member.reason = staged.refused
            raise _RejectedError
        member.staged = True

    def _name_group(self) -> None:
        """Tell each member what it is audited beside, and published with."""
        tables = tuple(member.table for member in self._active)
        group = Group(name=self._run.request.pipeline, tables=tables)
        for member in self._active:
            member.run = member.run.model_copy(update={"group": group})

    async def _audit(self, member: Member) -> None:
        member.rows = await self._step(member, Steps.reconcile)
        audited: Audited = await self._step(
            member, Steps.audit, limit=failures.LONG, moves_rows=True
        )
        member.audited, member.checks = audited, audited.checks
        if not audited.passed:
            member.reason = audited.reason

    async def _divided(self) -> bool:
        """Set broken rows aside where that is all that is wrong; then all are audited again.

        Each of them may have looked at the rows that another one loses.
        """
        bad = [(member, member.audited) for member in self._active if member.reason]
        if not bad or not all(audited is not None and audited.separable for _, audited in bad):
            return False
        for member, audited in bad:
            divided: Divided = await self._step(
                member, Steps.quarantine, audited, limit=failures.LONG, moves_rows=True
            )
            if divided.refused is not None:
                member.reason = f"{member.reason}; {divided.refused}"
                return False
            member.reason, member.quarantine = "", divided.quarantine
            member.bytes_written += divided.bytes
        return True

    async def _follow_main(self) -> None:
        """Bring every batch to where main is now, the group as one; then all are audited again."""
        again = [member for member in self._active if await self._rebase(member)]
        await self._abreast.each(self._restage, again)
        for member in again:
            if member.redo:
                await self._plan_anew(member, member.redo)

    async def _rebase(self, member: Member) -> bool:
        """Follow main where it moved, or be planned anew; whether it is to be staged again."""
        rebased: Rebased = await self._step(member, Steps.rebase)
        member.warn(rebased.warnings)
        if rebased.restages and workflow.patched(RESTAGE):
            return True
        if rebased.redo is not None:
            await self._plan_anew(member, rebased.redo)
        return False

    async def _restage(self, member: Member) -> None:
        """Let a batch meet its new main without reading it again.

        It queues at no table: two groups that each had the other's turn would wait for ever.
        """
        restaged: Restaged = await self._step(
            member, Steps.restage, limit=failures.LONG, moves_rows=True
        )
        member.warn(restaged.warnings)
        member.bytes_written += restaged.bytes
        member.redo, member.quarantine = restaged.redo or "", restaged.quarantine
        if restaged.refused is not None:
            member.reason = restaged.refused
            raise _RejectedError

    async def _plan_anew(self, member: Member, why: str) -> None:
        """Drop a batch that cannot follow, and plan it; the next turn of the loop writes it."""
        workflow.logger.info("planning %s anew: %s", member.name, why)
        await uninterrupted(self._drop_branch(member))
        _raise_if_cancelled()
        if member.published is not None:
            raise ApplicationError("main holds the run's seal already", non_retryable=True)
        if member.run.round + 1 >= MAX_ROUNDS:
            raise ApplicationError(
                f"main of {member.table} moved under every one of {MAX_ROUNDS} rounds; run again "
                "when it is quieter",
                non_retryable=True,
            )
        member.run = member.run.model_copy(update={"round": member.run.round + 1})
        member.staged, member.rows, member.quarantine = False, Rows(), None
        await self._resolve(member)
        self._reject_if_any_is_bad()

    async def _drop_branch(self, member: Member) -> None:
        undone: Undone = await self._step(
            member, Steps.drop_branch, retry=failures.FORWARD, heed_cancel=False
        )
        if undone.published is not None:
            member.published = undone.published

    # --- all members ----------------------------------------------------------------------------

    async def _publish(self) -> bool:
        """Move main of all; False when one had moved meanwhile. A cancel comes too late."""
        active = self._active
        ready = [Ready(run=m.run, audited=m.audited) for m in active if m.audited is not None]
        try:
            moves: list[SnapshotMove] = await uninterrupted(
                self._group_step(
                    GroupSteps.publish_group, ready, retry=failures.FORWARD, heed_cancel=False
                )
            )
        except ActivityError as exc:
            if failures.is_type(exc, "HeadMovedError"):
                _raise_if_cancelled()
                return False
            raise
        for member, move in zip(active, moves, strict=True):
            member.published = move
        self._saga.commit()
        return True

    async def _undo(self) -> None:
        self._undo_failures.update(await self._saga.compensate())

    # --- the end --------------------------------------------------------------------------------

    async def _finish(self, result: RunResult) -> RunResult:
        """The summary, then lineage, report and ledger of each member; the ending stands."""
        runs = [member.run for member in self._members]
        try:
            result = await self._group_step(
                GroupSteps.close_group, runs, result, retry=failures.FORWARD, heed_cancel=False
            )
        except ActivityError as exc:
            said = f"the group's report was not written: {failures.describe(exc)}"
            result = result.warned(said)
        closed = [
            await told_and_closed(partial(self._step, member), one)
            for member, one in zip(self._members, result.members, strict=True)
        ]
        return result.model_copy(update={"members": tuple(closed)})

    def _conclude(self, ending: Ending, reason: str = "") -> RunResult:
        seconds = self._seconds()
        members = tuple(told(member, ending, reason, seconds) for member in self._members)
        return RunResult(
            run_id=self._run.run_id,
            pipeline=self._run.request.pipeline,
            table="",
            ending=ending,
            reason=reason,
            nothing_new=all(one.nothing_new for one in members),
            rows=total(Rows, [one.rows for one in members]),
            checks=total(CheckCounts, [one.checks for one in members]),
            seconds=seconds,
            incomplete=tuple(
                f"{name}: {failures.describe(exc)}" for name, exc in self._undo_failures.items()
            ),
            members=members,
        )

    def _seconds(self) -> float:
        return (workflow.now() - workflow.info().start_time).total_seconds()

    def _count(self, result: RunResult) -> None:
        for member, one in zip(self._members, result.members, strict=True):
            metrics.run_ended(workflow.metric_meter(), one, member.bytes_written, workflow.now())

    # --- steps ----------------------------------------------------------------------------------

    async def _step(self, member: Member, step: Callable[..., Any], *args: Any, **how: Any) -> Any:
        return await self._called(step, member.run, args, member.name, **how)

    async def _group_step(self, step: Callable[..., Any], *args: Any, **how: Any) -> Any:
        return await self._called(step, self._run, args, "", **how)

    async def _called(
        self,
        step: Callable[..., Any],
        run: RunRef,
        args: Sequence[Any],
        member: str,
        *,
        limit: timedelta = failures.SHORT,
        retry: Any = failures.STEP,
        heed_cancel: bool = True,
        moves_rows: bool = False,
    ) -> Any:
        """Run one step and note when it began, how long it took and whether it failed."""
        name = step.__name__
        if name in attributes.PHASES:
            self._tell_status(attributes.PHASES[name])
        state = StepState(name=name, started_at=workflow.now(), member=member)
        self._steps.append(state)
        place = len(self._steps) - 1
        failed = True
        try:
            value = await call(step, run, *args, limit=limit, retry=retry, moves_rows=moves_rows)
            failed = False
        finally:
            seconds = (workflow.now() - state.started_at).total_seconds()
            self._steps[place] = state.model_copy(update={"seconds": seconds, "failed": failed})
        if heed_cancel:
            # An activity that ends before it hears of the cancel returns as if there were none.
            _raise_if_cancelled()
            self._abreast.raise_if_over()
        return value

    def _tell_group(self) -> None:
        if self._run.request.indexed:
            name = self._run.request.pipeline
            workflow.upsert_search_attributes([attributes.GROUP.value_set(name)])

    def _tell_status(self, status: str) -> None:
        if self._run.request.indexed and status != self._status:
            self._status = status
            workflow.upsert_search_attributes([attributes.STATUS.value_set(status)])


def _cancelled() -> bool:
    return workflow.cancellation_reason() is not None


def _raise_if_cancelled() -> None:
    if _cancelled():
        raise asyncio.CancelledError
