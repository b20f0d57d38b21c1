"""Files below a location: listing and deleting them, and comparing them with metadata."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import pyarrow.fs as pa_fs
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO

from catalog.errors import UnsupportedError


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """A file on storage: the path its filesystem knows it by, and its size in bytes."""

    path: str
    size: int


def path_of(io: FileIO, location: str) -> str:
    """The filesystem's path of a location, so that two spellings of one file compare equal."""
    return PyArrowFileIO.parse_location(location, io.properties)[2].rstrip("/")


def list_files(io: FileIO, location: str) -> list[StoredFile]:
    """All files below a location, however deep; [] when there is no such place.

    Raises:
        UnsupportedError: the FileIO cannot list.
    """
    path = path_of(io, location)
    selector = pa_fs.FileSelector(path, recursive=True, allow_not_found=True)
    found = _filesystem(io, location).get_file_info(selector)
    return sorted(StoredFile(f.path, f.size or 0) for f in found if f.type == pa_fs.FileType.File)


def delete_files(io: FileIO, location: str, files: Iterable[StoredFile]) -> tuple[int, int]:
    """Delete files that lie below a location; one that is gone already does not count.

    Returns:
        How many were deleted, and their bytes together.
    """
    filesystem = _filesystem(io, location)
    count = size = 0
    for file in files:
        try:
            filesystem.delete_file(file.path)
        except FileNotFoundError:
            continue
        count, size = count + 1, size + file.size
    return count, size


def delete_empty_folder(io: FileIO, location: str) -> None:
    """Remove a folder that holds no file any more (object stores have none: nothing to do)."""
    if list_files(io, location):
        return
    try:
        _filesystem(io, location).delete_dir(path_of(io, location))
    except FileNotFoundError:
        return


def without(files: Iterable[StoredFile], kept: Collection[str]) -> list[StoredFile]:
    """The files whose path is not among ``kept``."""
    return [f for f in files if f.path not in kept]


def _filesystem(io: FileIO, location: str) -> pa_fs.FileSystem:
    if not isinstance(io, PyArrowFileIO):
        raise UnsupportedError(
            f"{type(io).__name__} cannot list files",
            where=location,
            hint="set py-io-impl to pyiceberg.io.pyarrow.PyArrowFileIO",
        )
    scheme, netloc, _ = PyArrowFileIO.parse_location(location, io.properties)
    return io.fs_by_scheme(scheme, netloc)
