"""An Iceberg REST server that is cut off, loses its answers, is killed and started again."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from catalog import CatalogError, CatalogUnavailableError, TableName, UnsupportedError, open_catalog
from tests.behaviors.conftest import Lake, open_lake
from tests.behaviors.places import empty
from tests.servers.nessie import Nessie
from tests.servers.proxy import Proxy

FLIGHTS, WEATHER = TableName.parse("nyc.flights"), TableName.parse("nyc.weather")


@pytest.fixture
def proxy(iceberg_rest) -> Iterator[Proxy]:
    proxy = Proxy(iceberg_rest.port)
    yield proxy
    proxy.close()


def _lake(proxy: Proxy, root: Path, **properties: str) -> Lake:
    told = {"uri": f"http://127.0.0.1:{proxy.port}", **properties}
    (root / "catalog.json").write_text(json.dumps(told))
    lake = open_lake("rest", root)
    empty(lake.plain)
    return lake


@pytest.fixture
def lake(proxy: Proxy, tmp_path: Path) -> Iterator[Lake]:
    lake = _lake(proxy, tmp_path)
    yield lake
    lake.catalog.close()


def _asks(method: str, path: str):
    """Whether a request's first bytes are for such a path."""
    return lambda request: (
        unquote(request.split(b"\r\n", 1)[0].decode()).startswith(f"{method} ")
        and path in unquote(request.split(b"\r\n", 1)[0].decode())
    )


COMMIT, RENAME = _asks("POST", "/tables/"), _asks("POST", "/tables/rename")
COMMIT_OF_TABLE = lambda request: COMMIT(request) and not RENAME(request)  # noqa: E731
GROUP = _asks("POST", "/transactions/commit")
DROP = _asks("DELETE", "/tables/")


def _sealed(lake: Lake, table: TableName = FLIGHTS, ids=(2,), run_id: str = ""):
    run = lake.run(run_id or f"run-{table.name}", table)
    run.open()
    run.stage(list(ids))
    run.seal()
    return run


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
@pytest.mark.parametrize("first_load", [True, False])
def test_a_publish_whose_commit_is_lost_or_unanswered_is_one_publish(
    lake, proxy, fault, first_load
):
    if not first_load:
        lake.publish([1])
    run = _sealed(lake)
    with proxy.fault(fault, COMMIT_OF_TABLE):
        (snapshot,) = lake.catalog.publish([run.audited()])
    assert lake.ids() == ([2] if first_load else [1, 2])
    assert lake.catalog.publish([run.audited()]) == [snapshot]
    assert lake.catalog.branches() == []


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
def test_a_rename_that_is_lost_or_unanswered_is_completed(lake, proxy, fault):
    run = _sealed(lake)
    with proxy.fault(fault, RENAME):
        (snapshot,) = lake.catalog.publish([run.audited()])
    assert lake.ids() == [2]
    assert lake.catalog.publish([run.audited()]) == [snapshot]
    assert lake.catalog.verify(FLIGHTS) == []


def test_a_server_that_never_answers_is_not_waited_for(proxy, tmp_path):
    lake = _lake(proxy, tmp_path, **{"rest.client.socket-timeout-ms": "3000"})
    lake.publish([1])
    run = _sealed(lake)
    with proxy.fault("hang", COMMIT_OF_TABLE):
        lake.catalog.publish([run.audited()])
    assert lake.ids() == [1, 2]
    lake.catalog.close()


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
def test_a_group_is_published_once_whole(lake, proxy, fault):
    for table in (FLIGHTS, WEATHER):
        lake.publish([1], table)
    runs = [_sealed(lake, table, run_id="run-group") for table in (FLIGHTS, WEATHER)]
    heads = [run.audited() for run in runs]
    with proxy.fault(fault, GROUP):
        snapshots = lake.catalog.publish(heads)
    assert lake.ids() == lake.ids(WEATHER) == [1, 2]
    assert lake.catalog.publish(heads) == snapshots


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
def test_a_server_killed_around_the_commit_says_the_truth_afterwards(
    lake, proxy, iceberg_rest, fault
):
    lake.publish([1])
    run = _sealed(lake)
    with (
        proxy.fault(fault, COMMIT_OF_TABLE, then=iceberg_rest.server.kill),
        pytest.raises(CatalogUnavailableError),
    ):
        lake.catalog.publish([run.audited()])
    iceberg_rest.start()
    assert lake.ids() == ([1] if fault == "refuse" else [1, 2])
    lake.catalog.publish([run.audited()])
    assert lake.ids() == [1, 2]
    assert lake.catalog.verify(FLIGHTS) == []


@pytest.fixture
def half_published(lake, proxy, iceberg_rest):
    """A first load whose server died between the commit of main and the rename."""
    run = _sealed(lake)
    with (
        proxy.fault("refuse", RENAME, then=iceberg_rest.server.kill),
        pytest.raises(CatalogUnavailableError),
    ):
        lake.catalog.publish([run.audited()])
    iceberg_rest.start()
    assert lake.catalog.tables() == []
    return run


def test_what_died_before_the_rename_is_completed(lake, half_published):
    lake.catalog.publish([half_published.audited()])
    assert lake.ids() == [2]
    assert lake.catalog.verify(FLIGHTS) == []


def test_what_died_before_the_rename_can_be_dropped(lake, half_published):
    half_published.drop()
    assert lake.where.names() == set()
    assert lake.plain.list_namespaces() == [("nyc",)], "made for the name it did not get"


@pytest.fixture
def shown_late(lake, half_published):
    """A run that is dropped, and whose rename comes when main was taken back already."""
    (hidden,) = lake.plain.list_tables("wap_staging")
    drop = lake.plain.drop_table

    def late(identifier):
        if identifier == hidden:
            lake.plain.rename_table(hidden, FLIGHTS.identifier)
        drop(identifier)

    lake.plain.drop_table = late
    with pytest.raises(CatalogError, match="empty table"):
        half_published.drop()
    lake.plain.drop_table = drop
    return half_published


def test_a_rename_that_comes_after_main_was_taken_back_is_told_each_time(lake, shown_late):
    """A rename asserts nothing. No row is shown, and none is left; the name is for a person."""
    with pytest.raises(CatalogError, match="empty table") as told:
        shown_late.drop()
    assert "nyc.flights" in told.value.hint
    assert lake.catalog.published(FLIGHTS) is None
    assert not [f for f in lake.where.names() if f.endswith(".parquet")]
    lake.plain.drop_table(FLIGHTS.identifier)
    shown_late.drop()
    assert lake.where.names() == set()


def test_a_name_that_was_shown_late_is_not_taken_from_who_published_there(lake, shown_late):
    """Removing a name asserts nothing either: it would take whatever table has it by now."""
    lake.publish([7])
    shown_late.drop()
    assert lake.ids() == [7]
    assert lake.catalog.verify(FLIGHTS) == []


# --- where the server chooses the location ------------------------------------------------------


@pytest.fixture
def chosen(proxy: Proxy, tmp_path: Path) -> Iterator[Lake]:
    """A lake whose server says where tables lie: it was given no warehouse."""
    lake = _lake(proxy, tmp_path, warehouse="")
    yield lake
    lake.catalog.close()


def _files(iceberg_rest) -> set[Path]:
    return {p for p in iceberg_rest.warehouse.rglob("*") if p.is_file()}


def test_a_location_of_the_servers_choice_is_published_and_dropped_whole(chosen, iceberg_rest):
    before = _files(iceberg_rest)
    run = _sealed(chosen, ids=[1])
    assert _files(iceberg_rest) - before
    run.drop()
    assert _files(iceberg_rest) == before
    chosen.publish([1])
    late = _sealed(chosen)
    chosen.catalog.publish([late.audited()])
    assert late.drop().files == 0
    assert chosen.ids() == [1, 2]


@pytest.mark.parametrize("fault", ["refuse", "swallow"])
def test_a_drop_that_dies_around_the_entry_leaves_no_data(chosen, proxy, iceberg_rest, fault):
    before = _files(iceberg_rest)
    run = _sealed(chosen, ids=[1])
    with proxy.fault(fault, DROP), pytest.raises(CatalogUnavailableError):
        run.drop()
    late = {p.name for p in _files(iceberg_rest) - before}
    assert all(".metadata.json" in name for name in late), "data goes before the entry"
    run.drop()
    assert chosen.catalog.branches() == []
    assert chosen.catalog.tables() == []
    if fault == "refuse":
        assert _files(iceberg_rest) == before


def test_a_publish_that_comes_while_the_files_go_is_refused(chosen, proxy):
    run = _sealed(chosen, ids=[1])
    with proxy.fault("refuse", DROP), pytest.raises(CatalogUnavailableError):
        run.drop()
    with pytest.raises(Exception, match=r"there is no branch|no seal|has moved"):
        chosen.catalog.publish([run.audited()])
    assert chosen.catalog.tables() == []


def test_a_nessie_server_is_refused(tmp_path):
    s3 = "nessie.catalog.service.s3.default-options"
    server = Nessie(
        tmp_path,
        {
            "nessie.version.store.type": "IN_MEMORY",
            "nessie.catalog.default-warehouse": "warehouse",
            "nessie.catalog.warehouses.warehouse.location": "s3://lake/wh",
            f"{s3}.endpoint": "http://127.0.0.1:9",
            f"{s3}.region": "us-east-1",
            f"{s3}.access-key": "urn:nessie-secret:quarkus:my-secrets.s3-default",
            "my-secrets.s3-default.name": "any",
            "my-secrets.s3-default.secret": "any",
        },
    )
    server.start()
    try:
        with pytest.raises(UnsupportedError, match="Nessie"):
            open_catalog("rest", "t", {"uri": f"http://127.0.0.1:{server.port}/iceberg"})
    finally:
        server.stop()


def test_the_endpoint_for_several_tables_makes_none(lake):
    """What keeps a new quarantine table out of the commit that first needs it (decision 0023)."""
    lake.publish([1])
    table = lake.plain.load_table(FLIGHTS.identifier)
    metadata = json.loads(table.metadata.model_dump_json(by_alias=True))
    schema = next(s for s in metadata["schemas"] if s["schema-id"] == 0)
    made = {
        "identifier": {"namespace": ["nyc"], "name": "weather"},
        "requirements": [{"type": "assert-create"}],
        "updates": [
            {"action": "assign-uuid", "uuid": str(uuid.uuid4())},
            {"action": "upgrade-format-version", "format-version": 2},
            {"action": "add-schema", "schema": schema, "last-column-id": 9},
            {"action": "set-current-schema", "schema-id": -1},
            {"action": "add-spec", "spec": {"spec-id": 0, "fields": []}},
            {"action": "set-default-spec", "spec-id": -1},
            {"action": "add-sort-order", "sort-order": {"order-id": 0, "fields": []}},
            {"action": "set-default-sort-order", "sort-order-id": -1},
            {"action": "set-location", "location": f"{table.location()}-weather"},
        ],
    }
    url = lake.plain.url("transactions/commit")
    answer = lake.plain._session.post(url, data=json.dumps({"table-changes": [made]}))
    assert (answer.status_code, answer.json()["error"]["type"]) == (404, "NoSuchTableException")
    assert WEATHER not in lake.catalog.tables()
