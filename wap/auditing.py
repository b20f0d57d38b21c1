"""The audit step's work: hand the gate a relation pinned to snapshots, and keep its report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

from pyiceberg.schema import Schema

from catalog.base import BranchCatalog, Staging
from catalog.refs import TableName
from checks.base import Auditor, Relation
from checks.contract import Contract, parse_contract
from checks.gate import judge, refused
from checks.masking import difference
from checks.own import reconcile_check, schema_check
from checks.report import CheckResult, Outcome, Report
from checks.row_level import of_rows
from wap.compaction import contracts_about_the_table, is_compaction, same_rows
from wap.evidence import Basis
from wap.model import CheckCounts, CheckFact, FailedCheck
from wap.pipeline import QUARANTINE
from wap.quarantine.table import is_replay
from wap.relations import audit_relation
from wap.runs import Books, PinnedPlan
from wap.standing import standing_of
from wap.types import column_texts

#: :func:`wap.relations.audit_relation`, or the same on another engine.
RelationOf = Callable[..., AbstractContextManager[Relation]]


def contracts_of(pinned: PinnedPlan) -> tuple[Contract, ...]:
    """The contracts as they were when the run began."""
    contracts = tuple(parse_contract(c.text, c.path) for c in pinned.contracts)
    if is_replay(pinned):
        return contracts_of_rows(contracts)
    return contracts_about_the_table(contracts) if is_compaction(pinned) else contracts


def contracts_of_rows(contracts: Sequence[Contract]) -> tuple[Contract, ...]:
    """What rows of earlier deliveries are audited by; see :func:`checks.row_level.of_rows`."""
    return tuple(left for left in map(of_rows, contracts) if left.rules)


def audit_head(
    *,
    run_id: str,
    pinned: PinnedPlan,
    books: Books,
    catalog: BranchCatalog,
    staging: Staging,
    auditor: Auditor,
    memory_limit: str,
    temp_directory: Path,
    relation_of: RelationOf = audit_relation,
    beside: Sequence[TableName] = (),
) -> Report:
    """Audit the branch's head as consumers would see it after the publish.

    Args:
        relation_of: opens what the auditor looks at.
        beside: tables that are published in one step with this one: looked at as they would be.
    """
    started_at = datetime.now(UTC)
    contracts = contracts_of(pinned)
    rewriting: list[CheckResult] = []
    if is_compaction(pinned):
        proof = same_rows(
            catalog, staging, memory_limit=memory_limit, temp_directory=temp_directory
        )
        rewriting.append(proof)
    with relation_of(
        catalog,
        staging,
        neighbours=named_in(contracts, staging.table, catalog.tables()),
        beside=named_in(contracts, staging.table, beside),
        masked=pinned.pipeline.masked,
        keys=pinned.pipeline.write.keys,
        memory_limit=memory_limit,
        temp_directory=temp_directory,
        # So that the same audit years later measures the same ages.
        at=started_at,
        standing=standing_of(catalog, staging, contracts),
    ) as relation:
        return judge(
            run_id=run_id,
            table=str(staging.table),
            snapshot_id=staging.head,
            expected=staging.expected,
            contracts=contracts,
            relation=relation,
            auditor=auditor,
            own=(
                *own_checks(
                    column_texts(Schema.model_validate_json(pinned.wanted_schema)),
                    column_texts(staging.schema),
                    books,
                ),
                *rewriting,
            ),
            started_at=started_at,
        )


def refuse_batch(
    *, run_id: str, table: str, pinned: PinnedPlan, what: str, differences: tuple[str, ...]
) -> Report:
    """The report of a batch that does not fit its table."""
    return refused(
        run_id=run_id,
        table=table,
        differences=differences,
        what=what,
        expected=pinned.before,
        started_at=pinned.started_at,
        contracts=contracts_of(pinned),
        masked=pinned.pipeline.masked,
    )


def refusal_reason(
    pinned: PinnedPlan, what: str, differences: Sequence[str], hint: str = ""
) -> str:
    """Why a batch does not fit: the first difference, how many more there are, and the hint."""
    masked = pinned.pipeline.masked
    said = difference(what, masked)
    if differences:
        said = f"{said}: {difference(differences[0], masked)}"
    more = len(differences) - 1
    said = f"{said} (and {more:,} more)" if more > 0 else said
    return f"{said}\nHint: {hint}" if hint else said


def own_checks(
    wanted: Mapping[str, str], actual: Mapping[str, str], books: Books
) -> tuple[CheckResult, ...]:
    """The checks that no contract declares.

    Args:
        wanted: the declared columns in order, each with its Iceberg type as text.
        actual: the same of the audited snapshot.
        books: the run's.
    """
    rows = books.rows
    return (
        schema_check(wanted, actual),
        reconcile_check(
            read=rows.read,
            staged=rows.staged,
            quarantined=rows.quarantined,
            deduplicated=rows.deduplicated,
            discarded=rows.discarded,
            unchanged=rows.unchanged,
            deleted=rows.deleted,
            counted=-1 if books.counted is None else books.counted,
            candidate=books.candidate,
            expected_candidate=books.expected_candidate,
        ),
    )


def basis_of(pinned: PinnedPlan, books: Books) -> Basis:
    """What the audit of a run goes by, to be kept with its evidence."""
    wanted = Schema.model_validate_json(pinned.wanted_schema)
    return Basis(
        contracts=pinned.contracts,
        columns=tuple(column_texts(wanted).items()),
        keys=tuple(pinned.pipeline.write.keys),
        books=books.model_copy(update={"inputs": (), "rejects": ()}),
    )


def named_in(
    contracts: Sequence[Contract], table: TableName, others: Sequence[TableName]
) -> tuple[TableName, ...]:
    """Other tables whose name a contract mentions; the rest need not be loaded.

    A quarantine table has none: its contract is ours, and its name holds the other's.
    """
    if table.name.endswith(QUARANTINE):
        return ()
    texts = "\n".join(c.text for c in contracts)
    return tuple(t for t in others if t != table and t.name in texts)


def counts_of(report: Report) -> CheckCounts:
    """The outcomes, counted."""
    return CheckCounts(
        passed=report.count(Outcome.PASSED),
        failed=report.count(Outcome.FAILED),
        warned=report.count(Outcome.WARNED),
        not_evaluated=report.count(Outcome.NOT_EVALUATED),
    )


def waivable_checks(report: Report) -> tuple[FailedCheck, ...]:
    """The failed checks, when they are all that is wrong and a person may answer for them."""
    return tuple(
        FailedCheck(name=r.name, title=r.title, measured=r.measured, failing_rows=r.failing_rows)
        for r in report.results
        if r.name in report.waivable
    )


def facts_of(report: Report) -> tuple[CheckFact, ...]:
    """The outcomes as ledger and lineage keep them."""
    return tuple(
        CheckFact(
            name=r.name,
            kind=r.kind,
            column=r.column,
            title=r.title,
            expected=r.expected,
            measured=r.measured,
            value=r.value,
            failing_rows=r.failing_rows,
            blocking=r.blocking,
            outcome=r.outcome.value,
        )
        for r in report.results
    )


def reason_of(report: Report) -> str:
    """Why the gate said no, in one line; "" when it did not."""
    if report.passed:
        return ""
    bad = [
        f"{r.title}: {r.message or r.measured}"
        for r in report.results
        if r.outcome in (Outcome.FAILED, Outcome.NOT_EVALUATED)
    ]
    return "; ".join([*bad, *report.errors]) or "not every check was evaluated"
