"""The way back: main of one table, or of all tables of a group's run, to earlier seals.

What a run set aside, or took from what waits, goes back with it: it was published in one commit.
Else its rows would wait a second time once its input is read again, and those it had replayed
would be on no main and wait no more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from catalog.base import BranchCatalog
from catalog.errors import TableNotFoundError, UnsealedError
from catalog.refs import Back, Seal, Snapshot, TableName
from wap import evidence
from wap.errors import GroupRefusedError, RunNotFoundError
from wap.membership import owner_of
from wap.quarantine.emptying import Emptied, Emptying
from wap.quarantine.table import EMPTIED, is_quarantine, quarantine_of


@dataclass(frozen=True, slots=True)
class Target:
    """Where a roll-back would move main, and who published that.

    Attributes:
        to: the seal; None: a quarantine table that is emptied, for the runs that are undone were
            the first to set rows aside.
        run_id, published_at: of what main will show; "" and None of an emptied table.
        undone: the seals whose rows main would not show any more, newest first.
    """

    table: TableName
    expected: int
    to: int | None
    run_id: str = ""
    published_at: datetime | None = None
    undone: tuple[Seal, ...] = ()


def rollback_targets(catalog: BranchCatalog, table: str, to: int | None) -> list[Target]:
    """The sealed snapshot to go back to: the one asked for, or the newest before main's head.

    Behind it where the table's quarantine table goes back to, if it does.

    Raises:
        TableNotFoundError: not published.
        UnsealedError: there is no such earlier sealed snapshot.
        GroupRefusedError: a group's run would be taken back in this table alone, or a run in its
            quarantine table alone.
    """
    name = TableName.parse(table)
    published = catalog.published(name)
    if published is None:
        raise TableNotFoundError("no such published table", where=table)
    head, undone = published.snapshot.id, list[Seal]()
    earlier: list[int] = []
    for snapshot, seal in evidence.seals(catalog, name):
        if snapshot.id != head and to in (None, snapshot.id):
            target = _target(name, head, snapshot, seal, undone)
            _check_whole(catalog, [target])
            _check_beside(catalog, target)
            return _with_set_aside(catalog, [target])
        undone.append(seal)
        earlier += [snapshot.id] if snapshot.id != head else []
    listed = ", ".join(map(str, earlier))
    raise UnsealedError(
        "there is no earlier sealed snapshot" if to is None else f"{to} is not a sealed snapshot",
        where=table,
        hint=f"earlier sealed snapshots of main: {listed or 'none'}",
    )


def group_targets(catalog: BranchCatalog, run_id: str) -> list[Target]:
    """For each table of a group's run the newest seal from before it; so for quarantine tables.

    Args:
        run_id: the group's run, or that of one of its members.

    Raises:
        RunNotFoundError: main of no table shows such a run.
        UnsealedError: it was the first run of one of its tables.
        GroupRefusedError: a later group's run would be taken back in some of its tables only.
    """
    wanted = owner_of(run_id)
    found = [t for table in catalog.tables() if (t := _before(catalog, table, wanted)) is not None]
    if not found:
        raise RunNotFoundError(
            f"main of no table shows a group's run {wanted!r}",
            hint="`wap verify --json` names the group of each seal",
        )
    _check_whole(catalog, found)
    return _with_set_aside(catalog, found)


def _before(catalog: BranchCatalog, table: TableName, wanted: str) -> Target | None:
    """The newest seal below the run's; None: main of the table does not show the run."""
    published, undone = catalog.published(table), list[Seal]()
    if published is None:
        return None
    for snapshot, seal in evidence.seals(catalog, table):
        if undone and _is_of(undone[-1], wanted):
            return _target(table, published.snapshot.id, snapshot, seal, undone)
        undone.append(seal)
    if undone and _is_of(undone[-1], wanted):
        raise UnsealedError(
            "there is no seal from before the group's run, so nothing to go back to",
            where=str(table),
            hint="the run was the table's first; load what should be there by another run",
        )
    return None


def _is_of(seal: Seal, run: str) -> bool:
    return seal.run_id == run and evidence.GROUP in seal.notes


def _target(
    table: TableName, head: int, snapshot: Snapshot, seal: Seal, undone: Sequence[Seal]
) -> Target:
    run, at = evidence.run_of(seal), snapshot.committed_at
    return Target(table, head, snapshot.id, run, at, tuple(undone))


def _with_set_aside(catalog: BranchCatalog, targets: Sequence[Target]) -> list[Target]:
    """The targets, and those of the quarantine tables that the same runs have changed."""
    beside = (_set_aside(catalog, target) for target in targets)
    return [*targets, *(aside for aside in beside if aside is not None)]


def _set_aside(catalog: BranchCatalog, target: Target) -> Target | None:
    """Where the quarantine table goes back to; None: no run that is undone has changed it."""
    name, runs = quarantine_of(target.table), {seal.run_id for seal in target.undone}
    published, undone = catalog.published(name), list[Seal]()
    if published is None:
        return None
    for snapshot, seal in evidence.seals(catalog, name):
        if seal.run_id not in runs:
            found = _target(name, published.snapshot.id, snapshot, seal, undone)
            return found if undone else None
        undone.append(seal)
    return Target(name, published.snapshot.id, None, undone=tuple(undone)) if undone else None


def _check_beside(catalog: BranchCatalog, target: Target) -> None:
    """A run that the table still shows is not taken back in its quarantine table alone.

    Nor do rows come back to it whose runs were taken back.
    """
    if not is_quarantine(target.table):
        return
    emptied = next((seal.notes[EMPTIED] for seal in target.undone if EMPTIED in seal.notes), None)
    if emptied is not None:
        raise GroupRefusedError(
            f"it was emptied when {emptied} was taken back, and would show its rows",
            where=str(target.table),
            hint="they come again when their input is read again",
        )
    runs = {seal.run_id for seal in target.undone}
    for table in catalog.tables():
        if quarantine_of(table) == target.table:
            shown = sorted(seal.run_id for seal in _seals(catalog, table) if seal.run_id in runs)
            if shown:
                raise GroupRefusedError(
                    f"run {shown[0]} published it together with {table}: "
                    "they go back together or not at all",
                    where=str(target.table),
                    hint=f"wap rollback {table}",
                )


def _check_whole(catalog: BranchCatalog, targets: Sequence[Target]) -> None:
    """Every group's run that is taken back is taken back in all of its tables, or in none."""
    taken = {(target.table, seal.run_id) for target in targets for seal in target.undone}
    for target in targets:
        for seal in target.undone:
            left = sorted(
                table
                for table in evidence.together(seal)
                if (table, seal.run_id) not in taken and _shows(catalog, table, seal.run_id)
            )
            if left:
                raise GroupRefusedError(
                    f"the group's run {seal.run_id} published it together with "
                    f"{', '.join(map(str, left))}: they go back together or not at all",
                    where=str(target.table),
                    hint=f"wap rollback --group {seal.run_id}",
                )


def _shows(catalog: BranchCatalog, table: TableName, run: str) -> bool:
    return any(_is_of(seal, run) for seal in _seals(catalog, table))


def _seals(catalog: BranchCatalog, table: TableName) -> Iterator[Seal]:
    return (seal for _, seal in evidence.seals(catalog, table))


def roll_back(
    catalog: BranchCatalog, targets: Sequence[Target], emptying: Emptying
) -> list[Snapshot]:
    """Move main of all of them back in one step.

    Args:
        targets: where to.
        emptying: makes the empty states among them.

    Raises:
        HeadMovedError: somebody published meanwhile; look again. Nothing has moved.
        UnsealedError: somebody else wrote to a quarantine table that would be emptied; or see the
            port. Nothing has moved.
        UnsupportedError: several tables, and the catalog cannot.
    """
    moves = [Back(t.table, t.to, t.expected) for t in targets if t.to is not None]
    emptied = [Emptied(t.table, t.expected, t.undone) for t in targets if t.to is None]
    if not emptied:
        return catalog.roll_back(moves)
    with emptying.heads(emptied) as heads:
        return catalog.roll_back(moves, heads)
