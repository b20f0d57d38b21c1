"""Reading a table's metadata: ancestry, a run's own snapshots, and snapshots as our values."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.refs import SnapshotRefType
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import naming
from catalog.refs import MAIN, Branch, Snapshot, TableName, members_in

_MADE_BY_RUNS = ("open", "stage", "rebase", "seal")


def summary_of(snapshot: IcebergSnapshot) -> dict[str, str]:
    """The summary's entries without the operation; {} when there are none."""
    return dict(snapshot.summary.additional_properties) if snapshot.summary else {}


def value_of(table: TableName, snapshot: IcebergSnapshot) -> Snapshot:
    """The snapshot as the value this package hands out."""
    return Snapshot(
        table=table,
        id=snapshot.snapshot_id,
        parent_id=snapshot.parent_snapshot_id,
        committed_at=datetime.fromtimestamp(snapshot.timestamp_ms / 1000, UTC),
        operation=snapshot.summary.operation.value if snapshot.summary else "",
        schema_id=snapshot.schema_id,
        summary=summary_of(snapshot),
    )


def head_of(metadata: TableMetadata, ref: str) -> IcebergSnapshot | None:
    """Head of a branch; None when there is no branch of that name."""
    found = metadata.refs.get(ref)
    if found is None or found.snapshot_ref_type is not SnapshotRefType.BRANCH:
        return None
    return metadata.snapshot_by_id(found.snapshot_id)


def head_id(metadata: TableMetadata, ref: str) -> int | None:
    """Snapshot id a ref points to, None without such a ref."""
    found = metadata.refs.get(ref)
    return found.snapshot_id if found is not None else None


def ancestry(metadata: TableMetadata, start: IcebergSnapshot | None) -> Iterator[IcebergSnapshot]:
    """The snapshot and its ancestors, newest first, as far as they are kept."""
    by_id = {s.snapshot_id: s for s in metadata.snapshots}
    snapshot = start
    while snapshot is not None:
        yield snapshot
        snapshot = by_id.get(snapshot.parent_snapshot_id or -1)


def is_own(snapshot: IcebergSnapshot, run_id: str) -> bool:
    """Whether the run made the snapshot."""
    summary = summary_of(snapshot)
    return summary.get(naming.RUN) == run_id and summary.get(naming.ROLE) in _MADE_BY_RUNS


def began_at(snapshots: Iterable[IcebergSnapshot]) -> tuple[int, int]:
    """Sequence number and time (ms) of the first of a run's snapshots; (0, 0) when there is none.

    Nothing that was committed to the table before can refer to a file that was written after.
    """
    marks = []
    for snapshot in snapshots:
        noted = summary_of(snapshot).get(naming.SINCE)
        number, time = (
            noted.split("/") if noted else (snapshot.sequence_number or 0, snapshot.timestamp_ms)
        )
        marks.append((int(number), int(time)))
    return (min(n for n, _ in marks), min(t for _, t in marks)) if marks else (0, 0)


def holds(snapshot: IcebergSnapshot, run_id: str) -> bool:
    """Whether the run made the snapshot, or a union did that holds the run's batch."""
    return is_own(snapshot, run_id) or run_id in members_in(summary_of(snapshot))


def shown(metadata: TableMetadata) -> Iterator[IcebergSnapshot]:
    """What main shows, and what it showed before it was rolled back, as far as that is kept."""
    by_id = {s.snapshot_id: s for s in metadata.snapshots}
    main = head_of(metadata, MAIN)
    heads = [head_id(metadata, MAIN), *(entry.snapshot_id for entry in metadata.snapshot_log)]
    if main is not None and is_bootstrap(main) and naming.TAKEN_BACK in metadata.properties:
        heads = heads[:1]  # the table had no name yet when main moved
    seen: set[int] = set()
    for head in heads:
        snapshot = by_id.get(head or -1)
        while snapshot is not None and snapshot.snapshot_id not in seen:
            seen.add(snapshot.snapshot_id)
            yield snapshot
            snapshot = by_id.get(snapshot.parent_snapshot_id or -1)


def is_bootstrap(snapshot: IcebergSnapshot) -> bool:
    """Whether it is the empty snapshot a table of ours begins with."""
    return (
        snapshot.parent_snapshot_id is None
        and summary_of(snapshot).get(naming.ROLE) == "bootstrap"
        and summary_of(snapshot).get("total-records", "0") == "0"
    )


@dataclass(frozen=True, slots=True)
class Chain:
    """A run's own snapshots on its branch and what they stand on.

    Attributes:
        own: newest first; never empty.
        base: id of the snapshot below them, main's head when the run began.
    """

    own: tuple[IcebergSnapshot, ...]
    base: int | None

    @property
    def head(self) -> IcebergSnapshot:
        """The branch's head."""
        return self.own[0]

    @property
    def staged(self) -> IcebergSnapshot | None:
        """The snapshot that holds the run's change (stage or rebase), None before it."""
        found = (s for s in self.own if summary_of(s).get(naming.ROLE) in ("stage", "rebase"))
        return next(found, None)

    @property
    def opened(self) -> IcebergSnapshot:
        """The oldest own snapshot."""
        return self.own[-1]

    @property
    def base_schema_id(self) -> int | None:
        """Id of the table's current schema when the run last started from main."""
        found = (summary_of(s).get(naming.BASE_SCHEMA) for s in self.own)
        text = next((t for t in found if t is not None), None)
        return int(text) if text is not None else None


def chain_of(metadata: TableMetadata, head: IcebergSnapshot, run_id: str) -> Chain | None:
    """The run's own snapshots from ``head`` down; None when ``head`` is not the run's."""
    own: list[IcebergSnapshot] = []
    for snapshot in ancestry(metadata, head):
        if not is_own(snapshot, run_id):
            break
        own.append(snapshot)
    if not own:
        return None
    base = own[-1].parent_snapshot_id
    if base is None:
        # Whoever expires the base cuts the parent's id; the run noted it when it began.
        noted = summary_of(own[-1]).get(naming.BASE)
        base = int(noted) if noted else None
    return Chain(tuple(own), base)


def is_hidden(table: Table) -> bool:
    """Whether this is a new table that is only staged."""
    return table.name()[:-1] == (naming.STAGING_NAMESPACE,)


def run_chain(table: Table, branch: Branch) -> Chain | None:
    """The run's own snapshots in a table; None when the branch is not there or not the run's.

    In a hidden table main may stand in for the branch: a publish that died before the rename
    has moved main to the seal and removed the branch.
    """
    head = head_of(table.metadata, branch.name)
    if head is None and is_hidden(table):
        head = head_of(table.metadata, MAIN)
    return chain_of(table.metadata, head, branch.run_id) if head is not None else None
