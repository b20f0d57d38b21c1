"""Moving main back to an earlier sealed snapshot."""

from __future__ import annotations

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableUpdate

from catalog import moves
from catalog.commits import Decision, Done, Proposal, settle
from catalog.errors import HeadMovedError, TableNotFoundError, UnsealedError
from catalog.history import ancestry, head_id, head_of, value_of
from catalog.home import Home
from catalog.refs import MAIN, Snapshot, TableName


def rollback(home: Home, name: TableName, to: int, expected: int) -> Snapshot:
    """See :meth:`catalog.base.BranchCatalog.rollback`."""

    def decide() -> Decision[Snapshot]:
        table = home.needed(name)
        metadata = table.metadata
        main = head_of(metadata, MAIN)
        if main is None:
            raise TableNotFoundError("never published", where=str(name))
        if main.snapshot_id == to:
            return Done(value_of(name, main))
        if main.snapshot_id != expected:
            raise HeadMovedError(
                table=str(name),
                ref=MAIN,
                expected=expected,
                found=main.snapshot_id,
                hint="look at the log again",
            )
        return [_roll_back(table, _earlier_seal(table, name, main, to))]

    with home.serial([name]):
        return settle(home.committer, decide)


def _earlier_seal(table: Table, name: TableName, main: IcebergSnapshot, to: int) -> IcebergSnapshot:
    hint = "choose a sealed snapshot from main's log"
    found = next((s for s in ancestry(table.metadata, main) if s.snapshot_id == to), None)
    if found is None:
        raise UnsealedError(f"snapshot {to} is not in main's history", where=str(name), hint=hint)
    if not value_of(name, found).is_sealed:
        raise UnsealedError(f"snapshot {to} carries no seal", where=str(name), hint=hint)
    return found


def _roll_back(table: Table, to: IcebergSnapshot) -> Proposal:
    metadata = table.metadata
    updates: list[TableUpdate] = []
    if to.schema_id is not None and to.schema_id != metadata.current_schema_id:
        updates.append(moves.set_schema(to.schema_id))
    updates.append(moves.set_branch(MAIN, to))
    return Proposal(
        table,
        (
            moves.ref_is(MAIN, head_id(metadata, MAIN)),
            moves.schema_is(metadata),
        ),
        tuple(updates),
    )
