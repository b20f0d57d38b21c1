"""Parquet files on a table's storage, and the Iceberg DataFile that describes each."""

from __future__ import annotations

import errno
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record

from catalog.base import Staging
from catalog.storage import create
from wap.engines.written_schema import written_schema
from wap.errors import EngineError

_ZSTD_LEVEL = 1


@dataclass
class DataFiles:
    """Makes the data files of one kind (batch or kept) of one run.

    Attributes:
        prefix: how their names start.
    """

    io: FileIO
    schema: Schema
    spec: PartitionSpec
    location: str
    properties: Mapping[str, str]
    prefix: str
    _numbers: Any = field(default_factory=itertools.count)

    @classmethod
    def of(cls, staging: Staging, prefix: str) -> DataFiles:
        """The files of a run's staging."""
        return cls(
            staging.io,
            staging.schema,
            staging.spec,
            staging.data_location,
            staging.properties,
            prefix,
        )

    def __post_init__(self) -> None:
        self.arrow = written_schema(self.schema)

    def begin(self, partition: Record | None = None) -> OpenFile:
        """Start the next file.

        Raises:
            EngineError: it cannot be created.
        """
        location = f"{self.location}/{self.prefix}-{next(self._numbers)}.parquet"
        return OpenFile(self, location, partition or Record())

    def describe(
        self, location: str, size: int, footer: pq.FileMetaData, partition: Record | None = None
    ) -> DataFile:
        """The DataFile of a written file, its statistics from the file's footer."""
        statistics = data_file_statistics_from_parquet_metadata(
            parquet_metadata=footer,
            stats_columns=compute_statistics_plan(self.schema, dict(self.properties)),
            parquet_column_mapping=parquet_path_to_id_mapping(self.schema),
        )
        file = DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=location,
            file_format=FileFormat.PARQUET,
            partition=partition or Record(),
            file_size_in_bytes=size,
            sort_order_id=None,
            equality_ids=None,
            key_metadata=None,
            **statistics.to_serialized_dict(),
        )
        file.spec_id = self.spec.spec_id
        return file


class OpenFile:
    """A data file that is being written; each table given becomes a row group."""

    def __init__(self, files: DataFiles, location: str, partition: Record) -> None:
        self._files = files
        self._location = location
        self._partition = partition
        try:
            self._sink = create(files.io, location)
            self._writer = pq.ParquetWriter(
                self._sink,
                files.arrow,
                compression="zstd",
                compression_level=_ZSTD_LEVEL,
                store_decimal_as_integer=True,
                # Pages of another writer are not read with this file's checksums in mind.
                write_page_checksum=False,
            )
        except (OSError, pa.ArrowException) as exc:
            raise write_error(exc, location) from exc
        self.bytes = 0
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Add a row group.

        Raises:
            EngineError: the storage refuses it.
        """
        try:
            self._writer.write_table(table, row_group_size=max(len(table), 1))
            self.bytes = self._sink.tell()
        except (OSError, pa.ArrowException) as exc:
            raise write_error(exc, self._location) from exc
        self.rows += len(table)

    def close(self) -> DataFile:
        """Finish the file.

        Raises:
            EngineError: the storage refuses it.
        """
        try:
            self._writer.close()
            size = self._sink.tell()
            self._sink.close()
        except (OSError, pa.ArrowException) as exc:
            raise write_error(exc, self._location) from exc
        footer = self._writer.writer.metadata
        return self._files.describe(self._location, size, footer, self._partition)

    def abandon(self) -> None:
        """Let go of the file after an error; it is deleted with the run's data location."""
        try:
            if hasattr(self._sink, "abort"):
                self._sink.abort()
            self._writer.close()
            self._sink.close()
        except (OSError, pa.ArrowException):
            return  # the error that led here is the one to tell


def write_error(exc: Exception, location: str) -> EngineError:
    """Say why a data file cannot be written."""
    number = getattr(exc, "errno", None)
    text = str(exc)
    if number == errno.ENOSPC or "No space left" in text:
        return EngineError(
            "the disk is full", where=location, hint="free some space, then run again"
        )
    if number == errno.EFBIG or "File too large" in text:
        return EngineError(
            "a file may not grow so large here",
            where=location,
            hint="raise the limit on the size of files (ulimit -f), then run again",
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return EngineError(
            "the data file may not be written", where=location, hint="check the permissions"
        )
    return EngineError(f"the data file cannot be written: {text}", where=location)
