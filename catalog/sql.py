"""SQL catalogs: committing several tables in one database transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from uuid import UUID

from pyiceberg.catalog import Catalog
from pyiceberg.catalog.sql import IcebergNamespaceProperties, IcebergTables, SqlCatalog
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import StagedTable, Table
from sqlalchemy import exists, insert, select, update
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from catalog import iceberg, naming
from catalog.commits import Committer, Proposal, delete_quietly, trim_metadata
from catalog.known import KnownMetadata
from catalog.manifests import reading
from catalog.vendor import is_undone

#: See :meth:`Committer.in_line`; of the tables with these ids.
Line = Callable[[Sequence[UUID]], AbstractContextManager[None]]


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
    new_in_groups = True
    serial = True

    def __init__(self, catalog: SqlCatalog, line: Line) -> None:
        """A committer.

        Args:
            catalog: its tables lie in a database.
            line: how those who commit to tables wait for each other in that database.
        """
        self._catalog = catalog
        self._known = KnownMetadata()
        self._line = line

    def in_line(self, proposals: Sequence[Proposal]) -> AbstractContextManager[None]:
        """Behind those of other processes too."""
        return self._line([p.table.metadata.table_uuid for p in proposals])

    def load(self, identifier: tuple[str, ...]) -> Table:
        """Load it; metadata read or written before is not parsed again."""
        location = self._location(identifier)
        known = self._known.get(location)
        if known is None:
            with reading(location):
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
            except Exception as exc:
                _delete_all_staged(swaps)
                lost = _lost(exc)
                if lost is None:
                    raise  # not «from» itself: whoever follows its causes would never arrive
                raise lost from exc
            try:
                session.commit()
            except DBAPIError as exc:
                lost = _lost(exc)
                if lost is None:
                    raise
                _delete_all_staged(swaps)
                raise lost from exc
        for swap in swaps:
            self._known.put(swap.new_location, swap.staged.metadata, swap.proposal.table.io)
            trim_metadata(swap.staged.io, swap.proposal.table.metadata, swap.staged.metadata)

    def _stage(self, p: Proposal) -> _Swap:
        staged = iceberg.stage_metadata(self._catalog, p.table, p.all_requirements, p.updates)
        if not p.updates:
            staged.metadata_location = p.table.metadata_location
            return _Swap(p, staged)
        if p.run_id:
            staged.metadata_location = naming.metadata_file(staged.metadata_location, p.run_id)
        try:
            iceberg.write_metadata(self._catalog, staged)
        except Exception:
            _delete_staged(staged, p.table.metadata_location)
            raise
        return _Swap(p, staged)

    def _swap(self, session: Session, swaps: Sequence[_Swap]) -> None:
        # In one order everywhere, so that two groups cannot wait for each other: they meet in the
        # namespaces and in the names that tables get, never in a name that only one run knows.
        for namespace in sorted({swap.new_name[:-1] for swap in swaps}):
            self._add_namespace(session, namespace)
        for swap in sorted(swaps, key=lambda s: s.new_name):
            self._swap_row(session, swap)

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


def _lost(exc: Exception) -> CommitFailedException | None:
    """The lost race that a database's error stands for: its transaction is undone for certain."""
    if isinstance(exc, IntegrityError):
        return CommitFailedException(f"a name is taken: {exc.orig}")
    if isinstance(exc, DBAPIError) and is_undone(exc):
        return CommitFailedException(f"the database undid the transaction: {exc.orig}")
    return None


def _delete_all_staged(swaps: Sequence[_Swap]) -> None:
    for swap in swaps:
        _delete_staged(swap.staged, swap.old_location)


def _delete_staged(staged: StagedTable, current_location: str) -> None:
    if staged.metadata_location != current_location:
        delete_quietly(staged.io, staged.metadata_location)
