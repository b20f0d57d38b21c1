"""What the seals on main tell afterwards: the facts of each run, and the ledger again."""

from __future__ import annotations

from catalog.base import BranchCatalog
from catalog.refs import TableName
from wap import evidence
from wap.homes import RunHome
from wap.ledger.base import Ledger
from wap.model import RunFacts
from wap.quarantine.table import is_quarantine


def rebuild(catalog: BranchCatalog, ledger: Ledger, home: RunHome) -> int:
    """Put runs into the ledger where they are missing: what main's seals tell of, and what is held.

    Returns:
        How many were missing.
    """
    # What lies in a quarantine table was set aside by runs of another table, which tells of them.
    tables = [table for table in catalog.tables() if not is_quarantine(table)]
    facts = [f for table in tables for f in sealed_facts(catalog, table)]
    return ledger.rebuild(facts) + sum(_hold(ledger, held) for held in home.held())


def _hold(ledger: Ledger, facts: RunFacts) -> bool:
    """Tell of a run that was held, unless more is known of it; its end it tells by itself."""
    known = ledger.run(facts.result.run_id)
    if known is not None and (known.ended_at is not None or known.result.held is not None):
        return False
    ledger.hold(facts)
    return True


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
