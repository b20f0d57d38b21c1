"""What happened, in a SQL database: pipelines, runs, steps, checks and files loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wap.ledger.base import Ledger

if TYPE_CHECKING:
    from wap.ledger.registry import Registry


def open_ledger(url: str) -> Ledger:
    """The ledger behind a SQLAlchemy URL, SQLite or Postgres; nothing is connected yet.

    Raises:
        LedgerError: the URL cannot be used.
        NotInstalledError: the database's driver is not installed.
    """
    # Imported here: SQLAlchemy takes a second that a door without a ledger need not wait for.
    from wap.ledger.sql import SqlLedger  # noqa: PLC0415 - see above

    return SqlLedger(url)


def open_registry(url: str, *, pooled: bool = True) -> Registry:
    """The pipelines kept in the ledger's database; nothing is connected yet.

    Args:
        pooled: keep connections between transactions; then it wants to be closed.

    Raises:
        LedgerError: the URL cannot be used.
        NotInstalledError: the database's driver is not installed.
    """
    from wap.ledger.registry import Registry  # noqa: PLC0415 - see above

    return Registry(url, pooled=pooled)
