"""Moving main back to earlier sealed snapshots, of one table or of several at once."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableUpdate

from catalog import moves
from catalog.commits import Proposal
from catalog.errors import HeadMovedError, TableNotFoundError, UnsealedError, UnsupportedError
from catalog.history import ancestry, head_id, head_of, value_of
from catalog.home import unpublished
from catalog.refs import MAIN, Back, Snapshot, TableName


def decided(
    tables: Sequence[Table | None], wanted: Sequence[Back]
) -> tuple[list[Snapshot], list[Proposal]]:
    """Of each move: the seal that main shows already, or what moves it there.

    Args:
        tables: those of the moves as main lists them, loaded for one commit of all.
        wanted: the moves.

    Raises:
        UnsealedError, HeadMovedError, TableNotFoundError: see the port.
    """
    done: list[Snapshot] = []
    proposals: list[Proposal] = []
    for move, table in zip(wanted, tables, strict=True):
        if table is None:
            raise unpublished(move.table)
        found = _there(table, move)
        if found is not None:
            done.append(found)
        else:
            proposals.append(_proposal(table, move))
    return done, proposals


def check_together(
    wanted: Sequence[Back], beside: Sequence[TableName] = (), *, atomic_groups: bool
) -> None:
    """Refuse what cannot be moved back in one step.

    Args:
        wanted: the moves.
        beside: tables that are published in the same step.
        atomic_groups: whether the catalog commits to several tables at once.

    Raises:
        UnsupportedError: several tables where the catalog cannot, or one table twice.
    """
    back = {move.table for move in wanted}
    where = ", ".join(map(str, sorted(back)))
    if back and len(wanted) + len(beside) > 1 and not atomic_groups:
        raise UnsupportedError(
            "this catalog cannot move several tables back in one step",
            where=where,
            hint="move them back one by one",
        )
    if len(back) != len(wanted) or back & set(beside):
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
