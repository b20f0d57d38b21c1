"""Words for a rule and what it measured, for readers who know no SQL. Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from checks.masking import MASK, is_masked
from checks.rules import Rule
from checks.thresholds import Comparison, number

_FUNCTIONS = {
    "avg": "average of", "sum": "sum of", "min": "smallest", "max": "largest",
    "minlength": "shortest text in", "maxlength": "longest text in",
    "avglength": "average text length in",
}  # fmt: skip
_COUNTED = {
    "missing": "missing values",
    "invalid": "invalid values",
    "duplicate": "repeated keys",
    "failed_rows": "rows that break the rule",
    "row_count": "number of rows",
}
_TITLES = {
    "missing": "{0} is filled in",
    "invalid": "{0} holds valid values only",
    "duplicate": "{0} is unique",
    "row_count": "Number of rows",
    "freshness": "{0} is recent",
    "schema": "Columns are as the contract lists them",
    "failed_rows": "No row with {1}",
    "metric": "Figure: {1}",
}
_ONLY_ZERO = (("must_be", 0.0),)
_LONGEST_LIST = 8


def share(part: int, whole: int | None) -> str:
    """``8,255 of 336,776 rows (2.45 %)``."""
    if whole is None:
        return f"{part:,} rows"
    return f"{part:,} of {whole:,} rows{f' ({_percent(part, whole)} %)' if whole else ''}"


def _percent(part: int, whole: int) -> str:
    """Two decimals, but never rounded to none or to all."""
    text = f"{part * 100 / whole:.2f}"
    if text == "0.00" and part:
        return "below 0.01"
    return "above 99.99" if text == "100.00" and part < whole else text


def title(rule: Rule) -> str:
    """What the rule is about, in one sentence."""
    if rule.body.get("name"):
        return str(rule.body["name"])
    names = ", ".join(rule.columns)
    if rule.kind == "aggregate":
        return f"{_function(rule).capitalize()} {names}"
    if rule.kind == "failed_rows" and "expression" not in rule.body:
        return "No row found by a query"
    several = len(rule.columns) > 1
    return _TITLES[rule.kind].format(f"({names})" if several else names, _sql(rule))


def expected(rule: Rule, masked: Collection[str]) -> str:
    """The rule in words: what counts, and which number passes."""
    if rule.kind == "schema":
        return _schema(rule)
    threshold = rule.threshold
    unit = _unit(rule)
    subject = _subject(rule)
    parts = []
    if threshold.fail is not None:
        parts.append(_condition(rule, subject, threshold.fail, unit))
    if threshold.warn is not None:
        parts.append(f"warns unless {_condition(rule, subject, threshold.warn, unit)}")
    detail = _validity(rule, masked)
    return "; ".join([*parts, *([detail] if detail else [])])


def figure(rule: Rule, value: float) -> str:
    """A measured number that is no share of rows."""
    if rule.kind == "row_count":
        return f"{number(value)} rows"
    if rule.kind == "freshness":
        return f"{value:,.1f} {rule.threshold.unit or 'hour'}s old"
    return number(value)


def _condition(rule: Rule, subject: str, comparison: Comparison, unit: str) -> str:
    if rule.kind in _COUNTED and comparison.parts == _ONLY_ZERO:
        return f"no {subject.removeprefix('number of ').removesuffix('s')}"
    if rule.kind == "row_count":
        return comparison.words(unit)
    return f"{subject}: {comparison.words(unit)}" if subject else comparison.words(unit)


def _subject(rule: Rule) -> str:
    if rule.kind == "duplicate":
        return "repeated values" if len(rule.columns) == 1 else "repeated keys"
    if rule.kind == "freshness":
        return "age of the newest value"
    if rule.kind == "failed_rows":
        return "rows that break the rule"
    return _COUNTED.get(rule.kind, "")


def _unit(rule: Rule) -> str:
    if rule.threshold.metric == "percent":
        return "%"
    if rule.kind == "freshness":
        return f"{rule.threshold.unit or 'hour'}s"
    return "rows" if rule.kind in _COUNTED else ""


def _function(rule: Rule) -> str:
    return _FUNCTIONS.get(str(rule.body["function"]).lower(), str(rule.body["function"]))


def _sql(rule: Rule) -> str:
    text = " ".join(str(rule.body.get("expression") or rule.body.get("query") or "").split())
    return f"{text[:77]}…" if len(text) > 80 else text  # noqa: PLR2004 - a line of text


def _schema(rule: Rule) -> str:
    extra = "more may exist" if rule.body.get("allow_extra_columns") else "and no others"
    order = "in any order" if rule.body.get("allow_other_column_order") else "in this order"
    return f"the listed columns and types, {order}, {extra}"


def _validity(rule: Rule, masked: Collection[str]) -> str:
    body = rule.body
    hidden = rule.column is not None and is_masked(rule.column, masked)
    found = [_says(key, body[key], hidden=hidden) for key in _SAID if key in body]
    text = " and ".join(t for t in found if t)
    if rule.kind == "missing":
        return f"also missing: {text}" if text else ""
    return f"valid is {text}" if text else ""


_SAID = {
    "missing_values": "{}",
    "missing_format": "text like «{}»",
    "valid_values": "one of {}",
    "invalid_values": "none of {}",
    "valid_format": "text like «{}»",
    "invalid_format": "no text like «{}»",
    "valid_min": "at least {}",
    "valid_max": "at most {}",
    "valid_length": "text of length {}",
    "valid_min_length": "text of length {} or more",
    "valid_max_length": "text of length {} or less",
    "valid_reference_data": "what is in {}",
}


def _says(key: str, value: Any, *, hidden: bool) -> str:
    if isinstance(value, list):
        text = f"{len(value)} listed values ({MASK})" if hidden else _listed(value)
    elif key.endswith("format"):
        text = str(value["name"])
    elif key == "valid_reference_data":
        text = f"{value['dataset'].rpartition('/')[2]}.{value['column']}"
    else:
        shown = number(value) if isinstance(value, int | float) else str(value)
        text = MASK if hidden and "length" not in key else shown
    return _SAID[key].format(text)


def _listed(values: list[Any]) -> str:
    shown = [repr(v) if isinstance(v, str) else str(v) for v in values[:_LONGEST_LIST]]
    more = len(values) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
