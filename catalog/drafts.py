"""A snapshot in the making: its manifests are written once, its manifest list for each attempt."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from pyiceberg.avro.codecs import AvroCompressionCodec
from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    ManifestContent,
    ManifestEntry,
    ManifestEntryStatus,
    ManifestFile,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import (
    Operation,
    SnapshotSummaryCollector,
    Summary,
    update_snapshot_summaries,
)
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import naming
from catalog.manifests import entries_of, listed, manifests_in

_FORMAT: Final = 2


@dataclass
class Draft:
    """One snapshot of a run, not committed yet. Every file it writes lies in the run's folder.

    Attributes:
        table: as first loaded; its FileIO and location are used.
        run_id: whose folder its files go to.
        schema: the snapshot's schema.
        added: data files it adds.
        removed: data files of the parent it takes away.
        summary: entries for its summary.
        same_manifests: show exactly what the parent shows (a metadata-only snapshot).
        same_rows: what it adds holds the rows of what it removes, and no others.
    """

    table: Table
    run_id: str
    schema: Schema
    added: Sequence[DataFile] = ()
    removed: Sequence[DataFile] = ()
    summary: Mapping[str, str] = field(default_factory=dict)
    same_manifests: bool = False
    same_rows: bool = False

    def __post_init__(self) -> None:
        self.snapshot_id = self.table.metadata.new_snapshot_id()
        self._manifests: tuple[int | None, list[ManifestFile]] | None = None
        self._written: list[str] = []
        self._lists: list[str] = []
        self._attempts = 0

    def snapshot(
        self, metadata: TableMetadata, parent: IcebergSnapshot | None, sequence_number: int
    ) -> IcebergSnapshot:
        """The snapshot on top of ``parent``, for one attempt at committing it."""
        parent_id = parent.snapshot_id if parent is not None else None
        if self._manifests is None or self._manifests[0] != parent_id:
            self._manifests = (parent_id, self._write_manifests(metadata, parent))
        self._attempts += 1
        location = self._new_file("snap", f"-{self.snapshot_id}-{self._attempts}", self._lists)
        with write_manifest_list(
            format_version=_FORMAT,
            output_file=self._io.new_output(location),
            snapshot_id=self.snapshot_id,
            parent_snapshot_id=parent_id,
            sequence_number=sequence_number,
            avro_compression=self._compression,
        ) as writer:
            writer.add_manifests(self._manifests[1])
        return IcebergSnapshot.model_validate(
            {
                "snapshot-id": self.snapshot_id,
                "parent-snapshot-id": parent_id,
                "manifest-list": location,
                "sequence-number": sequence_number,
                "summary": self._summarise(metadata, parent),
                "schema-id": self.schema.schema_id,
            }
        )

    def discard(self) -> None:
        """Delete what was written; only when it surely was not committed."""
        self._delete([*self._written, *self._lists])
        self._written.clear()
        self._lists.clear()
        self._manifests = None

    def discard_list(self) -> None:
        """Delete the manifest list of the last attempt, which surely lost."""
        self._delete(self._lists[-1:])
        del self._lists[-1:]

    @property
    def _io(self) -> FileIO:
        return self.table.io

    @property
    def _compression(self) -> AvroCompressionCodec:
        codec = self.table.metadata.properties.get("write.avro.compression-codec", "gzip")
        return cast("AvroCompressionCodec", codec)  # pyiceberg checks it when it writes

    def _delete(self, locations: Sequence[str]) -> None:
        for location in locations:
            if self._io.new_input(location).exists():
                self._io.delete(location)

    def _new_file(self, kind: str, suffix: str, noted: list[str]) -> str:
        name = f"{naming.run_folder(self.run_id)}/{kind}{suffix}-{uuid.uuid4()}.avro"
        location = self.table.location_provider().new_metadata_location(name)
        noted.append(location)
        return location

    def _write_manifests(
        self, metadata: TableMetadata, parent: IcebergSnapshot | None
    ) -> list[ManifestFile]:
        existing = manifests_in(parent, self._io) if parent is not None else []
        if self.same_manifests:
            return existing
        existing = [m for m in existing if m.has_added_files() or m.has_existing_files()]
        if self.removed:
            existing = self._without_removed(metadata, existing)
        else:
            existing = self._merged(metadata, existing)
        return [*self._added_manifest(metadata), *existing]

    def _added_manifest(self, metadata: TableMetadata) -> list[ManifestFile]:
        entries = [
            ManifestEntry.from_args(
                status=ManifestEntryStatus.ADDED,
                snapshot_id=self.snapshot_id,
                sequence_number=None,
                file_sequence_number=None,
                data_file=data_file,
            )
            for data_file in self.added
        ]
        return self._write(metadata, metadata.default_spec_id, entries) if entries else []

    def _without_removed(
        self, metadata: TableMetadata, existing: Sequence[ManifestFile]
    ) -> list[ManifestFile]:
        """The parent's manifests, those that hold a removed file written anew."""
        removed = {f.file_path for f in self.removed}
        kept: list[ManifestFile] = []
        for manifest in existing:
            entries = entries_of(manifest, self._io)
            gone = {e.data_file.file_path for e in entries} & removed
            if not gone:
                kept.append(manifest)
                continue
            marked = [
                _again(entry, self.snapshot_id if entry.data_file.file_path in gone else None)
                for entry in entries
            ]
            kept += self._write(metadata, manifest.partition_spec_id, marked)
            removed -= gone
        if removed:
            raise MissingFilesError(sorted(removed))
        return kept

    def _merged(self, metadata: TableMetadata, existing: list[ManifestFile]) -> list[ManifestFile]:
        """The parent's manifests, many small ones made into one: else each run adds one for ever.

        Follows the table's own ``commit.manifest*`` properties.
        """
        properties = metadata.properties
        if properties.get("commit.manifest-merge.enabled", "true") != "true":
            return existing
        small_size = int(properties.get("commit.manifest.target-size-bytes", 8 * 1024 * 1024))
        few = int(properties.get("commit.manifest.min-count-to-merge", 100))
        groups: dict[int, list[ManifestFile]] = defaultdict(list)
        for m in existing:
            if m.content == ManifestContent.DATA and m.manifest_length < small_size:
                groups[m.partition_spec_id].append(m)
        for spec_id, small in groups.items():
            if len(small) < few:
                continue
            entries = [_again(e) for m in small for e in entries_of(m, self._io)]
            merged = self._write(metadata, spec_id, entries)
            existing = [*merged, *(m for m in existing if m not in small)]
        return existing

    def _write(
        self, metadata: TableMetadata, spec_id: int, entries: Sequence[ManifestEntry]
    ) -> list[ManifestFile]:
        location = self._new_file("manifest", "", self._written)
        with write_manifest(
            format_version=_FORMAT,
            spec=metadata.specs()[spec_id],
            schema=self.schema,
            output_file=self._io.new_output(location),
            snapshot_id=self.snapshot_id,
            avro_compression=self._compression,
        ) as writer:
            for entry in entries:
                writer.add_entry(entry)
        return [writer.to_manifest_file()]

    def _summarise(self, metadata: TableMetadata, parent: IcebergSnapshot | None) -> Summary:
        counts = SnapshotSummaryCollector()
        specs = metadata.specs()
        for data_file in self.added:
            counts.add_file(data_file, self.schema, metadata.spec())
        for data_file in self.removed:
            counts.remove_file(data_file, self.schema, specs[data_file.spec_id])
        operation = Operation.OVERWRITE if self.removed else Operation.APPEND
        summary = update_snapshot_summaries(
            Summary(operation, **{**self.summary, **counts.build()}),
            parent.summary if parent is not None else None,
        )
        if self.same_rows:
            # pyiceberg does not sum up this operation.
            return Summary(Operation.REPLACE, **summary.additional_properties)
        return summary


class MissingFilesError(Exception):
    """Files to be taken away are not in the snapshot; translated by who staged them."""

    def __init__(self, locations: Sequence[str]) -> None:
        super().__init__(f"{len(locations)} files are not there, first {locations[0]}")


def _again(entry: ManifestEntry, deleted_by: int | None = None) -> ManifestEntry:
    """The entry as another manifest lists it: still there, or deleted by a snapshot."""
    deleted = deleted_by is not None
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.DELETED if deleted else ManifestEntryStatus.EXISTING,
        snapshot_id=deleted_by if deleted else entry.snapshot_id,
        sequence_number=entry.sequence_number,
        file_sequence_number=entry.file_sequence_number,
        data_file=entry.data_file,
    )


def live_files(
    snapshot: IcebergSnapshot, io: FileIO, wanted: Callable[[ManifestFile], bool] = lambda _: True
) -> list[DataFile]:
    """The files a snapshot is made of (delete files of foreign writers included)."""
    return [
        entry.data_file
        for manifest in manifests_in(snapshot, io)
        if wanted(manifest)
        for entry in entries_of(manifest, io)
    ]


def added_files(snapshot: IcebergSnapshot, io: FileIO) -> list[DataFile]:
    """The data files that the snapshot itself added."""
    return [
        entry.data_file
        for manifest in manifests_in(snapshot, io)
        if manifest.added_snapshot_id == snapshot.snapshot_id
        for entry in entries_of(manifest, io)
        if entry.status == ManifestEntryStatus.ADDED
        and entry.snapshot_id == snapshot.snapshot_id
        and entry.data_file.content == DataFileContent.DATA
    ]


def manifests_of(snapshot: IcebergSnapshot, io: FileIO) -> frozenset[tuple[str, int]]:
    """Location and length of every manifest of a snapshot: equal sets show equal rows.

    A list that was swapped or cut off gives another set, which is what whoever asks wants to know.
    """
    return frozenset((m.manifest_path, m.manifest_length) for m in listed(snapshot, io))
