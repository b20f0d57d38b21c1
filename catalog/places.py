"""Where a run's branch of one table is: the metadata that holds it, and the ref in it."""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.table import Table

from catalog.history import Chain, is_hidden, run_chain
from catalog.refs import Branch, TableName


@dataclass(frozen=True, slots=True)
class Place:
    """One table on a run's branch.

    Attributes:
        table: the metadata that holds the run's snapshots.
        ref: the ref in that metadata which the run moves.
        chain: the run's own snapshots.
        expected: main's head the run started from; None: it started without one.
    """

    branch: Branch
    name: TableName
    table: Table
    ref: str
    chain: Chain
    expected: int | None


def place_in(table: Table, branch: Branch, name: TableName) -> Place | None:
    """The place in a table that holds branches of its own; None when the run has none in it."""
    chain = run_chain(table, branch)
    if chain is None:
        return None
    expected = None if is_hidden(table) else chain.base
    return Place(branch, name, table, branch.name, chain, expected)
