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
#: PostgreSQL says these while it connects, when psycopg knows no code: asking again is no use.
_REFUSED_TEXTS = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "does not exist",
    "not permitted to log in",
    "failed to resolve host",
)
#: Classes of SQLSTATE: connection lost, transaction undone, no resources, lock, shutdown, system.
_TRANSIENT_STATES = ("08", "40", "53", "55P03", "57", "58")
_FULL_STATE = "53100"
#: The database undid the transaction, and says so: serialization failure, deadlock.
_UNDONE_STATES = ("40001", "40P01")
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
#: The same from clients that are only there where a catalog needs them.
_UNANSWERED = frozenset(
    {
        ("requests.exceptions", "ConnectionError"),
        ("requests.exceptions", "Timeout"),
        ("requests.exceptions", "ChunkedEncodingError"),
        ("botocore.exceptions", "ConnectionError"),
        ("botocore.exceptions", "HTTPClientError"),
        ("thrift.transport.TTransport", "TTransportException"),
    }
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

_AWS_ERROR = ("botocore.exceptions", "ClientError")
_AWS_BUSY = ("ThrottlingException", "TooManyRequestsException", "ConcurrentModificationException")

_RETRY = "it is tried again by itself; if this stays, look whether the catalog is up and its disk"
#: The way back from a metadata file that cannot be read.
WHOLE = "main is untouched; restore the file from a backup, or upgrade this program"


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
    if isinstance(exc, _UNAVAILABLE) or _is_unanswered(exc):
        return CatalogUnavailableError(_brief(exc), where=where, hint=_RETRY)
    if isinstance(exc, _DENIED_ERRORS):
        hint = "check the catalog's credentials"
        return CatalogConfigError("the catalog refuses us", where=where, hint=hint)
    if isinstance(exc, _UNREADABLE):
        what = f"a metadata file cannot be read: {unreadable(exc)}"
        return CorruptMetadataError(what, where=where, hint=WHOLE)
    if _is_database_error(exc):
        return _of_database(exc, where)
    return _of_system(exc, where) if isinstance(exc, OSError) else _of_request(exc, where)


def _of_request(exc: Exception, where: str) -> CatalogError | None:
    if any((c.__module__, c.__name__) == _AWS_ERROR for c in type(exc).__mro__):
        return _of_aws(exc, where)
    if isinstance(exc, ValueError) and "hierarchical namespaces are not supported" in str(exc):
        hint = "name the table namespace.table, with one namespace"
        return UnsupportedError("this catalog has no nested namespaces", where=where, hint=hint)
    if isinstance(exc, NotImplementedError):
        return UnsupportedError(_brief(exc), where=where)
    if isinstance(exc, (iceberg.NoSuchTableError, iceberg.NoSuchNamespaceError)):
        return TableNotFoundError(_brief(exc), where=where)
    return None


def _of_aws(exc: Exception, where: str) -> CatalogError:
    # The code is AWS's own word; the message may quote what was sent.
    answer = getattr(exc, "response", {})
    code = answer.get("Error", {}).get("Code", "")
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code in _AWS_BUSY or status >= 500:  # noqa: PLR2004 - all of HTTP's server errors
        return CatalogUnavailableError(f"AWS says {code}", where=where, hint=_RETRY)
    hint = "check region, credentials and this role's rights on the catalog and the warehouse"
    return CatalogConfigError(f"AWS says {code}", where=where, hint=hint)


def _of_system(exc: OSError, where: str) -> CatalogError:
    text = _brief(exc)
    if exc.errno in _FULL or any(t in text.lower() for t in _FULL_TEXTS):
        hint = "free some room and run again; nothing was published"
        return StorageFullError("no room left to write", where=where, hint=hint)
    if exc.errno == errno.EFBIG:
        hint = "raise the limit on the size of files (ulimit -f) and run again"
        return StorageFullError("a file may not grow so large here", where=where, hint=hint)
    if isinstance(exc, FileNotFoundError):
        return CorruptMetadataError(f"a file is missing: {text}", where=where, hint=WHOLE)
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
    if _state(exc) == _FULL_STATE or any(t in lower for t in _FULL_TEXTS):
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
        state = _state(exc)
        if state is not None:
            return state.startswith(_TRANSIENT_STATES) and state != _FULL_STATE
        text = str(getattr(exc, "orig", None) or exc).lower()
        return any(t in text for t in _BUSY_TEXTS) and not any(t in text for t in _REFUSED_TEXTS)
    return isinstance(exc, _UNAVAILABLE) or _is_unanswered(exc)


def is_undone(exc: BaseException) -> bool:
    """Whether the database has undone the transaction for certain, for another one's sake."""
    return _state(exc) in _UNDONE_STATES


def _state(exc: BaseException) -> str | None:
    """SQLSTATE, where the driver knows one; SQLite's does not."""
    state = getattr(getattr(exc, "orig", None), "sqlstate", None)
    return state if isinstance(state, str) else None


def _is_unanswered(exc: BaseException) -> bool:
    """Whether an HTTP or RPC call got no answer; told by name, as the clients may be missing."""
    return any((c.__module__, c.__name__) in _UNANSWERED for c in type(exc).__mro__)


def unreadable(exc: BaseException) -> str:
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
