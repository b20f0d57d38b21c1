"""What databases are asked: slices hold each row once, and a value stays a value."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wap.source_sections import JdbcSource as Spec
from wap.sources.jdbc_sql import Sql, cuts, literal


def sql(url: str = "jdbc:other://h/d", **more: Any) -> Sql:
    said = {"kind": "jdbc", "url": url, "table": "t", **more}
    return Sql(Spec.model_validate(said))


KINDS: dict[str, tuple[pa.DataType, Any]] = {
    "bigint": (pa.int64(), st.integers(-(2**40), 2**40)),
    "decimal(18, 3)": (
        pa.decimal128(18, 3),
        st.decimals(-(10**9), 10**9, places=3, allow_nan=False),
    ),
    "date": (pa.date32(), st.dates(date(1900, 1, 1), date(2100, 1, 1))),
    "timestamp": (pa.timestamp("us"), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1))),  # noqa: DTZ001 - it has none
}


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_slices_hold_each_row_once(name, data):
    kind, values = KINDS[name]
    found = data.draw(st.lists(st.none() | values, max_size=12))
    low, high = sorted([data.draw(values), data.draw(values)])
    count = data.draw(st.integers(1, 9))
    made = sql().slices('odd " name', kind, cuts(str(low), str(high), count, kind))
    assert len(made) <= count
    with duckdb.connect() as con:
        con.execute(f'CREATE TABLE t ("odd "" name" {name})')
        for value in found:
            con.execute("INSERT INTO t VALUES (?)", [value])
        matching = [
            con.execute(f"SELECT count(*) FROM ({sql().rows(one)}) x").fetchone()[0]
            for one in made or ["1 = 1"]
        ]
    assert sum(matching) == len(found)


def test_cuts_of_a_short_span_are_few():
    assert cuts("1", "3", 8, pa.int64()) == ["2", "3"]
    assert cuts("5", "5", 8, pa.int64()) == []
    assert cuts("2026-01-01", "2026-01-03", 8, pa.date32()) == ["2026-01-02"]
    zoned = pa.timestamp("us", "UTC")
    assert cuts("2026-01-01 00:00:00+00", "2026-01-01 02:00:00", 2, zoned) == [
        "2026-01-01 01:00:00+00:00"
    ]


def test_each_database_is_asked_in_its_own_words():
    asked = sql("jdbc:mysql://h/d", table="a.b").bounds("at", "")
    assert asked == (
        "SELECT COUNT(*) AS n, COUNT(`at`) AS c, CAST(MIN(`at`) AS CHAR) AS lo, "
        "CAST(MAX(`at`) AS CHAR) AS hi FROM a.b"
    )
    asked = sql("jdbc:postgresql://h/d").above("id", "7", pa.int64())
    assert asked == '"id" > 7 OR "id" IS NULL'
    at = literal(datetime(2026, 1, 1, tzinfo=UTC).isoformat(), pa.timestamp("us", "UTC"))
    assert at.sql("postgres") == "CAST('2026-01-01T00:00:00+00:00' AS TIMESTAMPTZ)"


def test_a_published_value_stays_a_value():
    odd = sql("jdbc:postgresql://h/d").above("name", "x' OR 1=1 --", pa.string())
    assert odd == "\"name\" > 'x'' OR 1=1 --' OR \"name\" IS NULL"
    with pytest.raises(ArithmeticError):
        literal("1 OR 1=1", pa.int64())
