"""A guess over several looks is one that all values seen fit."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wap.sources.fit import text_to
from wap.sources.infer import Guess


def guessed(*looks: list[str | None]) -> pa.DataType:
    guess = Guess()
    for texts in looks:
        guess.look(pa.array(texts, pa.string()))
    return guess.type()


@pytest.mark.parametrize(
    ("looks", "kind"),
    [
        ([["1"], ["2"]], pa.int64()),
        ([["1"], ["1.5"]], pa.float64()),
        ([["1.5"], ["1"]], pa.float64()),
        ([["1234567890123456"], ["1.5"]], pa.string()),
        ([["1"], ["007"]], pa.string()),
        ([["1.5"], ["007"]], pa.string()),
        ([["2013-01-01"], ["2013-01-01 10:00:00"]], pa.timestamp("us")),
        ([["2013-01-01 10:00:00"], ["2013-01-01"]], pa.timestamp("us")),
        ([["2013-01-01"], ["1"]], pa.string()),
        ([["true"], ["1"]], pa.string()),
        ([[None], ["1"], []], pa.int64()),
        ([[None], []], pa.null()),
        ([["x"], ["1"]], pa.string()),
    ],
)
def test_looks_add_up(looks: list[list[str | None]], kind: pa.DataType):
    assert guessed(*looks) == kind


TEXTS = (
    st.integers(-(2**70), 2**70).map(str)
    | st.floats().map(str)
    | st.decimals(allow_nan=False, allow_infinity=False).map(str)
    | st.dates().map(str)
    | st.datetimes().map(str)
    | st.times().map(str)
    | st.booleans().map(str)
    | st.from_regex(r"[+-]?0{0,2}[0-9]{1,20}(\.[0-9]{0,3})?", fullmatch=True)
)


@given(st.lists(st.lists(TEXTS, max_size=4), max_size=4))
def test_every_value_can_be_read_as_the_guess(looks: list[list[str]]):
    kind = guessed(*looks)
    values = pa.array([text for texts in looks for text in texts], pa.string())
    if not pa.types.is_null(kind):
        text_to(values, kind)


@given(st.lists(st.lists(st.integers(-(2**70), 2**70).map(str), max_size=3), max_size=3))
def test_no_digit_is_lost(looks: list[list[str]]):
    kind = guessed(*looks)
    texts = [text for look in looks for text in look]
    if not pa.types.is_null(kind):
        again = [str(v) for v in text_to(pa.array(texts, pa.string()), kind).to_pylist()]
        assert [t.removesuffix(".0") for t in again] == texts
