"""The guards of publish: what must be true of a branch before main moves to it (law 2)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import naming
from catalog.coverage import check_ground
from catalog.drafts import manifests_of
from catalog.errors import BranchNotFoundError, HeadMovedError, UnsealedError
from catalog.history import (
    Chain,
    ancestry,
    chain_of,
    head_id,
    head_of,
    is_hidden,
    summary_of,
    value_of,
)
from catalog.refs import MAIN, AuditedHead, Branch, Role, Seal

AGAIN = "nothing was published; audit the branch's head again"


def sealed_head(table: Table, ref: str, audited: AuditedHead) -> IcebergSnapshot:
    """The branch's head, proven to be the seal of this audit.

    Args:
        table: holds the branch.
        ref: what the branch is called in it.
        audited: what is to be published.

    Raises:
        BranchNotFoundError: the branch is gone.
        HeadMovedError: its head is neither the audited one nor a seal.
        UnsealedError: it is not sealed, or sealed for another head or report.
    """
    head = branch_head(table, ref, audited)
    role = summary_of(head).get(naming.ROLE)
    if head.snapshot_id == audited.head:
        raise UnsealedError("the audited head has no seal", where=where_of(audited), hint=AGAIN)
    if role != "seal":
        raise moved(audited, audited.branch.name, audited.head, head.snapshot_id)
    if not is_about(head, audited):
        what = "the seal is about another head or report"
        raise UnsealedError(what, where=where_of(audited), hint=AGAIN)
    check_manifests(table, audited, head)
    return head


def is_about(snapshot: IcebergSnapshot, audited: AuditedHead) -> bool:
    """Whether the snapshot is the seal of this run, head and report, under this waiver or none."""
    summary = summary_of(snapshot)
    if summary.get(naming.ROLE) != "seal" or not Seal.in_summary(summary):
        return False
    facts = Seal.from_summary(summary)
    told = (facts.run_id, facts.audited, facts.report_digest)
    same = told == (audited.branch.run_id, audited.head, audited.report.digest)
    same = same and facts.members == audited.member_ids
    return same and facts.waiver == audited.waiver_text


def check_manifests(table: Table, audited: AuditedHead, sealed: IcebergSnapshot) -> None:
    """The seal must show exactly the files that were audited.

    Raises:
        UnsealedError: it does not, or the audited snapshot is gone.
    """
    below = table.metadata.snapshot_by_id(audited.head)
    if below is None or sealed.parent_snapshot_id != below.snapshot_id:
        what = "the seal does not stand on the audited snapshot"
        raise UnsealedError(what, where=where_of(audited), hint=AGAIN)
    same = manifests_of(sealed, table.io) == manifests_of(below, table.io)
    if not same or sealed.schema_id != below.schema_id:
        what = "the seal shows other files than the audited snapshot"
        raise UnsealedError(what, where=where_of(audited), hint=AGAIN)


def check_chain(
    table: Table, audited: AuditedHead, sealed: IcebergSnapshot, expected: int | None
) -> Chain:
    """Between main's expected head and the seal there may be this run's own snapshots only.

    Those are returned.

    Raises:
        UnsealedError: the seal does not descend from the expected head, or by foreign snapshots.
        HeadMovedError: the table's schema is not the one the run started from.
    """
    chain = chain_of(table.metadata, sealed, audited.branch.run_id)
    if chain is None or chain.base != expected:
        what = f"the seal does not descend from main's snapshot {expected} by this run alone"
        raise UnsealedError(what, where=where_of(audited), hint=AGAIN)
    check_one_change([summary_of(s).get(naming.ROLE) for s in chain.own], audited)
    if not is_hidden(table):
        _check_schema(table, audited, chain)
    return chain


def check_one_change(roles: Sequence[str | None], audited: AuditedHead) -> None:
    """Below its seal a run has one change at most: the audit saw the batch of the newest alone.

    Several seals may lie on each other: a run that was audited again without having moved, because
    another table of its group had, is sealed again.

    Args:
        roles: those of the run's own snapshots, newest first.
        audited: what is to be published.

    Raises:
        UnsealedError: there is a second change, or a seal below the change.
    """
    changes: tuple[Role, ...] = ("stage", "rebase")
    below = list(itertools.dropwhile(lambda role: role == "seal", roles))
    if "seal" in below or sum(role in changes for role in below) > 1:
        what = "the branch holds more than the one change that was audited as the run's batch"
        raise UnsealedError(what, where=where_of(audited), hint=AGAIN)


def check_main(table: Table, audited: AuditedHead) -> None:
    """Main itself, which the run builds on, holds nothing of a run that was never sealed.

    Raises:
        UnsealedError: see :func:`catalog.coverage.check_ground`.
    """
    metadata = table.metadata
    log = [value_of(audited.table, s) for s in ancestry(metadata, head_of(metadata, MAIN))]
    check_ground(log, where=str(audited.table), sealed_only=audited.sealed_only)


def check_members(audited: AuditedHead, heads: Callable[[Branch], int | None]) -> None:
    """The members of a union are still in it: whoever leaves moves, or drops, its own branch.

    Args:
        audited: what is to be published.
        heads: where a run's branch of the table is; None: there is none.

    Raises:
        HeadMovedError: one has left.
    """
    for member in audited.members:
        found = heads(member.branch)
        if found != member.head:
            raise moved(audited, member.branch.name, member.head, found)


def _check_schema(table: Table, audited: AuditedHead, chain: Chain) -> None:
    current = table.metadata.current_schema_id
    if current in (chain.base_schema_id, chain.head.schema_id):
        return
    raise HeadMovedError(
        table=str(audited.table),
        ref=MAIN,
        expected=audited.expected,
        found=head_id(table.metadata, MAIN),
        hint="the table's schema changed while the run was staged; rebase the branch",
    )


def branch_head(table: Table, ref: str, audited: AuditedHead) -> IcebergSnapshot:
    """The branch's head, by what the branch is called in the table.

    Raises:
        BranchNotFoundError: it is gone.
    """
    head = head_of(table.metadata, ref)
    if head is None:
        what = f"there is no branch {audited.branch}"
        raise BranchNotFoundError(what, where=str(audited.table))
    return head


def moved(
    audited: AuditedHead, ref: str, expected: int | None, found: int | None
) -> HeadMovedError:
    """A ref of the audited head's table is not where the audit saw it."""
    return HeadMovedError(table=str(audited.table), ref=ref, expected=expected, found=found)


def where_of(audited: AuditedHead) -> str:
    """Table and branch, for messages."""
    return f"{audited.table} on {audited.branch}"
