"""Files below a location: listing and deleting them, and reading and writing single ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow.fs as pa_fs
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import PyArrowFileIO

from catalog.errors import UnsupportedError
from catalog.s3_files import S3Files, handler_of


@dataclass(frozen=True, slots=True, order=True)
class StoredFile:
    """A file on storage: the path its filesystem knows it by, and its size in bytes.

    Attributes:
        modified: when it was written last; None where the filesystem does not tell.
    """

    path: str
    size: int
    modified: datetime | None = field(default=None, compare=False)


def path_of(io: FileIO, location: str) -> str:
    """The filesystem's path of a location, so that two spellings of one file compare equal."""
    return PyArrowFileIO.parse_location(location, io.properties)[2].rstrip("/")


def list_files(io: FileIO, location: str, *, deep: bool = True) -> list[StoredFile]:
    """The files below a location, however deep, or right in it; [] when there is no such place.

    Raises:
        UnsupportedError: the FileIO cannot list.
    """
    path = path_of(io, location)
    selector = pa_fs.FileSelector(path, recursive=deep, allow_not_found=True)
    found = _filesystem(io, location).get_file_info(selector)
    files = (f for f in found if f.type == pa_fs.FileType.File)
    return sorted(StoredFile(f.path, f.size or 0, f.mtime) for f in files)


def delete_files(io: FileIO, location: str, files: Iterable[StoredFile]) -> tuple[int, int]:
    """Delete files that lie below a location; one that is gone already does not count.

    Returns:
        How many were deleted, and their bytes together.
    """
    filesystem = _filesystem(io, location)
    count = size = 0
    s3 = handler_of(filesystem)
    if s3 is not None:
        doomed = list(files)
        s3.delete_many([file.path for file in doomed])
        return len(doomed), sum(file.size for file in doomed)
    for file in files:
        try:
            filesystem.delete_file(file.path)
        except FileNotFoundError:
            continue
        count, size = count + 1, size + file.size
    return count, size


def abort_uploads(io: FileIO, location: str) -> None:
    """Abort what was begun below a location and never completed, so that it never can be.

    Only object stores know such uploads. Call it before the files are listed: what is completed
    in between is then in the list.
    """
    s3 = handler_of(_filesystem(io, location))
    if s3 is not None:
        s3.abort_uploads(path_of(io, location) + "/" * location.endswith("/"))


def delete_empty_folder(io: FileIO, location: str) -> None:
    """Remove a folder that holds no file any more (object stores have none: nothing to do)."""
    if handler_of(_filesystem(io, location)) is not None or list_files(io, location):
        return
    try:
        _filesystem(io, location).delete_dir(path_of(io, location))
    except FileNotFoundError:
        return


def delete_folders_left_empty(io: FileIO, location: str, files: Iterable[StoredFile]) -> None:
    """Remove the folders of deleted files, up to the location, that hold nothing any more.

    One that somebody writes to at this moment stays: only an empty folder can be removed so.
    """
    if not isinstance(_filesystem(io, location), pa_fs.LocalFileSystem):
        return
    root = Path(path_of(io, location))
    for folder in {Path(file.path).parent for file in files}:
        while folder != root and folder.is_relative_to(root):
            try:
                folder.rmdir()
            except OSError:
                break  # not empty, or gone already
            folder = folder.parent  # noqa: PLW2901 - on the way up


def open_input(io: FileIO, location: str, size: int) -> Any:
    """A file to read, whose size in bytes is known: S3 is then not asked for it."""
    s3 = _s3(io, location)
    return s3.open_sized(path_of(io, location), size) if s3 else io.new_input(location).open()


def create(io: FileIO, location: str) -> Any:
    """A new file; where it has an ``abort``, that leaves none behind, and close shows it whole."""
    s3 = _s3(io, location)
    if s3 is not None:
        return s3.create(path_of(io, location))
    return io.new_output(location).create(overwrite=True)


def is_s3(io: FileIO, location: str) -> bool:
    """Whether a location lies in S3, where each open file holds a part in memory."""
    return _s3(io, location) is not None


def _s3(io: FileIO, location: str) -> S3Files | None:
    return handler_of(_filesystem(io, location)) if isinstance(io, PyArrowFileIO) else None


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
