"""Files of a table that nothing refers to any more: found, proved to be of no use, and deleted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from pyiceberg.io import FileIO
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import elsewhere, naming, storage, usage
from catalog.base import Litter
from catalog.errors import UnsupportedError
from catalog.history import summary_of
from catalog.home import Home
from catalog.refs import TableName
from catalog.storage import StoredFile

#: What a file is, by how its name ends. A file of any other name is never touched.
_KINDS: Final = {
    ".metadata.json": "metadata",
    ".avro": "manifest",
    ".parquet": "data",
    ".orc": "data",
    ".puffin": "statistics",
    ".stats": "statistics",
}
_METADATA: Final = ".metadata.json"
_UUID = re.compile(rb'"table-uuid"\s*:\s*"([0-9a-fA-F-]+)"')


def kind_of(path: str) -> str | None:
    """What a file of a table is; None: nothing that Iceberg's writers make, nor evidence."""
    if naming.evidence_of(path) is not None:
        return "metadata"
    return next((kind for ending, kind in _KINDS.items() if path.endswith(ending)), None)


def sweep(
    home: Home,
    name: TableName,
    before: datetime,
    live: Callable[[], Container[str]],
    forgotten: Collection[int] = (),
    *,
    dry_run: bool,
) -> list[Litter]:
    """See :meth:`catalog.base.BranchCatalog.sweep`.

    The order is what makes it right: files are listed first, then it is asked who is at work,
    then the table is read. A file of a run that ended in between is either in the table by then
    or of nobody.
    """
    table = home.needed(name)
    io, location = table.io, table.location()
    found = storage.list_files(io, location)
    outside = elsewhere.files_in(io, elsewhere.noted_in(table.properties))
    busy = Busy(live(), home.runs_on(name))
    now = home.needed(name)
    if now.metadata.table_uuid != table.metadata.table_uuid or now.location() != location:
        return []
    strange = _unreadable(now, found)
    old = [f for f in found if is_old(f, before) and f.path not in strange]
    candidates = without_busy(old, storage.path_of(io, location), busy)
    idle = {p: idle_at(p, files, before, busy) for p, files in outside.items()}
    asked = [*candidates, *(f for files in idle.values() for f in files)]
    used = in_use(home, name, asked, forgotten) if asked else set()
    doomed = storage.without(candidates, used)
    strewn = {p: storage.without(files, used) for p, files in idle.items()}
    if not dry_run:
        storage.delete_files(io, location, doomed)
        storage.delete_folders_left_empty(io, location, doomed)
        for place, files in strewn.items():
            elsewhere.delete_at(io, place, files)
        empty = [p for p in outside if len(strewn[p]) == len(outside[p])]
        elsewhere.forget(home, name, (p for p in empty if elsewhere.run_of(p) not in busy))
    return litter_of([*doomed, *(f for files in strewn.values() for f in files)])


class Busy:
    """The runs that are at work, by whoever knows them."""

    def __init__(self, *known: Container[str]) -> None:
        self._known = known

    def __contains__(self, run_id: object) -> bool:
        return any(run_id in known for known in self._known)


def is_old(file: StoredFile, before: datetime) -> bool:
    """Whether a file is of a known kind and was last written before a time that is known."""
    return kind_of(file.path) is not None and file.modified is not None and file.modified < before


def without_busy(files: Iterable[StoredFile], root: str, busy: Container[str]) -> list[StoredFile]:
    """The files that neither lie in a folder of a run that is at work nor are its evidence."""
    return [
        file
        for file in files
        if not any(part in busy for part in file.path.removeprefix(root).split("/")[:-1] if part)
        and naming.evidence_of(file.path) not in busy
    ]


def idle_at(
    place: str, files: Iterable[StoredFile], before: datetime, busy: Container[str]
) -> list[StoredFile]:
    """What may go of a place outside the table's own: it is of one run."""
    return [f for f in files if is_old(f, before)] if elsewhere.run_of(place) not in busy else []


def evidence_in_use(
    io: FileIO, location: str, files: Iterable[StoredFile], summaries: Iterable[Mapping[str, str]]
) -> set[str]:
    """Paths of evidence files that stay: of those of a sealed run, what a seal of it names.

    Of a run that no seal tells of any more they all stay: they are what an auditor has of it.

    Args:
        summaries: of the table's snapshots.
    """
    named: dict[str, set[str]] = defaultdict(set)
    for summary in summaries:
        run_id, digest = summary.get(naming.RUN), summary.get(naming.EVIDENCE)
        if run_id is not None and digest is not None:
            file = naming.evidence_file(location, run_id, digest)
            named[run_id].add(storage.path_of(io, file))
    found = ((f.path, naming.evidence_of(f.path)) for f in files)
    return {p for p, run_id in found if run_id and p in named.get(run_id, {p})}


def litter_of(files: Iterable[StoredFile]) -> list[Litter]:
    """The files as what they are."""
    return [Litter(f.path, f.size, kind_of(f.path) or "") for f in files]


def _unreadable(table: Table, found: Sequence[StoredFile]) -> set[str]:
    """Metadata files that do not tell whose they are: left alone.

    Raises:
        UnsupportedError: one of them is another table's, which lies in the same place.
    """
    io, root = table.io, storage.path_of(table.io, table.location())
    known = _metadata_files(table)
    strange: set[str] = set()
    for file in found:
        if not file.path.endswith(_METADATA) or file.path in known:
            continue
        location = table.location().rstrip("/") + file.path.removeprefix(root)
        try:
            told = uuid_in(io, location)
        except FileNotFoundError:
            continue
        if told is None:
            strange.add(file.path)
        elif told != str(table.metadata.table_uuid):
            raise UnsupportedError(
                "another table's files lie in this table's place; none is deleted",
                where=location,
                hint="move one of the tables, or delete by hand what you know to be of no use",
            )
    return strange


def uuid_in(io: FileIO, location: str) -> str | None:
    """Whose a metadata file is, be it cut off; None: it does not tell.

    Raises:
        FileNotFoundError: it is gone.
    """
    with io.new_input(location).open() as stream:
        told = _UUID.search(stream.read())
    return told[1].decode().lower() if told else None


def in_use(
    home: Home, name: TableName, files: Sequence[StoredFile], forgotten: Collection[int] = ()
) -> set[str]:
    """The paths of files that any metadata somebody can still read refers to."""
    used: set[str] = set()
    snapshots: dict[int, IcebergSnapshot] = {}
    now = home.needed(name)
    for table in home.readable(name):
        used |= _metadata_files(table)
        used |= {storage.path_of(table.io, s.statistics_path) for s in table.metadata.statistics}
        used |= {
            storage.path_of(table.io, s.statistics_path)
            for s in table.metadata.partition_statistics
        }
        is_now = table.metadata_location == now.metadata_location
        for snapshot in table.metadata.snapshots:
            if not (is_now and snapshot.snapshot_id in forgotten):
                snapshots.setdefault(snapshot.snapshot_id, snapshot)
    every = list(snapshots.values())
    used |= evidence_in_use(now.io, now.location(), files, map(summary_of, every))
    used |= usage.metadata_in_use(home, now, every)
    return used | usage.data_in_use(home, now, every, {f.path for f in files})


def _metadata_files(table: Table) -> set[str]:
    """Paths of the table's metadata file and of those in its log."""
    log = (entry.metadata_file for entry in table.metadata.metadata_log)
    return {storage.path_of(table.io, location) for location in (table.metadata_location, *log)}
