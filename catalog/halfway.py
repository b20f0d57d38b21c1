"""Metadata files that commits left which died half-way: found by their names, and deleted."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.table import Table

from catalog import moves, naming, storage
from catalog.commits import Decision, Done, Proposal, is_trimmed, settle
from catalog.home import Home, NativeHome
from catalog.orphans import uuid_in
from catalog.refs import Branch, TableName
from catalog.storage import StoredFile


def clear_halfway(home: NativeHome, branch: Branch, name: TableName) -> tuple[int, int]:
    """Delete the metadata files that the run's commits wrote and nothing put in place.

    A worker that is killed before its commit leaves the new metadata file, whole or cut off;
    one that is killed behind it, the old one that fell off the log.

    Returns:
        Files deleted, and their bytes.
    """
    table = home.visible(name)
    if table is None:
        return 0, 0
    folder = table.location_provider().new_metadata_location("").rstrip("/")
    files = storage.list_files(table.io, folder, deep=False)
    fallen = _fallen(table, files)
    marked = [f for f in files if naming.is_metadata_of(f.path, branch.run_id)]
    lost = storage.without(_unused(table, marked), {f.path for f in fallen})
    if lost:
        lost = _unused(fenced(home, branch, name), lost)
    return storage.delete_files(table.io, table.location(), [*fallen, *lost])


def fenced(home: Home, branch: Branch, name: TableName) -> Table:
    """The table behind a commit that took place after files were listed.

    A late attempt may be about to swap in a file that was found. From this commit on it cannot:
    each asserts the table's pointer as it was when the file was written. What was swapped in
    before is in the log.
    """
    seen = home.needed(name).metadata_location

    def decide() -> Decision[Table]:
        now = home.needed(name)
        if now.metadata_location != seen:
            return Done(now)
        # Forgets nothing, and yet moves the pointer.
        return [Proposal(now, (), (moves.remove_snapshots([]),), run_id=branch.run_id)]

    return settle(home.committer, decide)


def _fallen(table: Table, files: Sequence[StoredFile]) -> list[StoredFile]:
    """Files older than the log, where the table's properties say that such are deleted.

    Versions count up with every commit, so nobody can swap one of them in any more. A table that
    was dropped may have left files in the same place: those are another's, and stay.
    """
    log = [entry.metadata_file for entry in table.metadata.metadata_log]
    versions = [v for v in map(naming.version_of, log) if v is not None]
    if not is_trimmed(table.metadata) or not versions or len(versions) < len(log):
        return []
    oldest = min(versions)
    found = ((f, naming.version_of(f.path)) for f in files)
    old = [f for f, version in found if version is not None and version < oldest]
    return [f for f in old if _is_of(table, f)]


def _is_of(table: Table, file: StoredFile) -> bool:
    root = storage.path_of(table.io, table.location())
    location = table.location().rstrip("/") + file.path.removeprefix(root)
    try:
        return uuid_in(table.io, location) == str(table.metadata.table_uuid)
    except FileNotFoundError:
        return False


def _unused(table: Table, files: Sequence[StoredFile]) -> list[StoredFile]:
    """Those that are neither the table's metadata file nor in its log."""
    log = (entry.metadata_file for entry in table.metadata.metadata_log)
    used = {storage.path_of(table.io, one) for one in (table.metadata_location, *log)}
    return storage.without(files, used)
