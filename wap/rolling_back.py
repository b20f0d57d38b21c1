"""The way back: main of one table, or of all tables of a group's run, to earlier seals."""

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


@dataclass(frozen=True, slots=True)
class Target:
    """Where a roll-back would move main, and who published that.

    Attributes:
        undone: the seals that main would not show any more, newest first.
    """

    table: TableName
    expected: int
    to: int
    run_id: str
    published_at: datetime
    undone: tuple[Seal, ...] = ()


def rollback_target(catalog: BranchCatalog, table: str, to: int | None) -> Target:
    """The sealed snapshot to go back to: the one asked for, or the newest before main's head.

    Raises:
        TableNotFoundError: not published.
        UnsealedError: there is no such earlier sealed snapshot.
        GroupRefusedError: a group's run would be taken back in this table alone.
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
            return target
        undone.append(seal)
        earlier += [snapshot.id] if snapshot.id != head else []
    listed = ", ".join(map(str, earlier))
    raise UnsealedError(
        "there is no earlier sealed snapshot" if to is None else f"{to} is not a sealed snapshot",
        where=table,
        hint=f"earlier sealed snapshots of main: {listed or 'none'}",
    )


def group_targets(catalog: BranchCatalog, run_id: str) -> list[Target]:
    """For each table of a group's run the newest seal from before it.

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
    return found


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


def roll_back(catalog: BranchCatalog, targets: Sequence[Target]) -> list[Snapshot]:
    """Move main of all of them back in one step.

    Raises:
        HeadMovedError: somebody published meanwhile; look again. Nothing has moved.
        UnsupportedError: several tables, and the catalog cannot.
    """
    return catalog.roll_back([Back(t.table, t.to, t.expected) for t in targets])
