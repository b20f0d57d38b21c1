"""Which numbers pass, warn and fail."""

from __future__ import annotations

import pytest

from checks.report import Outcome
from checks.rules import DEFAULTS
from checks.thresholds import Comparison, Threshold, number

PASSED, WARNED, FAILED = Outcome.PASSED, Outcome.WARNED, Outcome.FAILED


@pytest.mark.parametrize(
    ("key", "bound", "passes", "fails"),
    [
        ("must_be", 3, [3, 3.0], [2, 4]),
        ("must_not_be", 3, [2, 4], [3]),
        ("must_be_greater_than", 3, [3.1], [3, 2]),
        ("must_be_greater_than_or_equal", 3, [3, 4], [2.9]),
        ("must_be_less_than", 3, [2.9], [3, 4]),
        ("must_be_less_than_or_equal", 3, [3, 2], [3.1]),
        ("must_be_between", {"greater_than": 1, "less_than_or_equal": 3}, [2, 3], [1, 4]),
        ("must_be_not_between", {"greater_than_or_equal": 9, "less_than": 1}, [0, 9], [1, 5]),
    ],
)
def test_each_comparison(key, bound, passes, fails):
    threshold = Threshold.read({key: bound}, None)
    assert [threshold.outcome(v) for v in passes] == [PASSED] * len(passes)
    assert [threshold.outcome(v) for v in fails] == [FAILED] * len(fails)


def test_without_a_comparison_the_default_of_the_check_type_holds():
    assert Threshold.read(None, DEFAULTS["missing"]).outcome(1) is FAILED
    assert Threshold.read({"metric": "percent"}, DEFAULTS["missing"]).outcome(0) is PASSED
    assert Threshold.read(None, DEFAULTS["row_count"]).outcome(0) is FAILED


def test_a_warn_level_warns_and_never_blocks():
    threshold = Threshold.read({"must_be": 0, "level": "warn"}, None)
    assert threshold.outcome(1) is WARNED
    assert not threshold.blocking


@pytest.mark.parametrize("outer", ["fail", "warn"])
def test_two_levels_whichever_is_written_first(outer: str):
    fail = {"must_be_less_than": 10, "level": "fail"}
    warn = {"must_be_less_than": 5, "level": "warn"}
    first, second = (fail, warn) if outer == "fail" else (warn, fail)
    threshold = Threshold.read({**first, "additional": second}, None)
    assert [threshold.outcome(v) for v in (4, 7, 12)] == [PASSED, WARNED, FAILED]
    assert threshold.blocking


@pytest.mark.parametrize(
    ("value", "text"),
    [(336776, "336,776"), (3.0, "3"), (12.63907, "12.63907"), (0.1, "0.1"), (-2.5, "-2.5"),
     (1e-9, "1e-09"), (1234.5, "1,234.5"), (0, "0")],
)  # fmt: skip
def test_numbers_for_people(value, text):
    assert number(value) == text


def test_words_of_a_range():
    bounds = {"greater_than_or_equal": 10, "less_than": 90}
    assert Comparison.of("must_be_between", bounds).words("rows") == (
        "at least 10 and less than 90 rows"
    )
