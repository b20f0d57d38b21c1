"""Uniqueness is exact, however the key is counted."""

from __future__ import annotations

from datetime import date, timedelta

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from checks import uniqueness
from checks.uniqueness import Key, Uniqueness, measure

DAY = date(1969, 12, 30)
SMALL = st.one_of(st.none(), st.integers(-4, 4))
DATES = st.one_of(st.none(), st.integers(0, 5).map(lambda n: DAY + timedelta(days=n)))
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "a'||'b", "<NULL>"]))
ROWS = st.lists(st.tuples(SMALL, DATES, TEXTS), max_size=40)
TYPES = {"n": "long", "d": "date", "t": "string"}


@pytest.fixture(scope="module")
def connection():
    with duckdb.connect() as con:
        yield con


def expected(rows: list[tuple[object, ...]], *, nulls_count: bool) -> Uniqueness:
    there = [r for r in rows if nulls_count or r[0] is not None]
    return Uniqueness(len(rows), len(rows) - len(there), len(set(there)))


@pytest.mark.parametrize("columns", [("n",), ("d",), ("t",), ("n", "d"), ("d", "n"), ("n", "t")])
@settings(max_examples=60, deadline=None)
@given(rows=ROWS)
def test_counts_equal_those_of_a_python_set(connection, columns, rows):
    data = [dict(zip("ndt", row, strict=True)) for row in rows]
    schema = pa.schema({"n": pa.int64(), "d": pa.date32(), "t": pa.string()})
    connection.register("sample", pa.Table.from_pylist(data, schema=schema))
    several = len(columns) > 1
    key = Key("sample", columns, TYPES, "TRUE", nulls_count=several)
    keys = [tuple(row[c] for c in columns) for row in data]
    assert measure(connection, key) == expected(keys, nulls_count=several)


@pytest.mark.parametrize(
    ("sql", "dense"),
    [
        ("SELECT range AS k FROM range(1000)", True),
        ("SELECT range - 500 AS k FROM range(1000)", True),
        ("SELECT range * 1000000000 AS k FROM range(1000)", False),
        ("SELECT unnest([-9223372036854775808, 9223372036854775807]) AS k", False),
        ("SELECT 9223372036854775807 - range AS k FROM range(10)", True),
    ],
)
def test_only_dense_keys_are_counted_by_bits(connection, sql, dense):
    connection.execute(f"CREATE OR REPLACE TABLE numbers AS {sql}")
    rows = connection.execute("SELECT count(*) FROM numbers").fetchone()[0]
    key = Key("numbers", ("k",), {"k": "long"}, "TRUE", nulls_count=False)
    span = connection.execute("SELECT count(k), min(k), max(k) FROM numbers").fetchall()
    assert (uniqueness._bits(key, span, rows) is not None) is dense
    assert measure(connection, key) == Uniqueness(rows, 0, rows)
    connection.execute("INSERT INTO numbers SELECT min(k) FROM numbers")
    assert measure(connection, key).duplicates == 1


def test_the_bit_set_has_a_largest_size(connection, monkeypatch):
    connection.execute("CREATE OR REPLACE TABLE numbers AS SELECT range AS k FROM range(100)")
    key = Key("numbers", ("k",), {"k": "long"}, "TRUE", nulls_count=False)
    monkeypatch.setattr(uniqueness, "MAX_BITS", 99)
    assert uniqueness._bits(key, [(100, 0, 99)], 100) is None
    assert measure(connection, key) == Uniqueness(100, 0, 100)


def test_the_condition_decides_which_rows_count(connection):
    connection.execute("CREATE OR REPLACE TABLE numbers AS SELECT range % 5 AS k FROM range(10)")
    key = Key("numbers", ("k",), {"k": "long"}, "(k < 2)", nulls_count=False)
    assert measure(connection, key) == Uniqueness(4, 0, 2)


def test_no_rows_are_unique_and_no_percentage_is_divided_by_zero(connection):
    connection.execute("CREATE OR REPLACE TABLE numbers AS SELECT 1 AS k WHERE false")
    key = Key("numbers", ("k",), {"k": "int"}, "TRUE", nulls_count=True)
    found = measure(connection, key)
    assert (found.duplicates, found.percent) == (0, 0.0)


def test_statistics_that_lie_are_an_error_and_never_a_pass(connection, tmp_path):
    """Were a file's footer to state too small a range, the bit set must not swallow the rest."""
    connection.execute("CREATE OR REPLACE TABLE numbers AS SELECT range AS k FROM range(10)")
    key = Key("numbers", ("k",), {"k": "long"}, "TRUE", nulls_count=False)
    bits = uniqueness._bits(key, [(10, 0, 5)], 10)
    with pytest.raises(duckdb.Error):
        connection.execute(f"SELECT {bits} FROM numbers").fetchall()
