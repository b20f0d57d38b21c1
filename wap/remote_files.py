"""Files behind a FileIO, served to DuckDB: it has no S3 of its own here (no httpfs on PyPI)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

import duckdb
from fsspec import AbstractFileSystem
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile


class RemoteFiles(AbstractFileSystem):  # type: ignore[misc]  # fsspec has no types
    """A read-only file system of exactly the files it is given; any other path is not there.

    It answers sizes from the metadata, so that a file costs only the ranges DuckDB reads.
    """

    cachable = False

    def __init__(self, protocol: str, io: FileIO, files: Iterable[DataFile]) -> None:
        super().__init__()
        self.protocol = protocol
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
        return self._io.new_input(self._location(path)).open()


def serve(con: duckdb.DuckDBPyConnection, io: FileIO, files: Iterable[DataFile]) -> str:
    """Make the files readable in the connection; returns the prefix of their paths in it."""
    protocol = f"iceberg{len(con.list_filesystems())}"
    con.register_filesystem(RemoteFiles(protocol, io, files))
    return f"{protocol}://"
