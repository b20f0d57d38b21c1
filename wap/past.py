"""Published runs looked at again: the snapshots, contracts and clock that their audit went by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from catalog.base import BranchCatalog, Covered
from catalog.errors import TableNotFoundError, UnsealedError
from catalog.refs import Seal, Snapshot, TableName
from checks.base import Auditor, Relation
from checks.contract import Contract
from checks.errors import ReportError
from checks.report import Report
from wap import evidence
from wap.errors import NotRepeatableError
from wap.evidence import Evidence
from wap.relations import covered_relation


@dataclass(frozen=True, slots=True)
class Looking:
    """What looking again needs; nothing of it can write.

    Attributes:
        catalog: main of the tables.
        auditor: evaluates contracts.
        temp_directory: where DuckDB may spill.
        memory_limit: of DuckDB's buffers, the audit's own.
    """

    catalog: BranchCatalog
    auditor: Auditor
    temp_directory: Path
    memory_limit: str = "400MB"


@dataclass(frozen=True, slots=True)
class PastRun:
    """One published run with all that its audit went by."""

    covered: Covered
    evidence: Evidence
    report: Report

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.report.run_id

    @property
    def seal(self) -> Snapshot:
        """The seal."""
        return self.covered.seal


def past_run(catalog: BranchCatalog, table: TableName, seal_id: int) -> PastRun:
    """The run behind a seal of a table.

    Raises:
        NotRepeatableError: its snapshots are no longer kept, or its evidence is damaged.
    """
    where = f"{table}, snapshot {seal_id}"
    try:
        covered = catalog.covered(table, seal_id)
        seal = Seal.from_summary(covered.seal.summary)
        proof = evidence.read(covered.io, covered.location, seal)
        report = Report.from_json(proof.report, digest=seal.report_digest)
    except TableNotFoundError as exc:
        raise NotRepeatableError(
            "the snapshot that was audited is no longer kept: it has expired",
            where=where,
            hint="what the audit found then is in the report: `wap report RUN`",
        ) from exc
    except (UnsealedError, ReportError) as exc:
        raise NotRepeatableError(
            f"the run's evidence is damaged: {exc.what}",
            where=where,
            hint="`wap verify` says what it should be; restore it from a backup",
        ) from exc
    # What main showed then is told by the evidence: the snapshot may be gone, and its id with it.
    before = proof.facts.result.snapshot.before
    return PastRun(replace(covered, expected=before), proof, report)


def relation_of(
    looking: Looking,
    past: PastRun,
    contracts: Sequence[Contract],
    masked: frozenset[str] = frozenset(),
) -> AbstractContextManager[Relation]:
    """What the run's audit looked at, for these contracts.

    The clock of checks on freshness stands where it stood then, and other tables are what they
    were.

    Args:
        masked: columns whose values must not be shown, beside those that the run knew.

    Raises:
        NotRepeatableError: a snapshot that the contracts look at is no longer kept.
    """
    return _repeatable(
        past,
        covered_relation(
            looking.catalog,
            past.covered,
            published=any("__published" in c.text for c in contracts),
            neighbours=_neighbours(looking.catalog, past, contracts),
            masked=past.report.masked | masked,
            keys=past.evidence.basis.keys if past.evidence.basis else (),
            memory_limit=looking.memory_limit,
            temp_directory=looking.temp_directory,
            at=past.report.started_at,
        ),
    )


@contextmanager
def _repeatable(past: PastRun, opened: AbstractContextManager[Relation]) -> Iterator[Relation]:
    with ExitStack() as stack:
        try:
            relation = stack.enter_context(opened)
        except TableNotFoundError as exc:
            raise NotRepeatableError(
                f"a snapshot that the contracts look at is no longer kept: {exc.what}",
                where=f"{exc.where}, run {past.run_id}",
                hint="it has expired; what was found then is in the report: `wap report RUN`",
            ) from exc
        yield relation


def _neighbours(
    catalog: BranchCatalog, past: PastRun, contracts: Sequence[Contract]
) -> Mapping[TableName, int]:
    """Other tables that the contracts mention, each at the snapshot that main showed then."""
    pinned = {TableName.parse(name): id_ for name, id_ in past.report.neighbours}
    texts = "\n".join(c.text for c in contracts)
    for table in catalog.tables():
        if table not in pinned and table != past.covered.table and table.name in texts:
            then = _shown_at(catalog, table, past.report.started_at)
            if then is not None:
                pinned[table] = then
    return {table: id_ for table, id_ in pinned.items() if table.name in texts}


def _shown_at(catalog: BranchCatalog, table: TableName, at: datetime) -> int | None:
    """The newest seal that was there at the time; None when the table was not published yet."""
    log = (s for s in catalog.log(table) if s.is_sealed and s.committed_at <= at)
    found = next(log, None)
    return found.id if found is not None else None
