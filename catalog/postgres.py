"""A catalog in a PostgreSQL database, spoken to by psycopg 3."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from uuid import UUID

import psycopg
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from catalog import commits
from catalog.errors import CatalogConfigError
from catalog.native import NativeCatalog
from catalog.properties import database_url, needed, warehouse_location
from catalog.sql import SqlCommitter
from catalog.vendor import translated

_DRIVER = "postgresql+psycopg"
_BACKENDS = ("postgresql", _DRIVER)
#: A server that is gone without a word is noticed in half a minute, not in the system's hours.
_PATIENCE = {
    "connect_timeout": "10",
    "keepalives_idle": "15",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
#: So long one statement waits for what another program has locked.
_LOCK_SECONDS = 30
#: What the slower of two processes meets that make the tables at once.
_MADE_MEANWHILE = (
    psycopg.errors.DuplicateTable,
    psycopg.errors.DuplicateObject,  # the table's row type
    psycopg.errors.UniqueViolation,
)


def open_postgres(name: str, properties: Mapping[str, str]) -> NativeCatalog:
    """A catalog in a database that is there; its two tables are made when they are not.

    Args:
        name: the catalog's name inside the database.
        properties: ``uri`` (``postgresql://…``), ``warehouse``, and any of pyiceberg's own.

    Raises:
        CatalogConfigError: a property is missing or cannot be used, or the database refuses us.
        CatalogUnavailableError: it does not answer.
    """
    url = _url(needed(properties, "uri"))
    own = {
        "uri": url.render_as_string(hide_password=False),
        "warehouse": warehouse_location(needed(properties, "warehouse")),
        # A connection that died while nobody used it (a restart) is replaced before it is used.
        "pool_pre_ping": "true",
    }
    with translated(f"catalog {name}"):
        catalog = _connect(name, {**properties, **own})
    if "options" not in url.query:  # where somebody says lock_timeout
        event.listen(catalog.engine, "begin", _wait_within_bounds)
    return NativeCatalog(catalog, SqlCommitter(catalog, partial(_in_line, _beside(catalog.engine))))


def _beside(engine: Engine) -> Engine:
    """Connections beside the pool's: who has the turn must not wait for one of those who wait."""
    beside = create_engine(engine.url, pool_size=1, max_overflow=-1, pool_pre_ping=True)
    event.listen(engine, "engine_disposed", lambda _: beside.dispose())
    return beside


@contextmanager
def _in_line(engine: Engine, tables: Sequence[UUID]) -> Iterator[None]:
    """A line for each table; the database lets its locks go with the connection."""
    with engine.connect() as connection, connection.begin() as transaction:
        patience = int(1000 * commits.LINE_SECONDS)
        try:
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{patience}ms'")
            for table in sorted(tables):
                key = int.from_bytes(table.bytes[:8], signed=True)
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(%s)", (key,))
        except DBAPIError as exc:
            if not isinstance(exc.orig, psycopg.errors.LockNotAvailable):
                raise
            transaction.rollback()  # gone on without
        yield


def _wait_within_bounds(connection: Connection) -> None:
    """Else whoever holds a lock would be waited for without end; asked each time for poolers."""
    connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{_LOCK_SECONDS}s'")


def _connect(name: str, properties: Mapping[str, str]) -> SqlCatalog:
    """Open, again when another process makes the tables right now."""
    for wait in (0.05, 0.1, 0.2, 0.4, 0.8):
        try:
            return SqlCatalog(name, **properties)
        except DBAPIError as exc:
            if not isinstance(exc.orig, _MADE_MEANWHILE):
                raise
            time.sleep(wait)
    return SqlCatalog(name, **properties)


def _url(text: str) -> URL:
    hint = "write uri = postgresql://user@host:5432/database, the password in WAP_CATALOG__URI"
    url = database_url(text, hint)
    if url.drivername not in _BACKENDS or not url.database:
        raise CatalogConfigError("the catalog's uri is not a PostgreSQL database", hint=hint)
    added = {key: value for key, value in _PATIENCE.items() if key not in url.query}
    return url.set(drivername=_DRIVER).update_query_dict(added)
