"""Where a run's documents lie: a folder of this machine, or a place that all workers reach."""

from __future__ import annotations

import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyiceberg.io import FileIO

from catalog import storage
from catalog.errors import CatalogUnavailableError
from wap.errors import StoreUnavailableError

_CHUNK = 1 << 20


class Documents(ABC):
    """Small files by name; each is replaced as a whole or not at all."""

    @property
    @abstractmethod
    def where(self) -> str:
        """For messages."""

    @abstractmethod
    def write(self, name: str, content: bytes) -> None:
        """Write or replace one."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Read one.

        Raises:
            FileNotFoundError: there is none.
        """

    @abstractmethod
    def names(self) -> list[str]:
        """All of them, sorted."""

    @abstractmethod
    def remove(self) -> None:
        """Remove all of them; harmless when there are none."""

    def has(self, name: str) -> bool:
        """Whether there is one."""
        return name in self.names()


class LocalDocuments(Documents):
    """In a folder, made when something is first written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def where(self) -> str:
        """See the port."""
        return str(self.path)

    def write(self, name: str, content: bytes) -> None:
        """See the port."""
        self.path.mkdir(parents=True, exist_ok=True)
        # A name of its own: a late attempt may write the same document in another thread.
        temporary = self.path / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        temporary.write_bytes(content)
        temporary.replace(self.path / name)

    def read(self, name: str) -> bytes:
        """See the port."""
        return (self.path / name).read_bytes()

    def names(self) -> list[str]:
        """See the port."""
        if not self.path.is_dir():
            return []
        return sorted(p.name for p in self.path.iterdir() if not p.name.startswith("."))

    def has(self, name: str) -> bool:
        """See the port."""
        return (self.path / name).exists()

    def remove(self) -> None:
        """See the port."""
        shutil.rmtree(self.path, ignore_errors=True)


class StoredDocuments(Documents):
    """Below a URL, through the warehouse's own FileIO: an object is there whole or not at all."""

    def __init__(self, io: FileIO, location: str) -> None:
        self._io, self.location = io, location.rstrip("/")

    @property
    def where(self) -> str:
        """See the port."""
        return self.location

    def write(self, name: str, content: bytes) -> None:
        """See the port."""
        with self._answering(), self._io.new_output(self._at(name)).create(overwrite=True) as out:
            out.write(content)

    def write_file(self, name: str, path: Path) -> None:
        """Write one from a file, piece by piece: it may be large."""
        with (
            self._answering(),
            path.open("rb") as file,
            self._io.new_output(self._at(name)).create(overwrite=True) as out,
        ):
            while piece := file.read(_CHUNK):
                out.write(piece)

    def read_file(self, name: str, path: Path) -> None:
        """Read one into a file, piece by piece.

        Raises:
            FileNotFoundError: there is none.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        with (
            self._answering(),
            self._io.new_input(self._at(name)).open() as file,
            path.open("wb") as out,
        ):
            while piece := file.read(_CHUNK):
                out.write(piece)

    def read(self, name: str) -> bytes:
        """See the port."""
        with self._answering(), self._io.new_input(self._at(name)).open() as file:
            return file.read()

    def names(self) -> list[str]:
        """Names below, folders included: ``<run>/report.json``."""
        with self._answering():
            found = storage.list_files(self._io, self.location)
            start = len(storage.path_of(self._io, self.location)) + 1
        return sorted(f.path[start:] for f in found)

    def has(self, name: str) -> bool:
        """See the port."""
        with self._answering():
            return self._io.new_input(self._at(name)).exists()

    def remove(self) -> None:
        """See the port."""
        with self._answering():
            found = storage.list_files(self._io, self.location)
            storage.delete_files(self._io, self.location, found)
            # Arrow marks the folder of a deleted object as still there.
            storage.delete_empty_folder(self._io, self.location)

    def _at(self, name: str) -> str:
        return f"{self.location}/{name}"

    @contextmanager
    def _answering(self) -> Iterator[None]:
        """Whatever the storage says that is not «no such file» may pass.

        Raises:
            StoreUnavailableError: it does not answer now, or refuses us.
        """
        try:
            yield
        except FileNotFoundError:
            raise
        except (OSError, CatalogUnavailableError) as exc:
            raise StoreUnavailableError(
                f"the place of the runs' documents does not answer: {type(exc).__name__}",
                where=self.location,
                hint="check [runs] location and the storage's credentials",
            ) from exc
