"""Files behind a FileIO, served to DuckDB: it has no S3 of its own here (no httpfs on PyPI)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from weakref import WeakKeyDictionary

import duckdb
from fsspec import AbstractFileSystem
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile

from catalog.errors import CatalogError, CatalogUnavailableError
from catalog.storage import open_input

#: The file systems that each connection was given.
_SERVED: WeakKeyDictionary[duckdb.DuckDBPyConnection, list[RemoteFiles]] = WeakKeyDictionary()


class RemoteFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A read-only file system of exactly the files it is given; any other path is not there.

    It answers sizes from the metadata, so that a file costs only the ranges DuckDB reads.

    Attributes:
        failure: the first error of the storage; DuckDB makes a text of it, and whoever reads
            through DuckDB may take it for an error of the query.
    """

    cachable = False

    def __init__(self, protocol: str, io: FileIO, files: Iterable[DataFile]) -> None:
        super().__init__()
        self.protocol = protocol
        self.failure: Exception | None = None
        self._io = io
        self._sizes = {f.file_path: f.file_size_in_bytes for f in files}

    def _location(self, path: str) -> str:
        location = path.removeprefix(f"{self.protocol}://")
        if location not in self._sizes:
            raise FileNotFoundError(location)
        return location

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path itself: locations are names, not patterns."""
        return [f"{self.protocol}://{self._location(path)}"]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name and size in bytes, from the metadata."""
        return {"name": path, "size": self._sizes[self._location(path)], "type": "file"}

    def modified(self, path: str) -> datetime:
        """Always the same: data files never change."""
        self._location(path)
        return datetime.fromtimestamp(0, UTC)

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise PermissionError(f"{path} is read-only")
        location = self._location(path)
        size = self._sizes[location]
        return _Noted(self.note, lambda: open_input(self._io, location, size))

    def note(self, exc: Exception) -> None:
        """Keep the first failure."""
        self.failure = self.failure or exc


class _Noted:
    """An open file for all threads of DuckDB, whose failures are noted before DuckDB hides them.

    DuckDB reads one file from several threads, each by a seek and a read: the place that a seek
    sets is the thread's own, or one thread would read where another is.
    """

    def __init__(self, note: Callable[[Exception], None], opened: Callable[[], Any]) -> None:
        self._note = note
        self._own = threading.local()
        self._file = self._tried(opened)
        self._read_at = _read_at(self._file)

    def _tried(self, act: Callable[..., Any], *args: Any) -> Any:
        try:
            return act(*args)
        except Exception as exc:
            self._note(exc)
            raise

    def read(self, size: int) -> bytes:
        found: bytes = self._tried(self._read_at, size, self.tell())
        self._own.at = self.tell() + len(found)
        return found

    def seek(self, offset: int) -> int:
        self._own.at = offset
        return offset

    def tell(self) -> int:
        return getattr(self._own, "at", 0)

    def flush(self) -> None:
        """Nothing was written."""

    def close(self) -> None:
        self._file.close()


def _read_at(file: Any) -> Callable[[int, int], bytes]:
    """Read so many bytes at a place: Arrow's files can, another FileIO's have one place for all."""
    if hasattr(file, "read_at"):
        able: Callable[[int, int], bytes] = file.read_at
        return able
    alone = threading.Lock()

    def sought(size: int, at: int) -> bytes:
        with alone:
            file.seek(at)
            found: bytes = file.read(size)
            return found

    return sought


def serve(con: duckdb.DuckDBPyConnection, io: FileIO, files: Iterable[DataFile]) -> str:
    """Make the files readable in the connection; returns the prefix of their paths in it."""
    served = _SERVED.setdefault(con, [])
    protocol = f"iceberg{len(served)}"
    files_ = RemoteFiles(protocol, io, files)
    con.register_filesystem(files_)
    # Else every query asks for every footer again; a served file never changes.
    con.execute("SET parquet_metadata_cache = true")
    served.append(files_)
    return f"{protocol}://"


def failure_of(con: duckdb.DuckDBPyConnection) -> CatalogError | None:
    """What storage failed a query of this connection with; None: the query is to blame."""
    for served in _SERVED.get(con, ()):
        failure = served.failure
        if failure is not None and not isinstance(failure, FileNotFoundError):
            return failure if isinstance(failure, CatalogError) else _unavailable(failure)
    return None


def _unavailable(failure: Exception) -> CatalogError:
    return CatalogUnavailableError(
        f"a data file cannot be read now ({type(failure).__name__})",
        hint="it is tried again by itself; if this stays, look whether the store is up",
    )
