"""Which files the snapshots of a table refer to: asked before any file is deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from pyiceberg.manifest import ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import storage
from catalog.home import Home
from catalog.manifests import entries_of, manifests_in

#: What a snapshot refers to, by the location of each manifest.
Manifests = dict[str, ManifestFile]


def metadata_in_use(
    home: Home,
    table: Table,
    snapshots: Iterable[IcebergSnapshot],
    oldest: int = 0,
) -> set[str]:
    """Paths of every manifest list and manifest that the snapshots refer to.

    Args:
        oldest: sequence number before which nothing can refer to the files that are asked about.
    """
    used: set[str] = set()
    for snapshot, manifests in _read(home, table, snapshots, oldest):
        used.add(storage.path_of(table.io, snapshot.manifest_list))
        used |= {storage.path_of(table.io, location) for location in manifests}
    return used


def data_in_use(
    home: Home,
    table: Table,
    snapshots: Iterable[IcebergSnapshot],
    paths: Collection[str],
    oldest: int = 0,
) -> set[str]:
    """Those of the paths that the snapshots refer to; every manifest is read once.

    Args:
        oldest: sequence number before which nothing can refer to them: it is not looked at, so
            that the cost follows the run and not the table's history.
    """
    io, seen, used, wanted = table.io, set[str](), set[str](), frozenset(paths)
    for snapshot, manifests in _read(home, table, snapshots, oldest):
        for location, manifest in manifests.items():
            if location in seen or manifest.sequence_number < oldest:
                continue
            try:
                entries = entries_of(manifest, io)
            except FileNotFoundError:
                if _is_there(home, table, snapshot):
                    raise
                break
            seen.add(location)
            used |= {storage.path_of(io, e.data_file.file_path) for e in entries} & wanted
    return used


def _read(
    home: Home, table: Table, snapshots: Iterable[IcebergSnapshot], oldest: int
) -> Iterator[tuple[IcebergSnapshot, Manifests]]:
    """Each snapshot's manifests; one that another run removed meanwhile refers to nothing more."""
    for snapshot in snapshots:
        if (snapshot.sequence_number or 0) < oldest:
            continue
        try:
            yield snapshot, {m.manifest_path: m for m in manifests_in(snapshot, table.io)}
        except FileNotFoundError:
            if _is_there(home, table, snapshot):
                raise


def _is_there(home: Home, table: Table, snapshot: IcebergSnapshot) -> bool:
    now = home.load(table.name())
    return now is not None and now.metadata.snapshot_by_id(snapshot.snapshot_id) is not None
