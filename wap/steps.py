"""The steps of the saga, declared: what each takes and gives. ``activities.py`` does them."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
from abc import ABC, abstractmethod

from temporalio import activity

from wap.membership import owner_of
from wap.model import (
    CheckCounts,
    FailedCheck,
    Quarantined,
    Rows,
    RunRequest,
    RunResult,
    SnapshotMove,
    Value,
    Waiver,
)
from wap.turns import Ticket


class Group(Value):
    """What a run is a member of.

    Attributes:
        name: the group's.
        tables: those that are published in one step, the member's own among them.
    """

    name: str
    tables: tuple[str, ...]


class RunRef(Value):
    """Which run, and which round of it; the first argument of every step.

    Attributes:
        run_id: names the run everywhere: branch, data files, seal, report, ledger.
        round: 0; one more whenever main moved and the batch had to be planned anew.
        group: what it is published with; None: it is published by itself. Of a member
            ``run_id`` names report and ledger, and :attr:`owner` the rest.
    """

    run_id: str
    request: RunRequest
    round: int = 0
    group: Group | None = None

    @property
    def owner(self) -> str:
        """The run that branch, data files and seal are named by: of a member its group's."""
        return owner_of(self.run_id)


class Resolved(Value):
    """The run's plan, pinned in its run folder; later steps read that and not the project.

    Attributes:
        summary: what will be read, for people.
        bytes: size of the input, where known, for progress.
        nothing_new: everything there is, is published already.
        refused: the batch does not fit the table; a report says why.
        unites: a union may take the batch together with those of other runs.
    """

    table: str
    pipeline_digest: str
    summary: str
    bytes: int | None = None
    nothing_new: bool = False
    refused: str | None = None
    before: int | None = None
    unites: bool = False


class Opened(Value):
    """The staging branch as it was opened; ``warnings`` say what main holds that nobody sealed."""

    expected: int | None
    head: int
    warnings: tuple[str, ...] = ()


class Staged(Value):
    """What was written and committed to the branch."""

    head: int
    rows: Rows
    files: int
    bytes: int
    refused: str | None = None


class AuditedBeside(Value):
    """The head of the run's quarantine table, audited with the other; see :class:`Audited`."""

    head: int
    expected: int | None
    report_digest: str


class Audited(Value):
    """The verdict on one head; the outcomes lie in the report.

    Attributes:
        head: the snapshot that was audited.
        expected: main's head it was audited against.
        passed: the gate's verdict.
        reason: which checks failed, for people; "" when it passed.
        failed: the failed checks, when a person may answer for all that is wrong.
        hold_seconds: so long the run waits for that person; None: it does not.
        waiver: what that person said; the seal and the publish ask for it.
        separable: each failed check says which rows break it, and the pipeline sets such aside.
        beside: the same verdict on the quarantine table; None: the run sets nothing aside.
    """

    head: int
    expected: int | None
    passed: bool
    report_digest: str
    checks: CheckCounts
    reason: str = ""
    failed: tuple[FailedCheck, ...] = ()
    hold_seconds: float | None = None
    waiver: Waiver | None = None
    separable: bool = False
    beside: AuditedBeside | None = None


class Divided(Value):
    """The batch without the rows that break a check, and those in the quarantine table.

    Attributes:
        refused: why it was not divided; nothing has changed then.
        bytes: written for it.
    """

    quarantine: Quarantined | None = None
    bytes: int = 0
    refused: str | None = None


class Sealed(Value):
    """The seal on top of the audited head."""

    snapshot_id: int


class Rebased(Value):
    """The branch after main had moved.

    Attributes:
        redo: why it must be planned anew instead; None: it follows main.
        restages: in place of that, step ``restage`` may do.
    """

    head: int | None = None
    expected: int | None = None
    redo: str | None = None
    restages: bool = False
    warnings: tuple[str, ...] = ()


class Restaged(Value):
    """The batch staged again on main's new head.

    Attributes:
        bytes: written for it.
        quarantine: what is set aside of it still; None: nothing is, or nothing any more.
        redo: why it must be planned anew instead.
        refused: why it cannot meet the rows that main shows now.
    """

    rows: Rows = Rows()
    bytes: int = 0
    quarantine: Quarantined | None = None
    redo: str | None = None
    refused: str | None = None
    warnings: tuple[str, ...] = ()


class Undone(Value):
    """What an undo found: a run that turns out to be published is not undone.

    Attributes:
        removed: what was removed, for people.
        published: the move of main, when the publish had taken effect after all.
    """

    removed: str
    published: SnapshotMove | None = None


class United(Value):
    """The runs whose batches a union holds; none where fewer than two could be taken together."""

    members: tuple[str, ...]


class Steps(ABC):
    """One method a step. Each is idempotent by run, round and step, and fenced by heads."""

    @activity.defn
    @abstractmethod
    def resolve(self, run: RunRef) -> Resolved:
        """Read pipeline and contracts, plan what is new, and pin all of it for this round."""

    @activity.defn
    @abstractmethod
    def open_branch(self, run: RunRef) -> Opened:
        """Open the run's branch at main's head, or stage the new table."""

    @activity.defn
    @abstractmethod
    def stage(self, run: RunRef) -> Staged:
        """Write the batch's data files and commit them to the branch in one snapshot."""

    @activity.defn
    @abstractmethod
    def reconcile(self, run: RunRef) -> Rows:
        """Count the batch in the table and hold it against the source's books (law 6)."""

    @activity.defn
    @abstractmethod
    def audit(self, run: RunRef) -> Audited:
        """Run all contracts on the branch's head and write the report."""

    @activity.defn
    @abstractmethod
    def quarantine(self, run: RunRef, audited: Audited) -> Divided:
        """Move the batch's rows that break a failed check to the quarantine table's branch."""

    @activity.defn
    @abstractmethod
    def hold(self, run: RunRef, result: RunResult) -> RunResult:
        """Write the report and the ledger's entry of a run that waits for a person."""

    @activity.defn
    @abstractmethod
    def seal(self, run: RunRef, audited: Audited) -> Sealed:
        """Put the seal on the audited head."""

    @activity.defn
    @abstractmethod
    def publish(self, run: RunRef, audited: Audited) -> SnapshotMove:
        """Move main to the sealed head."""

    @activity.defn
    @abstractmethod
    def rebase(self, run: RunRef) -> Rebased:
        """Re-attach the batch to main's new head, or say that it must be planned anew."""

    @activity.defn
    @abstractmethod
    def restage(self, run: RunRef) -> Restaged:
        """Let the batch meet main's new head without reading it again, in one commit."""

    @activity.defn
    @abstractmethod
    async def enlist(self, run: RunRef, table: str, ticket: Ticket) -> None:
        """Queue at the table's keeper, which is started where there is none."""

    @activity.defn
    @abstractmethod
    def unite(self, run: RunRef, members: tuple[RunRef, ...]) -> United:
        """Stage the batches of several runs on a branch of the union's own; no row is written."""

    @activity.defn
    @abstractmethod
    def dissolve(self, run: RunRef) -> Undone:
        """Undo a union, unless it is published, and forget it; its members keep their batches."""

    @activity.defn
    @abstractmethod
    def drop_branch(self, run: RunRef) -> Undone:
        """Undo: remove the branch and everything the run wrote, unless it is published."""

    @activity.defn
    @abstractmethod
    def record_lineage(self, run: RunRef, result: RunResult) -> str:
        """Tell the lineage sink; returns where it went."""

    @activity.defn
    @abstractmethod
    def close(self, run: RunRef, result: RunResult) -> RunResult:
        """Write the final report and the ledger's entry; returns the result with both in it."""
