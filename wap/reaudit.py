"""The audit of a published run, repeated: it must come to the digest that was sealed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime

from catalog.base import BranchCatalog
from catalog.errors import TableNotFoundError
from catalog.refs import TableName
from checks.contract import Contract, parse_contract
from checks.gate import judge
from checks.report import CheckResult, Report
from wap import evidence
from wap.auditing import contracts_of_rows, own_checks
from wap.errors import NotRepeatableError, RelationError, RunNotFoundError
from wap.evidence import Basis
from wap.ledger.base import Ledger
from wap.model import Ending, Value
from wap.past import Looking, PastRun, past_run, relation_of
from wap.quarantine.table import REPLAY
from wap.runs import Books
from wap.types import column_texts

#: Version of the shape below; it goes up when a key changes its meaning or goes away.
FORMAT = 1

_CLOCK = re.compile(
    r"\b(now|today|random|uuid|gen_random_uuid|get_current_timestamp)\s*\("
    r"|\bcurrent_(date|time|timestamp)\b",
    re.IGNORECASE,
)


class Told(Value):
    """What one audit said of one check: exactly what the report's digest is about."""

    outcome: str
    expected: str
    measured: str
    failing_rows: int | None
    blocking: bool


class Difference(Value):
    """A check of which the two audits tell otherwise; None: that one does not know it."""

    check: str
    sealed: Told | None
    again: Told | None


class Reaudit(Value):
    """What became of it.

    Attributes:
        snapshot, audited: the seal, and the snapshot below it that was audited, both times.
        sealed_digest, digest: of the sealed report, and of the repeated audit.
        equal: whether they are the same.
        differences: where they are not; empty when only the declared checks or errors differ.
        errors: what the engine or the gate complained about this time.
        notes: why an honest audit may come to something else.
    """

    format: int = FORMAT
    run_id: str
    table: str
    snapshot: int
    audited: int
    published_at: datetime
    sealed_digest: str
    digest: str
    equal: bool
    checks: int
    differences: tuple[Difference, ...]
    errors: tuple[str, ...]
    notes: tuple[str, ...]
    seconds: float


def reaudit(looking: Looking, ledger: Ledger, run_id: str) -> Reaudit:
    """Repeat the audit of a published run with the contracts of then, on the snapshots of then.

    Raises:
        RunNotFoundError: no run of that id is known.
        NotRepeatableError: the run was never published, what it looked at is no longer kept, or
            its evidence is damaged.
    """
    past = _find(looking.catalog, ledger, run_id)
    basis = past.evidence.basis
    if basis is None:
        raise NotRepeatableError(
            "the run was sealed by a version that did not keep its contracts",
            where=run_id,
            hint="check them out of version control, then: wap audit --contract FILE --last N",
        )
    contracts: Sequence[Contract] = [parse_contract(c.text, c.path) for c in basis.contracts]
    if past.evidence.facts.source_kind == REPLAY:
        contracts = contracts_of_rows(contracts)
    try:
        report = _judged(looking, past, basis, contracts)
    except RelationError as exc:
        raise NotRepeatableError(exc.what, where=exc.where, hint=exc.hint) from exc
    return Reaudit(
        run_id=run_id,
        table=str(past.covered.table),
        snapshot=past.seal.id,
        audited=past.covered.head,
        published_at=past.seal.committed_at,
        sealed_digest=past.report.digest,
        digest=report.digest,
        equal=report.digest == past.report.digest,
        checks=len(report.results),
        differences=tuple(_differences(past.report, report)),
        errors=report.errors,
        notes=tuple(_notes(contracts)),
        seconds=report.seconds,
    )


def _judged(looking: Looking, past: PastRun, basis: Basis, contracts: Sequence[Contract]) -> Report:
    started_at, covered = datetime.now(UTC), past.covered
    with relation_of(looking, past, contracts) as relation:
        return judge(
            run_id=past.run_id,
            table=str(covered.table),
            snapshot_id=covered.head,
            expected=covered.expected,
            contracts=contracts,
            relation=relation,
            auditor=looking.auditor,
            own=own_checks(
                dict(basis.columns),
                column_texts(covered.schema),
                _counted(looking.catalog, past, basis.books),
            ),
            started_at=started_at,
        )


def _counted(catalog: BranchCatalog, past: PastRun, books: Books) -> Books:
    """The books with what lies in the table now; what was read is taken from the evidence."""
    covered, before = past.covered, books.before_rows
    if covered.expected is not None:
        # Where it has expired: its rows were counted when the run was sealed.
        with suppress(TableNotFoundError):
            before = catalog.scan(covered.table, covered.expected).rows
    return books.model_copy(
        update={
            "counted": covered.batch.rows,
            "candidate": catalog.scan(covered.table, covered.head).rows,
            "expected_candidate": before - books.removed_rows + books.rows.kept + books.rows.staged,
        }
    )


def _find(catalog: BranchCatalog, ledger: Ledger, run_id: str) -> PastRun:
    for table in catalog.tables():
        for snapshot, seal in evidence.seals(catalog, table):
            if run_id in evidence.runs_of(seal):
                return past_run(catalog, table, snapshot.id)
    facts = ledger.run(run_id)
    if facts is None:
        recent = ", ".join(f.run_id for f in ledger.runs(limit=3)) or "none yet"
        raise RunNotFoundError(f"no run {run_id!r}", hint=f"latest: {recent}")
    if facts.result.ending is not Ending.PUBLISHED or facts.result.snapshot.after is None:
        raise NotRepeatableError(
            "only what was published is kept, and this run was not",
            where=run_id,
            hint="what its audit found is in its report: `wap report RUN`",
        )
    # Main was rolled back behind it, or it has expired.
    return past_run(catalog, TableName.parse(facts.result.table), facts.result.snapshot.after)


def _differences(sealed: Report, again: Report) -> Iterator[Difference]:
    one, other = ({r.name: _told(r) for r in report.results} for report in (sealed, again))
    for name in sorted(one.keys() | other.keys()):
        if one.get(name) != other.get(name):
            yield Difference(check=name, sealed=one.get(name), again=other.get(name))


def _told(result: CheckResult) -> Told:
    return Told(
        outcome=result.outcome.value,
        expected=result.expected,
        measured=result.measured,
        failing_rows=result.failing_rows,
        blocking=result.blocking,
    )


def _notes(contracts: Sequence[Contract]) -> Iterator[str]:
    for contract in contracts:
        found = _CLOCK.search(contract.text)
        if found is not None:
            yield f"{contract.path} asks for the time of day or for chance: {found[0].rstrip('(')}"
