"""What the tests of the gate share: contracts, results and an auditor that says what it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from checks.base import Audit, Auditor, Relation
from checks.contract import Contract, parse_contract
from checks.report import CheckResult, Outcome

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)

ORDERS = """\
dataset: lake/sales/orders
columns:
- name: id
  checks:
  - missing:
  - duplicate:
- name: amount
  checks:
  - invalid: {valid_min: 0}
checks:
- row_count:
"""


@pytest.fixture
def contract() -> Contract:
    return parse_contract(ORDERS, "contracts/orders.yml")


@pytest.fixture
def relation() -> Relation:
    """A relation nobody queries: the auditors here answer from memory."""
    columns = {"id": "long", "amount": "decimal(9,2)"}
    return Relation(None, "lake", "sales", "orders", columns, {"orders": 3})


@dataclass(frozen=True)
class Told(Auditor):
    """An auditor with its answer ready."""

    results: tuple[CheckResult, ...]
    errors: tuple[str, ...] = ()

    def audit(self, relation: Relation, contracts: Sequence[Contract]) -> Audit:
        return Audit(self.results, self.errors)

    def warm(self) -> None:
        """Nothing to import."""


def result(name: str, outcome: Outcome = Outcome.PASSED, **more: object) -> CheckResult:
    facts = {
        "name": name,
        "relation": "orders",
        "kind": "missing",
        "title": f"{name} holds",
        "expected": "no missing value",
        "measured": "0 of 3 rows (0.00 %)",
        "outcome": outcome,
    }
    return CheckResult.model_validate({**facts, **more})


@pytest.fixture
def make_result():
    return result


@pytest.fixture
def told():
    return Told


@pytest.fixture
def now() -> datetime:
    return NOW
