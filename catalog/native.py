"""``NativeCatalog``: branches inside each table, over any pyiceberg catalog."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.catalog import Catalog
from pyiceberg.expressions import BooleanExpression

from catalog import cleanup, opening, publish, reading, rebase, rollback, sealing, staging
from catalog.base import BranchCatalog, Change, Published, Scan, Staging, TableShape
from catalog.commits import Committer, PortableCommitter
from catalog.home import Home
from catalog.refs import (
    AuditedHead,
    Branch,
    BranchState,
    Capabilities,
    Dropped,
    Seal,
    Snapshot,
    TableName,
)
from catalog.vendor import translated


class NativeCatalog(BranchCatalog):
    """Iceberg's own branches. Each method is one file's work; vendor errors end here."""

    def __init__(self, catalog: Catalog, committer: Committer | None = None) -> None:
        """Wrap a pyiceberg catalog.

        Args:
            catalog: where the tables are.
            committer: what swaps metadata in; by default the catalog's public interface.
        """
        committer = committer or PortableCommitter(catalog)
        self.name = catalog.name
        self.capabilities = Capabilities(
            atomic_groups=committer.atomic_groups,
            new_in_groups=committer.new_in_groups,
            staged_schema=True,
            rollback=True,
        )
        self._home = Home(catalog, committer)

    @property
    def iceberg(self) -> Catalog:
        """The pyiceberg catalog underneath, for readers; nothing else may commit through it."""
        return self._home.catalog

    @property
    def committer(self) -> Committer:
        """What swaps metadata in."""
        return self._home.committer

    def close(self) -> None:
        """Close the catalog's database or HTTP connections."""
        self._home.catalog.close()

    def tables(self) -> list[TableName]:
        """See the port."""
        with translated(f"catalog {self.name}"):
            return reading.tables(self._home)

    def published(self, table: TableName) -> Published | None:
        """See the port."""
        with translated(str(table)):
            return reading.published(self._home, table)

    def log(self, table: TableName) -> list[Snapshot]:
        """See the port."""
        with translated(str(table)):
            return reading.log(self._home, table)

    def branches(self) -> list[BranchState]:
        """See the port."""
        with translated(f"catalog {self.name}"):
            return reading.branches(self._home)

    def open_branch(self, branch: Branch, table: TableName, shape: TableShape) -> Staging:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return opening.open_branch(self._home, branch, table, shape)

    def staging(self, branch: Branch, table: TableName) -> Staging:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return reading.staging(self._home, branch, table)

    def stage(self, staging_: Staging, change: Change) -> Staging:
        """See the port."""
        with translated(f"{staging_.table} on {staging_.branch}"):
            return staging.stage(self._home, staging_, change)

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
            return reading.scan(self._home, table, snapshot_id, branch, row_filter)

    def batch(self, staging_: Staging) -> Scan:
        """See the port."""
        with translated(f"{staging_.table} on {staging_.branch}"):
            return staging.batch(self._home, staging_)

    def made_of(self, table: TableName, snapshot_id: int) -> frozenset[str]:
        """See the port."""
        with translated(str(table)):
            return reading.made_of(self._home, table, snapshot_id)

    def seal(self, audited: AuditedHead, seal: Seal) -> Snapshot:
        """See the port."""
        with translated(f"{audited.table} on {audited.branch}"):
            return sealing.seal(self._home, audited, seal)

    def publish(self, heads: Sequence[AuditedHead]) -> list[Snapshot]:
        """See the port."""
        with translated(", ".join(f"{h.table} on {h.branch}" for h in heads)):
            return publish.publish(self._home, heads)

    def rebase(self, branch: Branch, table: TableName) -> Staging:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return rebase.rebase(self._home, branch, table)

    def drop(self, branch: Branch, table: TableName) -> Dropped:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return cleanup.drop(self._home, branch, table)

    def rollback(self, table: TableName, to: int, expected: int) -> Snapshot:
        """See the port."""
        with translated(str(table)):
            return rollback.rollback(self._home, table, to, expected)
