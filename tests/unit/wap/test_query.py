"""What a consumer's SQL can see, and everything it cannot reach."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pytest
import sqlglot
from pyiceberg.types import LongType, StringType, TimestamptzType

from catalog.errors import CatalogError
from catalog.refs import TableName
from tests.unit.wap.shelf import Shelf, schema_of
from wap.errors import QueryError
from wap.query import open_query, query

FLIGHTS = schema_of(id=LongType(), carrier=StringType(), ts=TimestamptzType())
AIRLINES = schema_of(carrier=StringType(), name=StringType())


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    (tmp_path / "warehouse").mkdir()
    shelf = Shelf(tmp_path / "warehouse")
    rows = [{"id": n, "carrier": "AA" if n % 2 else "UA", "ts": datetime(2013, 1, 1, tzinfo=UTC)}
            for n in range(10)]  # fmt: skip
    old = shelf.publish_rows("nyc.flights", FLIGHTS, rows)
    shelf.publish_rows("nyc.airlines", AIRLINES, [{"carrier": "AA", "name": "American"}])
    shelf.publish_rows("eu.west.big table", AIRLINES, [{"carrier": "LH", "name": "Lufthansa"}])
    secret = shelf.file(FLIGHTS, [{"id": 666, "carrier": "staged"}])
    shelf.stage_files("nyc.flights", FLIGHTS, old, secret, batch=secret)
    shelf.stage_files("nyc.unpublished", FLIGHTS, secret, batch=secret)
    (tmp_path / "secret.csv").write_text('{"password": "hunter2"}\n')
    return shelf


def ask(shelf: Shelf, sql: str, **options: Any) -> pa.Table:
    return query(shelf, sql, temp_directory=shelf.root.parent / "tmp", **options)


def rows(shelf: Shelf, sql: str, **options: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in ask(shelf, sql, **options).to_pylist()]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select count(*), sum(id) from nyc.flights", [(10, Decimal(45))]),
        ("from nyc.flights select id where id = 3", [(3,)]),
        ("SELECT COUNT(*) FROM Nyc.FLIGHTS", [(10,)]),
        ('select name from nyc.flights join "nyc"."airlines" using (carrier) limit 1',
         [("American",)]),
        ('select name from "eu.west"."big table"', [("Lufthansa",)]),
        ("with f as (select max(id) m from nyc.flights) select m from f", [(9,)]),
        ("select (select count(*) from nyc.airlines) + 1", [(2,)]),
        ("select max(id) from nyc.flights where exists (from nyc.airlines)", [(9,)]),
        ("from (pivot nyc.flights on carrier in ('AA', 'UA') using count(*) group by ts) select AA",
         [(5,)]),
        ("select 1;", [(1,)]),
        ("-- a comment\nselect 1 /* from nyc.nobody */", [(1,)]),
        ("select 'from nyc.nobody' as t", [("from nyc.nobody",)]),
        ("select id from nyc.flights union all select 99 order by id desc limit 1", [(99,)]),
    ],
)  # fmt: skip
def test_one_select_over_what_is_published(shelf, sql, expected):
    assert rows(shelf, sql) == expected


def test_a_stage_is_never_seen(shelf):
    assert rows(shelf, "select count(*) from nyc.flights where id = 666") == [(0,)]
    with pytest.raises(QueryError, match=r"no published table nyc\.unpublished"):
        ask(shelf, "from nyc.unpublished")
    with pytest.raises(QueryError):
        ask(shelf, 'from "nyc"."flights__batch"')


def test_only_the_tables_that_are_named_are_opened(shelf):
    broken = shelf.publish_rows("nyc.broken", AIRLINES, [])
    Path(broken.file_path.removeprefix("file://")).unlink()
    assert rows(shelf, "select count(*) from nyc.flights") == [(10,)]


def test_sql_that_only_duckdb_understands_is_run_too(shelf, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise sqlglot.ParseError("syntax of next year")

    monkeypatch.setattr(sqlglot, "parse_one", refuse)
    assert rows(shelf, 'select count(*) from nyc.flights, "eu.west"."big table"') == [(10,)]
    with pytest.raises(QueryError, match="nobody"):
        ask(shelf, "from nyc.nobody")


@pytest.mark.parametrize(
    ("sql", "hint"),
    [
        ("from nyc.flight", r"write nyc\.flights"),
        ("from flights", r"write nyc\.flights"),
        ("from NYC.airline", r"write nyc\.airlines"),
        ('from eu.west."big table"', r'write "eu\.west"\."big table"'),
        ("from memory.nyc.flights", r"write nyc\.flights|published"),
        ("from quite.different", r"published: .*nyc\.airlines"),
        ("from nyc.flights join nyc.planes using (id)", "published|write"),
        ("from information_schema.tables", "published"),
    ],
)
def test_a_table_that_is_not_published_is_an_error_with_the_nearest_names(shelf, sql, hint):
    with pytest.raises(QueryError) as caught:
        ask(shelf, sql)
    assert re.search(hint, caught.value.hint), caught.value.hint


def test_an_empty_catalog_says_so(tmp_path):
    with pytest.raises(QueryError, match="nothing is published yet"):
        ask(Shelf(tmp_path), "from nyc.flights")


@pytest.mark.parametrize(
    "sql",
    ["selec 1", "select nobody from nyc.flights", "select id + 'x' from nyc.flights",
     "select ? from nyc.flights", "select * from nyc.flights at (version => 3)",
     "select error('boom') from nyc.flights"],
)  # fmt: skip
def test_wrong_sql_is_a_query_error(shelf, sql):
    with pytest.raises(QueryError):
        ask(shelf, sql)


WRITES = [
    "",
    ";",
    "select 1; select 2",
    "select 1; drop view nyc.flights",
    "copy nyc.flights to '{out}'",
    "copy (select 1) to '{out}' (format parquet)",
    "copy nyc.flights from '{secret}'",
    "export database '{out}'",
    "import database '{out}'",
    "attach '{out}' as x",
    "detach memory",
    "use nyc",
    "install httpfs",
    "load '{out}'",
    "pragma database_list",
    "pragma enable_logging",
    "call pragma_version()",
    "set enable_external_access = true",
    "set lock_configuration = false",
    "reset allowed_paths",
    "set variable x = 1",
    "create table t as select 1",
    "create secret s (type s3)",
    "create macro f() as 1",
    "insert into nyc.flights select * from nyc.flights",
    "update nyc.flights set id = 1",
    "delete from nyc.flights",
    "drop view nyc.flights",
    "alter view nyc.flights rename to x",
    "vacuum",
    "checkpoint",
    "begin",
    "prepare p as select 1",
    "explain analyze select 1",
]


@pytest.mark.parametrize("sql", WRITES)
def test_nothing_but_a_select_is_taken(shelf, sql):
    out, secret = shelf.root.parent / "out", shelf.root.parent / "secret.csv"
    with pytest.raises(QueryError, match="one SELECT"):
        ask(shelf, sql.format(out=out, secret=secret))
    assert not out.exists()


REACHES = [
    "from read_csv('{secret}')",
    "from read_csv_auto('{secret}')",
    "from sniff_csv('{secret}')",
    "from read_text('{secret}')",
    "from read_blob('{secret}')",
    "from read_json('{secret}')",
    "from read_parquet('{staged}')",
    "from parquet_schema('{staged}')",
    "from parquet_metadata('{staged}')",
    "from parquet_scan('{glob}')",
    "from '{secret}'",
    "from '{staged}'",
    "from '{glob}'",
    "from glob('{glob}')",
    "from glob('/etc/*')",
    "from read_text('/etc/passwd')",
    "from read_text('/proc/self/environ')",
    "from read_text('{tmp}/**')",
    "from query('from read_text(''{secret}'')')",
    "from query_table('{secret}')",
    "select * from nyc.flights, read_text('{secret}')",
    "with x as (from read_text('{secret}')) from x",
    "select (select content from read_text('{secret}'))",
    "select * from nyc.flights where carrier in (select content from read_text('{secret}'))",
    "from 'https://example.invalid/x.csv'",
    "from 's3://bucket/x.parquet'",
    "from duckdb_scan('{secret}')",
    "from sqlite_scan('{secret}', 'x')",
    "from read_duckdb('{secret}')",
]


@pytest.mark.parametrize("sql", REACHES)
def test_nothing_but_published_files_is_reached(shelf, sql):
    (shelf.root.parent / "tmp").mkdir()
    (shelf.root.parent / "tmp" / "left.txt").write_text("hunter2")
    staged = shelf.staged[next(iter(shelf.staged))][1].files[0].file_path.removeprefix("file://")
    places = {
        "secret": shelf.root.parent / "secret.csv",
        "staged": staged.replace("[", "[[]"),
        "glob": f"{shelf.root}/*.parquet",
        "tmp": shelf.root.parent / "tmp",
    }
    assert Path(staged).exists()
    with pytest.raises(QueryError) as caught:
        ask(shelf, sql.format(**places))
    assert "hunter2" not in str(caught.value)


def test_each_attack_works_where_nothing_is_locked(shelf):
    """Else the tests above could pass because the attack is misspelled."""
    con = duckdb.connect()
    secret = shelf.root.parent / "secret.csv"
    for sql in (s for s in REACHES if "{secret}" in s and "scan" not in s and "duckdb" not in s):
        if "query_table" in sql:
            continue
        for view in ("flights", "airlines"):
            con.execute("create schema if not exists nyc")
            con.execute(f"create or replace view nyc.{view} as select 1 id, 'x' carrier")
        con.execute(sql.format(secret=secret)).fetchall()
    con.close()


def test_variables_of_the_program_are_out_of_reach(shelf):
    token = pa.table({"secret": ["hunter2"]})
    assert token.num_rows == 1
    with pytest.raises(QueryError):
        ask(shelf, "from token")


def test_the_environment_is_out_of_reach(shelf):
    assert os.environ["PATH"]
    with pytest.raises(QueryError):
        ask(shelf, "select getenv('PATH')")


def test_the_connection_is_locked_and_stays_so(shelf):
    settings = dict(
        rows(
            shelf,
            "select name, value from duckdb_settings() where name in"
            " ('enable_external_access', 'lock_configuration', 'python_enable_replacements')",
        )
    )
    assert settings == {
        "enable_external_access": "false",
        "lock_configuration": "true",
        "python_enable_replacements": "false",
    }


@pytest.mark.parametrize("limit", [0, 1, 3, 10, 11])
def test_a_limit_bounds_what_is_read(shelf, limit):
    table = ask(shelf, "from nyc.flights", limit=limit)
    assert table.num_rows == min(limit, 10)
    assert table.column_names == ["id", "carrier", "ts"]


def test_an_endless_result_can_be_looked_at(shelf):
    assert ask(shelf, "select * from range(1_000_000_000_000)", limit=5).num_rows == 5


def test_a_result_is_streamed(shelf):
    sql = "select id from nyc.flights, range(100_000)"
    with open_query(shelf, sql, temp_directory=shelf.root.parent / "tmp") as reader:
        batches = [batch.num_rows for batch in reader]
    assert sum(batches) == 1_000_000
    assert max(batches) <= 65_536


def test_a_query_that_needs_more_than_memory_spills_into_its_folder(shelf):
    sql = "select count(*) from (select distinct hash(range) from range(5_000_000))"
    assert rows(shelf, sql, memory_limit="60MB", threads=1) == [(5_000_000,)]
    assert list((shelf.root.parent / "tmp").iterdir()) == []


def test_an_error_in_the_middle_of_a_result_is_a_query_error(shelf):
    sql = "select case when range > 900_000 then error('late') else range end from range(1_000_000)"
    with pytest.raises(QueryError, match="late"):
        ask(shelf, sql)


def test_a_table_that_goes_while_we_look_is_not_an_empty_one(shelf, monkeypatch):
    monkeypatch.setattr(Shelf, "tables", lambda _: [TableName.parse("nyc.gone")])
    with pytest.raises(CatalogError, match="not published any more"):
        ask(shelf, "from nyc.gone")


def test_no_two_columns_of_a_result_share_a_name(shelf):
    found = ask(shelf, "select 1 as a, 2 as a, 3 as a_1, 4 as a").to_pylist()
    assert found == [{"a": 1, "a_2": 2, "a_1": 3, "a_3": 4}]


def test_a_description_is_a_select_too(shelf):
    assert rows(shelf, "describe nyc.airlines")[0][:2] == ("carrier", "VARCHAR")
