"""Each vendor exception becomes ours, with the cause kept and no secret told."""

from __future__ import annotations

import errno

import botocore.exceptions
import psycopg
import pydantic
import pytest
import requests
from pyiceberg import exceptions as iceberg
from pyiceberg.table.metadata import TableMetadataUtil
from sqlalchemy.exc import DatabaseError, IntegrityError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from thrift.transport.TTransport import TTransportException

from catalog.errors import (
    CatalogConfigError,
    CatalogUnavailableError,
    CorruptMetadataError,
    StorageFullError,
    TableNotFoundError,
    UnsupportedError,
)
from catalog.vendor import is_transient, is_undone, translated


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
    (OSError(errno.EFBIG, "File too large"), StorageFullError),
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


def _pg(state: str | None, message: str) -> Exception:
    """An error of psycopg's inside one of SQLAlchemy's."""
    orig = psycopg.Error(message) if state is None else psycopg.errors.lookup(state)(message)
    return OperationalError("UPDATE secret", {"password": "hunter2"}, orig)


UNREACHED = "connection failed: connection to server at "
POSTGRES = [
    (None, f'{UNREACHED}"127.0.0.1", port 1 failed: Connection refused', CatalogUnavailableError),
    (None, "consuming input failed: server closed the connection", CatalogUnavailableError),
    (None, f"{UNREACHED}: FATAL: the database system is starting up", CatalogUnavailableError),
    (None, "connection timeout expired", CatalogUnavailableError),
    ("57P01", "terminating connection due to administrator command", CatalogUnavailableError),
    ("57P03", "the database system is shutting down", CatalogUnavailableError),
    ("53300", "sorry, too many clients already", CatalogUnavailableError),
    ("40001", "could not serialize access", CatalogUnavailableError),
    ("40P01", "deadlock detected", CatalogUnavailableError),
    ("55P03", "canceling statement due to lock timeout", CatalogUnavailableError),
    ("08006", "connection failure", CatalogUnavailableError),
    ("53100", "could not extend file", StorageFullError),
    ("42501", "permission denied for table iceberg_tables", CatalogConfigError),
    (None, f'{UNREACHED}"h": FATAL: password authentication failed for "u"', CatalogConfigError),
    (None, f'{UNREACHED}"h": FATAL: database "nowhere" does not exist', CatalogConfigError),
    (None, f'{UNREACHED}"h": FATAL: no pg_hba.conf entry for host', CatalogConfigError),
]


@pytest.mark.parametrize(("state", "message", "ours"), POSTGRES)
def test_what_postgres_says(state, message, ours):
    theirs = _pg(state, message)
    with pytest.raises(ours) as raised, translated("nyc.flights"):
        raise theirs
    assert is_transient(theirs) == (ours is CatalogUnavailableError)
    assert is_undone(theirs) == (state in ("40001", "40P01"))
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    "theirs",
    [
        requests.ConnectionError("reset"),
        requests.ReadTimeout("timed out"),
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://h"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://h"),
        TTransportException(message="Could not connect"),
    ],
)
def test_a_call_that_nobody_answered(theirs):
    with pytest.raises(CatalogUnavailableError), translated("nyc.flights"):
        raise theirs
    assert is_transient(theirs)


@pytest.mark.parametrize(
    ("code", "status", "ours"),
    [
        ("AccessDeniedException", 400, CatalogConfigError),
        ("ThrottlingException", 400, CatalogUnavailableError),
        ("InternalServiceException", 500, CatalogUnavailableError),
    ],
)
def test_what_aws_says(code, status, ours):
    said = {
        "Error": {"Code": code, "Message": "hunter2"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    with pytest.raises(ours, match=code) as raised, translated("nyc.flights"):
        raise botocore.exceptions.ClientError(said, "GetTable")
    assert "hunter2" not in str(raised.value)


def test_a_namespace_that_this_catalog_cannot_nest():
    with pytest.raises(UnsupportedError, match="nested"), translated("a.b.c"):
        raise ValueError("Invalid database, hierarchical namespaces are not supported: ('a', 'b')")
