"""Moving main to a sealed head by compare-and-swap, for one table or several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableRequirement, TableUpdate

from catalog import moves, rollback
from catalog.commits import Decision, Done, Proposal, settle
from catalog.errors import BranchNotFoundError, UnsupportedError
from catalog.history import ancestry, head_id, head_of, value_of
from catalog.home import Home, NativeHome
from catalog.proof import (
    check_chain,
    check_main,
    check_manifests,
    check_members,
    is_about,
    moved,
    sealed_head,
)
from catalog.refs import MAIN, AuditedHead, Back, Snapshot

#: Why a run has no branch (any more).
GONE = "it was dropped, or what it published was rolled back; start a new run"


def publish(
    home: NativeHome, heads: Sequence[AuditedHead], back: Sequence[Back] = ()
) -> list[Snapshot]:
    """See :meth:`catalog.base.BranchCatalog.publish`, and ``roll_back`` for what goes back."""
    check_group(home, heads, back)
    behind = [move.table for move in back]

    def decide() -> Decision[list[Snapshot]]:
        done, proposals = rollback.decided([home.visible(table) for table in behind], back)
        for head in heads:
            visible = home.visible(head.table)
            found = published_seal(visible, head)
            if found is not None:
                done.append(found)
            else:
                proposals.append(_proposal(home, head, visible))
        _check_new(home, proposals)
        return proposals or Done(done)

    with home.serial([*behind, *(h.table for h in heads)]):
        return settle(home.committer, decide)


def check_group(home: Home, heads: Sequence[AuditedHead], back: Sequence[Back] = ()) -> None:
    """Refuse a group that cannot be published in one step, or with what goes back in it.

    Raises:
        UnsupportedError: several tables where the catalog cannot, several branches, or one table
            twice.
    """
    rollback.check_together(
        back, [h.table for h in heads], atomic_groups=home.committer.atomic_groups
    )
    if len(heads) > 1 and not home.committer.atomic_groups:
        raise UnsupportedError(
            "this catalog cannot publish several tables in one step",
            where=", ".join(str(h.table) for h in heads),
            hint="publish them one by one",
        )
    if len({h.branch for h in heads}) > 1:
        raise UnsupportedError(
            "tables that are published in one step are staged on one branch",
            where=", ".join(f"{h.table} on {h.branch}" for h in heads),
            hint="stage them by one run",
        )
    if len({h.table for h in heads}) != len(heads):
        raise UnsupportedError("one table cannot be published twice in one step")


def _check_new(home: Home, proposals: Sequence[Proposal]) -> None:
    """Refuse a name among a group's moves where the catalog gives names one by one."""
    new = [p.rename_to for p in proposals if p.rename_to is not None]
    if len(proposals) > 1 and new and not home.committer.new_in_groups:
        raise UnsupportedError(
            "this catalog cannot publish a new table in one step with others",
            where=", ".join(".".join(name) for name in new),
            hint="publish it by itself first; from then on it can be part of the group",
        )


def published_seal(visible: Table | None, audited: AuditedHead) -> Snapshot | None:
    """The seal of this very audit in main's ancestry, where a publish has put it already."""
    if visible is None:
        return None
    for snapshot in ancestry(visible.metadata, head_of(visible.metadata, MAIN)):
        if is_about(snapshot, audited):
            return value_of(audited.table, snapshot)
    return None


def _proposal(home: NativeHome, audited: AuditedHead, visible: Table | None) -> Proposal:
    if visible is not None and audited.branch.name in visible.metadata.refs:
        return _publish_over(visible, audited)
    hidden = home.hidden(audited.branch, audited.table)
    if hidden is None:
        raise BranchNotFoundError(
            f"there is no branch {audited.branch}",
            where=str(audited.table),
            hint=GONE,
        )
    if visible is not None:
        # Another run made the table first.
        raise moved(audited, MAIN, None, head_id(visible.metadata, MAIN))
    return _publish_new(hidden, audited)


def _publish_over(table: Table, audited: AuditedHead) -> Proposal:
    main = head_id(table.metadata, MAIN)
    if main != audited.expected:
        raise moved(audited, MAIN, audited.expected, main)
    sealed = sealed_head(table, audited.branch.name, audited)
    check_chain(table, audited, sealed, audited.expected)
    check_main(table, audited)
    check_members(audited, lambda branch: head_id(table.metadata, branch.name))
    return _move_main(table, audited, sealed)


def _publish_new(hidden: Table, audited: AuditedHead) -> Proposal:
    """A new table: main moves inside the hidden table, and its name makes it visible."""
    metadata = hidden.metadata
    if audited.expected is not None:
        raise moved(audited, MAIN, audited.expected, None)
    main = head_of(metadata, MAIN)
    if main is not None and is_about(main, audited) and audited.branch.name not in metadata.refs:
        # A publish that died before the rename: only the name is missing.
        check_manifests(hidden, audited, main)
        asserted = moves.ref_is(MAIN, main.snapshot_id)
        return Proposal(hidden, (asserted,), (), rename_to=audited.table.identifier)
    sealed = sealed_head(hidden, audited.branch.name, audited)
    check_chain(hidden, audited, sealed, head_id(metadata, MAIN))
    proposal = _move_main(hidden, audited, sealed)
    return replace(proposal, rename_to=audited.table.identifier)


def _move_main(table: Table, audited: AuditedHead, sealed: IcebergSnapshot) -> Proposal:
    metadata, ref = table.metadata, audited.branch.name
    main = head_id(metadata, MAIN)
    requirements: tuple[TableRequirement, ...] = (
        moves.ref_is(MAIN, main),
        moves.ref_is(ref, sealed.snapshot_id),
        *(moves.ref_is(m.branch.name, m.head) for m in audited.members),
        moves.schema_is(metadata),
    )
    updates: list[TableUpdate] = []
    if sealed.schema_id is not None and sealed.schema_id != metadata.current_schema_id:
        updates.append(moves.set_schema(sealed.schema_id))
    updates += [
        moves.set_branch(MAIN, sealed),
        moves.remove_ref(ref),
        # With them goes what they could be published from, whatever becomes of main.
        *(moves.remove_ref(m.branch.name) for m in audited.members),
    ]
    return Proposal(table, requirements, tuple(updates), run_id=audited.branch.run_id)
