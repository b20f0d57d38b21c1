"""What a report says of a rule, in words."""

from __future__ import annotations

import json

import pytest

from checks import words
from checks.contract import parse_contract


def rule_of(check: object, column: str | None = None):
    columns = [{"name": column, "checks": [check]}] if column else []
    data = {"dataset": "lake/a/b", "columns": columns, "checks": [] if column else [check]}
    if column:
        del data["checks"]
    (rule,) = parse_contract(json.dumps(data), "c.yml").rules
    return rule


def at(**threshold: object) -> dict[str, object]:
    return {"threshold": threshold}


@pytest.mark.parametrize(
    ("check", "column", "title", "expected"),
    [
        ({"missing": None}, "id", "id is filled in", "no missing value"),
        ({"missing": at(metric="percent", must_be_less_than=5)}, "id", "id is filled in",
         "missing values: less than 5 %"),
        ({"missing": at(must_be=0, level="warn")}, "id", "id is filled in",
         "warns unless no missing value"),
        ({"missing": {"missing_values": ["N/A"]}}, "id", "id is filled in",
         "no missing value; also missing: 'N/A'"),
        ({"invalid": {"valid_values": ["a", "b"]}}, "s", "s holds valid values only",
         "no invalid value; valid is one of 'a', 'b'"),
        ({"invalid": {"valid_min": 1000, "valid_max": 2e6}}, "n", "n holds valid values only",
         "no invalid value; valid is at least 1,000 and at most 2,000,000"),
        ({"invalid": {"valid_format": {"name": "e-mail", "regex": "@"}}}, "s",
         "s holds valid values only", "no invalid value; valid is text like «e-mail»"),
        ({"invalid": {"valid_reference_data": {"dataset": "lake/a/c", "column": "k"}}}, "s",
         "s holds valid values only", "no invalid value; valid is what is in c.k"),
        ({"duplicate": None}, "id", "id is unique", "no repeated value"),
        ({"duplicate": {"columns": ["a", "b"]}}, None, "(a, b) is unique", "no repeated key"),
        ({"row_count": None}, None, "Number of rows", "more than 0 rows"),
        ({"row_count": at(must_be_between={"greater_than": 9, "less_than": 99})}, None,
         "Number of rows", "more than 9 and less than 99 rows"),
        ({"aggregate": {"function": "avg", **at(must_be_less_than=3)}}, "n", "Average of n",
         "less than 3"),
        ({"failed_rows": {"expression": "a  <\n0"}}, None, "No row with a < 0",
         "no rows that break the rule"),
        ({"failed_rows": {"name": "no debt", "query": "SELECT 1"}}, None, "no debt",
         "no rows that break the rule"),
        ({"metric": {"expression": "STDDEV(a)", **at(must_be_less_than=1)}}, None,
         "Figure: STDDEV(a)", "less than 1"),
        ({"freshness": {"column": "t", **at(unit="day", must_be_less_than=2)}}, None,
         "t is recent", "age of the newest value: less than 2 days"),
        ({"schema": None}, None, "Columns are as the contract lists them",
         "the listed columns and types, in this order, and no others"),
    ],
)  # fmt: skip
def test_title_and_expectation(check, column, title, expected):
    rule = rule_of(check, column)
    assert words.title(rule) == title
    assert words.expected(rule, ()) == expected


def test_listed_values_of_a_masked_column_are_counted_and_not_shown():
    rule = rule_of({"invalid": {"valid_values": ["ann", "bob"], "valid_min": 7}}, "s")
    text = words.expected(rule, {"s"})
    assert text == "no invalid value; valid is one of 2 listed values (•••) and at least •••"


def test_long_lists_are_cut():
    rule = rule_of({"invalid": {"valid_values": list(range(20))}}, "s")
    assert words.expected(rule, ()).endswith("6, 7 and 12 more")


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (8255, 336776, "8,255 of 336,776 rows (2.45 %)"),
        (0, 10, "0 of 10 rows (0.00 %)"),
        (1, 10**6, "1 of 1,000,000 rows (below 0.01 %)"),
        (999_999, 10**6, "999,999 of 1,000,000 rows (above 99.99 %)"),
        (0, 0, "0 of 0 rows"),
        (3, None, "3 rows"),
    ],
)
def test_shares_are_never_rounded_to_none_or_all(part, whole, text):
    assert words.share(part, whole) == text
