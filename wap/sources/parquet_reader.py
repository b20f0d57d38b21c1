"""Parquet, read strictly: by column name, group by group, every value into its type or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wap.errors import BatchRefusedError, ConfigError, SourceError
from wap.source_sections import FilesSource as Spec
from wap.sources.base import Reject
from wap.sources.blocks import ordered
from wap.sources.fit import fit_batch
from wap.sources.listing import InputFile, storage_error
from wap.sources.parquet_types import plain, promoted
from wap.sources.reading import Parsed, Progress, refuse_missing, same_columns
from wap.sources.streams import compression_of

#: Twice as many took 290 MiB for 180 at the peak (rows of 140 bytes), and longer: their buffers
#: are past what allocators keep at hand.
_BATCH_ROWS = 1 << 15
#: A row group up to this size is read as a whole, next to others; a larger one piece by piece.
#: Rows count too: values that repeat take many times their encoded bytes once they are read.
_WHOLE_GROUP_BYTES = 32 << 20
_WHOLE_GROUP_ROWS = 1 << 17


@dataclass(frozen=True)
class ParquetReader:
    """Reads Parquet files.

    Attributes:
        spec: the pipeline's ``source`` section.
        threads: row groups read at the same time.
        groups: only these row groups of each file; None: all.
    """

    spec: Spec
    threads: int = 2
    groups: range | None = None

    def schema(self, files: list[InputFile]) -> pa.Schema:
        """The files' own schema; types that differ between files become the wider one.

        Raises:
            BatchRefusedError: the files differ, or one names a column twice.
        """
        first = self._file_schema(files[0])
        types = {f.name: f.type for f in first}
        for file in files[1:]:
            other = self._file_schema(file)
            same_columns(first.names, other.names, files[0].path, file.path)
            for column in other:
                types[column.name] = _both(column, types[column.name], files[0].path, file.path)
        return pa.schema(list(types.items()))

    def _file_schema(self, file: InputFile) -> pa.Schema:
        with self.opened(file) as parquet:
            schema = parquet.schema_arrow
        twice = sorted({n for n in schema.names if schema.names.count(n) > 1})
        if twice or not schema.names:
            raise BatchRefusedError(
                "the file does not name every column once" if twice else "the file has no columns",
                differences=tuple(f"the name {name!r} is there twice" for name in twice),
                where=file.path,
            )
        return pa.schema([pa.field(f.name, plain(f.type)) for f in schema])

    def read(self, file: InputFile, schema: pa.Schema, progress: Progress) -> Iterator[Parsed]:
        """See :class:`wap.sources.reading.Reader`; the records are counted in the footer."""
        with self.opened(file) as parquet:
            refuse_missing(schema.names, parquet.schema_arrow.names, file.path)
            pieces = self._pieces(file, parquet, schema.names, progress)
            yield from ordered(lambda piece: _fitted(piece, schema, file.path), pieces,
                               threads=self.threads)  # fmt: skip

    def _pieces(
        self, file: InputFile, parquet: pq.ParquetFile, names: list[str], progress: Progress
    ) -> Iterator[_Piece]:
        metadata, start = parquet.metadata, 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            if self.groups is not None and number not in self.groups:
                start += group.num_rows
                continue
            if group.total_byte_size <= _WHOLE_GROUP_BYTES and group.num_rows <= _WHOLE_GROUP_ROWS:
                yield _Piece(start, group.num_rows, self._whole(file, metadata, number, names))
            else:
                yield from self._parts(file, parquet, number, names, start)
            start += group.num_rows
            progress(_stored(group))

    def _whole(
        self, file: InputFile, metadata: pq.FileMetaData, number: int, names: list[str]
    ) -> Callable[[], list[pa.RecordBatch]]:
        def read() -> list[pa.RecordBatch]:
            # A reader of its own: one is not made for several threads.
            with self.opened(file, metadata) as parquet:
                table = parquet.read_row_group(number, columns=names, use_threads=False)
                return list(table.to_batches())

        return read

    def _parts(
        self, file: InputFile, parquet: pq.ParquetFile, number: int, names: list[str], start: int
    ) -> Iterator[_Piece]:
        rows = parquet.metadata.row_group(number).num_rows
        batches = parquet.iter_batches(_BATCH_ROWS, row_groups=[number], columns=names)
        read = 0
        try:
            for batch in batches:
                yield _Piece(start + read, len(batch), partial(list, [batch]))
                read += len(batch)
        except (pa.ArrowException, OSError) as exc:
            raise _damaged(file, exc) from exc
        # Rows that the footer counts and the pages lack (none): the books will not balance.
        yield _Piece(start + read, rows - read, list)

    def portions(self, file: InputFile, size: int) -> Iterator[tuple[range, int]]:
        """Row groups in a row that come to about so many stored bytes, and their bytes."""
        with self.opened(file) as parquet:
            metadata = parquet.metadata
            sizes = [_stored(metadata.row_group(n)) for n in range(metadata.num_row_groups)]
        first, together = 0, 0
        for number, stored in enumerate(sizes):
            together += stored
            if together >= size or number == len(sizes) - 1:
                yield range(first, number + 1), together
                first, together = number + 1, 0

    @contextmanager
    def opened(
        self, file: InputFile, metadata: pq.FileMetaData | None = None
    ) -> Iterator[pq.ParquetFile]:
        """A file, read without reading ahead (which is not bounded).

        Raises:
            SourceError: it is no Parquet file, or damaged.
        """
        if compression_of(file, self.spec.compression) != "none":
            raise ConfigError(
                f"a compressed Parquet file cannot be read: {file.path}",
                hint="Parquet is compressed inside; unpack the file",
            )
        with file.open() as raw:
            try:
                source = pa.PythonFile(raw, mode="r") if not file.is_local else file.location
                parquet = pq.ParquetFile(source, metadata=metadata, pre_buffer=False)
                try:
                    yield parquet
                finally:
                    parquet.close()
            except (pa.ArrowException, OSError) as exc:
                raise _damaged(file, exc) from exc


def _stored(group: Any) -> int:
    """A row group's bytes in the file."""
    return sum(group.column(i).total_compressed_size for i in range(group.num_columns))


@dataclass(frozen=True, slots=True)
class _Piece:
    """Rows of a file from ``start`` on, still to be read."""

    start: int
    rows: int
    read: Callable[[], list[pa.RecordBatch]]


def _fitted(piece: _Piece, schema: pa.Schema, path: str) -> Parsed:
    batches: list[pa.RecordBatch] = []
    why: dict[int, Reject] = {}
    at = piece.start
    for batch in piece.read():
        fitted = fit_batch(batch, schema)
        batches.append(fitted.good())
        for bad in fitted.misfits:
            row = at + bad.row + 1
            reason = f"{bad.value!r} {bad.reason}"
            why.setdefault(row, Reject(path, row, reason, "", bad.column))
        at += len(batch)
    return Parsed(batches, piece.rows, [why[row] for row in sorted(why)])


def _both(column: pa.Field, have: pa.DataType, path: str, other_path: str) -> pa.DataType:
    both = promoted(have, column.type)
    if both is None:
        raise BatchRefusedError(
            f"{path} and {other_path} do not have the same types",
            differences=(f"~ {column.name}: {have} in {path}, {column.type} in {other_path}",),
            where=other_path,
            hint="load them in separate runs, or write them with one schema",
        )
    return both


def _damaged(file: InputFile, exc: Exception) -> SourceError:
    if isinstance(exc, OSError) and exc.errno:
        return storage_error(exc, file.path, remote=not file.is_local)
    reason: Any = str(exc).splitlines()[0] if file.is_local else type(exc).__name__
    return SourceError(
        f"the file is not valid Parquet, or was cut off: {reason}",
        where=file.path,
        hint="transfer it again, or check source: {format: …}",
    )
