"""What Alembic runs for each upgrade: inside the transaction that our own code opened."""

from __future__ import annotations

from alembic import context

from wap.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can do so too; Alembic leaves it off there because pysqlite once could not.
    transactional_ddl=True,
    render_as_batch=True,
)
context.run_migrations()
