"""The manifests of a snapshot and their entries, read so that a broken or cut-off file is named."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyiceberg.io import FileIO
from pyiceberg.manifest import ManifestContent, ManifestEntry, ManifestFile
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog.errors import CatalogError, CorruptMetadataError
from catalog.vendor import WHOLE, as_ours, unreadable

_TOTAL = "total-data-files"


def listed(snapshot: IcebergSnapshot, io: FileIO) -> list[ManifestFile]:
    """The manifests that a snapshot's list names, whatever they come to: for telling lists apart.

    Raises:
        CorruptMetadataError: the list cannot be read.
        FileNotFoundError: it is not there.
    """
    with reading(snapshot.manifest_list):
        return snapshot.manifests(io)


def manifests_in(snapshot: IcebergSnapshot, io: FileIO) -> list[ManifestFile]:
    """The manifests of a snapshot.

    pyiceberg takes the end of a file that was cut off for the end of the list, and a table would
    look smaller than it is, or empty. So the files are held against the snapshot's own count.

    Raises:
        CorruptMetadataError: the list cannot be read, or names fewer files than there are.
        FileNotFoundError: it is not there.
    """
    found = listed(snapshot, io)
    total = snapshot.summary.additional_properties.get(_TOTAL) if snapshot.summary else None
    counts = [_count(m) for m in found if m.content == ManifestContent.DATA]
    known = [count for count in counts if count is not None]
    if total is not None and len(known) == len(counts) and sum(known) < int(total):
        raise _cut_off(snapshot.manifest_list, f"{sum(known)} of {total} data files are listed")
    return found


def entries_of(manifest: ManifestFile, io: FileIO) -> list[ManifestEntry]:
    """The live entries of a manifest.

    Raises:
        CorruptMetadataError: it cannot be read, or holds fewer entries than the list says.
        FileNotFoundError: it is not there.
    """
    with reading(manifest.manifest_path):
        found = manifest.fetch_manifest_entry(io)
    count = _count(manifest)
    if count is not None and len(found) < count:
        raise _cut_off(manifest.manifest_path, f"{len(found)} of {count} entries are there")
    return found


@contextmanager
def reading(location: str) -> Iterator[None]:
    """Name the file that cannot be understood; whatever storage says of it goes on as it is.

    Raises:
        CorruptMetadataError: what is in the file is no metadata.
    """
    try:
        yield
    except (CatalogError, OSError):
        raise
    except Exception as exc:
        # A broken Avro file makes its reader stumble in any way there is.
        ours = as_ours(exc, location)
        if ours is not None and not isinstance(ours, CorruptMetadataError):
            raise
        what = f"a metadata file cannot be read: {unreadable(exc)}"
        raise CorruptMetadataError(what, where=location, hint=WHOLE) from exc


def _count(manifest: ManifestFile) -> int | None:
    """Live entries that the list says the manifest has; None: it does not say."""
    added, existing = manifest.added_files_count, manifest.existing_files_count
    return None if added is None or existing is None else added + existing


def _cut_off(location: str, what: str) -> CorruptMetadataError:
    return CorruptMetadataError(f"a metadata file is cut off: {what}", where=location, hint=WHOLE)
