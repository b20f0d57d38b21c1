"""Removing a new table that is only staged, and knowing for sure that it was never published."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress

from pyiceberg.exceptions import NamespaceNotEmptyError, NoSuchNamespaceError, NoSuchTableError
from pyiceberg.io import FileIO, InputFile
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table

from catalog import moves, naming, storage, usage
from catalog.commits import Decision, Done, Proposal, delete_quietly, settle
from catalog.history import head_of, is_bootstrap
from catalog.home import NativeHome
from catalog.refs import MAIN, Branch, TableName

_METADATA = ".metadata.json"


def delete_hidden(home: NativeHome, branch: Branch, name: TableName) -> tuple[int, int]:
    """Remove a staged new table: its entry in the catalog, then every file of it.

    Data files that a branch of the visible table took over stay. Returns files and bytes deleted.
    """
    hidden = home.hidden(branch, name)
    if hidden is not None and _is_published(home, name, hidden):
        _drop_entry(home, hidden)
        return 0, 0
    location = _hidden_location(home, branch, name, hidden)
    count = size = 0
    dropped = False
    if hidden is not None:
        _unpublish(home, name, hidden, branch)
        if home.warehouse is None:
            # Nobody finds the files once the entry is gone: all but its metadata go before it.
            _abort_uploads(hidden.io, hidden.location(), branch)
            count, size = _delete_location(
                home, branch, name, hidden.location(), hidden.io, hidden, data_only=True
            )
        if _next_rounds(home, branch, name, hidden):
            return count, size
        try:
            home.catalog.drop_table(hidden.name())
        except NoSuchTableError:
            # Published or dropped this moment; what is there now decides what may be deleted.
            hidden = None
        dropped = True
    _drop_staging_namespace(home)
    if location is not None:
        io = hidden.io if hidden is not None else home.file_io(location)
        _abort_uploads(io, location, branch)
        more = _delete_location(home, branch, name, location, io, hidden, gone=dropped)
        count, size = count + more[0], size + more[1]
    return count, size


def _abort_uploads(io: FileIO, location: str, branch: Branch) -> None:
    storage.abort_uploads(io, f"{location.rstrip('/')}/data/{branch.run_id}/")


def _hidden_location(
    home: NativeHome, branch: Branch, name: TableName, hidden: Table | None
) -> str | None:
    if hidden is not None:
        return hidden.location()
    return naming.new_location(home.warehouse, branch, name) if home.warehouse else None


def _is_published(home: NativeHome, name: TableName, hidden: Table) -> bool:
    """Whether readers see the same table: its new entry was made and the old one not dropped yet.

    So it is between the two calls of a rename on Glue. The files are the published table's.
    """
    visible = home.visible(name)
    return visible is not None and visible.metadata.table_uuid == hidden.metadata.table_uuid


def _next_rounds(home: NativeHome, branch: Branch, name: TableName, hidden: Table | None) -> bool:
    """Whether the run has another new table by now than the one that is removed.

    A late attempt at dropping an earlier round finds the next one's under the same name, in the
    same place. That is there before any file of it, and until readers see it, or nobody needs it.

    Args:
        hidden: the table that is removed; None: its entry is gone.
    """
    now = home.hidden(branch, name)
    if now is None:
        return False
    return hidden is None or now.metadata.table_uuid != hidden.metadata.table_uuid


def _drop_entry(home: NativeHome, hidden: Table) -> None:
    with suppress(NoSuchTableError):
        home.catalog.drop_table(hidden.name())
    _drop_staging_namespace(home)


def _unpublish(home: NativeHome, name: TableName, hidden: Table, branch: Branch) -> None:
    """Take main back to the bootstrap where a publish died before the rename.

    With the older metadata files gone, the location says for good that it was never published.
    """

    def decide() -> Decision[None]:
        try:
            table = home.committer.load(hidden.name())
        except NoSuchTableError:
            return Done(None)
        if table.metadata.table_uuid != hidden.metadata.table_uuid:
            return Done(None)  # the next round's
        main = head_of(table.metadata, MAIN)
        first = next((s for s in table.metadata.snapshots if is_bootstrap(s)), None)
        if main is None or first is None or is_bootstrap(main):
            ref = table.metadata.refs.get(branch.name)
            if ref is not None and home.warehouse is None:
                # Files go before the entry does: no late publish may find them half gone.
                asserted = moves.ref_is(branch.name, ref.snapshot_id)
                return [Proposal(table, (asserted,), (moves.remove_ref(branch.name),))]
            if not _is_published(home, name, table):
                for entry in table.metadata.metadata_log:
                    delete_quietly(table.io, entry.metadata_file)
            return Done(None)
        asserted = moves.ref_is(MAIN, main.snapshot_id)
        back = moves.set_branch(MAIN, first)
        noted = moves.set_properties({naming.TAKEN_BACK: branch.run_id})
        return [Proposal(table, (asserted,), (back, noted))]

    settle(home.committer, decide)


def is_shown_empty(home: NativeHome, branch: Branch, name: TableName) -> bool:
    """Whether readers see the run's new table, of which main was taken back to the bootstrap.

    Where a rename is a call of its own it asserts nothing, so it may come after that. Nor does the
    removal of a name: by then another run may have published there. So the table stays.
    """
    visible = home.visible(name)
    if visible is None or visible.properties.get(naming.TAKEN_BACK) != branch.run_id:
        return False
    main = head_of(visible.metadata, MAIN)
    return main is not None and is_bootstrap(main) and set(visible.metadata.refs) == {MAIN}


def _delete_location(
    home: NativeHome,
    branch: Branch,
    name: TableName,
    location: str,
    io: FileIO,
    hidden: Table | None,
    *,
    data_only: bool = False,
    gone: bool = False,
) -> tuple[int, int]:
    found = storage.list_files(io, location)
    own = None if gone else hidden
    if _is_kept(home, branch, name, location, io, own):
        return 0, 0
    if not found or (hidden is None and not _never_published(io, location, found)):
        return 0, 0
    storage.abort_uploads(io, f"{location.rstrip('/')}/")
    # What is kept is asked again behind the list that is deleted: what comes later is in none.
    found = storage.list_files(io, location)
    if _is_kept(home, branch, name, location, io, own):
        return 0, 0
    visible = home.visible(name)
    used: set[str] = set()
    if visible is not None:
        used = usage.data_in_use(home, visible, visible.metadata.snapshots, {f.path for f in found})
    doomed = storage.without(found, used)
    # Metadata goes last: without it nobody could tell later that this was never published.
    doomed.sort(key=lambda f: f.path.endswith(_METADATA))
    if data_only:
        doomed = [f for f in doomed if not f.path.endswith(_METADATA)]
    deleted = storage.delete_files(io, location, doomed)
    storage.delete_empty_folder(io, location)
    return deleted


def _is_kept(
    home: NativeHome, branch: Branch, name: TableName, location: str, io: FileIO, own: Table | None
) -> bool:
    """Whether a location is the next round's, or readers' by now.

    Readers' last: a table that is published in between is seen at one of the two places.
    """
    if _next_rounds(home, branch, name, own):
        return True
    visible = home.visible(name)
    return visible is not None and _same_place(io, visible.location(), location)


def _never_published(io: FileIO, location: str, found: Sequence[storage.StoredFile]) -> bool:
    """Whether every metadata file in a location says that main never left the bootstrap.

    Every one, not the newest: a commit that lost its race may have left a file behind it.
    Without a metadata file the answer is no: then the data belongs to another table by now. One
    that was cut off by a kill says nothing: no table was ever made of it.
    """
    files = [f.path for f in found if f.path.endswith(_METADATA)]
    root = storage.path_of(io, location)
    for path in files:
        source = io.new_input(location.rstrip("/") + path.removeprefix(root))
        if _is_cut_off(source):
            continue
        main = head_of(FromInputFile.table_metadata(source), MAIN)
        if main is not None and not is_bootstrap(main):
            return False
    return bool(files)


def _is_cut_off(source: InputFile) -> bool:
    """Whether a metadata file ends before its JSON does, as when its writer was killed."""
    with source.open() as stream:
        text = stream.read()
    try:
        json.loads(text)
    except ValueError:
        return True
    return False


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
