"""The gate: run the audit, add our own checks, and write down a verdict that fails closed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from checks.base import Audit, Auditor, Relation
from checks.contract import Contract
from checks.masking import difference
from checks.own import REQUIRED, fit_check
from checks.report import CheckResult, ContractRef, Outcome, Report


def judge(
    *,
    run_id: str,
    table: str,
    snapshot_id: int,
    expected: int | None,
    contracts: Sequence[Contract],
    relation: Relation,
    auditor: Auditor,
    own: Sequence[CheckResult],
    started_at: datetime,
) -> Report:
    """Audit a snapshot and report; nothing that is missing or odd passes (law 3).

    Args:
        run_id, table: whose audit it is.
        snapshot_id: the snapshot that ``relation`` shows.
        expected: main's head that the candidate was made from; None when the table is new.
        contracts: all contracts of the pipeline; each needs its own path.
        relation: the views to audit.
        auditor: evaluates the contracts.
        own: outcomes of :mod:`checks.own`; schema and rows must be among them.
        started_at: when the audit began, with its time zone.

    Raises:
        AuditorUnavailableError: the engine does not answer now: try again.
    """
    audit = auditor.audit(relation, contracts)
    own = [r.model_copy(update={"relation": r.relation or relation.table}) for r in own]
    declared = frozenset().union(*(c.declared for c in contracts), REQUIRED, {r.name for r in own})
    errors = [*audit.errors, *_complaints(contracts, audit, declared)]
    found = _one_each([r for r in (*own, *audit.results) if r.name in declared])
    lost = [_lost(name, relation) for name in sorted(declared - found.keys())]
    return Report(
        run_id=run_id,
        table=table,
        snapshot_id=snapshot_id,
        expected=expected,
        contracts=_references(contracts),
        declared=declared,
        results=(*found.values(), *lost),
        errors=tuple(errors),
        columns=tuple(relation.columns.items()),
        masked=relation.masked,
        neighbours=tuple(sorted(relation.neighbours.items())),
        started_at=started_at,
        seconds=_seconds_since(started_at),
    )


def refused(
    *,
    run_id: str,
    table: str,
    differences: Sequence[str],
    what: str = "",
    expected: int | None = None,
    started_at: datetime | None = None,
    contracts: Sequence[Contract] = (),
    columns: Mapping[str, str] | None = None,
    masked: Collection[str] = (),
) -> Report:
    """The report of a batch that did not fit a strict schema: it was not audited, it never passes.

    Args:
        run_id, table: whose batch it was.
        differences: what does not fit, one line each.
        what: what happened, in one sentence.
        expected: main's head, where it was looked at.
        started_at: when the run began, with its time zone; now when it is not given.
        contracts: what it would have been audited against.
        columns: the table's columns, each with its Iceberg type as text.
        masked: columns whose values are never shown, in the differences neither.
    """
    check = fit_check([difference(d, masked) for d in differences], difference(what, masked))
    started_at = started_at or datetime.now(UTC)
    return Report(
        run_id=run_id,
        table=table,
        snapshot_id=None,
        expected=expected,
        contracts=_references(contracts),
        declared=frozenset({check.name}),
        results=(check.model_copy(update={"relation": f"{table.rpartition('.')[2]}__batch"}),),
        columns=tuple((columns or {}).items()),
        masked=frozenset(masked),
        started_at=started_at,
        seconds=_seconds_since(started_at),
    )


def _complaints(
    contracts: Sequence[Contract], audit: Audit, declared: Collection[str]
) -> Iterator[str]:
    if not contracts:
        yield "no contract: there is nothing to audit against"
    for path, times in Counter(c.path for c in contracts).items():
        if times > 1:
            yield f"{path}: given {times} times"
    for contract in contracts:
        if not contract.declared:
            yield f"{contract.path}: declares no check"
    for name, times in Counter(r.name for r in audit.results).items():
        if name not in declared:
            yield f"{name}: reported, but no contract declares it"
        elif times > 1:
            yield f"{name}: reported {times} times"


def _one_each(results: Sequence[CheckResult]) -> dict[str, CheckResult]:
    """Of several results of one name the worse (that there are several is an error already)."""
    found: dict[str, CheckResult] = {}
    for result in results:
        first = found.get(result.name)
        if first is None or first.outcome is Outcome.PASSED:
            found[result.name] = result
    return found


def _lost(name: str, relation: Relation) -> CheckResult:
    return CheckResult(
        name=name,
        relation=relation.table,
        kind="unknown",
        title=name.rpartition(":")[2],
        expected="an outcome",
        outcome=Outcome.NOT_EVALUATED,
        message="the auditor did not report this check",
    )


def _references(contracts: Sequence[Contract]) -> tuple[ContractRef, ...]:
    return tuple(ContractRef(path=c.path, digest=c.digest) for c in contracts)


def _seconds_since(start: datetime) -> float:
    return max(0.0, (datetime.now(UTC) - start).total_seconds())
