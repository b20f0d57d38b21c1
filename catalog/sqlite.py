"""A catalog in a SQLite file: what a project has when it says nothing else."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from uuid import UUID

from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError

from catalog import commits
from catalog.errors import CatalogConfigError
from catalog.native import NativeCatalog
from catalog.properties import database_url, needed, warehouse_location
from catalog.sql import SqlCommitter
from catalog.vendor import translated

_LOCK_SECONDS = "30"
#: So often whoever stands in line looks whether it is its turn.
_LOOK_SECONDS = 0.003


def open_sqlite(name: str, properties: Mapping[str, str]) -> NativeCatalog:
    """A catalog in a SQLite file with a warehouse on local disk or behind any FileIO.

    Args:
        name: the catalog's name inside the database.
        properties: ``uri`` (``sqlite:///…``), ``warehouse``, and any of pyiceberg's own.

    Raises:
        CatalogConfigError: a property is missing or cannot be used.
    """
    url = _sqlite_url(needed(properties, "uri"))
    warehouse = warehouse_location(needed(properties, "warehouse"))
    folder = Path(url.database or "").parent
    with translated(f"catalog {name}"):
        folder.mkdir(parents=True, exist_ok=True)
        uri = url.render_as_string(hide_password=False)
        catalog = _connect(name, {**properties, "uri": uri, "warehouse": warehouse})
    return NativeCatalog(catalog, SqlCommitter(catalog, partial(_in_line, folder)))


@contextmanager
def _in_line(folder: Path, tables: Sequence[UUID]) -> Iterator[None]:
    """One line for the whole file, which takes one writer at a time; the folder is its lock."""
    del tables
    handle = os.open(folder, os.O_RDONLY)
    try:
        until = time.monotonic() + commits.LINE_SECONDS
        while time.monotonic() < until:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(_LOOK_SECONDS)
            except OSError:
                break  # this filesystem knows no locks
        yield
    finally:
        os.close(handle)


def _connect(name: str, properties: Mapping[str, str]) -> SqlCatalog:
    """Open, again when another process makes the tables or switches the journal right now."""
    for wait in (0.05, 0.1, 0.2, 0.4, 0.8):
        try:
            return _try_to_connect(name, properties)
        except DBAPIError as exc:
            if not any(t in str(exc.orig) for t in ("already exists", "locked")):
                raise
            time.sleep(wait)
    return _try_to_connect(name, properties)


def _try_to_connect(name: str, properties: Mapping[str, str]) -> SqlCatalog:
    catalog = SqlCatalog(name, **properties)
    with catalog.engine.connect() as connection:
        # Persistent: readers and the one writer then do not lock each other out. SQLite waits
        # for no lock when it switches, so it is asked to only where it has to.
        if connection.execute(text("PRAGMA journal_mode")).scalar() != "wal":
            connection.execute(text("PRAGMA journal_mode=WAL"))
    return catalog


def _sqlite_url(text_: str) -> URL:
    hint = "write uri = sqlite:////absolute/path/catalog.db"
    url = database_url(text_, hint)
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        raise CatalogConfigError("the catalog's uri is not a SQLite file", hint=hint)
    url = url.set(database=str(Path(str(url.database)).absolute()))
    return url.update_query_dict({"timeout": _LOCK_SECONDS}) if "timeout" not in url.query else url
