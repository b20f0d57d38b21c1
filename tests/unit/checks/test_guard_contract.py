"""A contract's meaning comes from its text alone."""

from __future__ import annotations

import pytest

from checks.contract import parse_contract
from checks.errors import ContractError

TEXT = """\
dataset: lake/sales/orders
variables: {LIMIT: {default: 3}}
columns: []
checks:
- metric: {expression: MAX(id), threshold: {must_be_less_than: '${SPACE.LIMIT}'}}
"""


def test_a_declared_variable_is_filled_in():
    (rule,) = parse_contract(TEXT.replace("SPACE", "var"), "c.yml").rules
    assert rule.body["threshold"] == {"must_be_less_than": 3}


@pytest.mark.parametrize("space", ["env", "context"])
def test_a_declared_name_does_not_let_the_environment_in(space):
    with pytest.raises(ContractError, match="has no value"):
        parse_contract(TEXT.replace("SPACE", space), "c.yml")


def test_an_empty_list_of_checks_is_refused_beside_others():
    """Somebody has taken the checks of a column out and left the key."""
    text = "{dataset: lake/a/b, columns: [{name: a, checks: []}], checks: [{row_count: }]}"
    with pytest.raises(ContractError, match="not a list with a check in it"):
        parse_contract(text, "c.yml")
