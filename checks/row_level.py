"""Which rows of a batch break a check, where that can be said precisely; else the batch as one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from checks.base import Relation
from checks.conditions import all_of, breaking, looked_at, quoted, view
from checks.contract import Contract
from checks.report import Report
from checks.rules import Rule

#: Of a batch's view.
BATCH = "__batch"


def separable(report: Report, contracts: tuple[Contract, ...]) -> tuple[tuple[Contract, Rule], ...]:
    """The failed checks, when each says which rows of the batch break it; else none.

    Whatever else is wrong with a report (a check that was not evaluated, an error, the table's
    columns, the books) is not put right by leaving rows out.
    """
    rules = {rule.name: (contract, rule) for contract in contracts for rule in contract.rules}
    failed = [rules[name] for name in sorted(report.waivable) if name in rules]
    whole = len(failed) == len(report.waivable)
    return tuple(failed) if whole and all(is_row_level(*one) for one in failed) else ()


def is_row_level(contract: Contract, rule: Rule) -> bool:
    """Whether single rows break the rule: a value missing or invalid, an expression, a duplicate.

    A check of ``<table>__published`` is about rows that are published already.
    """
    if contract.relation.endswith("__published"):
        return False
    return rule.kind == "duplicate" or breaking(rule) is not None


def of_rows(contract: Contract) -> Contract:
    """The contract with its row-level checks alone, when it is about a batch; else as it is.

    What it asks of a whole delivery (how many rows, of which days) says nothing of some rows of
    earlier ones. It may be left without a check.
    """
    if not contract.relation.endswith(BATCH):
        return contract
    rules = iter(contract.rules)  # columns first, each in the order that its checks are written
    columns = [_kept(column, contract, rules) for column in contract.data["columns"]]
    data = _kept({**contract.data, "columns": columns}, contract, rules)
    left = tuple(rule for rule in contract.rules if is_row_level(contract, rule))
    return replace(contract, data=data, rules=left, declared=frozenset(r.name for r in left))


def _kept(node: dict[str, Any], contract: Contract, rules: Iterator[Rule]) -> dict[str, Any]:
    checks = [c for c in node.get("checks") or () if is_row_level(contract, next(rules))]
    rest = {key: value for key, value in node.items() if key != "checks"}
    return {**rest, "checks": checks} if checks else rest


def broken_by(relation: Relation, contract: Contract, rule: Rule) -> str:
    """SQL condition of the batch's rows, known as ``checked``, that break a row-level rule.

    Of rows with the same key nothing says which is right, so all those of the batch break the
    rule; one that is published stays.
    """
    if rule.kind != "duplicate":
        return all_of((looked_at(contract, rule), breaking(rule)))
    source, where = view(relation.schema, contract.relation), looked_at(contract, rule)
    keys = [quoted(column) for column in rule.columns]
    if rule.column is not None:
        where = all_of((where, f"{keys[0]} IS NOT NULL"))
    named = ", ".join(f"{key} AS k{n}" for n, key in enumerate(keys))
    grouped = ", ".join(keys)
    same = " AND ".join(
        f"twice.k{n} IS NOT DISTINCT FROM checked.{key}" for n, key in enumerate(keys)
    )
    several = f"SELECT {named} FROM {source} WHERE {where} GROUP BY {grouped} HAVING count(*) > 1"  # noqa: S608 - names are quoted, conditions are the contract's
    return all_of((where, f"EXISTS (SELECT 1 FROM ({several}) AS twice WHERE {same})"))  # noqa: S608 - as above
