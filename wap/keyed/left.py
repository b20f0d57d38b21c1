"""What is left of a batch of which rows were set aside: all but those, told by their keys."""

from __future__ import annotations

from typing import Any

from catalog.base import Scan
from wap.errors import QuarantineError
from wap.keyed.names import Names
from wap.keyed.rule import Rule
from wap.relations import check_readable


def left(
    con: Any, query: str, without: Scan, names: Names, rule: Rule, where: str
) -> tuple[str, int]:
    """A query of the rows that are left, and how many more than those set aside it leaves out.

    Rows with one key and one ``order_by`` are equal, or the batch is refused: so these tell which
    rows are meant, and more are left out only where a row is there twice.

    Args:
        query: the batch's rows under our names.
        without: the rows that were set aside, in columns of the same names.
        where: the table, for messages.

    Raises:
        QuarantineError: a row that was set aside is none of the batch.
        RelationError, CatalogUnavailableError: a file of them cannot be read.
    """
    aside = Names(without.schema)
    told = [*rule.keys, *((rule.order_by,) if rule.order_by is not None else ())]
    columns = ", ".join(f"{aside.of(c)} AS a{n}" for n, c in enumerate(told))
    rows = aside.read(check_readable(con, without, where), without.rows)
    con.execute(f"CREATE TEMP TABLE aside AS SELECT {columns} FROM ({rows})")
    same = " AND ".join(
        f"aside.a{n} IS NOT DISTINCT FROM q.{names.of(c)}" for n, c in enumerate(told)
    )
    there, gone = con.execute(
        f"SELECT (SELECT count(*) FROM aside WHERE EXISTS (SELECT 1 FROM ({query}) AS q"
        f" WHERE {same})), (SELECT count(*) FROM ({query}) AS q WHERE EXISTS"
        f" (SELECT 1 FROM aside WHERE {same}))"
    ).fetchone()
    if there != without.rows:
        raise QuarantineError(
            f"of {without.rows:,} rows that were set aside {there:,} are in the batch", where=where
        )
    rest = f"SELECT q.* FROM ({query}) AS q WHERE NOT EXISTS (SELECT 1 FROM aside WHERE {same})"
    return rest, gone - there
