"""A contract: Soda's YAML, proved to be what it says before anything runs. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from checks.errors import ContractError
from checks.grammar import (
    COLUMN_KEYS,
    check_body,
    check_document,
    check_schema,
    check_types,
    fail,
    nearest,
    only_known,
)
from checks.positions import Document, Place, read
from checks.rules import Rule, relative_path

_VARIABLE = re.compile(r"\$\{ *([a-z]+)\.([a-zA-Z_][a-zA-Z_0-9]*) *\}")
_DATASET_PARTS = 3


@dataclass(frozen=True, slots=True)
class Contract:
    """One contract file.

    Attributes:
        path: where it lies in the project, for messages and the report.
        text: as written.
        relation: the view it checks (last part of ``dataset``).
        declared: names of its checks, ``<path>:<relative path in the contract>``.
        data: the parsed YAML, variables filled in.
        source, schema: the first two parts of ``dataset``.
        rules: its checks, in the order they are written.
    """

    path: str
    text: str
    relation: str
    declared: frozenset[str]
    data: dict[str, Any]
    source: str = ""
    schema: str = ""
    rules: tuple[Rule, ...] = ()

    @property
    def digest(self) -> str:
        """sha256 hex of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def filter(self) -> str | None:
        """SQL condition of the rows that all its checks look at."""
        text = str(self.data.get("filter") or "").strip()
        return text or None


def parse_contract(text: str, path: str) -> Contract:
    """Read a contract and prove it: every key known, every check evaluable, at least one.

    Raises:
        ContractError: with file, line and a hint.
    """
    document = read(text, path)
    _check_text(document)
    check_document(document)
    document = _fill_in(document)
    source, schema, relation = _dataset(document)
    rules = tuple(_rules(document))
    if not rules:
        hint = "a contract without checks would pass any data; add a check, or remove the file"
        raise fail(document, [], "this contract declares no check", hint)
    check_schema(document)
    return Contract(
        path=path,
        text=text,
        relation=relation,
        declared=frozenset(rule.name for rule in rules),
        data=document.data,
        source=source,
        schema=schema,
        rules=rules,
    )


def check_columns(contract: Contract, columns: Mapping[str, str]) -> None:
    """Prove that every column the contract names is one of the relation's.

    Columns inside SQL text are left to the engine, which reports them by name.

    Raises:
        ContractError: with file, line and the nearest name.
    """
    document = read(contract.text, contract.path)
    for place, name in _named_columns(contract):
        if name not in columns:
            what = f"{contract.relation} has no column {name!r}"
            raise fail(document, place, what, nearest(name, columns))


def _named_columns(contract: Contract) -> Iterator[tuple[Place, str]]:
    for i, column in enumerate(contract.data["columns"]):
        yield ["columns", i, "name"], column["name"]
    for i, check in enumerate(contract.data.get("checks") or ()):
        ((kind, body),) = check.items()
        if kind == "duplicate":
            for j, name in enumerate(body["columns"]):
                yield ["checks", i, kind, "columns", j], name
        if kind == "freshness":
            yield ["checks", i, kind, "column"], body["column"]


def _check_text(document: Document) -> None:
    """Refuse half a character (an escape from D800 to DFFF): no name, no digest can hold it."""
    try:
        json.dumps(document.data, ensure_ascii=False, default=str).encode()
    except UnicodeEncodeError as exc:
        hint = "remove escapes from \\ud800 to \\udfff"
        raise fail(document, [], "half a character is in this file", hint) from exc


def _dataset(document: Document) -> tuple[str, str, str]:
    name = document.data["dataset"]
    parts = name.split("/") if isinstance(name, str) else []
    if len(parts) != _DATASET_PARTS or not all(parts):
        what = f"dataset {name!r} is not <source>/<namespace>/<relation>"
        raise fail(document, ["dataset"], what, "for example lake/nyc/flights")
    source, schema, relation = parts
    return source, schema, relation


def _rules(document: Document) -> Iterator[Rule]:
    seen: dict[str, Rule] = {}
    for rule in (*_column_rules(document), *_checks_at(document, [], None)):
        twin = seen.setdefault(rule.name, rule)
        if twin is not rule:
            raise ContractError(
                f"two checks are both {rule.relative_path!r}",
                where=rule.where,
                hint=f"the other stands at {twin.where}; give one of them a qualifier:",
            )
        yield rule


def _column_rules(document: Document) -> Iterator[Rule]:
    columns = document.data["columns"]
    if not isinstance(columns, list):
        raise fail(document, ["columns"], "columns is a list", "write - name: … for each")
    names: set[str] = set()
    for i, column in enumerate(columns):
        place: Place = ["columns", i]
        only_known(document, place, column, COLUMN_KEYS)
        name = column.get("name") if isinstance(column, dict) else None
        if not isinstance(name, str) or not name:
            raise fail(document, place, "a column needs a name", "write - name: <column>")
        if name in names:
            raise fail(document, place, f"column {name!r} stands twice")
        names.add(name)
        yield from _checks_at(document, place, name)


def _checks_at(document: Document, place: Place, column: str | None) -> Iterator[Rule]:
    node = document.data
    for step in place:
        node = node[step]
    checks = node.get("checks", ())
    if "checks" in node and (not isinstance(checks, list) or not checks):
        hint = "add a check, or remove the key"
        raise fail(document, [*place, "checks"], "checks is not a list with a check in it", hint)
    for i, check in enumerate(checks):
        there = [*place, "checks", i]
        kind = _kind(document, there, check, of_column=column is not None)
        body = check[kind]
        check_body(document, [*there, kind], kind, body, of_column=column is not None)
        body = body or {}
        path = relative_path(column, kind, body.get("qualifier"))
        yield Rule(
            name=f"{document.path}:{path}",
            relative_path=path,
            relation=document.data["dataset"].rpartition("/")[2],
            kind=kind,
            column=column,
            body=body,
            where=document.at([*there, kind]),
        )


def _kind(document: Document, place: Place, check: Any, *, of_column: bool) -> str:
    if isinstance(check, str):
        what = f"the colon after {check!r} is missing"
        raise fail(document, place, what, f"write - {check}:")
    if not isinstance(check, dict) or len(check) != 1:
        what = "a check is a mapping with one key, its type"
        raise fail(document, place, what, "write each check as its own list item")
    (kind,) = check
    types = check_types(of_column=of_column)
    if kind not in types:
        what = f"unknown check type {kind!r}"
        if kind in check_types(of_column=not of_column):
            there = "under a column" if of_column else "for the whole relation"
            what = f"a {kind} check cannot stand {there}"
        raise fail(document, [*place, kind], what, nearest(str(kind), types))
    return str(kind)


def _fill_in(document: Document) -> Document:
    """The document with ``${var.X}`` replaced by the defaults it declares."""
    values = {}
    for name, body in (document.data.get("variables") or {}).items():
        default = body.get("default") if isinstance(body, dict) else None
        if default is None:
            what = f"variable {name!r} has no value"
            raise fail(document, ["variables", name], what, f"write {name}: {{default: …}}")
        if isinstance(default, str) and _VARIABLE.search(default):
            # Soda would fill it in once more, out of our sight.
            what = f"the default of variable {name!r} holds another variable"
            raise fail(document, ["variables", name], what, "write the value itself")
        values[name] = default
    data = {k: v for k, v in document.data.items() if k != "variables"}
    filled = {key: _replace(document, [key], node, values) for key, node in data.items()}
    return Document(document.path, filled, document._tree)  # noqa: SLF001 - our own, with other data


def _replace(document: Document, place: Place, node: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(node, dict):
        return {k: _replace(document, [*place, k], v, values) for k, v in node.items()}
    if isinstance(node, list):
        return [_replace(document, [*place, i], v, values) for i, v in enumerate(node)]
    if not isinstance(node, str):
        return node

    def value(match: re.Match[str]) -> Any:
        space, name = match.groups()
        if space == "soda":
            return match[0]
        if space != "var" or name not in values:
            raise fail(document, place, f"{match[0]} has no value", _variable_hint(space, values))
        return values[name]

    whole = _VARIABLE.fullmatch(node)
    # A value that is nothing but a variable keeps the variable's type, as in Soda.
    return value(whole) if whole else _VARIABLE.sub(lambda m: str(value(m)), node)


def _variable_hint(space: str, values: Mapping[str, Any]) -> str:
    if space == "env":
        return "the environment is no part of the evidence; declare it under variables:"
    return f"declare it under variables:; declared are: {', '.join(sorted(values)) or 'none'}"
