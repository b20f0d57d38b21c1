"""Iceberg tables that one Spark session knows and nobody else: to write into, or to look at.

Spark has no way to write Iceberg's files without a table to commit them to, and none to read a list
of files by field id. So we write a table's metadata ourselves and register it in a catalog that
lives in the memory of Spark's driver (Iceberg's JDBC catalog over SQLite in memory) and ends with
the session. It asks nothing of the project's own catalog, whatever kind that is, no reader ever
meets it, and the rows themselves go through Iceberg's own writer, reader and FileIO.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyiceberg.io import FileIO
from pyiceberg.manifest import (
    DataFile,
    DataFileContent,
    FileFormat,
    ManifestEntry,
    ManifestEntryStatus,
    read_manifest_list,
    write_manifest,
    write_manifest_list,
)
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table.metadata import TableMetadataV2
from pyiceberg.table.snapshots import Operation, Snapshot, Summary
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.typedef import Record
from sqlglot import exp

from catalog.base import Scan, Staging
from catalog.storage import delete_empty_folder, delete_files, list_files
from wap.errors import EngineError

#: First part of every contract's ``dataset`` too, so that SQL which names it in full finds it.
CATALOG = "wap"
#: How folders of metadata begin, below a run's data location.
FOLDER = "scratch-"

_FIRST_PARTITION_ID = 999
#: pyiceberg's names of storage settings and Iceberg's own in Java, where they differ.
_RENAMED = {"s3.region": "client.region", "client.region": "client.region"}
_SHARED = frozenset({"s3.endpoint", "s3.access-key-id", "s3.secret-access-key", "s3.session-token"})


def quoted(*names: str) -> str:
    """A name of several parts as Spark's SQL."""
    return ".".join(exp.to_identifier(n, quoted=True).sql("spark") for n in names)


def literal(text: str) -> str:
    """A text as Spark's SQL."""
    return exp.Literal.string(text).sql("spark")


def session_conf(io: FileIO) -> dict[str, str]:
    """Settings of a session that has the catalog; storage secrets are among them."""
    prefix = f"spark.sql.catalog.{CATALOG}"
    own = {
        "type": "jdbc",
        "uri": f"jdbc:sqlite:file:wap-{uuid.uuid4().hex}?mode=memory&cache=shared",
        "jdbc.schema-version": "V1",
        # One connection: a second one would meet the first one's locks.
        "clients": "1",
        "warehouse": "file:///nowhere",
        "io-impl": "org.apache.iceberg.io.ResolvingFileIO",
        "cache-enabled": "false",
        **_storage(io),
    }
    return {
        prefix: "org.apache.iceberg.spark.SparkCatalog",
        **{f"{prefix}.{key}": value for key, value in own.items()},
    }


def _storage(io: FileIO) -> dict[str, str]:
    given = {str(k): str(v) for k, v in io.properties.items() if v is not None}
    found = {key: given[key] for key in _SHARED if key in given}
    found |= {_RENAMED[key]: given[key] for key in _RENAMED if key in given}
    if "s3.endpoint" in given and given.get("s3.force-virtual-addressing", "false") != "true":
        found["s3.path-style-access"] = "true"
    return found


@dataclass(frozen=True)
class Scratch:
    """Tables of one session, their metadata in one folder that ends with them.

    Attributes:
        session: Spark's, with :func:`session_conf` set.
        io: for the metadata; Spark reaches the same place through its own FileIO.
        folder: location of the metadata, below a run's data location.
    """

    session: Any
    io: FileIO
    folder: str

    def to_write(self, staging: Staging) -> str:
        """Register an empty table with the staging's columns, field ids, spec and properties.

        Its data files go to the run's data location. Returns the table's name as SQL.
        """
        properties = {
            k: v for k, v in staging.properties.items() if not k.startswith(("wap.", "commit."))
        }
        metadata = self._metadata(
            staging.schema,
            staging.spec,
            {**properties, "write.data.path": staging.data_location},
        )
        return self._register(("scratch", "batch"), metadata)

    def written(self, table: str, staging: Staging) -> list[DataFile]:
        """The files that were committed to a table made by :meth:`to_write`."""
        rows = self.session.sql(f"SELECT manifest_list FROM {table}.snapshots").collect()  # noqa: S608 - our own name
        files: list[DataFile] = []
        for (location,) in rows:
            for manifest in read_manifest_list(self.io.new_input(location)):
                entries = manifest.fetch_manifest_entry(self.io)
                files += [_respelled(e.data_file, staging) for e in entries]
        return files

    def to_read(self, name: tuple[str, ...], scan: Scan) -> None:
        """Register a table of exactly the scan's files, read by field id; null may be anywhere.

        Neither partitions nor column bounds are told to Spark: all it finds, it finds in the files.
        """
        schema = _optional(scan.schema)
        snapshot = self._snapshot(schema, scan.files) if scan.files else None
        metadata = self._metadata(schema, UNPARTITIONED_PARTITION_SPEC, {}, snapshot)
        self._register(name, metadata)

    def _register(self, name: tuple[str, ...], metadata: TableMetadataV2) -> str:
        location = f"{self.folder}/{uuid.uuid4().hex}.metadata.json"
        ToOutputFile.table_metadata(metadata, self.io.new_output(location), overwrite=True)
        namespace = quoted(CATALOG, *name[:-1])
        self.session.sql(f"CREATE NAMESPACE IF NOT EXISTS {namespace}")
        arguments = f"{literal(quoted(CATALOG, *name))}, {literal(location)}"
        self.session.sql(f"CALL {CATALOG}.system.register_table({arguments})").collect()
        return quoted(CATALOG, *name)

    def _metadata(
        self,
        schema: Schema,
        spec: PartitionSpec,
        properties: dict[str, str],
        snapshot: Snapshot | None = None,
    ) -> TableMetadataV2:
        head = snapshot.snapshot_id if snapshot else None
        main = {"main": {"snapshot-id": head, "type": "branch"}}
        partition_ids = (f.field_id for f in spec.fields)
        return TableMetadataV2.model_validate(
            {
                "location": self.folder,
                "last-column-id": schema.highest_field_id,
                "schemas": [schema],
                "current-schema-id": schema.schema_id,
                "partition-specs": [spec],
                "default-spec-id": spec.spec_id,
                "last-partition-id": max(partition_ids, default=_FIRST_PARTITION_ID),
                "properties": {**properties, "write.metadata.path": self.folder},
                "sort-orders": [UNSORTED_SORT_ORDER],
                "default-sort-order-id": UNSORTED_SORT_ORDER.order_id,
                "last-sequence-number": 1 if snapshot else 0,
                "snapshots": [snapshot] if snapshot else [],
                "current-snapshot-id": head,
                "refs": main if snapshot else {},
            }
        )

    def _snapshot(self, schema: Schema, files: Sequence[DataFile]) -> Snapshot:
        name, number = uuid.uuid4().hex, uuid.uuid4().int >> 65
        output = self.io.new_output(f"{self.folder}/{name}-m0.avro")
        with write_manifest(
            format_version=2,
            spec=UNPARTITIONED_PARTITION_SPEC,
            schema=schema,
            output_file=output,
            snapshot_id=number,
            avro_compression="deflate",
        ) as manifest:
            for file in files:
                manifest.add_entry(_entry(file, number))
        location = f"{self.folder}/{name}-list.avro"
        with write_manifest_list(
            format_version=2,
            output_file=self.io.new_output(location),
            snapshot_id=number,
            parent_snapshot_id=None,
            sequence_number=1,
            avro_compression="deflate",
        ) as listed:
            listed.add_manifests([manifest.to_manifest_file()])
        return Snapshot.model_validate(
            {
                "snapshot-id": number,
                "sequence-number": 1,
                "manifest-list": location,
                # Iceberg counts by the summary when it registers a table.
                "summary": Summary(Operation.APPEND, **_totals(files)),
                "schema-id": schema.schema_id,
            }
        )


@contextmanager
def scratch(session: Any, io: FileIO, data_location: str) -> Iterator[Scratch]:
    """Tables for as long as the ``with`` block lasts; of theirs no file is left behind it."""
    folder = f"{data_location}/{FOLDER}{uuid.uuid4().hex[:12]}"
    try:
        yield Scratch(session, io, folder)
    finally:
        _delete(io, folder)


def delete_leftovers(io: FileIO, data_location: str) -> None:
    """Delete the metadata of attempts that died."""
    found = {
        f"{data_location}/{part}"
        for file in list_files(io, data_location)
        for part in file.path.split("/")
        if part.startswith(FOLDER)
    }
    for folder in found:
        _delete(io, folder)


def _delete(io: FileIO, folder: str) -> None:
    try:
        delete_files(io, folder, list_files(io, folder))
        delete_empty_folder(io, folder)
    except OSError as exc:
        raise EngineError(f"scratch metadata cannot be deleted: {exc}", where=folder) from exc


def _totals(files: Sequence[DataFile]) -> dict[str, str]:
    rows = sum(file.record_count for file in files)
    return {"total-records": str(rows), "total-data-files": str(len(files))}


def _entry(file: DataFile, snapshot_id: int) -> ManifestEntry:
    return ManifestEntry.from_args(
        status=ManifestEntryStatus.ADDED,
        snapshot_id=snapshot_id,
        sequence_number=None,
        file_sequence_number=None,
        data_file=DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=file.file_path,
            file_format=FileFormat.PARQUET,
            partition=Record(),
            record_count=file.record_count,
            file_size_in_bytes=file.file_size_in_bytes,
        ),
    )


def _respelled(file: DataFile, staging: Staging) -> DataFile:
    """The file under the data location as we spell it: Hadoop writes ``file:/`` for ``file:///``."""
    marker = f"/{staging.branch.run_id}/"
    _, found, rest = file.file_path.rpartition(marker)
    if not found:
        raise EngineError("Spark wrote a file outside the run's place", where=file.file_path)
    same = DataFile.from_args(
        **{name: getattr(file, name) for name in _FACTS},
        file_path=f"{staging.data_location}/{rest}",
    )
    same.spec_id = staging.spec.spec_id
    return same


def _optional(schema: Schema) -> Schema:
    """The same columns, none of them required: whether one is null is for the checks to say."""

    def loosened(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                key: False if key in _NEVER_NULL else loosened(value) for key, value in node.items()
            }
        return [loosened(item) for item in node] if isinstance(node, list) else node

    return Schema.model_validate(loosened(schema.model_dump(mode="json", by_alias=True)))


#: What a manifest says of a data file, but for where it lies.
_FACTS = (
    "content", "file_format", "partition", "record_count", "file_size_in_bytes", "column_sizes",
    "value_counts", "null_value_counts", "nan_value_counts", "lower_bounds", "upper_bounds",
    "key_metadata", "split_offsets", "equality_ids", "sort_order_id",
)  # fmt: skip
_NEVER_NULL = frozenset({"required", "element-required", "value-required"})
