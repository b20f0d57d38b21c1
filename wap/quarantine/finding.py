"""Finding the rows of a batch that break failed checks, each once, in the auditor's connection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from checks.base import Relation
from checks.contract import Contract
from checks.masking import engine_message
from checks.row_level import broken_by
from checks.rules import Rule
from checks.words import title
from wap.model import SetAside
from wap.remote_files import failure_of

#: Where a row of what is looked at lies: its file, by number, and its place in that. No column of a
#: table is called so.
FILE, PLACE = '"wap file"', '"wap row"'

#: Rows that break a rule: which rule, which file, and where in it. One may break several.
_TABLES = (
    "CREATE TEMP TABLE wap_found (rule INTEGER, f BIGINT, r BIGINT)",
    "CREATE TEMP TABLE wap_rules (rule INTEGER, name VARCHAR, title VARCHAR)",
)
_BROKEN = """
CREATE TEMP TABLE wap_broken AS
SELECT f, r, list(name ORDER BY rule) AS names, string_agg(title, '; ' ORDER BY rule) AS titles,
    row_number() OVER (ORDER BY f, r) AS number
FROM wap_found JOIN wap_rules USING (rule) GROUP BY f, r
"""


class CannotDivideError(Exception):
    """The batch cannot be divided; the text says why. A verdict, and no error of the run."""


@dataclass(frozen=True)
class Found:
    """What was found; the rows are in the connection's table ``wap_broken``.

    Attributes:
        checks: the failed checks with the rows that break each.
        rows: rows that break one, each counted once.
        files: numbers of the files that hold one.
    """

    checks: tuple[SetAside, ...]
    rows: int
    files: frozenset[int]


def find(relation: Relation, checked: str, failed: Sequence[tuple[Contract, Rule]]) -> Found:
    """Find the rows that break one of the rules.

    Args:
        relation: what the audit looked at.
        checked: a query of the batch's rows by their columns' names, with :data:`FILE` and
            :data:`PLACE`.
        failed: row-level rules.

    Raises:
        CannotDivideError: a rule cannot say which rows it is about.
        CatalogUnavailableError: the storage does not answer.
    """
    con = relation.connection
    for table in _TABLES:
        con.execute(table)
    counts = []
    for number, (contract, rule) in enumerate(failed):
        con.execute("INSERT INTO wap_rules VALUES (?, ?, ?)", [number, rule.name, title(rule)])
        condition = broken_by(relation, contract, rule)
        sql = (
            f"INSERT INTO wap_found SELECT {number}, checked.{FILE}, checked.{PLACE} "  # noqa: S608 - the contract's condition
            f"FROM ({checked}) AS checked WHERE {condition}"
        )
        counts.append(SetAside(name=rule.name, title=title(rule), rows=_run(relation, sql, rule)))
    con.execute(_BROKEN)
    rows = con.execute("SELECT count(*) FROM wap_broken").fetchone()[0]
    places = con.execute("SELECT DISTINCT f FROM wap_broken").fetchall()
    return Found(tuple(counts), rows, frozenset(int(f) for (f,) in places))


def _run(relation: Relation, sql: str, rule: Rule) -> int:
    try:
        return int(relation.connection.execute(sql).fetchone()[0])
    except duckdb.Error as exc:
        failure = failure_of(relation.connection)
        if failure is not None:
            raise failure from exc
        said = engine_message(str(exc), relation.masked)
        raise CannotDivideError(f"which rows break {rule.name} cannot be told: {said}") from exc
