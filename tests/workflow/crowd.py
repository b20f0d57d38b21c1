"""A small world for many runs of one table: rows as text, a branch for each run, one main."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.exceptions import ApplicationError

from wap import client
from wap.model import CheckCounts, Rows, RunResult, SnapshotMove
from wap.steps import (
    Audited,
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


@dataclass(frozen=True)
class Branch:
    """A run's branch: main's head it stands on, its own, and the batch."""

    base: int
    head: int
    batch: tuple[str, ...] = ()
    #: run → head of its branch, when it is a union's.
    taken: tuple[tuple[str, int], ...] = ()


@dataclass
class Crowd(Steps):
    """Steps over integers and rows. A run's one input is its batch, rows with spaces between.

    A row must be in the table once, and ``bad`` never. The steps prove what the catalog proves: a
    publish is a compare-and-swap on main, and a union's on the branches of its members, too.
    """

    main: int = 1
    next_id: int = 1
    rows: list[str] = field(default_factory=list)
    branches: dict[str, Branch] = field(default_factory=dict)
    #: run → who published its batch: itself, or a union.
    published_by: dict[str, str] = field(default_factory=dict)
    alone: bool = False
    #: (step, when) → (error type, how often); when is "before" or "after" its effect.
    faults: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    #: called inside a step, before its effect.
    during: dict[str, Callable[[RunRef], None]] = field(default_factory=dict)
    calls: list[tuple[str, str]] = field(default_factory=list)
    lock: threading.RLock = field(default_factory=threading.RLock)
    #: who was sealed although the audit had failed.
    wronged: list[str] = field(default_factory=list)
    closed: dict[str, RunResult] = field(default_factory=dict)

    def all(self) -> list[Callable[..., object]]:
        return [getattr(self, name) for name in Steps.__abstractmethods__]

    def count(self, step: str) -> int:
        return sum(name == step for name, _ in self.calls)

    def _new(self) -> int:
        self.next_id += 1
        return self.next_id

    def somebody_publishes(self, row: str) -> None:
        """A writer that knows no queue."""
        with self.lock:
            self.main = self._new()
            self.rows.append(row)

    def _enter(self, step: str, run: RunRef) -> None:
        self.calls.append((step, run.run_id))
        if step in self.during:
            self.during[step](run)
        self._fault(step, "before")

    def _fault(self, step: str, when: str) -> None:
        with self.lock:
            error, times = self.faults.get((step, when), ("", 0))
            if times == 0:
                return
            self.faults[step, when] = (error, times - 1)
        again = error.endswith("UnavailableError")
        raise ApplicationError(f"{error} {when} {step}", type=error, non_retryable=not again)

    def _branch(self, run_id: str) -> Branch:
        if run_id not in self.branches:
            raise ApplicationError("no branch", type="BranchNotFoundError", non_retryable=True)
        return self.branches[run_id]

    def _batch(self, run: RunRef) -> tuple[str, ...]:
        return tuple(run.request.inputs[0].split())

    @_step
    def resolve(self, run: RunRef) -> Resolved:
        self._enter("resolve", run)
        done = any(row in self.rows for row in self._batch(run)) and run.round > 0
        return Resolved(
            table="ns.t",
            pipeline_digest="d",
            summary="1 file",
            before=self.main,
            nothing_new=done,
            unites=not self.alone,
        )

    @_step
    def open_branch(self, run: RunRef) -> Opened:
        self._enter("open_branch", run)
        with self.lock:
            assert run.run_id not in self.published_by
            self.branches.setdefault(run.run_id, Branch(self.main, self.main))
            branch = self.branches[run.run_id]
        return Opened(expected=branch.base, head=branch.head)

    @_step
    def stage(self, run: RunRef) -> Staged:
        self._enter("stage", run)
        with self.lock:
            branch = self._branch(run.run_id)
            if not branch.batch:
                branch = Branch(branch.base, self._new(), self._batch(run))
                self.branches[run.run_id] = branch
        rows = Rows(read=len(branch.batch), staged=len(branch.batch))
        return Staged(head=branch.head, rows=rows, files=1, bytes=10)

    @_step
    def reconcile(self, run: RunRef) -> Rows:
        self._enter("reconcile", run)
        batch = self._branch(run.run_id).batch
        self._fault("reconcile", "after")
        return Rows(read=len(batch), staged=len(batch))

    @_step
    def audit(self, run: RunRef) -> Audited:
        self._enter("audit", run)
        with self.lock:
            branch = self._branch(run.run_id)
            candidate = Counter((*self.rows, *branch.batch))
        twice = sorted(row for row, times in candidate.items() if times > 1)
        wrong = [*twice, *(row for row in branch.batch if row.startswith("bad"))]
        self._fault("audit", "after")
        return Audited(
            head=branch.head,
            expected=branch.base,
            passed=not wrong,
            report_digest=f"report of {branch.head}",
            checks=CheckCounts(failed=1) if wrong else CheckCounts(passed=1),
            reason=f"wrong: {' '.join(wrong)}" if wrong else "",
        )

    @_step
    def hold(self, run: RunRef, result: RunResult) -> RunResult:
        raise NotImplementedError

    @_step
    def seal(self, run: RunRef, audited: Audited) -> Sealed:
        self._enter("seal", run)
        if not audited.passed:
            self.wronged.append(run.run_id)
        assert audited.passed
        self._fault("seal", "after")
        return Sealed(snapshot_id=audited.head)

    @_step
    def publish(self, run: RunRef, audited: Audited) -> SnapshotMove:
        self._enter("publish", run)
        with self.lock:
            if self.published_by.get(run.run_id) != run.run_id:
                self._publish(run, audited)
        self._fault("publish", "after")
        return SnapshotMove(before=audited.expected, after=audited.head)

    def _publish(self, run: RunRef, audited: Audited) -> None:
        branch = self._branch(run.run_id)
        there = all(run in self.branches and self.branches[run].head == head
                    for run, head in branch.taken)  # fmt: skip
        if self.main != audited.expected or branch.head != audited.head or not there:
            raise ApplicationError("main has moved", type="HeadMovedError", non_retryable=True)
        self.main = branch.head
        self.rows += branch.batch
        self.published_by[run.run_id] = run.run_id
        for member, _ in branch.taken:
            assert member not in self.published_by
            self.published_by[member] = run.run_id
        del self.branches[run.run_id]

    @_step
    def rebase(self, run: RunRef) -> Rebased:
        self._enter("rebase", run)
        with self.lock:
            if run.run_id in self.published_by:
                return Rebased(redo="it is published")
            branch = self._branch(run.run_id)
            if branch.base != self.main:
                branch = Branch(self.main, self._new(), branch.batch, branch.taken)
                self.branches[run.run_id] = branch
        self._fault("rebase", "after")
        return Rebased(head=branch.head, expected=branch.base)

    @_step
    def restage(self, run: RunRef) -> Restaged:
        raise NotImplementedError  # all of them append

    @_step
    async def enlist(self, run: RunRef, table: str, ticket: Ticket) -> None:
        self._enter("enlist", run)
        await client.enlist(activity.client(), activity.info().task_queue, table, ticket)
        self._fault("enlist", "after")

    @_step
    def unite(self, run: RunRef, members: tuple[RunRef, ...]) -> United:
        self._enter("unite", run)
        with self.lock:
            if run.run_id not in self.branches:
                there = [one for one in members if one.run_id in self.branches]
                taken = tuple((one.run_id, self.branches[one.run_id].head) for one in there)
                batch = tuple(row for one in there for row in self.branches[one.run_id].batch)
                self.branches[run.run_id] = Branch(self.main, self._new(), batch, taken)
            branch = self.branches[run.run_id]
        self._fault("unite", "after")
        return United(members=tuple(member for member, _ in branch.taken))

    @_step
    def dissolve(self, run: RunRef) -> Undone:
        self._enter("dissolve", run)
        undone = self._undone(run)
        self._fault("dissolve", "after")
        return undone

    @_step
    def quarantine(self, run: RunRef, audited: Audited) -> Divided:
        raise NotImplementedError  # nothing is set aside here

    @_step
    def drop_branch(self, run: RunRef) -> Undone:
        self._enter("drop_branch", run)
        undone = self._undone(run)
        self._fault("drop_branch", "after")
        return undone

    def _undone(self, run: RunRef) -> Undone:
        with self.lock:
            for union, branch in list(self.branches.items()):
                if run.run_id in dict(branch.taken):
                    del self.branches[union]
            self.branches.pop(run.run_id, None)
            if run.run_id in self.published_by:
                return Undone(removed="nothing", published=SnapshotMove(after=self.main))
        return Undone(removed="1 file")

    @_step
    def record_lineage(self, run: RunRef, result: RunResult) -> str:
        return "none"

    @_step
    def close(self, run: RunRef, result: RunResult) -> RunResult:
        self._enter("close", run)
        self.closed[run.run_id] = result
        return result
