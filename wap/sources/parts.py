"""Planned files in portions for other processes: whole files, or row groups of Parquet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import pyarrow as pa

from wap.source_sections import FilesSource as Spec
from wap.sources.base import Interval, Part
from wap.sources.csv_reader import CsvReader
from wap.sources.extract import InputsExtract
from wap.sources.interval import bounds_of
from wap.sources.json_reader import JsonReader
from wap.sources.listing import InputFile
from wap.sources.parquet_reader import ParquetReader
from wap.sources.reading import Reader

#: More threads only fill memory: parsing is not what the write path waits for.
_MAX_THREADS = 4
#: Stored bytes of a portion of a Parquet file; text is not cut, for quotes may span any place.
PORTION_BYTES = 64 << 20


def reader_of(spec: Spec, groups: range | None = None) -> Reader:
    """What reads files of a format.

    Args:
        spec: the pipeline's section.
        groups: only these row groups, where the format has them.
    """
    threads = max(1, min(_MAX_THREADS, os.cpu_count() or 1))
    if spec.format == "parquet":
        return ParquetReader(spec, threads, groups)
    if spec.format in ("json", "ndjson"):
        return JsonReader(spec, threads)
    return CsvReader(spec, threads)


@dataclass(frozen=True)
class FilePart:
    """A file, or row groups of it; see :class:`wap.sources.base.Part`."""

    spec: Spec
    file: InputFile
    schema: pa.Schema
    interval: Interval | None
    bytes: int
    groups: range | None = None

    @property
    def name(self) -> str:
        """See the port."""
        return self.file.path

    def open(self, rejects: IO[str] | None = None) -> InputsExtract[InputFile]:
        """See the port."""
        return InputsExtract(
            reader=reader_of(self.spec, self.groups),
            files=[self.file],
            schema=self.schema,
            bounds=bounds_of(self.interval, self.schema) if self.interval else None,
            set_aside=self.spec.malformed == "set_aside",
            rejects=rejects,
            cancelled=lambda: False,
        )


def parts_of(
    spec: Spec, files: Sequence[InputFile], schema: pa.Schema, interval: Interval | None
) -> tuple[Part, ...]:
    """The files' portions, in order.

    Raises:
        SourceError: a file cannot be read, so that it could be cut.
    """
    return tuple(
        FilePart(spec, file, schema, interval, size, groups)
        for file in files
        for groups, size in _portions(spec, file)
    )


def _portions(spec: Spec, file: InputFile) -> Iterator[tuple[range | None, int]]:
    if spec.format == "parquet" and file.size > PORTION_BYTES:
        yield from ParquetReader(spec).portions(file, PORTION_BYTES)
    else:
        yield None, max(file.size, 0)
