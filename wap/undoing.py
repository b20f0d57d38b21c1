"""The undo of a run: its branch and files go, unless main turns out to hold its seal."""

from __future__ import annotations

from catalog.base import BranchCatalog
from catalog.refs import Branch, TableName
from wap import evidence
from wap.model import SnapshotMove
from wap.steps import Undone


def undo_run(
    catalog: BranchCatalog, run_id: str, table: TableName, before: int | None = None
) -> Undone:
    """Remove the branch and everything the run wrote, unless it is published.

    Args:
        catalog: where the branch is.
        run_id: the run.
        table: the table that it staged.
        before: what main showed when the run was planned, for the answer.
    """
    move = published_move(catalog, run_id, table, before)
    if move is not None:
        return Undone(removed="nothing: the run is published", published=move)
    dropped = catalog.drop(Branch.of_run(run_id), table)
    # Without its branch no late publish can succeed, so this answer is the last.
    move = published_move(catalog, run_id, table, before)
    if move is not None:
        return Undone(removed="nothing: the run is published", published=move)
    published = catalog.published(table)
    if published is not None:
        evidence.discard(published.io, published.location, run_id)
    return Undone(removed=f"{dropped.files} files, {dropped.bytes:,} bytes")


def published_move(
    catalog: BranchCatalog, run_id: str, table: TableName, before: int | None = None
) -> SnapshotMove | None:
    """The move of main when main holds this run's seal."""
    for snapshot, seal in evidence.seals(catalog, table):
        if seal.run_id == run_id:
            return SnapshotMove(before=before, after=snapshot.id)
    return None
