"""Forgetting old snapshots of a table: one commit that holds only while no ref has moved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType

from catalog import moves
from catalog.commits import Decision, Done, Proposal, settle
from catalog.coverage import gaps
from catalog.drafts import manifests_of
from catalog.history import head_id, value_of
from catalog.home import Home
from catalog.refs import MAIN, Snapshot, TableName
from catalog.retention import Keep, Lineage, expired


def expire(home: Home, name: TableName, keep: Keep, *, dry_run: bool) -> list[Snapshot]:
    """See :meth:`catalog.base.BranchCatalog.expire`."""
    proposed: dict[int, Snapshot] = {}
    forgotten: dict[int, Snapshot] = {}

    def decide() -> Decision[None]:
        table, gone = _expired(home, name, keep)
        if dry_run:
            forgotten.update({s.id: s for s in gone})
            return Done(None)
        # What was proposed and is not there any more has been forgotten, by whomever.
        known = {s.snapshot_id for s in table.metadata.snapshots}
        forgotten.update({s.id: s for s in proposed.values() if s.id not in known})
        proposed.clear()
        if not gone:
            return Done(None)
        proposed.update({s.id: s for s in gone})
        wanted = [s for s in table.metadata.snapshots if s.snapshot_id in proposed]
        return [Proposal(table, moves.refs_are(table.metadata), (moves.remove_snapshots(wanted),))]

    with home.serial([name]):
        settle(home.committer, decide)
    return sorted(forgotten.values(), key=lambda s: (s.committed_at, s.id))


def _expired(home: Home, name: TableName, keep: Keep) -> tuple[Table, list[Snapshot]]:
    """The table, and what of it may go; looked at again where it went under our eyes."""
    while True:
        table = home.needed(name)
        try:
            return table, expired(lineage_of(table, name), keep)
        except FileNotFoundError:
            if home.needed(name).metadata_location == table.metadata_location:
                raise


def lineage_of(table: Table, name: TableName) -> Lineage:
    """The table's snapshots as the rule sees them."""
    metadata = table.metadata
    snapshots = {s.snapshot_id: value_of(name, s) for s in metadata.snapshots}
    others = {ref: found for ref, found in metadata.refs.items() if ref != MAIN}
    lineage = Lineage(
        snapshots=snapshots,
        main=head_id(metadata, MAIN),
        branches=[r.snapshot_id for r in others.values() if _is_branch(r.snapshot_ref_type)],
        tags=[r.snapshot_id for r in others.values() if not _is_branch(r.snapshot_ref_type)],
        left=_left(metadata),
    )
    return replace(lineage, unsealed=_unsealed(table, list(lineage.ancestry(lineage.main))))


def _is_branch(kind: SnapshotRefType) -> bool:
    return kind is SnapshotRefType.BRANCH


def _left(metadata: TableMetadata) -> Mapping[int, datetime]:
    """When main went on from each snapshot that it showed; not told for its head."""
    log = metadata.snapshot_log
    left = {
        entry.snapshot_id: datetime.fromtimestamp(after.timestamp_ms / 1000, UTC)
        for entry, after in pairwise(log)
    }
    left.pop(head_id(metadata, MAIN) or -1, None)
    return left


def _unsealed(table: Table, history: Sequence[Snapshot]) -> list[int]:
    """The snapshots of main that no seal covers, as ``verify`` tells them."""

    def shows_same(one: int, other: int) -> bool:
        return made_of(one) == made_of(other)

    def made_of(snapshot_id: int) -> frozenset[tuple[str, int]]:
        found = table.metadata.snapshot_by_id(snapshot_id)
        return manifests_of(found, table.io) if found is not None else frozenset()

    # A seal whose audited snapshot somebody else has expired hides nothing.
    return [g.snapshot.id for g in gaps(history, shows_same) if g.kind != "expired"]
