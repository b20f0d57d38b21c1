"""The port's values about one table, built from its metadata: staging, state, published."""

from __future__ import annotations

from datetime import UTC, datetime

from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog.base import Published, Staging
from catalog.history import head_of, is_bootstrap, summary_of, value_of
from catalog.places import Place
from catalog.refs import MAIN, BranchState, TableName


def staging_of(place: Place) -> Staging:
    """The branch as the table's metadata shows it."""
    table, chain = place.table, place.chain
    return Staging(
        branch=place.branch,
        table=place.name,
        expected=place.expected,
        head=chain.head.snapshot_id,
        staged=chain.staged is not None,
        schema=schema_of(table.metadata, chain.head),
        spec=table.spec(),
        location=table.location(),
        io=table.io,
        properties=dict(table.properties),
        notes=summary_of(chain.staged) if chain.staged is not None else {},
    )


def state_of(place: Place, main: int | None) -> BranchState:
    """Where a branch stands; ``main`` is main's head now."""
    opened = place.chain.opened
    return BranchState(
        branch=place.branch,
        table=place.name,
        head=place.chain.head.snapshot_id,
        base=place.expected,
        main=main if place.expected is not None else None,
        created_at=datetime.fromtimestamp(opened.timestamp_ms / 1000, UTC),
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
