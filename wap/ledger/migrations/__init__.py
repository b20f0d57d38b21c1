"""Alembic's side of the ledger: how the tables came to be, one file a revision."""
