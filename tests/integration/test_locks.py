"""A database that another program keeps locked: waited for within bounds, then told of."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from catalog import open_catalog
from catalog.base import TableShape
from catalog.errors import CatalogUnavailableError
from catalog.refs import Branch, TableName
from wap.errors import LedgerUnavailableError
from wap.ledger import open_ledger

TABLE = TableName(("shop",), "orders")
SCHEMA = Schema(NestedField(1, "id", LongType(), required=False))
RUN = Branch.of_run("orders-20260101-000000-0123abcd")
SOON = "options=-c%20lock_timeout%3D200"


def refused(catalog) -> None:
    with pytest.raises(CatalogUnavailableError) as caught:
        catalog.open_branch(RUN, TABLE, TableShape(SCHEMA))
    assert "lock" in caught.value.what
    assert caught.value.hint


def goes_on(catalog) -> None:
    assert catalog.tables() == []
    catalog.open_branch(RUN, TABLE, TableShape(SCHEMA))
    catalog.drop(RUN, TABLE)
    assert catalog.branches() == []
    catalog.close()


def test_a_sqlite_catalog_that_stays_locked(tmp_path):
    uri = f"sqlite:///{tmp_path}/catalog.db?timeout=0.1"
    catalog = open_catalog("sqlite", "shop", {"uri": uri, "warehouse": str(tmp_path / "tables")})
    other = sqlite3.connect(tmp_path / "catalog.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    refused(catalog)
    other.execute("ROLLBACK")
    other.close()
    goes_on(catalog)


@pytest.mark.server
def test_a_postgres_catalog_that_stays_locked(postgres, tmp_path):
    name = postgres.database()
    uri = postgres.url(name)
    properties = {"uri": f"{uri}?{SOON}", "warehouse": str(tmp_path / "tables")}
    catalog = open_catalog("postgres", "shop", properties)
    with psycopg.connect(uri.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE iceberg_tables IN ACCESS EXCLUSIVE MODE")
        refused(catalog)
    goes_on(catalog)
    postgres.drop(name)


@pytest.mark.server
def test_a_wait_on_postgres_has_a_bound_that_nobody_need_set(postgres, tmp_path):
    name = postgres.database()
    properties = {"uri": postgres.url(name), "warehouse": str(tmp_path / "tables")}
    catalog = open_catalog("postgres", "shop", properties)
    with catalog.iceberg.engine.begin() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"
    catalog.close()
    ledger = open_ledger(postgres.url(name))
    ledger.migrate()
    with ledger._database.write() as connection:
        assert connection.exec_driver_sql("SHOW lock_timeout").scalar() == "30s"
    ledger.close()
    postgres.drop(name)


@pytest.mark.server
def test_a_postgres_ledger_that_stays_locked(postgres):
    name = postgres.database()
    uri = postgres.url(name)
    ledger = open_ledger(f"{uri}?{SOON}")
    ledger.migrate()
    with psycopg.connect(uri.replace("+psycopg", "")) as other:
        other.execute("LOCK TABLE pipelines IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(LedgerUnavailableError, match="lock timeout"):
            ledger.pipeline("orders", "0" * 64, "{}")
    ledger.pipeline("orders", "0" * 64, "{}")
    ledger.close()
    postgres.drop(name)
