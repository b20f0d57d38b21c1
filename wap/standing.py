"""What main's own seal proves of the published rows, so that an append is audited by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from catalog.base import BranchCatalog, Staging
from catalog.errors import UnsealedError
from catalog.refs import Seal
from checks.contract import Contract
from checks.errors import ReportError
from checks.report import CheckResult, Report
from wap import evidence
from wap.types import column_texts

#: Published rows from which on it pays: two runs of the contract cost more than one on fewer.
WORTH = 500_000


@dataclass(frozen=True, slots=True)
class Standing:
    """Results of the published table's own audit, by check; empty when they prove nothing here."""

    run_id: str = ""
    results: Mapping[str, CheckResult] = field(default_factory=dict)


def standing_of(
    catalog: BranchCatalog,
    staging: Staging,
    contracts: Sequence[Contract],
    *,
    worth: int = WORTH,
) -> Standing:
    """What the seal at main's head says of the very rows that this run adds to.

    It counts when main's head is a whole seal without a waiver, whose report passed, was made by
    contracts of the same text on the same columns, and is the one that the seal names. Whether the
    run only adds rows is seen where its files are: :func:`wap.relations.audit_relation`.

    Args:
        worth: published rows from which on anybody asks.
    """
    published = catalog.published(staging.table)
    if published is None or published.snapshot.id != staging.expected:
        return Standing()
    if int(published.snapshot.summary.get("total-records", 0)) < worth:
        return Standing()
    if not published.snapshot.is_sealed:
        return Standing()
    seal = Seal.from_summary(published.snapshot.summary)
    if seal.waiver:
        return Standing()
    try:
        proof = evidence.read(published.io, published.location, seal)
        report = Report.from_json(proof.report, digest=seal.report_digest)
    except (UnsealedError, ReportError):
        return Standing()  # nothing is proved by it, so every row is looked at
    return Standing(evidence.run_of(seal), _results(report, seal, staging, contracts))


def _results(
    report: Report, seal: Seal, staging: Staging, contracts: Sequence[Contract]
) -> Mapping[str, CheckResult]:
    same = {c.path: c.digest for c in contracts} == {c.path: c.digest for c in report.contracts}
    columns = dict(report.columns) == column_texts(staging.schema)
    about_it = report.snapshot_id == seal.audited and report.run_id == evidence.run_of(seal)
    if not (report.passed and same and columns and about_it):
        return {}
    return {r.name: r for r in report.results}
