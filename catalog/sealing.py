"""Sealing an audited head: one metadata-only snapshot whose summary is the evidence (law 8)."""

from __future__ import annotations

from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableUpdate

from catalog import moves, naming
from catalog.commits import Decision, Done, Proposal, settle
from catalog.drafts import Draft
from catalog.errors import UnsealedError
from catalog.history import summary_of, value_of
from catalog.home import Home
from catalog.places import Place
from catalog.proof import AGAIN, branch_head, is_about, moved, where_of
from catalog.refs import AuditedHead, Seal, Snapshot


def seal(home: Home, audited: AuditedHead, facts: Seal) -> Snapshot:
    """See :meth:`catalog.base.BranchCatalog.seal`."""
    _check_facts(audited, facts)
    drafts: list[Draft] = []

    def decide() -> Decision[Snapshot]:
        place = home.staged(audited.branch, audited.table)
        head = branch_head(place.table, place.ref, audited)
        if summary_of(head).items() >= facts.to_summary().items() and is_about(head, audited):
            return Done(value_of(audited.table, head))
        return [_seal_proposal(place, head, audited, facts, drafts)]

    with home.serial([audited.table]):
        return settle(home.committer, decide, drafts)


def _check_facts(audited: AuditedHead, facts: Seal) -> None:
    """The seal must speak of this very audit.

    Raises:
        UnsealedError: it speaks of another run, head or report, or not of its waiver or members.
    """
    told = (facts.run_id, facts.audited, facts.report_digest)
    if told != (audited.branch.run_id, audited.head, audited.report.digest):
        raise UnsealedError("the seal is about another audit", where=where_of(audited), hint=AGAIN)
    if facts.waiver != audited.waiver_text:
        what = "the seal does not tell the waiver that the head stands by"
        raise UnsealedError(what, where=where_of(audited), hint=AGAIN)
    if facts.members != audited.member_ids:
        what = "the seal names other members than the union was made of"
        raise UnsealedError(what, where=where_of(audited), hint=AGAIN)
    if not Seal.in_summary(facts.to_summary()):
        raise UnsealedError("the seal lacks a fact", where=where_of(audited), hint=AGAIN)


def _seal_proposal(
    place: Place, head: IcebergSnapshot, audited: AuditedHead, facts: Seal, drafts: list[Draft]
) -> Proposal:
    """The seal on top of the audited head; an earlier seal of the same head gives way."""
    table, ref, metadata = place.table, place.ref, place.table.metadata
    below = metadata.snapshot_by_id(audited.head)
    replaces = (
        summary_of(head).get(naming.ROLE) == "seal" and head.parent_snapshot_id == audited.head
    )
    if below is None or (head.snapshot_id != audited.head and not replaces):
        raise moved(audited, audited.branch.name, audited.head, head.snapshot_id)
    if not drafts:
        schema = metadata.schema_by_id(below.schema_id or 0) or metadata.schema()
        drafts.append(
            Draft(
                table,
                audited.branch.run_id,
                schema,
                summary=facts.to_summary(),
                same_manifests=True,
            )
        )
    snapshot = drafts[0].snapshot(metadata, below, metadata.next_sequence_number())
    updates: list[TableUpdate] = [
        moves.add_snapshot(snapshot),
        moves.set_branch(ref, snapshot),
    ]
    if replaces:
        updates.append(moves.remove_snapshots([head]))
    return Proposal(
        table,
        (moves.ref_is(ref, head.snapshot_id),),
        tuple(updates),
        drafts=(drafts[0],),
        run_id=audited.branch.run_id,
    )
