"""The seal step's work for one table: the evidence file, then the snapshot that names it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog.base import BranchCatalog, Staging
from catalog.refs import AuditedHead, Seal, Snapshot
from checks.report import Report
from wap import evidence
from wap.auditing import basis_of
from wap.model import RunFacts
from wap.runs import Books, Member, PinnedPlan, RunFolder
from wap.sources.base import Cursor


def seal_head(
    catalog: BranchCatalog,
    head: AuditedHead,
    staging: Staging,
    *,
    pinned: PinnedPlan,
    folder: RunFolder,
    report: Report,
    books: Books,
    facts: RunFacts,
    cursor: Cursor,
    members: Sequence[Member] = (),
    notes: Mapping[str, str] | None = None,
) -> Snapshot:
    """Write the evidence of an audited head and put the seal on it.

    Args:
        staging: the head's table on the run's branch.
        pinned: the plan for that table.
        folder: the run's, which notes what is written: an attempt may die before it seals.
        report: of the head's audit.
        books: of the table.
        facts: of the run, as far as they are about the table.
        cursor: how far the source is read once the head is published.
        members: the runs whose batches a union holds.
        notes: what else the seal tells.

    Raises:
        HeadMovedError, UnsealedError: see the port.
    """
    run_id = head.branch.run_id
    proof = evidence.Evidence(
        cursor=cursor,
        facts=facts,
        report=report.to_json(),
        basis=basis_of(pinned, books),
        manifests=evidence.manifests_of(catalog, staging),
        members=tuple(members),
    )
    digest = evidence.write(staging.io, staging.location, run_id, proof, folder.note_evidence)
    return catalog.seal(
        head,
        Seal(
            run_id=run_id,
            audited=head.head,
            contract_digest=report.contract_digest,
            report_digest=report.digest,
            source_digest=pinned.plan.digest,
            notes={"pipeline": pinned.pipeline.name, evidence.NOTE: digest, **(notes or {})},
            waiver=head.waiver_text,
            members=head.member_ids,
        ),
    )
