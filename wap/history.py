"""What the seals on main tell afterwards: proof for auditors, the way back, the ledger again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from catalog.base import BranchCatalog
from catalog.errors import TableNotFoundError, UnsealedError
from catalog.refs import Snapshot, TableName
from wap import evidence
from wap.ledger.base import Ledger
from wap.model import RunFacts, Value


class Unsealed(Value):
    """A snapshot of main that no seal covers, or whose evidence is damaged."""

    snapshot: int
    committed_at: datetime
    operation: str
    reason: str


class TableProof(Value):
    """What `wap verify` found for one table."""

    table: str
    snapshots: int
    sealed: int
    unsealed: tuple[Unsealed, ...]


def verify(catalog: BranchCatalog, tables: Sequence[TableName] = ()) -> list[TableProof]:
    """Walk main of each table (all by default) and name every snapshot without a seal (law 8).

    Raises:
        TableNotFoundError: a table asked for is not published.
    """
    known = catalog.tables()
    for table in tables:
        if table not in known:
            raise TableNotFoundError(
                "no such published table", where=str(table),
                hint=f"published: {', '.join(map(str, known)) or 'none yet'}",
            )  # fmt: skip
    return [_prove(catalog, table) for table in tables or known]


def _prove(catalog: BranchCatalog, table: TableName) -> TableProof:
    log = catalog.log(table)
    bare = [_unsealed(s, "no seal covers it") for s in catalog.verify(table)]
    damaged = []
    published = catalog.published(table)
    for snapshot, seal in evidence.seals(catalog, table):
        try:
            if published is not None:
                evidence.read(published.io, published.location, seal)
        except UnsealedError as exc:
            damaged.append(_unsealed(snapshot, exc.what))
    return TableProof(
        table=str(table),
        snapshots=len(log),
        sealed=sum(s.is_sealed for s in log) - len(damaged),
        unsealed=tuple(bare + damaged),
    )


def _unsealed(snapshot: Snapshot, reason: str) -> Unsealed:
    return Unsealed(
        snapshot=snapshot.id,
        committed_at=snapshot.committed_at,
        operation=snapshot.operation,
        reason=reason,
    )


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
        facts = evidence.read(published.io, published.location, seal).facts
        move = facts.result.snapshot.model_copy(update={"after": snapshot.id})
        result = facts.result.model_copy(update={"snapshot": move})
        found.append(
            facts.with_result(result).model_copy(update={"ended_at": snapshot.committed_at})
        )
    return found
