"""A few rows that break a rule, as text a person may see: for the report, never for the verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from checks.base import Relation
from checks.conditions import all_of, breaking, looked_at, quoted, view
from checks.contract import Contract
from checks.masking import MASK, engine_message, is_masked, mentions, own_columns
from checks.rules import Rule
from checks.spark import REFUSALS

#: Rows, columns and characters that a report shows at most.
ROWS, COLUMNS, CHARACTERS = 5, 12, 80
COPIES = "(copies)"

Sample = tuple[dict[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class Sampled:
    """Failing rows, or why there are none to show."""

    rows: Sample = ()
    note: str = ""


def failing_rows(relation: Relation, contract: Contract, rule: Rule, *, rows: int) -> Sampled:
    """Up to ``rows`` rows that break the rule; masked, cut, values as text."""
    sql = _query(relation, contract, rule, rows)
    if not sql or not rows:
        return Sampled()
    try:
        cursor = relation.connection.execute(sql)
        names = [column[0] for column in cursor.description]
        found = cursor.fetchall()
    except REFUSALS as exc:
        reason = engine_message(str(exc), relation.masked)
        return Sampled(note=f"no failing rows can be shown: {reason}")
    if relation.masked and not _names_are_ours(relation, rule):
        # Neither a value nor a name of such a query is sure: PIVOT makes names out of values.
        names = [f"column {n}" for n in range(1, len(names) + 1)]
        return Sampled(tuple(_shown(names, row, frozenset(names)) for row in found))
    hidden = frozenset(n for n in names if is_masked(n, relation.masked))
    return Sampled(tuple(_shown(names, row, hidden) for row in found))


def _query(relation: Relation, contract: Contract, rule: Rule, rows: int) -> str:
    source = view(relation.schema, contract.relation)
    where = looked_at(contract, rule)
    if rule.kind == "duplicate":
        keys = ", ".join(quoted(c) for c in rule.columns)
        if rule.column is not None:
            where = all_of((where, f"{quoted(rule.column)} IS NOT NULL"))
        return (
            f"SELECT {keys}, count(*) AS {quoted(COPIES)} FROM {source} WHERE {where} "  # noqa: S608 - names are quoted, conditions are the contract's
            f"GROUP BY {keys} HAVING count(*) > 1 LIMIT {rows}"
        )
    query = rule.body.get("query") or rule.body.get("keys_query")
    if rule.kind == "failed_rows" and query:
        return f"SELECT * FROM (\n{query}\n) LIMIT {rows}"  # noqa: S608 - the contract's own query
    condition = breaking(rule)
    if condition is None:
        return ""
    columns = ", ".join(f"checked.{quoted(c)}" for c in _columns(relation, contract, rule))
    broken = all_of((where, condition))
    return f"SELECT {columns} FROM {source} AS checked WHERE {broken} LIMIT {rows}"  # noqa: S608 - as above


def _columns(relation: Relation, contract: Contract, rule: Rule) -> Sequence[str]:
    """The key, the checked column and the ones the rule mentions, then the others."""
    unique = [r.columns for r in contract.rules if r.kind == "duplicate"]
    named = [c for c in relation.columns if rule.sql and mentions(rule.sql, (c,))]
    first = [*relation.keys, *(c for columns in unique for c in columns), *rule.columns, *named]
    ordered = dict.fromkeys([*rule.columns, *first, *relation.columns])
    chosen = [c for c in ordered if c in relation.columns][:COLUMNS]
    front = [c for c in dict.fromkeys(first) if c in chosen]
    return [*front, *(c for c in chosen if c not in front)]


def _names_are_ours(relation: Relation, rule: Rule) -> bool:
    query = rule.body.get("query") or rule.body.get("keys_query")
    if rule.kind != "failed_rows" or not query:
        return True
    views = (relation.table, f"{relation.table}__batch", f"{relation.table}__published")
    return own_columns(query, views, relation.columns)


def _shown(
    names: Sequence[str], row: Sequence[Any], hidden: frozenset[str]
) -> dict[str, str | None]:
    return {n: _text(v, hidden=n in hidden) for n, v in zip(names, row, strict=True)}


def _text(value: Any, *, hidden: bool) -> str | None:
    if value is None:
        return None
    if hidden:
        return MASK
    text = str(value)
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"
