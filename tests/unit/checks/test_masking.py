"""What of a masked column may be shown."""

from __future__ import annotations

import pytest

from checks.masking import difference, engine_message, is_masked, mentions

MASKED = frozenset({"email", "person.name"})


@pytest.mark.parametrize(
    ("column", "hidden"),
    [("email", True), ("EMAIL", True), ("person", True), ("name", False), ("emails", False)],
)
def test_columns_are_masked_with_all_their_fields(column, hidden):
    assert is_masked(column, MASKED) is hidden


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("email IS NULL", True),
        ('"EMAIL" IS NULL', True),
        ("o.email = 1", True),
        ("person.name = 'a'", True),
        ("emails > 1", False),
        ("amount < 0", False),
    ],
)
def test_sql_that_names_a_masked_column(sql, found):
    assert mentions(sql, MASKED) is found


def test_errors_raised_before_a_row_was_read_are_kept():
    text = 'Binder Error: Referenced column "emial" not found'
    assert engine_message(text, MASKED) == text


def test_errors_that_may_quote_a_row_are_not():
    text = "Conversion Error: Could not convert string 'ann@example.org' to INT32"
    assert "ann@" in engine_message(text, ())
    hidden = engine_message(text, MASKED)
    assert "ann@" not in hidden
    assert hidden.startswith("Conversion Error")


def test_a_difference_keeps_names_and_hides_values():
    line = "a.csv, line 3, column 'email': 'ann@example.org' is no int"
    assert difference(line, MASKED) == "a.csv, line 3, column 'email': '•••' is no int".replace(
        "'•••'", "•••"
    )
    other = "a.csv, line 3, column 'amount': 'x' is no int"
    assert difference(other, MASKED) == other
