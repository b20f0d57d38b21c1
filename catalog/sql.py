"""SQL catalogs: opening one, and committing several tables in one database transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergNamespaceProperties, IcebergTables, SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import StagedTable, Table
from sqlalchemy import exists, insert, make_url, select, text, update
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from catalog import iceberg
from catalog.commits import Committer, Proposal, delete_quietly, trim_metadata
from catalog.errors import CatalogConfigError
from catalog.known import KnownMetadata
from catalog.native import NativeCatalog
from catalog.properties import needed, warehouse_of
from catalog.vendor import translated

_LOCK_SECONDS = "30"


@dataclass(frozen=True, slots=True)
class _Swap:
    """One row to change: from the metadata (and name) we saw to the staged one."""

    proposal: Proposal
    staged: StagedTable

    @property
    def old_location(self) -> str:
        return self.proposal.table.metadata_location

    @property
    def new_location(self) -> str:
        return self.staged.metadata_location

    @property
    def old_name(self) -> tuple[str, ...]:
        return self.proposal.table.name()

    @property
    def new_name(self) -> tuple[str, ...]:
        return self.proposal.rename_to or self.old_name


class SqlCommitter(Committer):
    """Swaps metadata locations and names of any number of tables in one transaction."""

    atomic_groups = True
    serial = True

    def __init__(self, catalog: SqlCatalog) -> None:
        self._catalog = catalog
        self._known = KnownMetadata()

    def load(self, identifier: tuple[str, ...]) -> Table:
        """Load it; metadata read or written before is not parsed again."""
        location = self._location(identifier)
        known = self._known.get(location)
        if known is None:
            table = self._catalog.load_table(identifier)
            self._known.put(table.metadata_location, table.metadata, table.io)
            return table
        metadata, io = known
        return Table(identifier, metadata, location, io, self._catalog)

    def _location(self, identifier: tuple[str, ...]) -> str:
        namespace = Catalog.namespace_to_string(identifier[:-1])
        wanted = select(IcebergTables.metadata_location).where(
            IcebergTables.catalog_name == self._catalog.name,
            IcebergTables.table_namespace == namespace,
            IcebergTables.table_name == identifier[-1],
        )
        with Session(self._catalog.engine) as session:
            location = session.scalar(wanted)
        if location is None:
            raise NoSuchTableError(f"Table does not exist: {'.'.join(identifier)}")
        return location

    def commit(self, proposals: Sequence[Proposal]) -> None:
        """Commit all or none; the metadata files of a commit that surely failed are deleted."""
        swaps: list[_Swap] = []
        with Session(self._catalog.engine) as session:
            try:
                for proposal in proposals:
                    swaps.append(self._stage(proposal))  # noqa: PERF401 - kept when one fails
                self._swap(session, swaps)
            except Exception:
                for swap in swaps:
                    _delete_staged(swap.staged, swap.old_location)
                raise
            session.commit()
        for swap in swaps:
            self._known.put(swap.new_location, swap.staged.metadata, swap.proposal.table.io)
            trim_metadata(swap.staged.io, swap.proposal.table.metadata, swap.staged.metadata)

    def _stage(self, p: Proposal) -> _Swap:
        staged = iceberg.stage_metadata(self._catalog, p.table, p.all_requirements, p.updates)
        if not p.updates:
            staged.metadata_location = p.table.metadata_location
            return _Swap(p, staged)
        try:
            iceberg.write_metadata(self._catalog, staged)
        except Exception:
            _delete_staged(staged, p.table.metadata_location)
            raise
        return _Swap(p, staged)

    def _swap(self, session: Session, swaps: Sequence[_Swap]) -> None:
        try:
            # In one order everywhere, so that two groups cannot wait for each other.
            for swap in sorted(swaps, key=lambda s: s.old_name):
                self._swap_row(session, swap)
                self._add_namespace(session, swap.new_name[:-1])
        except IntegrityError as exc:
            raise CommitFailedException(f"a name is taken: {exc.orig}") from exc

    def _swap_row(self, session: Session, swap: _Swap) -> None:
        namespace = Catalog.namespace_to_string(swap.old_name[:-1])
        changed = session.execute(
            update(IcebergTables)
            .where(
                IcebergTables.catalog_name == self._catalog.name,
                IcebergTables.table_namespace == namespace,
                IcebergTables.table_name == swap.old_name[-1],
                IcebergTables.metadata_location == swap.old_location,
            )
            .values(
                table_namespace=Catalog.namespace_to_string(swap.new_name[:-1]),
                table_name=swap.new_name[-1],
                metadata_location=swap.new_location,
                previous_metadata_location=swap.old_location,
            )
            .execution_options(synchronize_session=False)
        )
        if changed.rowcount != 1:  # type: ignore[attr-defined] # a CursorResult for an UPDATE
            raise CommitFailedException(f"another process updated {'.'.join(swap.old_name)}")

    def _add_namespace(self, session: Session, namespace: tuple[str, ...]) -> None:
        name = Catalog.namespace_to_string(namespace)
        known = exists().where(
            IcebergNamespaceProperties.catalog_name == self._catalog.name,
            IcebergNamespaceProperties.namespace == name,
        )
        if not session.scalar(select(known)):
            session.execute(
                insert(IcebergNamespaceProperties).values(
                    catalog_name=self._catalog.name,
                    namespace=name,
                    property_key="exists",
                    property_value="true",
                )
            )


def _delete_staged(staged: StagedTable, current_location: str) -> None:
    if staged.metadata_location != current_location:
        delete_quietly(staged.io, staged.metadata_location)


def open_sqlite(name: str, properties: Mapping[str, str]) -> NativeCatalog:
    """A catalog in a SQLite file with a warehouse on local disk or behind any FileIO.

    Args:
        name: the catalog's name inside the database.
        properties: ``uri`` (``sqlite:///…``), ``warehouse``, and any of pyiceberg's own.

    Raises:
        CatalogConfigError: a property is missing or cannot be used.
    """
    url = _sqlite_url(needed(properties, "uri"))
    warehouse = warehouse_of(needed(properties, "warehouse"))
    with translated(f"catalog {name}"):
        Path(url.database or "").parent.mkdir(parents=True, exist_ok=True)
        uri = url.render_as_string(hide_password=False)
        catalog = _connect(name, {**properties, "uri": uri, "warehouse": warehouse})
    return NativeCatalog(catalog, SqlCommitter(catalog))


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
    try:
        url = make_url(text_)
    except ArgumentError as exc:
        raise CatalogConfigError("the catalog's uri is not a database URL", hint=hint) from exc
    if url.get_backend_name() != "sqlite" or url.database in (None, "", ":memory:"):
        raise CatalogConfigError("the catalog's uri is not a SQLite file", hint=hint)
    url = url.set(database=str(Path(str(url.database)).absolute()))
    return url.update_query_dict({"timeout": _LOCK_SECONDS}) if "timeout" not in url.query else url
