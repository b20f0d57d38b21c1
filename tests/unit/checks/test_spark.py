"""A contract's SQL in Spark's words: the same meaning, or none at all."""

from __future__ import annotations

import pytest
from py4j.protocol import Py4JNetworkError
from pyspark.errors import AnalysisException

from checks.spark import SparkConnection, SparkRefusalError, spark_quoted, to_spark, translated


@pytest.mark.parametrize(
    ("duckdb", "spark"),
    [
        ('"a b" < 3', "`a b` < 3"),
        ("x::INT = 1", "CAST(x AS INT) = 1"),
        (r"regexp_matches(a, '^\d+''$')", r"a RLIKE '^\\d+\'$'"),
        ("l[1] = 2", "l[0] = 2"),
        ("TRY_CAST(a AS INT) IS NULL", "TRY_CAST(a AS INT) IS NULL"),
        ("a > 1 -- not null", "a > 1 /* not null */"),
    ],
)
def test_translations(duckdb, spark):
    assert to_spark(duckdb) == spark


@pytest.mark.parametrize("sql", ["", "a < ", "SELECT 1; SELECT 2", "SELECT a FROM t FOR UPDATE"])
def test_what_has_no_translation_is_refused(sql):
    with pytest.raises(SparkRefusalError):
        to_spark(sql)


def test_every_sql_text_of_a_contract_is_translated_and_nothing_else():
    data = {
        "dataset": "w/s/t",
        "filter": 'a."x" > 0',
        "columns": [{"name": 'a "x"', "checks": [{"missing": {"filter": '"b" = 1'}}]}],
        "checks": [{"failed_rows": {"query": 'SELECT "b" FROM t', "attributes": {"query": '"'}}}],
    }
    found = translated(data)
    assert found["filter"] == "a.`x` > 0"
    assert found["columns"][0] == {
        "name": 'a "x"',
        "checks": [{"missing": {"filter": "`b` = 1"}}],
    }
    assert found["checks"][0]["failed_rows"] == {
        "query": "SELECT `b` FROM t",
        "attributes": {"query": '"'},
    }


def test_names_are_quoted_whatever_is_in_them():
    assert spark_quoted("a`b") == "`a``b`"


class Away:
    """A session whose driver was killed: what py4j raises then, or what a bad query does."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def sql(self, text: str):
        raise self.error


def test_spark_that_goes_away_is_told_from_a_query_that_fails():
    for error, lost in ((Py4JNetworkError("closed"), 1), (AnalysisException("no column"), 0)):
        connection = SparkConnection(Away(error))
        with pytest.raises(SparkRefusalError):
            connection.execute("SELECT 1")
        assert len(connection.lost) == lost
