"""What tells the batch from rows carried over: the names of data files, and a change's digest."""

from __future__ import annotations

import hashlib
from pathlib import PurePosixPath

from pyiceberg.manifest import DataFile

from catalog.base import Change
from catalog.errors import CatalogConfigError

#: Basenames of data files that carry over rows of replaced files start so; no other may.
KEPT_PREFIX = "kept-"


def is_kept(location: str) -> bool:
    """Whether a data file carries over rows, told by its name."""
    return PurePosixPath(location).name.startswith(KEPT_PREFIX)


def check_names(change: Change) -> None:
    """Names tell the batch from rows carried over, so they must be right from the start.

    Raises:
        CatalogConfigError: a name says the one and the change the other.
    """
    wrong = [f.file_path for f in change.added if is_kept(f.file_path)]
    wrong += [f.file_path for f in change.kept if not is_kept(f.file_path)]
    if wrong:
        raise CatalogConfigError(
            "a data file's name does not tell whether it carries rows over",
            where=wrong[0],
            hint=f"names of carried-over files, and only theirs, start with {KEPT_PREFIX}",
        )


def change_digest(change: Change) -> str:
    """sha256 hex over the files that a stage adds and takes away: location, bytes and rows."""
    lines = sorted(f"+{_line(f)}" for f in (*change.added, *change.kept))
    lines += sorted(f"-{_line(f)}" for f in change.removed)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _line(file: DataFile) -> str:
    return f"{file.file_path} {file.file_size_in_bytes} {file.record_count}"
