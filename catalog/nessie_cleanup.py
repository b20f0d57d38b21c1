"""Dropping a run on Nessie: its branch first, then its files, so that a crash can go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import naming, nessie_firsts, orphans, storage, usage
from catalog.commits import delete_quietly
from catalog.errors import CatalogError
from catalog.halfway import fenced
from catalog.history import began_at, is_own, summary_of
from catalog.nessie_home import NessieHome
from catalog.places import Place
from catalog.refs import Branch, Dropped, TableName

_NOTHING = (0, 0)


def drop(home: NessieHome, branch: Branch, name: TableName) -> Dropped:
    """See :meth:`catalog.base.BranchCatalog.drop`."""
    with home.serial([name]):
        place = home.find(branch, name)
        home.leave(branch, [name])
        home.sweep(branch)
        sealed = place is not None and summary_of(place.chain.head).get(naming.ROLE) == "seal"
        visible = home.visible(name)
        if visible is None:
            nessie_firsts.stop(home.api, name.identifier)
            visible = home.visible(name)
        elif sealed:
            # The server may have found the branch and be at a merge, of the run or of a union that
            # holds it: it has landed by now, or meets a changed key. Only what is sealed is merged.
            visible = fenced(home, branch, name)
        counts = [clear_new_location(home, branch, name, lambda: _left(home, branch, name))]
        if visible is not None and _is_forgotten(home, branch, name, visible):
            counts += _delete_unreadable(home, visible, branch, name)
        elif visible is not None:
            oldest = _oldest(visible, branch, place)
            counts.append(_delete_data(home, visible, branch, name, oldest))
            counts.append(_delete_run_folder(home, visible, branch, name, oldest))
        if place is not None:
            _check_unpublished(home, branch, name, visible)
    return Dropped(place is not None, sum(c[0] for c in counts), sum(c[1] for c in counts))


def _check_unpublished(
    home: NessieHome, branch: Branch, name: TableName, before: Table | None
) -> None:
    """See that no merge which the server was at in that moment has published the run after all."""
    now = home.visible(name)
    if now is None or (before is not None and now.metadata_location == before.metadata_location):
        return
    if _own(now, branch) and not (before is not None and _own(before, branch)):
        raise CatalogError(
            "the run was published at the very moment it was dropped",
            where=f"{name} on {branch}",
            hint=f"roll {name} back to the sealed snapshot before it; its files are gone",
        )


def _is_forgotten(home: NessieHome, branch: Branch, name: TableName, visible: Table) -> bool:
    """Whether the run was published and has been expired since.

    Main's table tells nothing of it any more, but whoever has the hash of an earlier commit still
    reads it; a sweep knows those.
    """
    return not _own(visible, branch) and next(home.publications(branch, name), None) is not None


def _delete_unreadable(
    home: NessieHome, visible: Table, branch: Branch, name: TableName
) -> Iterator[tuple[int, int]]:
    """Delete what a late attempt at such a run wrote: no commit that can be read refers to it."""
    data = f"{visible.location().rstrip('/')}/data/{branch.run_id}"
    metadata = visible.location_provider().new_metadata_location(naming.run_folder(branch.run_id))
    for location in (data, metadata):
        storage.abort_uploads(visible.io, f"{location}/")
        found = storage.list_files(visible.io, location)
        if found and _behind(home, branch, name) is not None:
            used = orphans.in_use(home, name, found)
            yield _delete(visible, location, storage.without(found, used))


def _own(table: Table, branch: Branch) -> list[IcebergSnapshot]:
    return [s for s in table.metadata.snapshots if is_own(s, branch.run_id)]


def _oldest(visible: Table, branch: Branch, place: Place | None) -> int:
    """Sequence number before which no snapshot of main can refer to files of the run."""
    return began_at(_own(visible, branch) or (place.chain.own if place is not None else ()))[0]


def _behind(home: NessieHome, branch: Branch, name: TableName) -> Table | None:
    """Main's table as it is once files were listed; None: the run has its branch again.

    A late attempt at dropping an earlier round may have found files of the next one. That has
    opened its branch before it wrote any, and keeps it until main, or nobody, needs them.
    """
    return home.visible(name) if home.find(branch, name) is None else None


def _left(home: NessieHome, branch: Branch, name: TableName) -> Sequence[DataFile] | None:
    """Nothing is kept of a run that was taken off its branch; None: it has the branch again."""
    return () if home.find(branch, name) is None else None


def _delete_data(
    home: NessieHome, visible: Table, branch: Branch, name: TableName, oldest: int
) -> tuple[int, int]:
    """Delete the run's data files that main's table does not refer to."""
    location = f"{visible.location().rstrip('/')}/data/{branch.run_id}"
    storage.abort_uploads(visible.io, f"{location}/")
    found = storage.list_files(visible.io, location)
    if not found:
        storage.delete_empty_folder(visible.io, location)
        return _NOTHING
    now = _behind(home, branch, name)
    if now is None:
        return _NOTHING
    every = now.metadata.snapshots
    used = usage.data_in_use(home, now, every, {f.path for f in found}, oldest)
    return _delete(visible, location, storage.without(found, used))


def _delete_run_folder(
    home: NessieHome, visible: Table, branch: Branch, name: TableName, oldest: int
) -> tuple[int, int]:
    """Delete the run's metadata; of a run that was published, only manifests that nobody uses."""
    location = visible.location_provider().new_metadata_location(naming.run_folder(branch.run_id))
    storage.abort_uploads(visible.io, f"{location}/")
    found = storage.list_files(visible.io, location)
    now = _behind(home, branch, name) if found else None
    if now is None:
        return _NOTHING
    used = usage.metadata_in_use(home, now, now.metadata.snapshots, oldest)
    log = [entry.metadata_file for entry in now.metadata.metadata_log]
    used |= {storage.path_of(now.io, m) for m in (now.metadata_location, *log)}
    if _own(now, branch):
        used |= {f.path for f in found if f.path.endswith(".metadata.json")}
    return _delete(visible, location, storage.without(found, used))


def _delete(table: Table, location: str, files: Iterable[storage.StoredFile]) -> tuple[int, int]:
    deleted = storage.delete_files(table.io, location, files)
    storage.delete_empty_folder(table.io, location)
    return deleted


def clear_new_location(
    home: NessieHome,
    branch: Branch,
    name: TableName,
    kept: Callable[[], Sequence[DataFile] | None],
) -> tuple[int, int]:
    """Delete what lies where the run would have made a new table, unless it did publish it.

    Args:
        home: knows main's history, which alone tells whether the run published the table:
            it may have another name by now, or be gone.
        branch: the run's.
        name: the table.
        kept: asked behind the listing, since a late attempt may find files of the run's next
            round: data files that the run's branch of another run's table has taken over; None:
            the run stages a new table here again, and nothing is deleted.
    """
    location = naming.new_location(str(home.warehouse), branch, name)
    io = home.file_io(location)
    storage.abort_uploads(io, f"{location}/data/{branch.run_id}/")
    found = storage.list_files(io, location)
    if not found:
        storage.delete_empty_folder(io, location)
        return _NOTHING
    stay = kept()
    # Main last: a round that is published in between is seen at one of the two places.
    if stay is None or next(home.publications(branch, name), None) is not None:
        return _NOTHING
    used = {storage.path_of(io, f.file_path) for f in stay}
    storage.abort_uploads(io, f"{location}/")
    deleted = storage.delete_files(io, location, storage.without(found, used))
    storage.delete_empty_folder(io, location)
    return deleted


def delete_superseded(table: Table, run_id: str) -> None:
    """Delete the metadata files by which a run's branch came to what it points to now."""
    folder = f"/{naming.run_folder(run_id)}/"
    for entry in table.metadata.metadata_log:
        if folder in entry.metadata_file:
            delete_quietly(table.io, entry.metadata_file)
