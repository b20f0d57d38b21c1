"""The saga ``WriteAuditPublish``: the order of the steps, their compensations, and the endings."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
import asyncio
import contextlib
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError

with workflow.unsafe.imports_passed_through():
    from wap import attributes, failures, holding, metrics
    from wap.calling import call
    from wap.ending import told_and_closed
    from wap.model import (
        CheckCounts,
        Ending,
        FailedCheck,
        Held,
        Progress,
        Quarantined,
        Refusal,
        Rows,
        RunRequest,
        RunResult,
        SnapshotMove,
        StepState,
        Waiver,
    )
    from wap.saga import Saga, uninterrupted
    from wap.steps import (
        Audited,
        Divided,
        Opened,
        Rebased,
        Resolved,
        Restaged,
        RunRef,
        Staged,
        Steps,
        Undone,
    )
    from wap.turns import Answer, Place, Ticket, keeper_id

#: Main may move under a run so often before it gives up: each time it is audited once more.
MAX_REBASES = 50
#: Planning anew re-reads the source; needed when a replace lost the race.
MAX_ROUNDS = 10
#: Runs that began before there were keepers go on without.
_TURNS = "turns"
#: Those that were planned anew before batches could be staged again were so, and stay it.
RESTAGE = "restage"


def run_id_of(pipeline: str, first_run_id: str, started_at: datetime) -> str:
    """The run's name, the same over retries, resets and restarts: it depends on the start only.

    Temporal's ids are UUIDv7: their first digits are a clock that two runs started within a
    minute share, so the name takes the last ones, which are random.
    """
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", pipeline).strip("-")
    if not stem[:1].isalpha():
        stem = f"run-{stem}"
    return f"{stem}-{started_at:%Y%m%d-%H%M%S}-{first_run_id.replace('-', '')[-8:]}"


class _RejectedError(Exception):
    """Nobody approves what is held: somebody rejected it, or time was up; the text says why."""


class _RedoError(Exception):
    """Main moved in a way the staged batch cannot follow; it is planned and written anew."""


@workflow.defn
class WriteAuditPublish:
    """One run of one pipeline: published, rejected or rolled back; until then it may be held."""

    @workflow.init
    def __init__(self, request: RunRequest) -> None:
        info = workflow.info()
        run_id = run_id_of(request.pipeline, info.first_execution_run_id, info.start_time)
        self._run = RunRef(run_id=run_id, request=request)
        self._saga = Saga()
        self._resolved: Resolved | None = None
        self._rows = Rows()
        self._checks = CheckCounts()
        self._steps: list[StepState] = []
        self._result: RunResult | None = None
        self._published: SnapshotMove | None = None
        self._undo_failures: dict[str, Exception] = {}
        self._warnings: dict[str, None] = {}
        self._bytes_written = 0
        self._status = ""
        self._held: RunResult | None = None
        self._answer: Waiver | Refusal | None = None
        self._waiver: Waiver | None = None
        self._seen: tuple[FailedCheck, ...] = ()
        self._quarantine: Quarantined | None = None
        self._place = Place()

    @workflow.signal
    def hear(self, answer: Answer) -> None:
        """What the table's keeper says."""
        self._place.hear(answer)

    @workflow.update
    def approve(self, waiver: Waiver) -> None:
        """Publish what is held although its audit failed; the waiver says who answers for it."""
        if self._held is not None:
            self._answer = waiver.model_copy(update={"at": workflow.now()})
            self._held = None

    @approve.validator
    def _may_approve(self, waiver: Waiver) -> None:
        # Told again by a door whose first one was killed: it is decided so, and goes on.
        if self._held is not None or not holding.repeats(waiver, self._answer):
            holding.check_waiver(self._waiting, waiver, self._run.run_id, workflow.now())

    @workflow.update
    def reject(self, refusal: Refusal) -> None:
        """End what is held as rejected."""
        self._answer, self._held = refusal, None

    @reject.validator
    def _may_reject(self, refusal: Refusal) -> None:
        if self._held is not None or not holding.repeats(refusal, self._answer):
            holding.check_refusal(self._waiting, refusal, self._run.run_id, workflow.now())

    @property
    def _waiting(self) -> Held | None:
        return self._held.held if self._held is not None else None

    @workflow.query
    def progress(self) -> Progress:
        """Where the run stands."""
        resolved = self._resolved
        return Progress(
            run_id=self._run.run_id,
            table=resolved.table if resolved else None,
            summary=resolved.summary if resolved else "",
            bytes=resolved.bytes if resolved else None,
            steps=tuple(self._steps),
            held=self._held,
            result=self._result,
        )

    @workflow.run
    async def run(self, request: RunRequest) -> RunResult:
        """Run all steps; the request is held since ``__init__``.

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
            result = self._conclude(Ending.ROLLED_BACK, failures.describe(exc)).model_copy(
                update={"error_type": failures.type_of(exc)}
            )
            if self._published is not None:
                # The publish had taken effect although its answer never came.
                error, result = None, self._conclude(Ending.PUBLISHED)
        await uninterrupted(self._place.leave())
        self._result = await uninterrupted(told_and_closed(self._step, result))
        self._tell_status(self._result.ending.value)
        metrics.run_ended(
            workflow.metric_meter(), self._result, self._bytes_written, workflow.now()
        )
        await workflow.wait_condition(workflow.all_handlers_finished)
        if error is None:
            return self._result
        if isinstance(error, asyncio.CancelledError) or self._cancelled():
            raise asyncio.CancelledError
        raise ApplicationError(
            f"rolled back: {self._result.reason}", type="RolledBack", non_retryable=True
        ) from error

    async def _attempt(self) -> RunResult:
        for round_number in range(MAX_ROUNDS):
            self._run = self._run.model_copy(update={"round": round_number})
            # What is read anew is not what somebody decided on.
            self._waiver, self._quarantine = None, None
            self._resolved = await self._step(Steps.resolve)
            self._tell_table(self._resolved.table)
            if self._resolved.refused is not None:
                return self._conclude(Ending.REJECTED, self._resolved.refused)
            if self._resolved.nothing_new:
                return self._conclude(Ending.PUBLISHED)
            try:
                return await self._write_audit_publish()
            except _RedoError as exc:
                workflow.logger.info("planning anew: %s", exc)
                await uninterrupted(self._undo())
                if self._published is not None:
                    # A union holds the batch, and what the run had left of its own is gone.
                    return self._conclude(Ending.PUBLISHED)
                self._raise_if_cancelled()
                self._raise_if_not_undone()
                await self._take_turn()
        raise ApplicationError(
            f"main moved under every one of {MAX_ROUNDS} rounds; run again when it is quieter",
            non_retryable=True,
        )

    async def _write_audit_publish(self) -> RunResult:
        self._saga.undo_with("drop_branch", self._drop_branch)
        opened: Opened = await self._step(Steps.open_branch)
        self._warnings.update(dict.fromkeys(opened.warnings))
        staged: Staged = await self._step(Steps.stage, limit=failures.LONG, moves_rows=True)
        self._rows = staged.rows
        self._bytes_written += staged.bytes
        if staged.refused is not None:
            return await self._reject(staged.refused)
        for _ in range(MAX_REBASES):
            self._rows = await self._step(Steps.reconcile)
            audited: Audited = await self._step(Steps.audit, limit=failures.LONG, moves_rows=True)
            self._checks = audited.checks
            if audited.separable and not audited.passed:
                # What is left is counted and audited once more, and so is what was set aside.
                divided: Divided = await self._step(
                    Steps.quarantine, audited, limit=failures.LONG, moves_rows=True
                )
                if divided.refused is not None:
                    return await self._reject(f"{audited.reason}; {divided.refused}")
                self._quarantine = divided.quarantine
                self._bytes_written += divided.bytes
                continue
            if not audited.passed:
                try:
                    audited = await self._approved(audited)
                except _RejectedError as exc:
                    return await self._reject(str(exc))
            else:
                self._waiver = None
            await self._step(Steps.seal, audited)
            if await self._publish(audited):
                return self._conclude(Ending.PUBLISHED)
            refused = await self._meet_main()
            if refused is not None:
                return await self._reject(refused)
        raise _RedoError(f"main moved {MAX_REBASES} times while this run was audited")

    async def _meet_main(self) -> str | None:
        """Bring the batch to main's new head; why its rows are refused there, or None."""
        rebased: Rebased = await self._step(Steps.rebase)
        if rebased.restages and workflow.patched(RESTAGE):
            return await self._restage()
        self._follow(rebased)
        if await self._take_turn(self._kin):
            # Others have published while it waited, this batch among theirs or not.
            self._follow(await self._step(Steps.rebase))
        return None

    def _follow(self, moved: Rebased | Restaged) -> None:
        """Go on with the batch on its new main, unless it cannot follow there."""
        if moved.redo is not None:
            raise _RedoError(moved.redo)
        self._warnings.update(dict.fromkeys(moved.warnings))

    async def _restage(self) -> str | None:
        """Stage the batch again when it is our turn, so only once; why it is refused, or None."""
        await self._take_turn()
        restaged: Restaged = await self._step(Steps.restage, limit=failures.LONG, moves_rows=True)
        self._follow(restaged)
        self._bytes_written += restaged.bytes
        self._quarantine = restaged.quarantine
        return restaged.refused

    @property
    def _kin(self) -> str:
        """With which runs a union may take the batch; "": with none."""
        resolved = self._resolved
        alone = resolved is None or not resolved.unites or self._waiver is not None
        return "" if resolved is None or alone else resolved.pipeline_digest

    async def _take_turn(self, kin: str = "") -> bool:
        """Queue for the table, unless it is our turn already; whether it has waited."""
        if self._place.has_turn or not workflow.patched(_TURNS):
            return False
        info, table = workflow.info(), self._resolved.table if self._resolved else ""
        ticket = Ticket(
            workflow_id=info.workflow_id,
            execution=info.run_id,
            run_id=self._run.run_id,
            request=self._run.request,
            round=self._run.round,
            number=0,
            kin=kin,
        )

        async def enlist(numbered: Ticket) -> None:
            await self._step(Steps.enlist, table, numbered)

        await self._place.wait(keeper_id(self._run.request.project, table), ticket, enlist)
        return True

    async def _approved(self, audited: Audited) -> Audited:
        """The failed audit with the waiver of a person, who is waited for.

        A waiver that was given before main moved counts as far as it reaches.

        Raises:
            _RejectedError: nobody may approve it, or nobody does.
        """
        if audited.hold_seconds is None or not audited.failed:
            raise _RejectedError(audited.reason)
        given, now = self._waiver, workflow.now()
        if given is None or not holding.covers(given, self._seen, audited.failed, now):
            given = await self._decided(audited, timedelta(seconds=audited.hold_seconds))
            self._seen = audited.failed
        self._waiver = holding.bound(given, audited.report_digest, audited.failed)
        return audited.model_copy(update={"waiver": self._waiver})

    async def _decided(self, audited: Audited, limit: timedelta) -> Waiver:
        """Wait for somebody to approve; the time until then is the workflow's, not a worker's."""
        self._waiver = None
        info, now = workflow.info(), workflow.now()
        held = Held(
            workflow_id=info.workflow_id,
            request=self._run.request,
            round=self._run.round,
            report_digest=audited.report_digest,
            checks=audited.failed,
            since=now,
            until=now + limit,
        )
        # A person may take days.
        await self._place.leave()
        waiting = self._conclude(Ending.HELD, audited.reason).model_copy(update={"held": held})
        waiting = await self._step(Steps.hold, waiting, retry=failures.FORWARD)
        answer = await self._answer_to(waiting, held.until)
        if isinstance(answer, Waiver):
            return answer
        if answer is not None:
            why = f"rejected by {answer.person}: {answer.reason}"
        else:
            why = f"nobody decided until {held.until:%Y-%m-%d %H:%M %Z}"
        raise _RejectedError(f"{audited.reason}; {why}")

    async def _answer_to(self, waiting: RunResult, until: datetime) -> Waiver | Refusal | None:
        """What a person says of the held run; None: nobody says anything in time."""
        self._answer, self._held = None, waiting
        try:
            with contextlib.suppress(asyncio.TimeoutError):
                await workflow.wait_condition(self._is_answered, timeout=until - workflow.now())
        finally:
            self._held = None
        self._raise_if_cancelled()
        return self._answer

    def _is_answered(self) -> bool:
        return self._answer is not None

    async def _publish(self, audited: Audited) -> bool:
        """Move main; False when it had moved meanwhile. A cancel during it comes too late."""
        try:
            self._published = await uninterrupted(
                self._step(Steps.publish, audited, retry=failures.FORWARD, heed_cancel=False)
            )
        except ActivityError as exc:
            if failures.is_type(exc, "HeadMovedError"):
                self._raise_if_cancelled()
                return False
            raise
        self._saga.commit()
        return True

    async def _reject(self, reason: str) -> RunResult:
        await uninterrupted(self._undo())
        if self._published is not None:
            # By a union, whose audit passed: the run had stopped waiting for it.
            return self._conclude(Ending.PUBLISHED)
        self._raise_if_cancelled()
        return self._conclude(Ending.REJECTED, reason)

    def _raise_if_not_undone(self) -> None:
        """Staging anew on top of a half-removed round would mix two rounds' files."""
        for name, exc in self._undo_failures.items():
            raise ApplicationError(f"{name}: {failures.describe(exc)}", non_retryable=True)

    async def _undo(self) -> None:
        self._undo_failures.update(await self._saga.compensate())

    async def _drop_branch(self) -> None:
        undone: Undone = await self._step(
            Steps.drop_branch, retry=failures.FORWARD, heed_cancel=False
        )
        if undone.published is not None:
            self._published = undone.published

    def _conclude(self, ending: Ending, reason: str = "") -> RunResult:
        published = ending is Ending.PUBLISHED
        resolved = self._resolved
        before = resolved.before if resolved else None
        nothing_new = published and self._published is None
        move = self._published or SnapshotMove(before=before, after=before)
        rows = self._rows
        if published and not nothing_new:
            rows = rows.model_copy(update={"published": rows.staged})
        return RunResult(
            run_id=self._run.run_id,
            pipeline=self._run.request.pipeline,
            table=resolved.table if resolved else "",
            ending=ending,
            reason=reason,
            nothing_new=nothing_new,
            rows=rows,
            snapshot=move,
            checks=self._checks,
            seconds=(workflow.now() - workflow.info().start_time).total_seconds(),
            warnings=tuple(self._warnings),
            incomplete=tuple(
                f"{name}: {failures.describe(exc)}" for name, exc in self._undo_failures.items()
            ),
            waiver=self._waiver if published and not nothing_new else None,
            quarantine=self._quarantine if published and not nothing_new else None,
        )

    async def _step(
        self,
        step: Callable[..., Any],
        *arguments: Any,
        limit: timedelta = failures.SHORT,
        retry: Any = failures.STEP,
        heed_cancel: bool = True,
        moves_rows: bool = False,
    ) -> Any:
        """Run one step and note when it began, how long it took and whether it failed."""
        name = step.__name__
        if name in attributes.PHASES:
            self._tell_status(attributes.PHASES[name])
        state = StepState(name=name, started_at=workflow.now())
        self._steps.append(state)
        place = len(self._steps) - 1
        failed = True
        try:
            value = await call(
                step, self._run, *arguments, limit=limit, retry=retry, moves_rows=moves_rows
            )
            failed = False
        finally:
            seconds = (workflow.now() - state.started_at).total_seconds()
            self._steps[place] = state.model_copy(update={"seconds": seconds, "failed": failed})
        if heed_cancel:
            # An activity that ends before it hears of the cancel returns as if there were none.
            self._raise_if_cancelled()
        return value

    def _tell_table(self, table: str) -> None:
        if self._run.request.indexed:
            workflow.upsert_search_attributes([attributes.TABLE.value_set(table)])

    def _tell_status(self, status: str) -> None:
        if self._run.request.indexed and status != self._status:
            self._status = status
            workflow.upsert_search_attributes([attributes.STATUS.value_set(status)])

    def _cancelled(self) -> bool:
        return workflow.cancellation_reason() is not None

    def _raise_if_cancelled(self) -> None:
        if self._cancelled():
            raise asyncio.CancelledError
