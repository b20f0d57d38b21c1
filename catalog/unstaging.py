"""Removing a new table that is only staged, and knowing for sure that it was never published."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.exceptions import NamespaceNotEmptyError, NoSuchNamespaceError, NoSuchTableError
from pyiceberg.io import FileIO
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table

from catalog import moves, naming, storage, usage
from catalog.commits import Decision, Done, Proposal, delete_quietly, settle
from catalog.history import head_of, is_bootstrap
from catalog.home import NativeHome
from catalog.refs import MAIN, Branch, TableName


def delete_hidden(home: NativeHome, branch: Branch, name: TableName) -> tuple[int, int]:
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
    io = hidden.io if hidden is not None else home.file_io(location)
    storage.abort_uploads(io, f"{location.rstrip('/')}/data/{branch.run_id}/")
    return _delete_location(home, name, location, io, hidden)


def _hidden_location(
    home: NativeHome, branch: Branch, name: TableName, hidden: Table | None
) -> str | None:
    if hidden is not None:
        return hidden.location()
    return naming.new_location(home.warehouse, branch, name) if home.warehouse else None


def _unpublish(home: NativeHome, hidden: Table) -> None:
    """Take main back to the bootstrap where a publish died before the rename.

    With the older metadata files gone, the location says for good that it was never published.
    """

    def decide() -> Decision[None]:
        try:
            table = home.committer.load(hidden.name())
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
    home: NativeHome, name: TableName, location: str, io: FileIO, hidden: Table | None
) -> tuple[int, int]:
    found = storage.list_files(io, location)
    visible = home.visible(name)
    if visible is not None and _same_place(io, visible.location(), location):
        return 0, 0
    if not found or (hidden is None and not _never_published(io, location, found)):
        return 0, 0
    storage.abort_uploads(io, f"{location.rstrip('/')}/")
    found = storage.list_files(io, location)
    used: set[str] = set()
    if visible is not None:
        used = usage.data_in_use(home, visible, visible.metadata.snapshots, {f.path for f in found})
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


def _drop_staging_namespace(home: NativeHome) -> None:
    """Leave no empty hidden namespace behind; one that others use, or drop right now, stays."""
    namespace = (naming.STAGING_NAMESPACE,)
    try:
        if home.catalog.namespace_exists(namespace):
            home.catalog.drop_namespace(namespace)
    except (NamespaceNotEmptyError, NoSuchNamespaceError):
        return
