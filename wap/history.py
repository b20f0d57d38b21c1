"""What the seals on main tell afterwards: the way back, and the ledger again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from catalog.base import BranchCatalog
from catalog.errors import TableNotFoundError, UnsealedError
from catalog.refs import Snapshot, TableName
from wap import evidence
from wap.ledger.base import Ledger
from wap.model import RunFacts


@dataclass(frozen=True, slots=True)
class Target:
    """Where a roll-back would move main, and who published that."""

    table: TableName
    expected: int
    to: int
    run_id: str
    published_at: datetime


def rollback_target(catalog: BranchCatalog, table: str, to: int | None) -> Target:
    """The sealed snapshot to go back to: the one asked for, or the newest before main's head.

    Raises:
        TableNotFoundError: not published.
        UnsealedError: there is no such earlier sealed snapshot.
    """
    name = TableName.parse(table)
    published = catalog.published(name)
    if published is None:
        raise TableNotFoundError("no such published table", where=table)
    earlier = [(s, seal) for s, seal in evidence.seals(catalog, name)
               if s.id != published.snapshot.id]  # fmt: skip
    for snapshot, seal in earlier:
        if to in (None, snapshot.id):
            head = published.snapshot.id
            return Target(name, head, snapshot.id, seal.run_id, snapshot.committed_at)
    listed = ", ".join(str(s.id) for s, _ in earlier)
    raise UnsealedError(
        "there is no earlier sealed snapshot" if to is None else f"{to} is not a sealed snapshot",
        where=table,
        hint=f"earlier sealed snapshots of main: {listed or 'none'}",
    )


def roll_back(catalog: BranchCatalog, target: Target) -> Snapshot:
    """Move main back.

    Raises:
        HeadMovedError: somebody published meanwhile; look again.
    """
    return catalog.rollback(target.table, target.to, target.expected)


def rebuild(catalog: BranchCatalog, ledger: Ledger) -> int:
    """Put the runs that main's seals tell of into the ledger where they are missing."""
    facts = [f for table in catalog.tables() for f in sealed_facts(catalog, table)]
    return ledger.rebuild(facts)


def sealed_facts(catalog: BranchCatalog, table: TableName) -> list[RunFacts]:
    """The facts of every run whose seal main holds, newest first."""
    published = catalog.published(table)
    if published is None:
        return []
    found = []
    for snapshot, seal in evidence.seals(catalog, table):
        for facts in evidence.read(published.io, published.location, seal).all_facts():
            move = facts.result.snapshot.model_copy(update={"after": snapshot.id})
            result = facts.result.model_copy(update={"snapshot": move})
            ended = {"ended_at": snapshot.committed_at}
            found.append(facts.with_result(result).model_copy(update=ended))
    return found
