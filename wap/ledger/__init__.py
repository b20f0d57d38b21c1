"""What happened, in a SQL database: pipelines, runs, steps, checks and files loaded."""

from __future__ import annotations

from wap.ledger.base import Ledger


def open_ledger(url: str) -> Ledger:
    """The ledger behind a SQLAlchemy URL, SQLite or Postgres; nothing is connected yet.

    Raises:
        LedgerError: the URL cannot be used.
        NotInstalledError: the database's driver is not installed.
    """
    # Imported here: SQLAlchemy takes a second that a door without a ledger need not wait for.
    from wap.ledger.sql import SqlLedger  # noqa: PLC0415 - see above

    return SqlLedger(url)
