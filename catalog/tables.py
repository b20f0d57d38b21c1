"""``TableCatalog``: what both adapters do alike, wherever a run's branch is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Container
from datetime import datetime

from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression

from catalog import expiry, orphans, reading, sealing, staging
from catalog.base import BranchCatalog, Change, Covered, Litter, Published, Scan, Staging
from catalog.home import Home
from catalog.refs import AuditedHead, Branch, Capabilities, Seal, Snapshot, TableName
from catalog.retention import Keep
from catalog.vendor import translated


class TableCatalog(BranchCatalog):
    """The port over Iceberg tables. Each method is one file's work; vendor errors end here."""

    def __init__(self, name: str, home: Home) -> None:
        """Look at tables and stage on branches through a home.

        Args:
            name: the catalog's.
            home: finds tables and the branches of runs.
        """
        self.name = name
        self.capabilities = Capabilities(
            atomic_groups=home.committer.atomic_groups,
            new_in_groups=home.committer.new_in_groups,
            staged_schema=True,
            rollback=True,
        )
        self._tables = home

    @property
    def iceberg(self) -> Catalog:
        """The pyiceberg catalog underneath, for readers; nothing else may commit through it."""
        return self._tables.catalog

    def close(self) -> None:
        """Close the catalog's database or HTTP connections."""
        self._tables.catalog.close()

    def tables(self) -> list[TableName]:
        """See the port."""
        with translated(f"catalog {self.name}"):
            return reading.tables(self._tables)

    def published(self, table: TableName) -> Published | None:
        """See the port."""
        with translated(str(table)):
            return reading.published(self._tables, table)

    def log(self, table: TableName) -> list[Snapshot]:
        """See the port."""
        with translated(str(table)):
            return reading.log(self._tables, table)

    def staging(self, branch: Branch, table: TableName) -> Staging:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return reading.staging(self._tables, branch, table)

    def stage(self, staging_: Staging, change: Change) -> Staging:
        """See the port."""
        with translated(f"{staging_.table} on {staging_.branch}"):
            return staging.stage(self._tables, staging_, change)

    def restage(self, staging_: Staging, change: Change) -> Staging:
        """See the port."""
        with translated(f"{staging_.table} on {staging_.branch}"):
            return staging.restage(self._tables, staging_, change)

    def scan(
        self,
        table: TableName,
        snapshot_id: int,
        branch: Branch | None = None,
        *,
        row_filter: BooleanExpression | None = None,
    ) -> Scan:
        """See the port."""
        with translated(str(table)):
            return reading.scan(self._tables, table, snapshot_id, branch, row_filter)

    def batch(self, staging_: Staging) -> Scan:
        """See the port."""
        with translated(f"{staging_.table} on {staging_.branch}"):
            return staging.batch(self._tables, staging_)

    def made_of(
        self, table: TableName, snapshot_id: int, branch: Branch | None = None
    ) -> frozenset[str]:
        """See the port."""
        with translated(str(table)):
            return reading.made_of(self._tables, table, snapshot_id, branch)

    def covered(self, table: TableName, seal_id: int) -> Covered:
        """See the port."""
        with translated(str(table)):
            return reading.covered(self._tables, table, seal_id)

    def seal(self, audited: AuditedHead, seal: Seal) -> Snapshot:
        """See the port."""
        with translated(f"{audited.table} on {audited.branch}"):
            return sealing.seal(self._tables, audited, seal)

    def expire(self, table: TableName, keep: Keep, *, dry_run: bool = False) -> list[Snapshot]:
        """See the port."""
        with translated(str(table)):
            return expiry.expire(self._tables, table, keep, dry_run=dry_run)

    def sweep(
        self,
        table: TableName,
        *,
        before: datetime,
        live: Callable[[], Container[str]],
        forgotten: Collection[int] = (),
        dry_run: bool = False,
    ) -> list[Litter]:
        """See the port."""
        with translated(str(table)):
            return orphans.sweep(self._tables, table, before, live, forgotten, dry_run=dry_run)
