"""Our own checks: the schema to the letter, and the books to the row."""

from __future__ import annotations

import pytest

from checks.own import fit_check, reconcile_check, schema_check
from checks.report import Outcome

COLUMNS = {"id": "long", "price": "decimal(9, 2)", "at": "timestamptz"}


def test_equal_schemas_pass():
    assert schema_check(COLUMNS, dict(COLUMNS)).outcome is Outcome.PASSED


@pytest.mark.parametrize(
    ("actual", "words"),
    [
        ({"id": "int", "price": "decimal(9, 2)", "at": "timestamptz"}, "id: int instead of long"),
        ({"id": "long", "at": "timestamptz"}, "missing: price decimal(9, 2)"),
        ({**COLUMNS, "note": "string"}, "not declared: note string"),
        ({"price": "decimal(9, 2)", "id": "long", "at": "timestamptz"}, "another order"),
        ({}, "missing: id long"),
    ],
)
def test_any_difference_fails_and_is_named(actual, words):
    check = schema_check(COLUMNS, actual)
    assert check.outcome is Outcome.FAILED
    assert check.blocking
    assert words in check.measured


def test_two_empty_schemas_do_not_pass():
    assert schema_check({}, {}).outcome is Outcome.FAILED


def test_balanced_books_pass():
    check = reconcile_check(10, 6, 2, 1, 1, 6)
    assert check.outcome is Outcome.PASSED
    assert check.measured == (
        "10 read = 6 staged + 2 quarantined + 1 deduplicated + 1 discarded; 6 counted in the table"
    )


def test_rows_that_met_published_ones_are_accounted_for():
    check = reconcile_check(10, 6, 0, 1, 0, 6, unchanged=2, deleted=1)
    assert check.outcome is Outcome.PASSED
    assert "6 staged + 2 unchanged + 1 deleted + 1 deduplicated" in check.measured
    assert reconcile_check(10, 9, 0, 0, 0, 9, unchanged=2).outcome is Outcome.FAILED
    assert reconcile_check(10, 11, 0, 0, 0, 11, deleted=-1).outcome is Outcome.FAILED


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((10, 9, 0, 0, 0, 9), "1 rows lost"),
        ((9, 10, 0, 0, 0, 10), "1 rows too many"),
        ((10, 10, 0, 0, 0, 9), "10 rows staged, 9 in the table"),
        ((10, 10, 0, 0, 0, 11), "1 rows too many"),
        ((10, 11, -1, 0, 0, 11), "negative"),
    ],
)
def test_books_that_do_not_balance_fail(figures, words):
    check = reconcile_check(*figures)
    assert check.outcome is Outcome.FAILED
    assert words in check.measured


def test_the_whole_candidate_is_counted_too():
    books = (10, 10, 0, 0, 0, 10)
    assert reconcile_check(*books, candidate=30, expected_candidate=30).outcome is Outcome.PASSED
    check = reconcile_check(*books, candidate=29, expected_candidate=30)
    assert check.outcome is Outcome.FAILED
    assert "candidate" in check.measured


def test_a_batch_that_does_not_fit_always_fails():
    check = fit_check([f"row {n}" for n in range(40)])
    assert check.outcome is Outcome.FAILED
    assert check.measured == "40 differences"
    assert len(check.sample) == 12
