"""Moving main back to earlier sealed snapshots, of one table or of several at once."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableUpdate

from catalog import moves
from catalog.commits import Decision, Done, Proposal, settle
from catalog.errors import HeadMovedError, TableNotFoundError, UnsealedError, UnsupportedError
from catalog.history import ancestry, head_id, head_of, value_of
from catalog.home import Home
from catalog.refs import MAIN, Back, Snapshot, TableName


def roll_back(home: Home, wanted: Sequence[Back]) -> list[Snapshot]:
    """See :meth:`catalog.base.BranchCatalog.roll_back`."""
    check_together(wanted, atomic_groups=home.committer.atomic_groups)
    names = [move.table for move in wanted]

    def decide() -> Decision[list[Snapshot]]:
        done: list[Snapshot] = []
        proposals: list[Proposal] = []
        for move, table in zip(wanted, home.together(names), strict=True):
            found = _there(table, move)
            if found is not None:
                done.append(found)
            else:
                proposals.append(_proposal(table, move))
        return proposals or Done(done)

    with home.serial(names):
        return settle(home.committer, decide)


def check_together(wanted: Sequence[Back], *, atomic_groups: bool) -> None:
    """Refuse what cannot be moved back in one step.

    Raises:
        UnsupportedError: several tables where the catalog cannot, or one table twice.
    """
    where = ", ".join(str(move.table) for move in wanted)
    if len(wanted) > 1 and not atomic_groups:
        raise UnsupportedError(
            "this catalog cannot move several tables back in one step",
            where=where,
            hint="move them back one by one",
        )
    if len({move.table for move in wanted}) != len(wanted):
        raise UnsupportedError("one table cannot be moved back twice in one step", where=where)


def _main(table: Table, name: TableName) -> IcebergSnapshot:
    main = head_of(table.metadata, MAIN)
    if main is None:
        raise TableNotFoundError("never published", where=str(name))
    return main


def _there(table: Table, move: Back) -> Snapshot | None:
    """The seal, when main shows it already."""
    main = _main(table, move.table)
    return value_of(move.table, main) if main.snapshot_id == move.to else None


def _proposal(table: Table, move: Back) -> Proposal:
    main = _main(table, move.table)
    if main.snapshot_id != move.expected:
        raise HeadMovedError(
            table=str(move.table),
            ref=MAIN,
            expected=move.expected,
            found=main.snapshot_id,
            hint="look at the log again",
        )
    return _move(table, _earlier_seal(table, move.table, main, move.to))


def _earlier_seal(table: Table, name: TableName, main: IcebergSnapshot, to: int) -> IcebergSnapshot:
    hint = "choose a sealed snapshot from main's log"
    found = next((s for s in ancestry(table.metadata, main) if s.snapshot_id == to), None)
    if found is None:
        raise UnsealedError(f"snapshot {to} is not in main's history", where=str(name), hint=hint)
    if not value_of(name, found).is_sealed:
        raise UnsealedError(f"snapshot {to} carries no seal", where=str(name), hint=hint)
    return found


def _move(table: Table, to: IcebergSnapshot) -> Proposal:
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
