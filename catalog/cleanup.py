"""Dropping a branch: ref first, then the run's files, then its snapshots, so a crash can go on."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from pyiceberg.exceptions import NamespaceNotEmptyError, NoSuchNamespaceError, NoSuchTableError
from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableUpdate

from catalog import moves, naming, storage
from catalog.commits import Decision, Done, Proposal, delete_quietly, settle
from catalog.history import (
    ancestry,
    head_of,
    is_bootstrap,
    is_own,
    run_chain,
    summary_of,
)
from catalog.home import Home, foreign_branch
from catalog.refs import MAIN, Branch, Dropped, TableName


def drop(home: Home, branch: Branch, name: TableName) -> Dropped:
    """See :meth:`catalog.base.BranchCatalog.drop`."""
    with home.serial([name]):
        removed = _remove_ref(home, branch, name)
        count = _Count()
        visible = home.visible(name)
        if visible is not None:
            count.add(_delete_data(visible, branch))
            _expire(home, branch, name)
            count.add(_delete_run_folder(home.needed(name), branch))
        hidden = delete_hidden(home, branch, name)
        count.add(hidden)
        return Dropped(branch=removed or hidden[0] > 0, files=count.files, bytes=count.bytes)


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
    """Those of the snapshots that no ref but the branch can reach."""
    reached = {
        s.snapshot_id
        for ref in metadata.refs
        if ref != branch.name
        for s in ancestry(metadata, metadata.snapshot_by_name(ref))
    }
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
        return [Proposal(table, (asserted,), (moves.remove_ref(branch.name),))]

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
        return [Proposal(table, moves.refs_are(table.metadata), tuple(updates))]

    settle(home.committer, decide)


def _unused_schemas(metadata: TableMetadata, gone: Sequence[IcebergSnapshot]) -> list[int]:
    """Schemas of the snapshots to be removed that nothing else uses."""
    lost = {s.snapshot_id for s in gone}
    used = {s.schema_id for s in metadata.snapshots if s.snapshot_id not in lost}
    mine = {s.schema_id for s in gone if s.schema_id is not None}
    return sorted(mine - used - {metadata.current_schema_id})


# --- files --------------------------------------------------------------------------------------


def _delete_data(table: Table, branch: Branch) -> tuple[int, int]:
    """Delete the run's data files that no remaining snapshot of the table refers to."""
    gone = _leftover(table.metadata, branch)
    locations = {f"{table.location().rstrip('/')}/data/{branch.run_id}"}
    locations |= {summary_of(s)[naming.DATA] for s in gone if naming.DATA in summary_of(s)}
    count = _Count()
    lost = {s.snapshot_id for s in gone}
    kept = [s for s in table.metadata.snapshots if s.snapshot_id not in lost]
    for location in sorted(locations):
        found = storage.list_files(table.io, location)
        if found:
            used = _data_in_use(table, kept, {f.path for f in found})
            count.add(storage.delete_files(table.io, location, storage.without(found, used)))
        storage.delete_empty_folder(table.io, location)
    return count.files, count.bytes


def _data_in_use(
    table: Table, snapshots: Iterable[IcebergSnapshot], paths: Collection[str]
) -> set[str]:
    """Those of the paths that a snapshot refers to; every manifest is read once."""
    io = table.io
    manifests = {m.manifest_path: m for s in snapshots for m in s.manifests(io)}
    return {
        path
        for manifest in manifests.values()
        for entry in manifest.fetch_manifest_entry(io)
        if (path := storage.path_of(io, entry.data_file.file_path)) in paths
    }


def _delete_run_folder(table: Table, branch: Branch) -> tuple[int, int]:
    """Delete the run's manifests and manifest lists that no remaining snapshot refers to."""
    location = table.location_provider().new_metadata_location(naming.run_folder(branch.run_id))
    found = storage.list_files(table.io, location)
    if not found:
        return 0, 0
    used = _metadata_in_use(table)
    deleted = storage.delete_files(table.io, location, storage.without(found, used))
    storage.delete_empty_folder(table.io, location)
    return deleted


def _metadata_in_use(table: Table) -> set[str]:
    """Paths of every manifest list and manifest that the table's snapshots refer to."""
    io, used = table.io, set[str]()
    for snapshot in table.metadata.snapshots:
        used.add(storage.path_of(io, snapshot.manifest_list))
        used |= {storage.path_of(io, m.manifest_path) for m in snapshot.manifests(io)}
    return used


def delete_metadata(table: Table, gone: Iterable[IcebergSnapshot], io: FileIO) -> None:
    """Delete manifests and lists of removed snapshots, all that nothing else refers to."""
    used = _metadata_in_use(table)
    for snapshot in gone:
        listed = storage.path_of(io, snapshot.manifest_list)
        if listed in used or not io.new_input(snapshot.manifest_list).exists():
            continue
        for manifest in snapshot.manifests(io):
            unused = storage.path_of(io, manifest.manifest_path) not in used
            if unused and io.new_input(manifest.manifest_path).exists():
                io.delete(manifest.manifest_path)
        io.delete(snapshot.manifest_list)


# --- a new table that is only staged ------------------------------------------------------------


def delete_hidden(home: Home, branch: Branch, name: TableName) -> tuple[int, int]:
    """Remove a staged new table: its entry in the catalog, then every file of it.

    Data files that a branch of the visible table took over stay. Returns files and bytes deleted.
    """
    hidden = home.hidden(branch, name)
    location = _hidden_location(home, branch, name, hidden)
    if hidden is not None:
        _unpublish(home, hidden)
        try:
            home.catalog.drop_table(hidden.name())
        except NoSuchTableError:
            # Published or dropped this moment; what is there now decides what may be deleted.
            hidden = None
    _drop_staging_namespace(home)
    if location is None:
        return 0, 0
    return _delete_location(home, name, location, hidden)


def _hidden_location(
    home: Home, branch: Branch, name: TableName, hidden: Table | None
) -> str | None:
    if hidden is not None:
        return hidden.location()
    return naming.new_location(home.warehouse, branch, name) if home.warehouse else None


def _unpublish(home: Home, hidden: Table) -> None:
    """Take main back to the bootstrap where a publish died before the rename.

    With the older metadata files gone, the location says for good that it was never published.
    """

    def decide() -> Decision[None]:
        try:
            table = home.catalog.load_table(hidden.name())
        except NoSuchTableError:
            return Done(None)
        main = head_of(table.metadata, MAIN)
        first = next((s for s in table.metadata.snapshots if is_bootstrap(s)), None)
        if main is None or first is None or is_bootstrap(main):
            for entry in table.metadata.metadata_log:
                delete_quietly(table.io, entry.metadata_file)
            return Done(None)
        asserted = moves.ref_is(MAIN, main.snapshot_id)
        back = moves.set_branch(MAIN, first)
        return [Proposal(table, (asserted,), (back,))]

    settle(home.committer, decide)


def _delete_location(
    home: Home, name: TableName, location: str, hidden: Table | None
) -> tuple[int, int]:
    io = hidden.io if hidden is not None else home.file_io(location)
    found = storage.list_files(io, location)
    visible = home.visible(name)
    if visible is not None and _same_place(io, visible.location(), location):
        return 0, 0
    if not found or (hidden is None and not _never_published(io, location, found)):
        return 0, 0
    used: set[str] = set()
    if visible is not None:
        used = _data_in_use(visible, visible.metadata.snapshots, {f.path for f in found})
    doomed = storage.without(found, used)
    # Metadata goes last: without it nobody could tell later that this was never published.
    doomed.sort(key=lambda f: f.path.endswith(".metadata.json"))
    deleted = storage.delete_files(io, location, doomed)
    storage.delete_empty_folder(io, location)
    return deleted


def _never_published(io: FileIO, location: str, found: Sequence[storage.StoredFile]) -> bool:
    """Whether every metadata file in a location says that main never left the bootstrap.

    Every one, not the newest: a commit that lost its race may have left a file behind it.
    Without a metadata file the answer is no: then the data belongs to another table by now.
    """
    files = [f.path for f in found if f.path.endswith(".metadata.json")]
    root = storage.path_of(io, location)
    for path in files:
        source = io.new_input(location.rstrip("/") + path.removeprefix(root))
        main = head_of(FromInputFile.table_metadata(source), MAIN)
        if main is not None and not is_bootstrap(main):
            return False
    return bool(files)


def _same_place(io: FileIO, one: str, other: str) -> bool:
    return storage.path_of(io, one) == storage.path_of(io, other)


def _drop_staging_namespace(home: Home) -> None:
    """Leave no empty hidden namespace behind; one that others use, or drop right now, stays."""
    namespace = (naming.STAGING_NAMESPACE,)
    try:
        if home.catalog.namespace_exists(namespace):
            home.catalog.drop_namespace(namespace)
    except (NamespaceNotEmptyError, NoSuchNamespaceError):
        return
