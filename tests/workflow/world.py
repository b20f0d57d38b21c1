"""A small world for the saga: one table's main, a branch, and steps that can go wrong on demand."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.exceptions import ApplicationError

from catalog.waivers import objection
from wap import client
from wap.model import (
    CheckCounts,
    FailedCheck,
    Quarantined,
    Rows,
    RunResult,
    SetAside,
    SnapshotMove,
    Waiver,
)
from wap.steps import (
    Audited,
    AuditedBeside,
    Divided,
    Opened,
    Rebased,
    Resolved,
    Restaged,
    RunRef,
    Sealed,
    Staged,
    Steps,
    Undone,
    United,
)
from wap.turns import Ticket

_step = activity.defn(no_thread_cancel_exception=True)


@dataclass
class World(Steps):
    """Steps over integers. Snapshot ids count up; a branch is (base, head)."""

    main: int = 1
    next_id: int = 2
    branch: tuple[int, int] | None = None
    published_by: dict[str, int] = field(default_factory=dict)
    passes: bool = True
    #: failed checks with their rows, when the audit does not pass.
    failing: dict[str, int | None] = field(default_factory=lambda: {"c.yml:id": 2})
    #: so long a run whose audit failed is held; None: it is rejected.
    hold_seconds: float | None = None
    #: rows that break a check, when they can be set aside; None: the failed checks name none.
    broken: int | None = None
    #: the most that may be set aside.
    most: int = 3
    aside: int = 0
    #: what the branch held when it was audited, and what main holds, valid rows and those aside.
    published_rows: list[tuple[int, int]] = field(default_factory=list)
    held: list[RunResult] = field(default_factory=list)
    published_under: list[Waiver | None] = field(default_factory=list)
    refuse_in: str | None = None
    nothing_new: bool = False
    redo_once: bool = False
    #: the batch meets main's rows: it is staged again, and not re-attached.
    meets: bool = False
    #: what step ``restage`` answers first, in place of doing it.
    restage_says: Restaged | None = None
    said: tuple[str, ...] = ()
    #: step → (when, error type, how often); when is "before" or "after" its effect.
    faults: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)
    #: called inside a step, before its effect.
    during: dict[str, Callable[[], None]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    closed: list[RunResult] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def _new(self) -> int:
        self.next_id += 1
        return self.next_id

    def _enter(self, name: str) -> None:
        self.calls.append(name)
        if name in self.during:
            self.during[name]()
        self._fault(name, "before")

    def _fault(self, name: str, when: str) -> None:
        queue = self.faults.get(name, [])
        for place, (at, error, times) in enumerate(queue):
            if at == when and times > 0:
                queue[place] = (at, error, times - 1)
                raise ApplicationError(
                    f"{error} {when} {name}",
                    type=error,
                    non_retryable=not error.endswith("UnavailableError"),
                )

    @_step
    def resolve(self, run: RunRef) -> Resolved:
        self._enter("resolve")
        self._fault("resolve", "after")
        return Resolved(
            table="ns.t",
            pipeline_digest="d",
            summary="1 file",
            nothing_new=self.nothing_new,
            refused="does not fit" if self.refuse_in == "resolve" else None,
            before=self.main,
        )

    @_step
    def open_branch(self, run: RunRef) -> Opened:
        self._enter("open_branch")
        if self.branch is None:
            self.branch = (self.main, self.main)
        self._fault("open_branch", "after")
        return Opened(expected=self.branch[0], head=self.branch[1], warnings=self.said)

    @_step
    def stage(self, run: RunRef) -> Staged:
        self._enter("stage")
        if self.refuse_in == "stage":
            return Staged(head=0, rows=Rows(), files=0, bytes=0, refused="line 3 is odd")
        assert self.branch is not None
        if self.branch[0] == self.branch[1]:
            self.branch = (self.branch[0], self._new())
        self._fault("stage", "after")
        return Staged(head=self.branch[1], rows=self._rows, files=1, bytes=10)

    @property
    def _rows(self) -> Rows:
        return Rows(read=5, staged=5 - self.aside, quarantined=self.aside)

    @_step
    def reconcile(self, run: RunRef) -> Rows:
        self._enter("reconcile")
        self._fault("reconcile", "after")
        return self._rows

    @_step
    def audit(self, run: RunRef) -> Audited:
        self._enter("audit")
        assert self.branch is not None
        audited = Audited(
            head=self.branch[1],
            expected=self.branch[0],
            passed=self.passes,
            report_digest=f"report of {self.branch[1]}",
            checks=CheckCounts(passed=3) if self.passes else CheckCounts(passed=2, failed=1),
            reason="" if self.passes else "id has 2 nulls",
            failed=()
            if self.passes
            else tuple(
                FailedCheck(name=name, title=name, measured=str(rows), failing_rows=rows)
                for name, rows in self.failing.items()
            ),
            hold_seconds=self.hold_seconds,
            separable=not self.passes and self.broken is not None,
            beside=AuditedBeside(head=7, expected=None, report_digest="beside")
            if self.aside
            else None,
        )
        self._fault("audit", "after")
        return audited

    @_step
    def quarantine(self, run: RunRef, audited: Audited) -> Divided:
        self._enter("quarantine")
        assert self.branch is not None
        assert self.broken is not None
        if self.branch[1] == audited.head:
            if self.aside + self.broken > self.most:
                return Divided(refused="too many rows")
            self.branch = (self.branch[0], self._new())
            self.aside, self.passes = self.aside + self.broken, True
        self._fault("quarantine", "after")
        told = SetAside(name="c.yml:id", title="id", rows=self.aside)
        return Divided(
            quarantine=Quarantined(table="ns.t__quarantine", rows=self.aside, checks=(told,))
        )

    @_step
    def hold(self, run: RunRef, result: RunResult) -> RunResult:
        self._enter("hold")
        self.held.append(result)
        self._fault("hold", "after")
        return result.model_copy(update={"report": "reports/x.html"})

    def _prove(self, run: RunRef, audited: Audited) -> None:
        """What ``AuditedHead`` asks for."""
        if audited.passed and audited.waiver is None:
            return
        failed = frozenset(check.name for check in audited.failed)
        what = (
            "no waiver"
            if audited.waiver is None
            else objection(
                audited.waiver,
                run_id=run.run_id,
                report_digest=audited.report_digest,
                waivable=failed,
            )
        )
        if what is not None:
            raise ApplicationError(what, type="UnauditedError", non_retryable=True)

    @_step
    def seal(self, run: RunRef, audited: Audited) -> Sealed:
        self._enter("seal")
        self._prove(run, audited)
        self._fault("seal", "after")
        return Sealed(snapshot_id=audited.head)

    @_step
    def publish(self, run: RunRef, audited: Audited) -> SnapshotMove:
        self._enter("publish")
        self._prove(run, audited)
        if run.run_id not in self.published_by:
            if self.main != audited.expected:
                raise ApplicationError("main has moved", type="HeadMovedError", non_retryable=True)
            self.main = audited.head
            self.published_by[run.run_id] = audited.head
            self.published_under.append(audited.waiver)
            assert (audited.beside is not None) is (self.aside > 0)
            self.published_rows.append((5 - self.aside, self.aside))
            self.branch = None
        self._fault("publish", "after")
        return SnapshotMove(before=audited.expected, after=self.published_by[run.run_id])

    @_step
    def rebase(self, run: RunRef) -> Rebased:
        self._enter("rebase")
        if self.redo_once:
            self.redo_once = False
            return Rebased(redo="it was a replace")
        if self.meets and self.branch is not None and self.branch[0] != self.main:
            return Rebased(redo="it has met another main", restages=True)
        self.branch = (self.main, self._new())
        self._fault("rebase", "after")
        more = (*self.said, "and more") if self.said else ()
        return Rebased(head=self.branch[1], expected=self.branch[0], warnings=more)

    @_step
    def restage(self, run: RunRef) -> Restaged:
        self._enter("restage")
        if self.restage_says is not None:
            said, self.restage_says = self.restage_says, None
            return said
        assert self.branch is not None
        if self.branch[0] != self.main:
            self.branch = (self.main, self._new())
            if self.aside:
                # By key it is whole again, and its next audit says what of it is broken now.
                self.aside, self.passes = 0, not self.broken
        self._fault("restage", "after")
        return Restaged(rows=self._rows, bytes=3, warnings=self.said)

    @_step
    async def enlist(self, run: RunRef, table: str, ticket: Ticket) -> None:
        self._enter("enlist")
        await client.enlist(activity.client(), activity.info().task_queue, table, ticket)
        self._fault("enlist", "after")

    @_step
    def unite(self, run: RunRef, members: tuple[RunRef, ...]) -> United:
        self._enter("unite")
        raise NotImplementedError

    @_step
    def dissolve(self, run: RunRef) -> Undone:
        self._enter("dissolve")
        raise NotImplementedError

    @_step
    def drop_branch(self, run: RunRef) -> Undone:
        self._enter("drop_branch")
        if run.run_id in self.published_by:
            move = SnapshotMove(before=1, after=self.published_by[run.run_id])
            return Undone(removed="nothing", published=move)
        self.branch, self.aside = None, 0
        self._fault("drop_branch", "after")
        return Undone(removed="1 file")

    @_step
    def record_lineage(self, run: RunRef, result: RunResult) -> str:
        self._enter("record_lineage")
        self._fault("record_lineage", "after")
        return "file"

    @_step
    def close(self, run: RunRef, result: RunResult) -> RunResult:
        self._enter("close")
        self.closed.append(result)
        self._fault("close", "after")
        return result.model_copy(update={"report": "reports/x.html"})

    def all(self) -> list[Callable[..., object]]:
        return [getattr(self, name) for name in Steps.__abstractmethods__]
