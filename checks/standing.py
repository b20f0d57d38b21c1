"""What an earlier audit still proves of the published rows, so that an append is enough. Pure.

A row that broke no rule breaks none when other rows join it: where every row of the published table
was found good, by the same contracts, and this run only adds rows, the table is as good as the
batch. It holds for rules that look at each row by itself, and for keys, which were all different
before: a new one can only meet another new one or an old one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError

from checks.contract import Contract
from checks.report import CheckResult, Outcome
from checks.rules import Rule
from checks.words import share

#: What a condition may be made of to be sure that it looks at one row and at nothing else.
_OF_ONE_ROW = (
    exp.Column, exp.Identifier, exp.Literal, exp.Boolean, exp.Null, exp.Paren, exp.Tuple,
    exp.And, exp.Or, exp.Not, exp.Is, exp.In, exp.Between, exp.Case, exp.If,
    exp.EQ, exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.NullSafeEQ, exp.NullSafeNEQ,
    exp.Like, exp.ILike, exp.RegexpLike, exp.StartsWith,
    exp.Neg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod, exp.Abs, exp.Round, exp.Coalesce,
    exp.Length, exp.Lower, exp.Upper, exp.Trim, exp.Substring, exp.Cast, exp.DataType,
)  # fmt: skip


def standing(
    contract: Contract, table: str, earlier: Mapping[str, CheckResult]
) -> tuple[Rule, ...]:
    """The rules of a contract that need only the rows which join the published ones.

    Args:
        contract: one of the run's.
        table: the candidate's name; a contract about another relation is looked at whole.
        earlier: the results of the published table's own audit, by name.
    """
    if contract.relation != table or not _of_one_row(contract.filter):
        return ()
    return tuple(
        rule
        for rule in contract.rules
        if _was_clean(earlier.get(rule.name)) and _is_proved_by_parts(contract, rule)
    )


def joined(batch: CheckResult, earlier: CheckResult, run_id: str) -> CheckResult:
    """The result over the whole table, of its two clean parts.

    Args:
        batch: over the rows that join.
        earlier: over the published rows.
        run_id: whose audit the earlier one is.
    """
    tested = (batch.tested_rows or 0) + (earlier.tested_rows or 0)
    note = f"looked at in this run's rows; the others are proved by run {run_id}"
    return batch.model_copy(
        update={"measured": share(0, tested), "tested_rows": tested, "message": note}
    )


def is_clean(result: CheckResult) -> bool:
    """Whether no row at all broke the rule; a share within a threshold does not stand."""
    return (
        result.outcome is Outcome.PASSED
        and result.failing_rows == 0
        and result.value in (0, None)
        and result.tested_rows is not None
    )


def _was_clean(result: CheckResult | None) -> bool:
    return result is not None and is_clean(result)


def _is_proved_by_parts(contract: Contract, rule: Rule) -> bool:
    match rule.kind:
        case "duplicate":
            return rule.filter is None and contract.filter is None
        case "missing":
            return _of_one_row(rule.filter)
        case "invalid":
            # Reference data is another table, which may have changed since.
            return "valid_reference_data" not in rule.body and _of_one_row(rule.filter)
        case "failed_rows" if rule.body.get("expression"):
            return _of_one_row(str(rule.body["expression"]))
        case _:
            return False


def _of_one_row(condition: str | None) -> bool:
    """Whether a condition is sure to be about one row alone, always the same; True for none."""
    if condition is None:
        return True
    try:
        tree = parse_one(condition, read="duckdb")
    except SqlglotError:
        return False
    return all(isinstance(node, _OF_ONE_ROW) and _is_plain(node) for node in tree.walk())


def _is_plain(node: exp.Expression) -> bool:
    # A column with a table before it names the whole table's view, not the batch's.
    return not isinstance(node, exp.Column) or not any(_qualifiers(node))


def _qualifiers(column: exp.Column) -> Iterator[object]:
    yield from (column.args.get(part) for part in ("table", "db", "catalog"))
