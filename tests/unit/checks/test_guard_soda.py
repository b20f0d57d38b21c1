"""Each single outcome is doubted too, not only the audit as a whole."""

from __future__ import annotations

import logging
from dataclasses import replace

import duckdb
import pytest

from checks import soda_edge
from checks.base import Relation
from checks.contract import parse_contract
from checks.report import Outcome
from checks.soda import SodaAuditor
from checks.soda_edge import Finding, Verdict

ROWS = "{dataset: lake/main/orders, columns: [], checks: [{row_count: }]}"
KEYS = "{dataset: lake/main/orders, columns: [{name: id, checks: [{duplicate: }]}]}"
GOOD = Verdict("PASSED", (Finding("checks.row_count", "PASSED", 3.0),))


def audit(text, verdict=GOOD, *, rows="range(3)"):
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE orders AS SELECT range // 1 AS id FROM {rows}")
        relation = Relation(con, "lake", "main", "orders", {"id": "long"}, {})
        auditor = SodaAuditor(sample_rows=0, verify=lambda *_: verdict)
        found = auditor.audit(relation, [parse_contract(text, "c.yml")])
        (result,) = found.results
        return result, found.errors


def test_a_good_finding_passes():
    result, errors = audit(ROWS)
    assert (result.outcome, errors) == (Outcome.PASSED, ())


def test_a_lost_finding_is_not_evaluated():
    result, errors = audit(ROWS, replace(GOOD, findings=()))
    assert result.outcome is Outcome.NOT_EVALUATED
    assert errors


@pytest.mark.parametrize("word", ["", "FINE", "passed", "NOT_EVALUATED", "EXCLUDED"])
def test_a_word_that_is_no_outcome_is_not_evaluated(word):
    odd = replace(GOOD, findings=(replace(GOOD.findings[0], outcome=word),))
    assert audit(ROWS, odd)[0].outcome is Outcome.NOT_EVALUATED


def test_a_key_that_is_there_once_passes():
    assert audit(KEYS)[0].outcome is Outcome.PASSED


def test_a_key_that_is_there_twice_fails():
    result, _ = audit(KEYS, rows="(FROM range(3) UNION ALL FROM range(1))")
    assert result.outcome is Outcome.FAILED
    assert result.failing_rows == 1


def test_keys_that_cannot_be_counted_are_not_unique():
    """The column that the contract is about is not in the table any more."""
    result, errors = audit(KEYS.replace("name: id", "name: gone"))
    assert result.outcome is Outcome.NOT_EVALUATED
    assert "duplicate" in errors[0]


def test_logging_that_is_switched_off_is_named():
    logging.disable(logging.ERROR)
    try:
        assert "logging.disable()" in str(soda_edge.deaf())
    finally:
        logging.disable(logging.NOTSET)
