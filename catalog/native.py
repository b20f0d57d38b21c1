"""``NativeCatalog``: branches inside each table, over any pyiceberg catalog."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.catalog import Catalog

from catalog import cleanup, opening, publish, reading, rebase
from catalog.base import Change, Staging, TableShape
from catalog.commits import Committer, PortableCommitter
from catalog.home import NativeHome
from catalog.refs import AuditedHead, Back, Branch, BranchState, Dropped, Snapshot, TableName
from catalog.tables import TableCatalog
from catalog.vendor import translated


class NativeCatalog(TableCatalog):
    """Iceberg's own branches."""

    def __init__(self, catalog: Catalog, committer: Committer | None = None) -> None:
        """Wrap a pyiceberg catalog.

        Args:
            catalog: where the tables are.
            committer: what swaps metadata in; by default the catalog's public interface.
        """
        self._home = NativeHome(catalog, committer or PortableCommitter(catalog))
        super().__init__(catalog.name, self._home)

    @property
    def committer(self) -> Committer:
        """What swaps metadata in."""
        return self._home.committer

    def branches(self) -> list[BranchState]:
        """See the port."""
        with translated(f"catalog {self.name}"):
            return reading.branches(self._home)

    def open_branch(self, branch: Branch, table: TableName, shape: TableShape) -> Staging:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return opening.open_branch(self._home, branch, table, shape)

    def publish(self, heads: Sequence[AuditedHead]) -> list[Snapshot]:
        """See the port."""
        with translated(", ".join(f"{h.table} on {h.branch}" for h in heads)):
            return publish.publish(self._home, heads)

    def roll_back(self, moves: Sequence[Back], heads: Sequence[AuditedHead] = ()) -> list[Snapshot]:
        """See the port."""
        tables = [*(m.table for m in moves), *(h.table for h in heads)]
        with translated(", ".join(map(str, tables))):
            return publish.publish(self._home, heads, moves)

    def restage_on(self, staging: Staging, change: Change, main: int) -> Staging:
        """See the port."""
        with translated(f"{staging.table} on {staging.branch}"):
            return rebase.restage_on(self._home, staging, change, main)

    def rebase(self, branch: Branch, table: TableName) -> Staging:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return rebase.rebase(self._home, branch, table)

    def drop(self, branch: Branch, table: TableName) -> Dropped:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return cleanup.drop(self._home, branch, table)
