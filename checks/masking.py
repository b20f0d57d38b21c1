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


def shows_own_columns(sql: str) -> bool:
    """Whether a query returns columns under their own names, so that masking by name is enough.

    ``SELECT email AS note`` or a subquery would carry a masked value under another name.
    """
    try:
        query = parse_one(sql, dialect="duckdb")
    except SqlglotError:
        return False
    if not isinstance(query, exp.Select) or query.find(exp.Subquery, exp.CTE):
        return False
    stars = list(query.find_all(exp.Star))
    renamed = any(star.args.get(change) for star in stars for change in ("replace", "rename"))
    return not renamed and all(isinstance(e, exp.Column | exp.Star) for e in query.expressions)


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
