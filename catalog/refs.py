"""Values of the catalog: names, refs, snapshots, the seal and the audited head. Pure, no I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, Self

from catalog.errors import CatalogConfigError, UnauditedError, UnsealedError
from catalog.waivers import Waiver, objection

MAIN = "main"
#: How the names of runs' branches begin.
BRANCHES = "wap/"

#: Role of a snapshot that one of our runs made, under the summary key ``wap.role``.
Role = Literal["bootstrap", "open", "stage", "rebase", "seal"]

_BRANCH = re.compile(r"[A-Za-z][A-Za-z0-9._/-]*")
_NAME_PART = re.compile(r"[^\x00-\x1f./\\]+")


@dataclass(frozen=True, slots=True, order=True)
class TableName:
    """A table's name: its namespace, one part or several, and its own name."""

    namespace: tuple[str, ...]
    name: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``namespace.table``; dots separate, so a part cannot hold one.

        Raises:
            CatalogConfigError: no namespace, an empty part, a slash or a control character.
        """
        parts = text.split(".")
        if len(parts) < 2 or not all(_NAME_PART.fullmatch(p) and p == p.strip() for p in parts):  # noqa: PLR2004
            raise CatalogConfigError(
                f"{text!r} is not a table name",
                hint="write namespace.table, for example nyc.flights",
            )
        return cls(tuple(parts[:-1]), parts[-1])

    @property
    def identifier(self) -> tuple[str, ...]:
        """Namespace parts and name in one tuple, as pyiceberg takes it."""
        return (*self.namespace, self.name)

    def __str__(self) -> str:
        return ".".join(self.identifier)


@dataclass(frozen=True, slots=True, order=True)
class Branch:
    """A staging branch's name; each run has its own, ``wap/<run id>``."""

    name: str

    def __post_init__(self) -> None:
        if not _BRANCH.fullmatch(self.name) or self.name == MAIN:
            raise CatalogConfigError(
                f"{self.name!r} cannot name a staging branch",
                hint="start with a letter; letters, digits and . _ / - may follow; not main",
            )

    @classmethod
    def of_run(cls, run_id: str) -> Self:
        """The branch that a run stages on."""
        return cls(f"{BRANCHES}{run_id}")

    @property
    def run_id(self) -> str:
        """The run this branch belongs to."""
        return self.name.removeprefix(BRANCHES)

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One snapshot of one table, with its summary as Iceberg keeps it."""

    table: TableName
    id: int
    parent_id: int | None
    committed_at: datetime
    operation: str
    schema_id: int | None
    summary: Mapping[str, str] = field(default_factory=dict)

    @property
    def run_id(self) -> str | None:
        """The run that made it, None for a snapshot no run of ours made."""
        return self.summary.get("wap.run")

    @property
    def role(self) -> str | None:
        """What it is to its run (a :data:`Role`), None for a foreign snapshot."""
        return self.summary.get("wap.role")

    def holds(self, run_id: str) -> bool:
        """Whether it is of that run, or of a union that holds the run's batch."""
        return run_id == self.run_id or run_id in members_in(self.summary)

    @property
    def is_sealed(self) -> bool:
        """Whether it is a seal itself (what it seals is its parent)."""
        return self.role == "seal" and Seal.in_summary(self.summary)


_SEAL_FIELDS = ("run_id", "audited", "contract_digest", "report_digest", "source_digest")
_SEAL_KEYS = {
    "run_id": "wap.run",
    "audited": "wap.audited",
    "contract_digest": "wap.contract",
    "report_digest": "wap.report",
    "source_digest": "wap.source",
}
_WAIVER = "wap.waiver"
#: Under which a union's snapshots name the runs whose batches they hold.
MEMBERS = "wap.members"


def members_in(summary: Mapping[str, str]) -> tuple[str, ...]:
    """The runs whose batches a union's snapshot holds; () when it is no union's."""
    return tuple(summary.get(MEMBERS, "").split())


@dataclass(frozen=True, slots=True)
class Seal:
    """The evidence that travels in the summary of a published snapshot (law 8).

    Attributes:
        run_id: the run that made it.
        audited: id of the snapshot that was audited, the seal's parent.
        contract_digest: sha256 hex over the contracts' texts.
        report_digest: sha256 hex over the report's outcomes.
        source_digest: sha256 hex over what was read.
        notes: further facts under ``wap.`` keys (pipeline, cursor, rows, …); values are text.
        waiver: the text of the waiver that the audited head stands by; "" when its audit passed.
        members: the runs whose batches a union holds, in its order; () for any other run.
    """

    run_id: str
    audited: int
    contract_digest: str
    report_digest: str
    source_digest: str
    notes: Mapping[str, str] = field(default_factory=dict)
    waiver: str = ""
    members: tuple[str, ...] = ()

    @staticmethod
    def in_summary(summary: Mapping[str, str]) -> bool:
        """Whether all five facts of a seal are there, none is empty, and the head is a number."""
        told = all(summary.get(_SEAL_KEYS[name]) for name in _SEAL_FIELDS)
        return told and summary[_SEAL_KEYS["audited"]].isdecimal()

    def to_summary(self) -> dict[str, str]:
        """The summary entries of the seal snapshot."""
        facts = {_SEAL_KEYS[name]: str(getattr(self, name)) for name in _SEAL_FIELDS}
        own = {_WAIVER: self.waiver, MEMBERS: " ".join(self.members)}
        notes = {f"wap.{k}": v for k, v in self.notes.items() if f"wap.{k}" not in own}
        told = {key: value for key, value in own.items() if value}
        return {**notes, **facts, **told, "wap.role": "seal"}

    @classmethod
    def from_summary(cls, summary: Mapping[str, str]) -> Self:
        """Read a seal back.

        Raises:
            UnsealedError: one of the five facts is missing, or the audited head is no number.
        """
        missing = [key for key in _SEAL_KEYS.values() if not summary.get(key)]
        if not missing and not summary["wap.audited"].isdecimal():
            missing = ["wap.audited"]
        if missing or summary.get("wap.role") != "seal":
            raise UnsealedError(f"no seal in this summary: {', '.join(missing) or 'wap.role'}")
        known = {*_SEAL_KEYS.values(), _WAIVER, MEMBERS, "wap.role"}
        return cls(
            run_id=summary["wap.run"],
            audited=int(summary["wap.audited"]),
            contract_digest=summary["wap.contract"],
            report_digest=summary["wap.report"],
            source_digest=summary["wap.source"],
            notes={
                k.removeprefix("wap."): v
                for k, v in summary.items()
                if k.startswith("wap.") and k not in known
            },
            waiver=summary.get(_WAIVER, ""),
            members=members_in(summary),
        )


class Evidence(Protocol):
    """What an audit must show before its head may be published; ``checks.Report`` is one."""

    @property
    def snapshot_id(self) -> int | None:
        """The snapshot that was audited; None when it never came to an audit."""

    @property
    def declared(self) -> frozenset[str]:
        """Names of all checks that the contracts and the gate itself declare."""

    @property
    def evaluated(self) -> frozenset[str]:
        """Names of the checks that were evaluated."""

    @property
    def passed(self) -> bool:
        """Whether no blocking check failed and no error was met."""

    @property
    def waivable(self) -> AbstractSet[str]:
        """Names of the failed checks, when a person may answer for all that is wrong; else none."""

    @property
    def digest(self) -> str:
        """sha256 hex over the outcomes."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A run's branch and its head, as a union has taken the batch from it."""

    branch: Branch
    head: int


@dataclass(frozen=True, slots=True)
class AuditedHead:
    """A branch head that passed a complete audit: the only thing publish accepts (law 2).

    One whose audit failed is accepted with a waiver of this run and this report that names every
    failed check and nothing else; whatever else is wrong with a report cannot be waived.

    Attributes:
        branch: the staging branch.
        table: the table on it.
        head: id of the audited snapshot, the branch's head when it was audited.
        expected: main's head the audit was made against; None when the table is new.
        report: the evidence; a failing, empty or partial one is refused here.
        sealed_only: refuse to publish over a main that somebody else wrote to.
        waiver: a person's word for what failed; None: the audit must have passed.
        members: the branches of the same table whose batches it holds, when it is a union: it is
            published only while each of them is where it was.

    Raises:
        UnauditedError: at construction, when the evidence does not prove the head.
    """

    branch: Branch
    table: TableName
    head: int
    expected: int | None
    report: Evidence
    sealed_only: bool = False
    waiver: Waiver | None = None
    members: tuple[Taken, ...] = ()

    def __post_init__(self) -> None:
        report = self.report
        where = f"{self.table} on {self.branch}"
        hint = "nothing was published; audit the branch's head again"
        if report.snapshot_id != self.head:
            what = f"the report is about snapshot {report.snapshot_id}, not {self.head}"
            raise UnauditedError(what, where=where, hint=hint)
        if not report.declared:
            raise UnauditedError("the report holds no check", where=where, hint=hint)
        if report.evaluated != report.declared:
            odd = ", ".join(sorted(report.evaluated ^ report.declared))
            raise UnauditedError(f"not every check was evaluated: {odd}", where=where, hint=hint)
        if self.waiver is not None:
            self._check_waiver(self.waiver, where)
        elif report.passed is not True:
            raise UnauditedError("the audit did not pass", where=where, hint=hint)
        if not report.digest:
            raise UnauditedError("the report has no digest", where=where, hint=hint)

    def _check_waiver(self, waiver: Waiver, where: str) -> None:
        what = objection(
            waiver,
            run_id=self.branch.run_id,
            report_digest=self.report.digest,
            waivable=self.report.waivable,
        )
        if what is not None:
            hint = "nothing was published; a waiver is for one run and one report"
            raise UnauditedError(what, where=where, hint=hint)

    @property
    def member_ids(self) -> tuple[str, ...]:
        """The runs whose batches it holds; () when it is no union."""
        return tuple(member.branch.run_id for member in self.members)

    @property
    def waiver_text(self) -> str:
        """What the seal must tell of the waiver; "" where none is needed."""
        return self.waiver.text if self.waiver is not None else ""


@dataclass(frozen=True, slots=True)
class Back:
    """One table's way back: from main's head as it was seen to an earlier seal.

    Attributes:
        to: id of the seal.
        expected: main's head; the move is refused when main is elsewhere.
    """

    table: TableName
    to: int
    expected: int


@dataclass(frozen=True, slots=True)
class BranchState:
    """Where a staging branch of one table stands.

    Attributes:
        base: main's head that the branch started from (None: the table is new).
        main: main's head now (None: not published).
        created_at: when its first own snapshot was committed; None when it has none.
    """

    branch: Branch
    table: TableName
    head: int
    base: int | None
    main: int | None
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class Dropped:
    """What dropping a branch removed."""

    branch: bool
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a catalog can do; what it cannot it refuses with UnsupportedError, never silently.

    Attributes:
        atomic_groups: several tables can be published in one step.
        new_in_groups: tables that are published for the first time can be among them.
        staged_schema: a new column stays invisible on main until publish.
        rollback: main can be moved back to an earlier sealed snapshot.
    """

    atomic_groups: bool
    staged_schema: bool
    rollback: bool
    new_in_groups: bool = True
