"""The auditor believes Soda nothing that is odd: each way it could misbehave, and none passes."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pytest

from checks.base import Relation
from checks.contract import parse_contract
from checks.report import Outcome
from checks.soda import SodaAuditor
from checks.soda_edge import Finding, Verdict, verify

CONTRACT = parse_contract(
    """
dataset: lake/main/orders
columns:
- name: id
  checks: [{missing: }, {duplicate: }]
checks:
- row_count:
- freshness: {column: seen, threshold: {must_be_less_than: 1000000000}}
""",
    "c.yml",
)


@pytest.fixture
def relation():
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute("CREATE TABLE orders AS SELECT range AS id, now() AS seen FROM range(3)")
        columns = {"id": "long", "seen": "timestamptz"}
        yield Relation(con, "lake", "main", "orders", columns, {"orders": 3})


def audit(relation, change=lambda verdict: verdict):
    """Audit with what Soda says changed on its way to us."""
    auditor = SodaAuditor(verify=lambda con, source, data: change(verify(con, source, data)))
    return auditor.audit(relation, [CONTRACT])


def passes(audit) -> bool:
    good = (Outcome.PASSED, Outcome.WARNED)
    return not audit.errors and all(r.outcome in good for r in audit.results)


def test_unchanged_it_passes(relation):
    found = audit(relation)
    assert passes(found)
    assert {r.name for r in found.results} == CONTRACT.declared


def first(**changes: object):
    def change(verdict: Verdict) -> Verdict:
        head, *tail = verdict.findings
        return replace(verdict, findings=(replace(head, **changes), *tail))

    return change


ODD = {
    "a finding is lost": lambda v: replace(v, findings=v.findings[1:]),
    "all are lost": lambda v: replace(v, findings=()),
    "one more": lambda v: replace(
        v, findings=(*v.findings, Finding("checks.other", "PASSED", 0.0))
    ),
    "one twice": lambda v: replace(v, findings=(*v.findings, v.findings[0])),
    "another name": first(path="checks.other"),
    "status unknown": lambda v: replace(v, status="UNKNOWN"),
    "status error": lambda v: replace(v, status="ERROR"),
    "an error with a good status": lambda v: replace(v, errors=("odd",)),
    "failed, its number says passed": first(outcome="FAILED"),
    "warned, its number says passed": first(outcome="WARN"),
    "passed, its number says failed": first(value=1.0),
    "passed without a number": first(value=None),
    "passed of what is not a number": first(value=float("nan")),
    "excluded": first(outcome="EXCLUDED"),
    "not evaluated": first(outcome="NOT_EVALUATED"),
    "a word we do not know": first(outcome="FINE"),
    "other rows": first(counts={"dataset_rows_tested": 2}),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD.keys())
def test_whatever_is_odd_does_not_pass(relation, change):
    assert not passes(audit(relation, change))


@pytest.mark.parametrize("status", ["UNKNOWN", "ERROR", "RAISED", "LOST", ""])
def test_a_status_that_is_no_verdict_is_an_error_of_its_own(relation, status):
    found = audit(relation, lambda v: replace(v, status=status))
    assert f"c.yml: Soda ended with status {status}" in found.errors


def test_lost_and_unexpected_checks_are_named(relation):
    (error,) = audit(relation, first(path="checks.other")).errors
    assert "lost ['columns.id.checks.missing'], unexpected ['checks.other']" in error


def test_uniqueness_is_never_asked_of_soda(relation):
    asked = []

    def listen(con: object, source: str, data: dict[str, object]) -> Verdict:
        asked.append(str(data))
        return verify(con, source, data)

    SodaAuditor(verify=listen).audit(relation, [CONTRACT])
    assert "duplicate" not in asked[0]


def test_a_contract_of_uniqueness_alone_needs_no_soda(relation):
    def refuse(*_: object) -> Verdict:
        raise AssertionError

    text = "{dataset: lake/main/orders, columns: [{name: id, checks: [{duplicate: }]}]}"
    found = SodaAuditor(verify=refuse).audit(relation, [parse_contract(text, "c.yml")])
    assert passes(found)
