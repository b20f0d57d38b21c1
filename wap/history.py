"""What the seals on main tell afterwards: the facts of each run, and the ledger again."""

from __future__ import annotations

from catalog.base import BranchCatalog
from catalog.refs import TableName
from wap import evidence
from wap.ledger.base import Ledger
from wap.model import RunFacts
from wap.quarantine.table import is_quarantine


def rebuild(catalog: BranchCatalog, ledger: Ledger) -> int:
    """Put the runs that main's seals tell of into the ledger where they are missing."""
    # What lies in a quarantine table was set aside by runs of another table, which tells of them.
    tables = [table for table in catalog.tables() if not is_quarantine(table)]
    facts = [f for table in tables for f in sealed_facts(catalog, table)]
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
