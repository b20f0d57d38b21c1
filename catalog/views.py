"""The port's values about one table, built from its metadata: staging, state, published."""

from __future__ import annotations

from datetime import UTC, datetime

from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog.base import Published, Staging
from catalog.errors import BranchNotFoundError
from catalog.history import (
    Chain,
    head_id,
    head_of,
    is_bootstrap,
    is_hidden,
    run_chain,
    value_of,
)
from catalog.refs import MAIN, Branch, BranchState, TableName


def staging_of(table: Table, branch: Branch, name: TableName) -> Staging:
    """The branch as the table's metadata shows it.

    Raises:
        BranchNotFoundError: it does not hold the run's branch.
    """
    chain = run_chain(table, branch)
    if chain is None:
        raise BranchNotFoundError(f"there is no branch {branch}", where=str(name))
    return Staging(
        branch=branch,
        table=name,
        expected=None if is_hidden(table) else chain.base,
        head=chain.head.snapshot_id,
        staged=chain.staged is not None,
        schema=schema_of(table.metadata, chain.head),
        spec=table.spec(),
        location=table.location(),
        io=table.io,
        properties=dict(table.properties),
    )


def state_of(table: Table, branch: Branch, name: TableName, chain: Chain) -> BranchState:
    """Where a branch stands."""
    hidden = is_hidden(table)
    return BranchState(
        branch=branch,
        table=name,
        head=chain.head.snapshot_id,
        base=None if hidden else chain.base,
        main=None if hidden else head_id(table.metadata, MAIN),
        created_at=datetime.fromtimestamp(chain.opened.timestamp_ms / 1000, UTC),
    )


def published_of(table: Table, name: TableName) -> Published | None:
    """The table as main shows it; None while main is only the bootstrap, or not there."""
    head = head_of(table.metadata, MAIN)
    if head is None or is_bootstrap(head):
        return None
    return Published(
        snapshot=value_of(name, head),
        schema=table.schema(),
        spec=table.spec(),
        location=table.location(),
        io=table.io,
    )


def schema_of(metadata: TableMetadata, snapshot: IcebergSnapshot) -> Schema:
    """The schema to read a snapshot with: main's head by the current one, others by their own."""
    if snapshot.schema_id is None or snapshot.snapshot_id == metadata.current_snapshot_id:
        return metadata.schema()
    return metadata.schema_by_id(snapshot.schema_id) or metadata.schema()
