"""What waits in a quarantine table, and why: for whoever looks at the table's state."""

from __future__ import annotations

from pathlib import Path

from catalog.base import BranchCatalog
from catalog.refs import TableName
from wap.model import Value
from wap.quarantine.table import REASON, REPLAYED_RUN, quarantine_of
from wap.relations import connect, create_view


class Reason(Value):
    """Rows that wait for the same reason: what the checks that they break expect."""

    reason: str
    rows: int


class Pending(Value):
    """The rows of a quarantine table that no replay has published yet.

    Attributes:
        table: the quarantine table.
        reasons: that of most rows first.
    """

    table: str
    rows: int
    reasons: tuple[Reason, ...]


def pending(
    catalog: BranchCatalog, table: TableName, *, temp_directory: Path, memory_limit: str
) -> Pending | None:
    """Count what waits of a table's rows; None: nothing does.

    Raises:
        RelationError, CatalogUnavailableError: a file cannot be read.
    """
    aside = quarantine_of(table)
    published = catalog.published(aside)
    if published is None:
        return None
    con = connect(temp_directory=temp_directory, memory_limit=memory_limit)
    try:
        create_view(con, "aside", "waits", catalog.scan(aside, published.snapshot.id))
        found = con.execute(
            f"SELECT {REASON}, count(*) FROM aside.waits WHERE {REPLAYED_RUN} IS NULL "  # noqa: S608 - names of ours
            "GROUP BY 1 ORDER BY 2 DESC, 1"
        ).fetchall()
    finally:
        con.close()
    reasons = tuple(Reason(reason=reason, rows=rows) for reason, rows in found)
    rows = sum(one.rows for one in reasons)
    return Pending(table=str(aside), rows=rows, reasons=reasons) if rows else None
