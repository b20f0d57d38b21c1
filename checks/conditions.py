"""DuckDB SQL of our own for one rule: which rows it looks at, and which break it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlglot import exp

from checks.contract import Contract
from checks.rules import Rule

_LENGTHS = (("valid_length", "<>"), ("valid_min_length", "<"), ("valid_max_length", ">"))


def quoted(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return exp.to_identifier(name, quoted=True).sql("duckdb")


def literal(value: object) -> str:
    """A number or a text as an SQL literal."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return exp.Literal.string(str(value)).sql("duckdb")
    return str(value)


def view(schema: str, relation: str) -> str:
    """A view's full quoted name."""
    return f"{quoted(schema)}.{quoted(relation)}"


def looked_at(contract: Contract, rule: Rule) -> str:
    """Condition of the rows a rule looks at: the contract's filter and its own."""
    return all_of((contract.filter, rule.filter))


def all_of(conditions: Iterable[str | None]) -> str:
    """Conditions joined by AND, each in brackets; TRUE when there is none."""
    # A line break ends a comment that a person's condition may end with.
    return " AND ".join(f"({c}\n)" for c in conditions if c) or "TRUE"


def missing(rule: Rule, column: str) -> str:
    """Condition of a missing value."""
    body, conditions = rule.body, [f"{column} IS NULL"]
    if body.get("missing_values"):
        conditions.append(f"{column} IN ({_list(body['missing_values'])})")
    if body.get("missing_format"):
        conditions.append(_matches(column, body["missing_format"]))
    return _any_of(conditions)


def invalid(rule: Rule, column: str) -> str:
    """Condition of a value that is there and not valid (reference data aside)."""
    body = rule.body
    conditions = [text for key, text in _invalid(body, column) if body.get(key) is not None]
    conditions += [
        f"LENGTH({column}) {sign} {literal(body[key])}" for key, sign in _LENGTHS if key in body
    ]
    return all_of((f"NOT ({missing(rule, column)})", _any_of(conditions)))


def unknown(rule: Rule, column: str) -> str:
    """Condition of a value that the reference data does not have."""
    data = rule.body["valid_reference_data"]
    *_, schema, relation = data["dataset"].split("/")
    reference = f"{view(schema, relation)} AS known"
    known = f"SELECT 1 FROM {reference} WHERE known.{quoted(data['column'])} = {column}"  # noqa: S608 - names are quoted
    return all_of((f"NOT ({missing(rule, column)})", f"NOT EXISTS ({known})"))


def breaking(rule: Rule) -> str | None:
    """Condition of a row that breaks the rule; None where no single row does."""
    column = f"checked.{quoted(rule.column)}" if rule.column else ""
    match rule.kind:
        case "missing":
            return missing(rule, column)
        case "invalid" if "valid_reference_data" in rule.body:
            return unknown(rule, column)
        case "invalid":
            return invalid(rule, column)
        case "failed_rows" if rule.body.get("expression"):
            return str(rule.body["expression"])
        case _:
            return None


def _invalid(body: Mapping[str, Any], column: str) -> Iterable[tuple[str, str]]:
    yield "valid_values", f"NOT {_in(column, body.get('valid_values'))}"
    yield "invalid_values", _in(column, body.get("invalid_values"))
    yield "valid_format", f"NOT {_matches(column, body.get('valid_format') or {})}"
    yield "invalid_format", _matches(column, body.get("invalid_format") or {})
    yield "valid_min", f"{column} < {literal(body.get('valid_min'))}"
    yield "valid_max", f"{column} > {literal(body.get('valid_max'))}"


def _in(column: str, values: Iterable[object] | None) -> str:
    listed = _list(values or ())
    return f"({column} IN ({listed}))" if listed else "FALSE"


def _list(values: Iterable[object]) -> str:
    return ", ".join(literal(v) for v in values)


def _matches(column: str, form: Mapping[str, Any]) -> str:
    return f"REGEXP_MATCHES({column}, {literal(form.get('regex', ''))})"


def _any_of(conditions: Iterable[str]) -> str:
    return " OR ".join(f"({c})" for c in conditions) or "FALSE"
