"""Vendor exceptions become ours here, at the adapter's edge, and nowhere else."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pydantic
from pyiceberg import exceptions as iceberg

from catalog.errors import (
    CatalogConfigError,
    CatalogError,
    CatalogUnavailableError,
    CorruptMetadataError,
    StorageFullError,
    TableNotFoundError,
    UnsupportedError,
)

_FULL = (errno.ENOSPC, errno.EDQUOT)
_DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)
_FULL_TEXTS = ("disk is full", "no space left")
_BUSY_TEXTS = ("locked", "busy", "timeout", "timed out", "connection", "could not connect")
_BROKEN_TEXTS = ("malformed", "not a database")

_UNAVAILABLE = (
    iceberg.CommitFailedException,
    iceberg.CommitStateUnknownException,
    iceberg.ServiceUnavailableError,
    iceberg.ServerError,
    iceberg.TooManyRequestsError,
    ConnectionError,
    TimeoutError,
)
_DENIED_ERRORS = (
    iceberg.UnauthorizedError,
    iceberg.ForbiddenError,
    iceberg.AuthorizationExpiredError,
    iceberg.OAuthError,
)
_UNREADABLE = (
    iceberg.ValidationError,
    pydantic.ValidationError,
    json.JSONDecodeError,
    UnicodeDecodeError,
    EOFError,
)

_RETRY = "it is tried again by itself; if this stays, look whether the catalog is up and its disk"
_WHOLE = "main is untouched; restore the file from a backup, or upgrade this program"


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Raise ours in place of any vendor exception that leaves the block.

    Args:
        where: table, branch or address to name in the message; never holds a secret.
    """
    try:
        yield
    except CatalogError:
        raise
    except Exception as exc:
        ours = as_ours(exc, where)
        if ours is None:
            raise
        raise ours from exc


def as_ours(exc: Exception, where: str) -> CatalogError | None:
    """The error of ours that says the same, None for a bug that must stay what it is."""
    if isinstance(exc, _UNAVAILABLE):
        return CatalogUnavailableError(_brief(exc), where=where, hint=_RETRY)
    if isinstance(exc, _DENIED_ERRORS):
        hint = "check the catalog's credentials"
        return CatalogConfigError("the catalog refuses us", where=where, hint=hint)
    if isinstance(exc, _UNREADABLE):
        what = f"a metadata file cannot be read: {_unreadable(exc)}"
        return CorruptMetadataError(what, where=where, hint=_WHOLE)
    if _is_database_error(exc):
        return _of_database(exc, where)
    return _of_system(exc, where) if isinstance(exc, OSError) else _of_request(exc, where)


def _of_request(exc: Exception, where: str) -> CatalogError | None:
    if isinstance(exc, NotImplementedError):
        return UnsupportedError(_brief(exc), where=where)
    if isinstance(exc, (iceberg.NoSuchTableError, iceberg.NoSuchNamespaceError)):
        return TableNotFoundError(_brief(exc), where=where)
    return None


def _of_system(exc: OSError, where: str) -> CatalogError:
    text = _brief(exc)
    if exc.errno in _FULL or any(t in text.lower() for t in _FULL_TEXTS):
        hint = "free some room and run again; nothing was published"
        return StorageFullError("no room left to write", where=where, hint=hint)
    if isinstance(exc, FileNotFoundError):
        return CorruptMetadataError(f"a file is missing: {text}", where=where, hint=_WHOLE)
    if exc.errno in _DENIED:
        hint = "give this user read and write access to the warehouse and the catalog's database"
        return CatalogConfigError(f"access denied: {text}", where=where, hint=hint)
    return CatalogUnavailableError(text, where=where, hint=_RETRY)


def _is_database_error(exc: BaseException) -> bool:
    # SQLAlchemy is only there where a SQL catalog is: told by name, not by import.
    return any(
        c.__module__.startswith("sqlalchemy.") and c.__name__ in ("DBAPIError", "TimeoutError")
        for c in type(exc).__mro__
    )


def _of_database(exc: Exception, where: str) -> CatalogError:
    # `orig` is the driver's own message; str(exc) would add the statement and its parameters.
    text = _brief(getattr(exc, "orig", None) or exc)
    lower = text.lower()
    if any(t in lower for t in _FULL_TEXTS):
        hint = "free some room and run again; nothing was published"
        return StorageFullError("no room left to write", where=where, hint=hint)
    if any(t in lower for t in _BROKEN_TEXTS):
        hint = "restore the catalog's database from a backup"
        return CorruptMetadataError(f"the catalog's database: {text}", where=where, hint=hint)
    if is_transient(exc):
        return CatalogUnavailableError(f"the catalog's database: {text}", where=where, hint=_RETRY)
    hint = "check the catalog's uri and this user's rights on it"
    return CatalogConfigError(f"the catalog's database: {text}", where=where, hint=hint)


def is_transient(exc: BaseException) -> bool:
    """Whether the same call may well succeed a moment later."""
    if _is_database_error(exc):
        text = str(getattr(exc, "orig", None) or exc).lower()
        return any(t in text for t in _BUSY_TEXTS)
    return isinstance(exc, _UNAVAILABLE)


def _unreadable(exc: BaseException) -> str:
    """What is wrong with a file; pydantic says it in its second line, after a count of errors."""
    lines = [line.strip() for line in str(exc).splitlines()]
    if len(lines) == 1 or "validation error" not in "".join(lines[:1]):
        return _brief(exc)
    said = lines[1].partition(" [type=")[0]
    if "format-version" in said:
        return f"its format version is newer than this program knows ({said})"
    return said


def _brief(exc: BaseException) -> str:
    text = str(exc).strip().splitlines()
    return text[0] if text else type(exc).__name__
