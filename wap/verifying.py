"""What `wap verify` proves of main: every snapshot sealed, every seal backed by what it names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from catalog.base import BranchCatalog, Published
from catalog.errors import TableNotFoundError, UnsealedError
from catalog.refs import Seal, Snapshot, TableName
from catalog.retention import is_cut
from catalog.waivers import objection
from checks.errors import ReportError
from checks.render import read_report
from checks.report import Report
from wap import evidence
from wap.auditing import facts_of
from wap.evidence import Evidence
from wap.ledger.base import Ledger
from wap.model import CheckFact, Ending, RunFacts, Value, Waiver
from wap.quarantine.table import MADE, WAY_BACK, is_quarantine

#: Version of the shape of what is found; it goes up when a key changes its meaning or goes away.
FORMAT = 1

_ROLL_BACK = "`wap rollback` goes back to a sealed snapshot; what others wrote goes through a run"
_RESTORE = "restore the file from a backup; the run stays unproved without it"
#: What to do, by the code of what is found.
HINTS = {
    "foreign": _ROLL_BACK,
    "unsealed": _ROLL_BACK,
    "seal": "somebody wrote this seal by hand; " + _ROLL_BACK,
    "expired": "its audit can no longer be proved; expire whole runs only, as `wap` does",
    "evidence": _RESTORE,
    "report": "the seal and its evidence tell of two audits; " + _ROLL_BACK,
    "manifests": "what readers see is not what was audited; restore the files, or "
    "`wap rollback` and load again",
    "ledger": "the ledger was changed; remove the run's rows there, then `wap rebuild-ledger`",
    "ledger-missing": "`wap rebuild-ledger` puts it back from the evidence",
    "group": "readers see half of what was published together; "
    "`wap rollback --group RUN` takes the rest back, or load the table again",
    "report-file": "the file was changed after the run; the evidence holds the report as sealed",
}


class Unsealed(Value):
    """A snapshot of main that is not proved, or a record of it that does not agree.

    Attributes:
        code: one of :data:`HINTS`.
        hint: what to do.
    """

    snapshot: int
    committed_at: datetime
    operation: str
    reason: str
    code: str
    run_id: str | None
    hint: str


class SealProof(Value):
    """One seal of main and the digests that were held against each other.

    Attributes:
        proved: nothing was found against it.
        ledger: whether the ledger tells the same: ``equal``, ``differs`` or ``missing``.
        group: the group whose run published it; None: it was published by itself.
        members: the tables that were published in one step, its own among them.
    """

    snapshot: int
    run_id: str
    audited: int
    published_at: datetime
    report_digest: str
    contract_digest: str
    evidence_digest: str
    proved: bool
    ledger: str
    group: str | None = None
    members: tuple[str, ...] = ()


class Waived(Value):
    """A seal of main whose audit failed, and the waiver under which it was published.

    Attributes:
        expired: the waiver is in force no more; what it covered is on main all the same.
    """

    snapshot: int
    waiver: Waiver
    expired: bool


class TableProof(Value):
    """What `wap verify` found for one table.

    Attributes:
        head: main's snapshot.
        unsealed: what is not proved; [] is what an auditor wants to see.
        notes: what is worth knowing and takes nothing from the proof.
        since: when the oldest snapshot that is kept was made, where older ones were forgotten;
            None: all of main's history is there.
        waived: what was published although its audit failed, because a person answered for it.
    """

    table: str
    head: int
    snapshots: int
    sealed: int
    unsealed: tuple[Unsealed, ...]
    notes: tuple[Unsealed, ...]
    seals: tuple[SealProof, ...]
    since: datetime | None = None
    waived: tuple[Waived, ...] = ()


@dataclass(frozen=True)
class Records:
    """What is held against the seals beside the catalog itself.

    Attributes:
        ledger: the project's.
        reports: the folder of the runs' reports on this machine.
    """

    ledger: Ledger
    reports: Path


def verify(
    catalog: BranchCatalog,
    records: Records,
    tables: Sequence[TableName] = (),
    told: Callable[[str, int, int], None] = lambda _table, _done, _of: None,
) -> list[TableProof]:
    """Prove main of each table (all by default) from its head to its first snapshot (law 8).

    Args:
        told: hears of each seal that was proved: table, how many, of how many.

    Raises:
        TableNotFoundError: a table asked for is not published.
    """
    known = catalog.tables()
    for table in tables:
        if table not in known:
            raise TableNotFoundError(
                "no such published table", where=str(table),
                hint=f"published: {', '.join(map(str, known)) or 'none yet'}",
            )  # fmt: skip
    runs = Shown(catalog)
    found = [_Table(catalog, records, table, runs) for table in tables or known]
    return [one.prove(told) for one in found]


@dataclass
class Shown:
    """Which runs main of a table shows, each table looked at once."""

    catalog: BranchCatalog
    known: dict[TableName, frozenset[str] | None] = field(default_factory=dict)

    def shows(self, table: TableName, run: str) -> bool:
        """Whether main shows the run's seal, or is too short to tell."""
        if table not in self.known:
            log = self.catalog.log(table)
            runs = frozenset(s.run_id for s in log if s.is_sealed and s.run_id is not None)
            self.known[table] = None if log and is_cut(log) else runs
        shown = self.known[table]
        return shown is None or run in shown


@dataclass
class _Table:
    """The proof of one table while it is made."""

    catalog: BranchCatalog
    records: Records
    name: TableName
    runs: Shown
    unsealed: list[Unsealed] = field(default_factory=list)
    notes: list[Unsealed] = field(default_factory=list)
    made_of: dict[int, frozenset[str] | None] = field(default_factory=dict)

    def prove(self, told: Callable[[str, int, int], None]) -> TableProof:
        log, published = self.catalog.log(self.name), self.catalog.published(self.name)
        gaps = {gap.snapshot.id: gap for gap in self.catalog.gaps(self.name)}
        self.unsealed += [_unsealed(g.snapshot, g.kind, g.reason) for g in gaps.values()]
        seals = list(evidence.seals_in(log))
        proofs = []
        for number, (snapshot, seal) in enumerate(seals, 1):
            if published is not None:
                whole = snapshot.id not in gaps
                proofs.append(self._seal(snapshot, seal, published, whole=whole))
            told(str(self.name), number, len(seals))
        return TableProof(
            table=str(self.name),
            head=log[0].id if log else -1,
            snapshots=len(log),
            sealed=sum(p.proved for p in proofs),
            unsealed=tuple(self.unsealed),
            notes=tuple(self.notes),
            seals=tuple(proofs),
            since=log[-1].committed_at if is_cut(log) else None,
            waived=tuple(self._waived(seals, proofs)),
        )

    def _waived(
        self, seals: Sequence[tuple[Snapshot, Seal]], proofs: Sequence[SealProof]
    ) -> Iterator[Waived]:
        """The waivers of the seals that are proved; of the others nothing is believed."""
        proved, now = {p.snapshot for p in proofs if p.proved}, datetime.now(UTC)
        for snapshot, seal in seals:
            if seal.waiver and snapshot.id in proved:
                waiver = evidence.waiver_of(seal, str(self.name))
                yield Waived(snapshot=snapshot.id, waiver=waiver, expired=waiver.until <= now)

    def _seal(
        self, snapshot: Snapshot, seal: Seal, published: Published, *, whole: bool
    ) -> SealProof:
        before, run_id = len(self.unsealed), evidence.run_of(seal)
        ledger, members = "missing", self._members(snapshot, seal)
        try:
            proof = evidence.read(published.io, published.location, seal)
        except UnsealedError as exc:
            self.unsealed.append(_unsealed(snapshot, "evidence", f"{exc.what}: {exc.where}"))
        else:
            report = self._report(snapshot, seal, proof)
            if report is not None:
                self._manifests(snapshot, proof, published)
                told = {
                    self._ledger(snapshot, run, report, proof) for run in evidence.runs_of(seal)
                }
                ledger = next(word for word in ("differs", "missing", "equal") if word in told)
                for run in evidence.runs_of(seal):
                    self._file(snapshot, seal, run)
        return SealProof(
            snapshot=snapshot.id,
            run_id=run_id,
            audited=seal.audited,
            published_at=snapshot.committed_at,
            report_digest=seal.report_digest,
            contract_digest=seal.contract_digest,
            evidence_digest=seal.notes.get(evidence.NOTE, ""),
            proved=whole and len(self.unsealed) == before,
            ledger=ledger,
            group=seal.notes.get(evidence.GROUP),
            members=members,
        )

    def _members(self, snapshot: Snapshot, seal: Seal) -> tuple[str, ...]:
        """The tables published with it; a note for each whose main does not show the run now."""
        try:
            together = sorted(evidence.together(seal))
        except UnsealedError as exc:
            self.unsealed.append(_unsealed(snapshot, "seal", exc.what))
            return ()
        for table in together:
            if not self.runs.shows(table, seal.run_id):
                reason = f"main of {table} does not show the group's run {seal.run_id}"
                self.notes.append(_unsealed(snapshot, "group", reason))
        return tuple(map(str, together))

    def _report(self, snapshot: Snapshot, seal: Seal, proof: Evidence) -> Report | None:
        """The evidence's report, when it is the one that the seal tells of."""
        try:
            report = Report.from_json(proof.report)
        except ReportError as exc:
            self.unsealed.append(_unsealed(snapshot, "report", exc.what))
            return None
        odd = next(_differences(seal, proof, report, str(self.name)), None)
        if odd is not None:
            self.unsealed.append(_unsealed(snapshot, "report", odd))
            return None
        return report

    def _manifests(self, snapshot: Snapshot, proof: Evidence, published: Published) -> None:
        """What the run put into the table is what was audited, byte for byte."""
        if proof.basis is None:
            return  # sealed by a version that kept no digests
        shown, before = self._made_of(snapshot.id), proof.facts.result.snapshot.before
        base = self._made_of(before) if before is not None else frozenset()
        named = frozenset(proof.manifests)
        lost = named - (shown or frozenset())
        more = (shown or frozenset()) - base - named if base is not None else frozenset()
        other = [
            path
            for path, digest in proof.manifests.items()
            if evidence.digest_of(published.io, path) != digest
        ]
        for what, paths in (("no longer shown", lost), ("not audited", more), ("changed", other)):
            if paths:
                reason = f"a manifest is {what}: {min(paths)}"
                self.unsealed.append(_unsealed(snapshot, "manifests", reason))

    def _made_of(self, snapshot_id: int) -> frozenset[str] | None:
        """The snapshot's manifests; None when it has expired."""
        if snapshot_id not in self.made_of:
            try:
                self.made_of[snapshot_id] = self.catalog.made_of(self.name, snapshot_id)
            except TableNotFoundError:
                self.made_of[snapshot_id] = None
        return self.made_of[snapshot_id]

    def _ledger(self, snapshot: Snapshot, run_id: str, report: Report, proof: Evidence) -> str:
        facts = self.records.ledger.run(run_id)
        if facts is None and proof.facts.source_kind in (WAY_BACK, MADE):
            return "missing"  # no run of a pipeline: the ledger keeps none
        if facts is None or facts.ended_at is None:
            what = "does not know the run" if facts is None else "does not know how the run ended"
            self.notes.append(_unsealed(snapshot, "ledger-missing", f"the ledger {what}"))
            return "missing"
        told = _aside_told_otherwise if is_quarantine(self.name) else _told_otherwise
        odd = next(told(facts, report), None)
        if odd is None:
            return "equal"
        self.unsealed.append(_unsealed(snapshot, "ledger", f"the ledger {odd}"))
        return "differs"

    def _file(self, snapshot: Snapshot, seal: Seal, run_id: str) -> None:
        """The report's folder on this machine; it may be gone, but not tell another story."""
        if is_quarantine(self.name):
            return  # it is about the table that the rows were set aside from
        folder = self.records.reports / run_id
        if not (folder / "report.json").exists():
            return
        try:
            kept, _ = read_report(folder)
        except ReportError as exc:
            reason = f"{exc.what}: {folder / 'report.json'}"
            self.unsealed.append(_unsealed(snapshot, "report-file", reason))
            return
        if kept is None or kept.digest != seal.report_digest:
            reason = f"it holds another report than was sealed: {folder / 'report.json'}"
            self.unsealed.append(_unsealed(snapshot, "report-file", reason))


def _differences(seal: Seal, proof: Evidence, report: Report, table: str) -> Iterator[str]:
    """Where a seal, the evidence's facts and its report tell of different audits."""
    facts, members = proof.facts, tuple(m.run_id for m in proof.members)
    pairs = [
        ("runs of the union", seal.members, members),
        ("run", evidence.run_of(seal), facts.run_id),
        ("run", evidence.run_of(seal), report.run_id),
        ("table", table, report.table),
        ("audited snapshot", seal.audited, report.snapshot_id),
        ("report", seal.report_digest, report.digest),
        ("report", seal.report_digest, facts.report_digest),
        ("contracts", seal.contract_digest, report.contract_digest),
        ("contracts", seal.contract_digest, facts.contract_digest),
    ]
    for what, sealed, found in pairs:
        if sealed != found:
            yield f"{what}: the seal says {sealed}, its evidence {found}"
    if not report.passed:
        yield from _unanswered(seal, report, table)
    elif seal.waiver:
        yield "the seal tells a waiver, and the report in the evidence passed"


def _unanswered(seal: Seal, report: Report, table: str) -> Iterator[str]:
    """Why nobody answers for a report that did not pass: the seal's waiver must cover it all."""
    if not seal.waiver:
        yield "the report in the evidence did not pass"
        return
    try:
        waiver = evidence.waiver_of(seal, table)
    except UnsealedError as exc:
        yield exc.what
        return
    what = objection(
        waiver, run_id=seal.run_id, report_digest=report.digest, waivable=report.waivable
    )
    if what is not None:
        yield f"the report in the evidence did not pass: {what}"


def _told_otherwise(facts: RunFacts, report: Report) -> Iterator[str]:
    """Where the ledger tells of another audit than the evidence does."""
    if facts.result.ending is not Ending.PUBLISHED:
        yield f"says that the run was {facts.result.ending.value.replace('_', ' ')}"
    if facts.report_digest != report.digest:
        yield f"has the report {facts.report_digest}, sealed was {report.digest}"
    if facts.contract_digest != report.contract_digest:
        yield f"has the contracts {facts.contract_digest}, sealed were {report.contract_digest}"
    kept, sealed = (
        {c.name: _outcome(c) for c in checks} for checks in (facts.checks, facts_of(report))
    )
    for name in sorted(kept.keys() | sealed.keys()):
        if kept.get(name) != sealed.get(name):
            told, was = _said(kept, name), _said(sealed, name)
            yield f"tells otherwise of the check {name}: {told}, not {was}"


def _aside_told_otherwise(facts: RunFacts, report: Report) -> Iterator[str]:
    """The same of a quarantine table, of whose report the ledger keeps the digest."""
    if facts.result.ending is not Ending.PUBLISHED:
        yield f"says that the run was {facts.result.ending.value.replace('_', ' ')}"
    if facts.quarantine_report != report.digest:
        yield f"has the report {facts.quarantine_report}, sealed was {report.digest}"


def _outcome(check: CheckFact) -> tuple[str, str, str, int | None, bool]:
    """What of a check the report's digest is about."""
    return check.outcome, check.measured, check.expected, check.failing_rows, check.blocking


def _said(checks: dict[str, tuple[str, str, str, int | None, bool]], name: str) -> str:
    found = checks.get(name)
    return f"{found[0]} ({found[1] or 'nothing measured'})" if found else "nothing"


def _unsealed(snapshot: Snapshot, code: str, reason: str) -> Unsealed:
    return Unsealed(
        snapshot=snapshot.id,
        committed_at=snapshot.committed_at,
        operation=snapshot.operation,
        reason=reason,
        code=code,
        run_id=snapshot.run_id,
        hint=HINTS[code],
    )
