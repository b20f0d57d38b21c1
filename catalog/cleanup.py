"""Dropping a branch: ref first, then the run's files, then its snapshots, so a crash can go on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableUpdate

from catalog import moves, naming, storage, usage
from catalog.commits import Decision, Done, Proposal, settle
from catalog.errors import CatalogError
from catalog.halfway import clear_halfway
from catalog.history import (
    ancestry,
    began_at,
    is_own,
    run_chain,
    shown,
    summary_of,
)
from catalog.home import Home, NativeHome, foreign_branch
from catalog.manifests import manifests_in
from catalog.refs import Branch, Dropped, TableName
from catalog.unstaging import delete_hidden, is_shown_empty


def drop(home: NativeHome, branch: Branch, name: TableName) -> Dropped:
    """See :meth:`catalog.base.BranchCatalog.drop`."""
    with home.serial([name]):
        removed = _remove_ref(home, branch, name)
        count = _Count()
        _clear_visible(home, branch, name, count)
        hidden = delete_hidden(home, branch, name)
        count.add(hidden)
        if is_shown_empty(home, branch, name):
            _clear_visible(home, branch, name, count)
            raise CatalogError(
                "a rename that came too late shows readers an empty table",
                where=f"{name} on {branch}",
                hint=f"the next run publishes into it; or drop {name} while no run is at work",
            )
        return Dropped(branch=removed or hidden[0] > 0, files=count.files, bytes=count.bytes)


def _clear_visible(home: NativeHome, branch: Branch, name: TableName, count: _Count) -> None:
    """Remove what the run has in the table that readers see."""
    visible = home.visible(name)
    if visible is None:
        return
    oldest = _oldest(visible, branch)
    count.add(_delete_data(home, visible, branch, name, oldest))
    _expire(home, branch, name)
    count.add(_delete_run_folder(home, home.needed(name), branch, name, oldest))
    count.add(clear_halfway(home, branch, name))


def _oldest(table: Table, branch: Branch) -> int:
    """Sequence number before which nothing can refer to the run's files; 0: nobody knows.

    A run whose snapshots were expired can be opened again by an attempt that comes late. Its files
    are older than its branch then, and any snapshot may need them.
    """
    own = [s for s in table.metadata.snapshots if is_own(s, branch.run_id)]
    oldest, began = began_at(own)
    found = storage.list_files(table.io, _data_location(table, branch)) if own else []
    old = any(f.modified is None or 1000 * f.modified.timestamp() < began for f in found)
    return 0 if old else oldest


def _data_location(table: Table, branch: Branch) -> str:
    return f"{table.location().rstrip('/')}/data/{branch.run_id}"


class _Count:
    """Files and bytes deleted so far."""

    files = 0
    bytes = 0

    def add(self, deleted: tuple[int, int]) -> None:
        self.files += deleted[0]
        self.bytes += deleted[1]


# --- refs and snapshots -------------------------------------------------------------------------


def only_of(
    metadata: TableMetadata, branch: Branch, snapshots: Iterable[IcebergSnapshot]
) -> list[IcebergSnapshot]:
    """Those of the snapshots that no ref but the branch can reach, and that main never showed.

    What was published and rolled back stays until it expires: a reader may be at it, and it tells
    that the run was published.
    """
    reached = {
        s.snapshot_id
        for ref in metadata.refs
        if ref != branch.name
        for s in ancestry(metadata, metadata.snapshot_by_name(ref))
    }
    reached |= {s.snapshot_id for s in shown(metadata)}
    return [s for s in snapshots if s.snapshot_id not in reached]


def _leftover(metadata: TableMetadata, branch: Branch) -> list[IcebergSnapshot]:
    """The run's snapshots that no other ref can reach."""
    own = (s for s in metadata.snapshots if is_own(s, branch.run_id))
    return only_of(metadata, branch, own)


def _remove_ref(home: Home, branch: Branch, name: TableName) -> bool:
    """Remove the branch; from then on no late publish can succeed. Whether there was one."""
    seen = False

    def decide() -> Decision[bool]:
        nonlocal seen
        table = home.visible(name)
        ref = table.metadata.refs.get(branch.name) if table is not None else None
        if table is None or ref is None:
            return Done(seen)
        if run_chain(table, branch) is None:
            raise foreign_branch(branch, name)
        seen = True
        asserted = moves.ref_is(branch.name, ref.snapshot_id)
        gone = (moves.remove_ref(branch.name),)
        return [Proposal(table, (asserted,), gone, run_id=branch.run_id)]

    return settle(home.committer, decide)


def _expire(home: Home, branch: Branch, name: TableName) -> None:
    """Remove the run's snapshots, and columns that only they knew, from the metadata."""

    def decide() -> Decision[None]:
        table = home.visible(name)
        gone = _leftover(table.metadata, branch) if table is not None else []
        if table is None or not gone or branch.name in table.metadata.refs:
            return Done(None)
        updates: list[TableUpdate] = [moves.remove_snapshots(gone)]
        # Without a serial commit a run that opens right now may count on the schema.
        schema_ids = _unused_schemas(table.metadata, gone) if home.committer.serial else []
        if schema_ids:
            updates.append(moves.remove_schemas(schema_ids))
        standing = moves.refs_are(table.metadata)
        return [Proposal(table, standing, tuple(updates), run_id=branch.run_id)]

    settle(home.committer, decide)


def _unused_schemas(metadata: TableMetadata, gone: Sequence[IcebergSnapshot]) -> list[int]:
    """Schemas of the snapshots to be removed that nothing else uses."""
    lost = {s.snapshot_id for s in gone}
    used = {s.schema_id for s in metadata.snapshots if s.snapshot_id not in lost}
    mine = {s.schema_id for s in gone if s.schema_id is not None}
    return sorted(mine - used - {metadata.current_schema_id})


# --- files --------------------------------------------------------------------------------------


def _behind(home: Home, branch: Branch, name: TableName) -> Table | None:
    """The table as it is once files were listed; None: the run has its branch again.

    A late attempt at dropping an earlier round may have found files of the next one. That has
    opened its branch before it wrote any, and keeps it until main, or nobody, needs them.
    """
    table = home.visible(name)
    return table if table is not None and branch.name not in table.metadata.refs else None


def _delete_data(
    home: Home, table: Table, branch: Branch, name: TableName, oldest: int
) -> tuple[int, int]:
    """Delete the run's data files that no remaining snapshot of the table refers to."""
    gone = _leftover(table.metadata, branch)
    locations = {_data_location(table, branch)}
    locations |= {summary_of(s)[naming.DATA] for s in gone if naming.DATA in summary_of(s)}
    count = _Count()
    for location in sorted(locations):
        storage.abort_uploads(table.io, f"{location}/")
        found = storage.list_files(table.io, location)
        now = _behind(home, branch, name) if found else None
        if now is not None:
            lost = {s.snapshot_id for s in _leftover(now.metadata, branch)}
            kept = [s for s in now.metadata.snapshots if s.snapshot_id not in lost]
            used = usage.data_in_use(home, now, kept, {f.path for f in found}, oldest)
            count.add(storage.delete_files(table.io, location, storage.without(found, used)))
        storage.delete_empty_folder(table.io, location)
    return count.files, count.bytes


def _delete_run_folder(
    home: Home, table: Table, branch: Branch, name: TableName, oldest: int
) -> tuple[int, int]:
    """Delete the run's manifests and manifest lists that no remaining snapshot refers to."""
    location = table.location_provider().new_metadata_location(naming.run_folder(branch.run_id))
    storage.abort_uploads(table.io, f"{location}/")
    found = storage.list_files(table.io, location)
    now = _behind(home, branch, name) if found else None
    if now is None:
        return 0, 0
    used = usage.metadata_in_use(home, now, now.metadata.snapshots, oldest)
    deleted = storage.delete_files(table.io, location, storage.without(found, used))
    storage.delete_empty_folder(table.io, location)
    return deleted


def delete_metadata(home: Home, table: Table, gone: Sequence[IcebergSnapshot]) -> None:
    """Delete manifests and lists that removed snapshots brought and nothing else refers to.

    What they had of their base stays: snapshots from before them, at which nobody looks here,
    may need it, although main's head does not any more.
    """
    io, ids = table.io, {s.snapshot_id for s in gone}
    used = usage.metadata_in_use(home, table, table.metadata.snapshots, began_at(gone)[0])
    for snapshot in gone:
        listed = storage.path_of(io, snapshot.manifest_list)
        if listed in used or not io.new_input(snapshot.manifest_list).exists():
            continue
        for manifest in manifests_in(snapshot, io):
            brought = manifest.added_snapshot_id in ids
            unused = storage.path_of(io, manifest.manifest_path) not in used
            if brought and unused and io.new_input(manifest.manifest_path).exists():
                io.delete(manifest.manifest_path)
        io.delete(snapshot.manifest_list)
