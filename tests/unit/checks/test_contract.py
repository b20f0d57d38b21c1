"""A contract is proved before it runs: what is odd is an error with file, line and hint."""

from __future__ import annotations

import re

import pytest

from checks.contract import check_columns, parse_contract
from checks.errors import ContractError

GOOD = """\
dataset: lake/sales/orders
variables: {LIMIT: {default: 3}, WORD: {default: new}}
filter: id >= 0
columns:
- name: id
  data_type: bigint
  checks:
  - missing:
  - duplicate:
  - invalid: {valid_min: 0, valid_max: 9}
- name: status
  checks:
  - missing: {threshold: {metric: percent, must_be_less_than: 1}}
  - missing: {qualifier: blank, missing_values: ['', N/A]}
  - invalid: {valid_values: ['${var.WORD}', paid]}
checks:
- schema: {allow_extra_columns: true}
- row_count: {threshold: {must_be_between: {greater_than_or_equal: 10, less_than: 90}}}
- duplicate: {columns: [id, status]}
- freshness: {column: created_at, threshold: {unit: hour, must_be_less_than: 24}}
- failed_rows: {name: no debt, expression: amount < 0}
- metric: {expression: STDDEV(amount), threshold: {must_be_less_than: '${var.LIMIT}'}}
"""


def test_declared_names_are_file_and_path():
    contract = parse_contract(GOOD, "contracts/orders.yml")
    assert contract.declared == {
        f"contracts/orders.yml:{path}"
        for path in (
            "columns.id.checks.missing",
            "columns.id.checks.duplicate",
            "columns.id.checks.invalid",
            "columns.status.checks.missing",
            "columns.status.checks.missing.blank",
            "columns.status.checks.invalid",
            "checks.schema",
            "checks.row_count",
            "checks.duplicate",
            "checks.freshness",
            "checks.failed_rows",
            "checks.metric",
        )
    }
    assert (contract.source, contract.schema, contract.relation) == ("lake", "sales", "orders")
    assert contract.filter == "id >= 0"


def test_variables_are_filled_in_and_keep_their_type():
    rules = {r.relative_path: r for r in parse_contract(GOOD, "c.yml").rules}
    assert rules["checks.metric"].body["threshold"] == {"must_be_less_than": 3}
    assert rules["columns.status.checks.invalid"].body["valid_values"] == ["new", "paid"]


def test_the_line_of_a_rule_is_its_own():
    rules = {r.relative_path: r.where for r in parse_contract(GOOD, "c.yml").rules}
    assert rules["columns.id.checks.duplicate"] == "c.yml:9"
    assert rules["checks.freshness"] == "c.yml:20"


def test_digest_is_of_the_text_to_the_letter():
    one, other = parse_contract(GOOD, "c.yml"), parse_contract(GOOD + "\n", "c.yml")
    assert one.digest != other.digest
    assert one.digest == parse_contract(GOOD, "elsewhere.yml").digest


# What to change in GOOD, the line that the error must name, and words it must hold.
BAD = [
    pytest.param("dataset: lake", "dateset: lake", 1, "did you mean 'dataset'", id="top key"),
    pytest.param("checks:\n- schema", "cheks:\n- schema", 16, "'checks'", id="top key checks"),
    pytest.param("  checks:\n  - missing:\n", "  cheks:\n  - missing:\n", 7,
                 "did you mean 'checks'",
                 id="column key: Soda would see no checks"),
    pytest.param("  - missing:\n", "  - mising:\n", 8, "did you mean 'missing'", id="check type"),
    pytest.param("{threshold: {metric", "{treshold: {metric", 13, "did you mean 'threshold'",
                 id="check key: Soda passes with the default"),
    pytest.param("percent, must_be_less_than", "percent, must_be_les_than", 13,
                 "did you mean 'must_be_less_than'", id="threshold key"),
    pytest.param("10, less_than: 90", "10, lessthan: 90", 18, "did you mean 'less_than'",
                 id="bound"),
    pytest.param("lake/sales/orders", "lake/orders", 1, "lake/nyc/flights", id="two parts"),
    pytest.param("lake/sales/orders", "lake//orders", 1, "not <source>", id="empty part"),
    pytest.param("data_type: bigint", "optional: true", 6, "does not implement", id="optional"),
    pytest.param("filter: id >= 0", "scopes: {eu: {name: EU}}", 3, "extension", id="scopes"),
    pytest.param("{qualifier: blank,", "{scope: eu,", 14, "extension", id="scope"),
    pytest.param("filter: id >= 0", "check_attributes: {a: b}", 3, "attributes", id="attributes"),
    pytest.param("{qualifier: blank, missing", "{missing", 14, "stands at c.yml:13", id="twins"),
    pytest.param("{LIMIT: {default: 3}", "{LIMIT: ", 2, "has no value", id="unset variable"),
    pytest.param("default: new", "default: '${env.HOME}'", 2, "another variable", id="nested"),
    pytest.param("'${var.LIMIT}'", "'${var.LIMITS}'", 22, "declared are: LIMIT", id="undeclared"),
    pytest.param("'${var.LIMIT}'", "'${env.LIMIT}'", 22, "no part of the evidence", id="env"),
    pytest.param("'${var.LIMIT}'", "'${var.WORD}'", 22, "must be a number", id="text variable"),
    pytest.param("must_be_less_than: 1}", "must_be_less_than: '1'}", 13, "must be a number",
                 id="quoted number"),
    pytest.param("must_be_less_than: 1}", "must_be_less_than: .nan}", 13, "must be a number",
                 id="not a number compares with nothing"),
    pytest.param("must_be_less_than: 1}", "must_be_less_than: 1, must_be: 0}", 13,
                 "one comparison", id="two comparisons"),
    pytest.param("10, less_than: 90", "90, less_than: 10", 18, "no number lies", id="empty range"),
    pytest.param("greater_than_or_equal: 10, ", "", 18, "lower and an upper", id="half a range"),
    pytest.param("{valid_min: 0, valid_max: 9}", "", 10, "what is valid", id="invalid of nothing"),
    pytest.param("columns: [id, status]", "columns: []", 19, "nothing would be unique",
                 id="no key"),
    pytest.param("  - duplicate:\n", "  - duplicate\n", 9, "colon", id="colon forgotten"),
    pytest.param("  - missing:\n  - duplicate:\n", "  - missing:\n    duplicate:\n", 8, "one key",
                 id="two checks in one: Soda drops both"),
    pytest.param("  - duplicate:\n", "  - row_count:\n", 9, "cannot stand under a column",
                 id="wrong place"),
    pytest.param("- row_count: {", "- missing: {", 18, "cannot stand for the whole",
                 id="wrong place of a column check"),
    pytest.param("{allow_extra_columns: true}", "{threshold: {level: warn}}", 17, "no threshold",
                 id="threshold that Soda ignores"),
    pytest.param("unit: hour, must_be_less_than: 24", "unit: hour", 20, "needs a threshold",
                 id="freshness of any age"),
    pytest.param("unit: hour", "unit: weeks", 20, "'weeks' is not one of", id="bad value"),
    pytest.param("valid_max: 9", "valid_max: [9]", 10, "is not of type", id="bad type"),
    pytest.param("filter: id >= 0", "filter: 3", 3, "is not of type", id="filter of no text"),
    pytest.param("data_type: bigint", "data_type: 7", 6, "data_type", id="type of no text"),
    pytest.param("- name: status", "- name: id", 11, "stands twice", id="column twice"),
    pytest.param("- name: status", "- nome: status", 11, "did you mean 'name'", id="no name"),
    pytest.param("  data_type: bigint", "  data_type: bigint\n  data_type: int", 7, "duplicate key",
                 id="key twice"),
    pytest.param("columns:\n", "columns\n", 5, "not valid YAML", id="syntax"),
    pytest.param("expression: amount < 0",
                 "query: SELECT 1, threshold: {metric: percent, must_be: 0}",
                 21, "needs their number", id="percent of a query"),
    pytest.param("expression: amount < 0", "name2: x", 21, "unknown key", id="failed rows of what"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "words"), BAD)
def test_what_is_odd_is_refused_with_its_line(old: str, new: str, line: int, words: str):
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(ContractError) as caught:
        parse_contract(text, "c.yml")
    assert words in str(caught.value)
    assert caught.value.where == f"c.yml:{line}"


HEAD = "dataset: lake/a/b\ncolumns: []\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "just text",
        "dataset: lake/a/b",
        "dataset: lake/a/b\ncolumns: []",
        "dataset: lake/a/b\ncolumns: []\nchecks: []",
        "dataset: lake/a/b\ncolumns: [{name: a, checks: []}]",
        "dataset: lake/a/b\ncolumns: [{name: a}]",
        "dataset: lake/a/b\ncolumns: {}\nchecks: [{row_count: }]",
        "dataset: lake/a/b\ncolumns: [3]\nchecks: [{row_count: }]",
        "dataset: lake/a/b\ncolumns: []\nchecks: [{}]",
        "dataset: lake/a/b\ncolumns: []\nchecks: [{row_count: 3}]",
        "dataset: 3\ncolumns: []\nchecks: [{row_count: }]",
        "dataset: lake/a/b\ncolumns: []\nchecks: [{row_count: }]\n---\na: b",
        "dataset: lake/a/b\ncolumns: []\nchecks: [{failed_rows: {expression: a, query: b}}]",
        "dataset: lake/a/b\ncolumns: []\nchecks: [{metric: {expression: max(a)}}]",
        f"{HEAD}checks: [{{row_count: {{threshold: {{metric: percent, must_be: 1}}}}}}]",
        "dataset: lake/a/b\ncolumns: [{name: a, checks: [{aggregate: {function: median}}]}]",
        "dataset: lake/a/b\ncolumns: [{name: a, column_expression: b, checks: [{missing: }]}]",
        'dataset: lake/a/b\ncolumns: []\nchecks: [{row_count: {name: "\\ud800"}}]',
    ],
)
def test_what_is_no_contract_is_refused(text: str):
    with pytest.raises(ContractError, match=re.compile(r"\[c\.yml")):
        parse_contract(text, "c.yml")


COLUMNS = {"id": "long", "status": "string", "created_at": "timestamptz", "amount": "int"}


def test_columns_that_the_relation_has_are_fine():
    check_columns(parse_contract(GOOD, "c.yml"), COLUMNS)


@pytest.mark.parametrize(("name", "line"), [("id", 5), ("status", 11), ("created_at", 20)])
def test_a_column_that_the_relation_lacks_is_named_with_the_nearest(name: str, line: int):
    columns = {(f"{n}s" if n == name else n): t for n, t in COLUMNS.items()}
    with pytest.raises(ContractError) as caught:
        check_columns(parse_contract(GOOD, "c.yml"), columns)
    assert f"no column '{name}'" in caught.value.what
    assert caught.value.where == f"c.yml:{line}"
    assert f"{name}s" in caught.value.hint


def test_a_key_column_that_the_relation_lacks_is_named():
    text = GOOD.replace("[id, status]", "[id, stat]")
    with pytest.raises(ContractError, match="no column 'stat'"):
        check_columns(parse_contract(text, "c.yml"), COLUMNS)


def test_names_are_case_sensitive_as_in_iceberg():
    upper = {name.upper(): type_ for name, type_ in COLUMNS.items()}
    with pytest.raises(ContractError, match="no column 'id'"):
        check_columns(parse_contract(GOOD, "c.yml"), upper)
