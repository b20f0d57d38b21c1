"""PostgreSQL under the catalog: restarted, cut off, raced, and never told in an error."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event, make_url

from catalog import (
    CatalogConfigError,
    CatalogUnavailableError,
    HeadMovedError,
    TableName,
    commits,
    open_catalog,
)
from tests.behaviors.conftest import Lake, open_lake
from tests.servers.proxy import Proxy

FLIGHTS, WEATHER = TableName.parse("nyc.flights"), TableName.parse("nyc.weather")
PATIENCE = 60.0


@pytest.fixture
def database(postgres) -> str:
    return postgres.database()


def _lake(root: Path, uri: str) -> Lake:
    (root / "catalog.json").write_text(json.dumps({"uri": uri}))
    return open_lake("postgres", root)


@pytest.fixture
def lake(postgres, database, tmp_path) -> Iterator[Lake]:
    lake = _lake(tmp_path, postgres.url(database))
    yield lake
    lake.catalog.close()


def _sealed(lake: Lake, table: TableName = FLIGHTS, ids=(2,), run_id: str = ""):
    run = lake.run(run_id or f"run-{table.name}", table)
    run.open()
    run.stage(list(ids))
    run.seal()
    return run


def test_a_restart_in_mid_run_is_not_noticed_by_a_warm_worker(lake, postgres):
    lake.publish([1])
    run = lake.run()
    run.open()
    postgres.restart()
    run.stage([2])
    postgres.restart()
    assert lake.catalog.tables() == [FLIGHTS]
    run.seal()
    postgres.restart()
    run.finish()
    assert lake.ids() == [1, 2]
    assert lake.catalog.verify(FLIGHTS) == []


def test_a_database_that_is_down_is_unavailable_and_found_again(lake, postgres):
    lake.publish([1])
    run = _sealed(lake)
    postgres.stop()
    for step in (lake.catalog.tables, lambda: lake.catalog.publish([run.audited()])):
        with pytest.raises(CatalogUnavailableError) as raised:
            step()
        assert postgres.password not in str(raised.value)
    postgres.restart()
    lake.catalog.publish([run.audited()])
    assert lake.ids() == [1, 2]


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
@pytest.mark.parametrize("first_load", [True, False])
def test_a_lost_answer_to_the_commit_is_read_back(postgres, database, tmp_path, fault, first_load):
    proxy = Proxy(postgres.port)
    uri = make_url(postgres.url(database)).set(port=proxy.port)
    lake = _lake(tmp_path, uri.render_as_string(hide_password=False))
    if not first_load:
        lake.publish([1])
    run = _sealed(lake)
    with proxy.fault(fault, lambda said: b"COMMIT" in said):
        (snapshot,) = lake.catalog.publish([run.audited()])
    assert lake.ids() == ([2] if first_load else [1, 2])
    assert lake.catalog.publish([run.audited()]) == [snapshot]
    assert lake.catalog.branches() == []
    lake.catalog.close()
    proxy.close()


def test_many_that_open_a_new_database_at_once(postgres, database, tmp_path):
    properties = {"uri": postgres.url(database), "warehouse": str(tmp_path / "w")}
    together = threading.Barrier(8)

    def opened(_: int):
        together.wait(PATIENCE)
        return open_catalog("postgres", "t", properties)

    with ThreadPoolExecutor(8) as pool:
        catalogs = list(pool.map(opened, range(8)))
    assert [c.tables() for c in catalogs] == [[]] * 8
    for each in catalogs:
        each.close()


def test_groups_lock_their_tables_in_one_order_whatever_they_are_given(lake):
    runs = [_sealed(lake, table, run_id="run-group") for table in (WEATHER, FLIGHTS)]
    names: list[str] = []

    def note(_connection, _cursor, statement, parameters, *_):  # noqa: ANN002
        if statement.startswith("UPDATE iceberg_tables"):
            names.append(parameters["table_name"])

    event.listen(lake.plain.engine, "before_cursor_execute", note)
    lake.catalog.publish([run.audited() for run in runs])
    assert names == ["flights", "weather"], "the hidden names they had before say nothing"


def test_groups_in_opposite_order_side_by_side_all_get_in(lake, postgres):
    for table in (FLIGHTS, WEATHER):
        lake.publish([0], table)

    def publish(number: int) -> None:
        own = lake.again()
        order = (FLIGHTS, WEATHER) if number % 2 else (WEATHER, FLIGHTS)
        for turn in range(3):
            run_id = f"run-{number}-{turn}"
            runs = [_sealed(own, table, [10 * number + turn], run_id) for table in order]
            while True:
                try:
                    own.catalog.publish([run.audited() for run in runs])
                    break
                except HeadMovedError:
                    for run in runs:
                        run.rebase()
                        run.seal()
        own.catalog.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(publish, range(1, 5)))
    expected = [0, *(10 * n + t for n in range(1, 5) for t in range(3))]
    assert lake.ids() == lake.ids(WEATHER) == expected
    assert "deadlock detected" not in postgres.server.log.read_text()


def _waits(connection: psycopg.Connection) -> bool:
    query = "select count(*) from pg_stat_activity where wait_event_type = 'Lock'"
    row = connection.execute(query).fetchone()
    return row is not None and row[0] > 0


def test_a_deadlock_with_somebody_else_is_a_lost_race(lake, postgres, database, monkeypatch):
    """Whoever updates the rows by hand, in the other order: PostgreSQL undoes the group."""
    monkeypatch.setattr(commits, "UNANSWERED_TRIES", 0)
    for table in (FLIGHTS, WEATHER):
        lake.publish([1], table)
    heads = [_sealed(lake, table, run_id="run-group").audited() for table in (FLIGHTS, WEATHER)]
    before = {f for f in lake.where.names() if f.endswith(".metadata.json")}
    plain = make_url(postgres.url(database)).set(drivername="postgresql")
    address = plain.render_as_string(hide_password=False)
    touch = "update iceberg_tables set iceberg_type = iceberg_type where table_name = %s"
    with (
        psycopg.connect(address) as other,
        psycopg.connect(address, autocommit=True) as watch,
        ThreadPoolExecutor(1) as pool,
    ):
        # Whoever waits last closes the ring; only the group looks for one.
        other.execute("set deadlock_timeout = '600s'")
        other.execute(touch, ["weather"])
        waiting = []

        def let_the_other_wait(_connection, _cursor, statement, parameters, *_):  # noqa: ANN002
            if statement.startswith("UPDATE") and parameters["table_name"] == "weather":
                if waiting:
                    return
                waiting.append(pool.submit(other.execute, touch, ["flights"]))
                deadline = time.monotonic() + PATIENCE
                while not _waits(watch):
                    assert time.monotonic() < deadline

        event.listen(lake.plain.engine, "before_cursor_execute", let_the_other_wait)
        waiting_ends = threading.Thread(target=lambda: _roll_back(waiting, other))
        waiting_ends.start()
        assert len(lake.catalog.publish(heads)) == 2
        waiting_ends.join(PATIENCE)
    assert "deadlock detected" in postgres.server.log.read_text()
    assert lake.ids() == lake.ids(WEATHER) == [1, 2]
    after = {f for f in lake.where.names() if f.endswith(".metadata.json")}
    assert len(after - before) == 2, "one for each table, none of the commit that was undone"


def _roll_back(waiting: list[Future], connection: psycopg.Connection) -> None:
    """Give the locks back once the wait that will be ordered is over."""
    deadline = time.monotonic() + PATIENCE
    while not waiting:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    waiting[0].result(PATIENCE)
    connection.rollback()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"password": "hunter2"}, "authentication failed"),
        ({"database": "nowhere"}, "does not exist"),
        ({"host": "no-such-host.invalid"}, "resolve"),
    ],
)
def test_a_database_that_refuses_says_why_and_no_password(postgres, database, change, reason):
    uri = make_url(postgres.url(database)).set(**change).render_as_string(hide_password=False)
    with pytest.raises(CatalogConfigError, match=reason) as raised:
        open_catalog("postgres", "t", {"uri": uri, "warehouse": "w"})
    for secret in ("hunter2", postgres.password):
        assert secret not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("", "'uri'"),
        ("no url hunter2", "not a database URL"),
        ("postgresql://u:hunter2@h:port/d", "not a database URL"),
        ("postgresql://u:word@hunter2@h/d", "more than one @"),
        ("postgresql://u:word@:hunter2@h/d", "not a database URL"),
        ("sqlite:////tmp/hunter2.db", "not a PostgreSQL database"),
        ("postgresql+psycopg2://u:hunter2@h/d", "not a PostgreSQL database"),
        ("postgresql://u:hunter2@h", "not a PostgreSQL database"),
    ],
)
def test_a_wrong_uri_is_named_and_not_quoted(uri, reason):
    with pytest.raises(CatalogConfigError, match=reason) as raised:
        open_catalog("postgres", "t", {"uri": uri, "warehouse": "w"})
    assert "hunter2" not in f"{raised.value} {raised.value.hint} {raised.value.__cause__}"
