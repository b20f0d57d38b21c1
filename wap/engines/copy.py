"""The fast path: DuckDB reads the input and writes the data files itself.

For a query over local input, into an unpartitioned table on the local disk. No batch crosses
into Python, so it is as fast as DuckDB's own COPY, of which it is one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.manifest import DataFile
from sqlglot import exp

from catalog.base import Staging
from wap.engines.base import CANCELLED, Progress
from wap.engines.data_files import DataFiles, write_error
from wap.engines.fitting import refused
from wap.engines.written_schema import field_id, written_schema
from wap.errors import EngineError, SourceError
from wap.sources.base import Extract, SqlStream
from wap.sources.interval import quoted
from wap.sources.parquet_types import sql_cast

#: How often progress is told and a cancel is heard.
_BEAT_SECONDS = 0.25


@dataclass(frozen=True)
class Copy:
    """One COPY of an extract into a run's data location.

    Attributes:
        sql: the extract's rows.
        folder: the data location on the local disk.
        prefix: how the names of the files begin.
        casts: the SQL type of each of the table's columns; those the extract lacks are null.
    """

    sql: SqlStream
    staging: Staging
    folder: Path
    prefix: str
    casts: dict[str, str]
    lacking: frozenset[str]

    @classmethod
    def possible(cls, extract: Extract, staging: Staging, prefix: str) -> Copy | None:
        """The COPY that writes the same as the general path would; None: there is none."""
        have = {f.name: f.type for f in extract.schema}
        return cls._over(extract.sql, have, staging, prefix)

    @classmethod
    def of_query(cls, sql: SqlStream, staging: Staging, prefix: str) -> Copy | None:
        """The COPY of a query that gives the table's columns; None: there is none."""
        have = {f.name: f.type for f in written_schema(staging.schema)}
        return cls._over(sql, have, staging, prefix)

    @classmethod
    def _over(
        cls, sql: SqlStream | None, have: dict[str, pa.DataType], staging: Staging, prefix: str
    ) -> Copy | None:
        folder = local_folder(staging.data_location)
        if sql is None or folder is None or not staging.spec.is_unpartitioned():
            return None
        casts: dict[str, str] = {}
        for column in written_schema(staging.schema):
            cast = sql_cast(have.get(column.name, column.type), column.type)
            if cast is None:
                return None
            casts[column.name] = cast
        if len({name.casefold() for name in casts}) < len(casts):
            return None  # DuckDB does not tell A and a apart
        return cls(sql, staging, folder, prefix, casts, frozenset(casts) - set(have))

    def run(
        self,
        *,
        memory: int,
        temp: Path | None,
        threads: int,
        file_bytes: int,
        beat: Callable[[float], None],
    ) -> None:
        """Write the files.

        Args:
            memory: bytes.
            temp: where DuckDB may spill; None: where it does already.

        Raises:
            SourceError: the input cannot be read.
            EngineError: the disk is full, or DuckDB fails otherwise.
        """
        connection = self.sql.connection
        settings: dict[str, object] = {
            "memory_limit": f"{memory >> 20}MiB",
            "threads": threads,
            "preserve_insertion_order": False,
        }
        if temp is not None:  # it cannot be changed once something was spilled
            settings["temp_directory"] = str(temp)
        for setting, value in settings.items():
            connection.execute(f"SET {setting} = ?", [value])
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise write_error(exc, str(self.folder)) from exc
        try:
            with beating(connection, beat):
                connection.execute(self._statement(file_bytes))
        except duckdb.InterruptException as exc:
            raise EngineError(CANCELLED) from exc
        except duckdb.Error as exc:
            raise _translated(exc, self.folder) from exc

    def _statement(self, file_bytes: int) -> str:
        columns = ", ".join(
            f"{'NULL' if name in self.lacking else quoted(name)}::{kind} AS {quoted(name)}"
            for name, kind in self.casts.items()
        )
        ids = ", ".join(
            f"{_text(column.name)}: {field_id(column)}"
            for column in written_schema(self.staging.schema)
        )
        return (
            f"COPY (SELECT {columns} FROM ({self.sql.query})) TO {_text(str(self.folder))} "  # noqa: S608 - quoted by sqlglot
            f"(FORMAT parquet, COMPRESSION zstd, FIELD_IDS {{{ids}}}, "
            f"FILE_SIZE_BYTES {file_bytes}, "
            f"FILENAME_PATTERN {_text(self.prefix + '-{i}')}, OVERWRITE_OR_IGNORE)"
        )

    def progress(self, share: float) -> Progress:
        """How far it is when so much of the input (0 to 1) was read."""
        written = sum(path.stat().st_size for path in self.folder.glob(f"{self.prefix}-*.parquet"))
        return Progress(int(self.sql.rows * share), int(self.sql.bytes * share), written)

    def files(self, made: DataFiles) -> Iterator[DataFile]:
        """The DataFile of each file that holds rows; one that holds none is deleted.

        Raises:
            BatchRefusedError: a required column holds a null.
        """
        for path in sorted(
            self.folder.glob(f"{self.prefix}-*.parquet"), key=lambda p: (len(p.name), p.name)
        ):
            footer = pq.read_metadata(path)
            if not footer.num_rows:
                path.unlink()
                continue
            location = f"{self.staging.data_location}/{path.name}"
            file = made.describe(location, path.stat().st_size, footer)
            self._refuse_nulls(file, path)
            yield file

    def _refuse_nulls(self, file: DataFile, path: Path) -> None:
        for column in self.staging.schema.fields:
            count = file.null_value_counts.get(column.field_id)
            if not column.required or count == 0:
                continue
            if count is None:
                count = pq.read_table(path, columns=[column.name]).column(0).null_count
            if count:
                raise refused([f"column {column.name}: {count} rows are null, and none may be"])


def local_folder(location: str) -> Path | None:
    """A location as a path of this machine; None where it is none."""
    parts = urlsplit(location)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(location.removeprefix("file://").removeprefix("localhost"))
    return Path(location) if not parts.scheme and location.startswith("/") else None


def _text(value: str) -> str:
    return exp.Literal.string(value).sql("duckdb")


@contextmanager
def beating(connection: Any, beat: Callable[[float], None]) -> Iterator[None]:
    """Calls ``beat`` with the share done while a statement runs; it interrupts by raising."""
    stop = threading.Event()

    def run() -> None:
        while not stop.wait(_BEAT_SECONDS):
            try:
                beat(max(0.0, connection.query_progress()) / 100)
            except EngineError:
                # Again and again: of a statement that DuckDB has not begun yet it is forgotten.
                connection.interrupt()

    thread = threading.Thread(target=run, name="wap-copy", daemon=True)
    connection.execute("SET enable_progress_bar = true; SET enable_progress_bar_print = false")
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def _translated(exc: duckdb.Error, folder: Path) -> EngineError | SourceError:
    text = str(exc).splitlines()[0]
    if isinstance(exc, duckdb.IOException) and "No space left" not in text and "write" not in text:
        return SourceError(f"the input cannot be read: {text}")
    if isinstance(exc, duckdb.InvalidInputException):
        return SourceError(f"the input cannot be read: {text}")
    return write_error(exc, str(folder))
