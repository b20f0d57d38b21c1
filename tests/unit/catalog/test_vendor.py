"""Each vendor exception becomes ours, with the cause kept and no secret told."""

from __future__ import annotations

import errno

import pydantic
import pytest
from pyiceberg import exceptions as iceberg
from pyiceberg.table.metadata import TableMetadataUtil
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from catalog.errors import (
    CatalogConfigError,
    CatalogUnavailableError,
    CorruptMetadataError,
    StorageFullError,
    TableNotFoundError,
    UnsupportedError,
)
from catalog.vendor import is_transient, translated


def _pydantic_error() -> pydantic.ValidationError:
    try:
        pydantic.TypeAdapter(int).validate_python("x")
    except pydantic.ValidationError as exc:
        return exc
    raise AssertionError


def _sql(kind: type[Exception], message: str) -> Exception:
    return kind("SELECT secret FROM t", {"password": "hunter2"}, Exception(message))


CASES = [
    (_sql(OperationalError, "database is locked"), CatalogUnavailableError),
    (_sql(OperationalError, "could not connect to server"), CatalogUnavailableError),
    (_sql(OperationalError, "database or disk is full"), StorageFullError),
    (_sql(OperationalError, "unable to open database file"), CatalogConfigError),
    (_sql(DatabaseError, "file is not a database"), CorruptMetadataError),
    (_sql(DatabaseError, "database disk image is malformed"), CorruptMetadataError),
    (PoolTimeoutError("QueuePool limit, connection timed out"), CatalogUnavailableError),
    (OSError(errno.ENOSPC, "No space left on device"), StorageFullError),
    (OSError("[Errno 28] Error writing bytes. Detail: No space left on device"), StorageFullError),
    (OSError(errno.EDQUOT, "Disk quota exceeded"), StorageFullError),
    (PermissionError(errno.EACCES, "Permission denied"), CatalogConfigError),
    (OSError(errno.EROFS, "Read-only file system"), CatalogConfigError),
    (OSError("AWS Error NETWORK_CONNECTION during HeadObject"), CatalogUnavailableError),
    (FileNotFoundError(errno.ENOENT, "gone"), CorruptMetadataError),
    (ConnectionError("refused"), CatalogUnavailableError),
    (TimeoutError("timed out"), CatalogUnavailableError),
    (iceberg.CommitFailedException("lost"), CatalogUnavailableError),
    (iceberg.CommitStateUnknownException("?"), CatalogUnavailableError),
    (iceberg.ServiceUnavailableError("503"), CatalogUnavailableError),
    (iceberg.UnauthorizedError("401: token hunter2"), CatalogConfigError),
    (iceberg.ValidationError("Unknown format version: 9"), CorruptMetadataError),
    (_pydantic_error(), CorruptMetadataError),
    (EOFError("avro"), CorruptMetadataError),
    (NotImplementedError("Writing V3 is not yet supported"), UnsupportedError),
    (iceberg.NoSuchTableError("nyc.flights"), TableNotFoundError),
]


@pytest.mark.parametrize(("theirs", "ours"), CASES, ids=lambda x: getattr(x, "__name__", repr(x)))
def test_translation(theirs, ours):
    with pytest.raises(ours) as raised, translated("nyc.flights"):
        raise theirs
    assert type(raised.value) is ours
    assert raised.value.__cause__ is theirs
    assert raised.value.where == "nyc.flights"
    assert "hunter2" not in str(raised.value)
    assert "SELECT" not in str(raised.value)


def test_our_own_errors_pass_unchanged():
    error = UnsupportedError("no")
    with pytest.raises(UnsupportedError) as raised, translated("x"):
        raise error
    assert raised.value is error


def test_a_bug_stays_a_bug():
    with pytest.raises(KeyError), translated("x"):
        raise KeyError("oops")


def test_what_is_worth_another_try():
    assert is_transient(_sql(OperationalError, "database is locked"))
    assert is_transient(ConnectionError("reset"))
    assert not is_transient(_sql(OperationalError, "no such table: x"))
    assert not is_transient(_sql(IntegrityError, "UNIQUE constraint failed"))
    assert not is_transient(OSError(errno.ENOSPC, "full"))


def _of_metadata(text: str) -> str:
    with pytest.raises(CorruptMetadataError) as caught, translated("nyc.t"):
        TableMetadataUtil.parse_raw(text)
    return caught.value.what


def test_newer_format_version_and_a_cut_off_file_are_told_apart():
    newer = _of_metadata('{"format-version": 4, "location": "x"}')
    assert "newer than this program" in newer
    assert "'4'" in newer
    cut_off = _of_metadata('{"format-version": 2, "loc')
    assert "Invalid JSON" in cut_off
    assert "newer" not in cut_off
