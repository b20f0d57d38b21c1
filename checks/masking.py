"""Masking: what of a masked (PII) column may be shown, in one place. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from checks.rules import Rule

MASK = "•••"

#: Aggregates of a column that tell nothing of a single value.
_HARMLESS = ("avglength", "minlength", "maxlength")
#: DuckDB's errors that are raised before a row is read, so they cannot quote one.
_BEFORE_READING = ("Binder Error", "Parser Error", "Catalog Error")
_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"|`[^`]*`|«[^»]*»")


def is_masked(column: str, masked: Collection[str]) -> bool:
    """Whether a top-level column is masked, or holds a masked field (``person.name``)."""
    name = column.lower()
    return any(m.lower() == name or m.lower().startswith(name + ".") for m in masked)


def mentions(sql: str, masked: Collection[str]) -> bool:
    """Whether a person's SQL names a masked column."""
    tops = {m for name in masked for m in (name, name.partition(".")[0])}
    return any(re.search(rf"(?<!\w){re.escape(m)}(?!\w)", sql, re.IGNORECASE) for m in tops)


def hides_value(rule: Rule, masked: Collection[str]) -> bool:
    """Whether the number a rule measures could be (or give away) a masked value."""
    if rule.kind == "freshness":
        return any(is_masked(c, masked) for c in rule.columns)
    if rule.kind == "metric":
        return bool(masked) and (
            mentions(rule.sql, masked)
            or (rule.column is not None and is_masked(rule.column, masked))
        )
    if rule.kind == "aggregate":
        harmless = str(rule.body["function"]).lower() in _HARMLESS
        return not harmless and any(is_masked(c, masked) for c in rule.columns)
    return False


def own_columns(sql: str, relations: Collection[str], columns: Collection[str]) -> bool:
    """Whether a query returns these relations' columns under their own names and nothing else.

    Only then is masking by name enough: ``SELECT email AS note``, a subquery, a whole row or a
    renamed relation would carry a masked value under another name.

    Args:
        sql: the query.
        relations: views whose columns may be returned.
        columns: names of those columns.
    """
    try:
        query = parse_one(sql, dialect="duckdb")
    except SqlglotError:
        return False
    if not isinstance(query, exp.Select) or any(query.find(kind) for kind in _DERIVED):
        return False
    tables = list(query.find_all(exp.Table))
    plain = all(isinstance(t.this, exp.Identifier) and t.name in relations for t in tables)
    renamed = any(alias.args.get("columns") for alias in query.find_all(exp.TableAlias))
    names = {t.alias_or_name for t in tables} - set(columns)
    return plain and not renamed and all(_as_it_is(e, names, columns) for e in query.expressions)


_DERIVED = (exp.Subquery, exp.CTE, exp.Values, exp.Unnest, exp.Lateral, exp.Pivot)


def _as_it_is(selected: exp.Expression, tables: Collection[str], columns: Collection[str]) -> bool:
    if isinstance(selected, exp.Star):
        return not any(selected.args.get(change) for change in ("replace", "rename"))
    if not isinstance(selected, exp.Column):
        return False
    if isinstance(selected.this, exp.Star):
        return _as_it_is(selected.this, tables, columns)
    return selected.name in columns and (not selected.table or selected.table in tables)


def engine_message(text: str, masked: Collection[str]) -> str:
    """An engine's error text that quotes no row of a table with masked columns."""
    line = " ".join(text.split())
    if not masked or any(kind in line for kind in _BEFORE_READING):
        return line[:500]
    kind = re.search(r"\w+ Error", line)
    return f"{kind[0] if kind else 'an error'} (details withheld: the table has masked columns)"


def difference(line: str, masked: Collection[str]) -> str:
    """A line about a row that does not fit, without the values of masked columns it names."""
    if not mentions(line, masked):
        return line
    names = {quote + m + quote for m in masked for quote in ("'", '"', "`")}
    return _QUOTED.sub(lambda found: found[0] if found[0] in names else MASK, line)
