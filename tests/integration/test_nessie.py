"""Nessie where it differs from other catalogs: lost requests, restarts, tokens, other stores."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from catalog import (
    Branch,
    BranchNotFoundError,
    CatalogConfigError,
    CatalogUnavailableError,
    HeadMovedError,
    TableName,
    UnsupportedError,
    open_catalog,
)
from catalog.nessie import NessieCatalog
from tests.behaviors.conftest import FLIGHTS, Lake, Run
from tests.integration.nessie_wire import Wire, bodies, make_lake, refs
from tests.servers.nessie import Nessie, on_postgres
from tests.servers.process import free_ports
from tests.servers.seaweedfs import REGION

WEATHER = TableName.parse("nyc.weather")


@pytest.fixture
def uri(nessie: Nessie) -> str:
    nessie.empty()
    return nessie.uri


@pytest.fixture
def lake(uri: str, tmp_path: Path) -> Iterator[Lake]:
    made = make_lake(tmp_path, uri)
    yield made
    made.close()


# --- crashes and lost answers at every request ---------------------------------------------------


@dataclass
class Saga:
    """The steps of a run in their order; the one that died is tried again, as the saga does."""

    run: Run
    ids: list[int]
    done: int = 0

    def play(self) -> None:
        steps = (self.run.open, self._stage, self.run.seal, self._publish)
        for step in steps[self.done :]:
            step()
            self.done += 1

    def _stage(self) -> None:
        self.run.stage(self.ids)

    def _publish(self) -> None:
        self.run.catalog.publish([self.run.audited()])


EITHER = pytest.mark.parametrize("before", [True, False], ids=["request", "answer"])
LOADS = pytest.mark.parametrize("first_load", [True, False], ids=["first load", "append"])


@EITHER
@LOADS
def test_a_run_that_is_killed_at_any_request_is_completed(uri, lake, tmp_path, before, first_load):
    """Each request of a run, or its answer, is in turn the last thing a worker lives to see."""
    expected = [2] if first_load else [1, 2]
    for number in range(30):
        table = TableName.parse(f"nyc.t{number}")
        if not first_load:
            lake.publish([1], table)
        wire = Wire(lose=number, before=before)
        dying = make_lake(tmp_path, uri, wire)
        saga = Saga(dying.run(f"mine-{number}", table), [2])
        with suppress(KeyboardInterrupt):
            saga.play()
        dying.close()
        saga.run = replace(saga.run, lake=lake)
        saga.play()
        assert lake.ids(table) == expected, number
        assert lake.catalog.verify(table) == []
        saga.run.drop()
        assert refs(uri) == {"main"}, number
        assert lake.ids(table) == expected, number
        if wire.changes <= number:
            break
    assert 8 < number < 29
    assert bodies(wire)
    for told in bodies(wire):
        assert told["fromHash"]
        assert not {"FORCE", "DROP"} & set(json.dumps(told).split('"'))
        assert not [key for key in told if "dry" in key.lower()]


@EITHER
@LOADS
def test_a_drop_that_is_killed_at_any_request_is_completed(uri, lake, tmp_path, before, first_load):
    if not first_load:
        lake.publish([1])
    files = lake.files()
    for number in range(9):
        run = lake.run(f"mine-{number}")
        run.open()
        run.stage([2])
        run.seal()
        wire = Wire(lose=number, before=before)
        dying = make_lake(tmp_path, uri, wire)
        with suppress(KeyboardInterrupt):
            replace(run, lake=dying).drop()
        dying.close()
        run.drop()
        assert lake.files() == files, number
        assert refs(uri) == {"main"}, number
        if wire.changes <= number:
            return
    pytest.fail("a drop of more requests than were tried")


def test_answers_that_are_lost_are_read_back(uri, lake, tmp_path):
    """No step asks more of its caller than to be tried again."""
    lake.publish([1])
    for number in range(30):
        wire = Wire(lose=number, before=False, what=httpx.ReadTimeout("timed out"))
        slow = make_lake(tmp_path, uri, wire)
        saga = Saga(slow.run(f"mine-{number}"), [number + 2])
        try:
            saga.play()
        except CatalogUnavailableError:
            saga.play()
        slow.close()
        if wire.changes <= number:
            break
    assert lake.ids() == list(range(1, number + 3))
    assert lake.catalog.verify(FLIGHTS) == []


def test_the_server_is_killed_in_mid_publish(nessie, uri, lake, tmp_path):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()

    def lost() -> None:
        nessie.restart()
        raise httpx.ReadError("connection reset")

    # The third changing request of a publish is the merge.
    wire = Wire(lose=2, before=False, what=lost)
    cut = make_lake(tmp_path, uri, wire)
    cut.catalog.publish([run.audited()])
    cut.close()
    assert len(bodies(wire)) == 1
    assert lake.ids() == [1, 2]
    assert lake.catalog.verify(FLIGHTS) == []
    assert refs(uri) == {"main"}


# --- several tables -----------------------------------------------------------------------------


def group(lake: Lake, name: str) -> list[Run]:
    runs = [lake.run(name), lake.run(name, WEATHER)]
    for run in runs:
        run.open()
        run.stage([2])
        run.seal()
    return runs


def test_a_group_is_published_by_one_merge(uri, lake):
    lake.publish([1])
    runs = group(lake, "both")
    assert refs(uri) == {"main", "wap/both"}
    before = lake.plain.api.ref("main")
    lake.catalog.publish([run.audited() for run in runs])
    told = httpx.get(f"{uri}/trees/main/history", params={"max-records": 2}).json()
    newest, mark = told["logEntries"]
    meta = newest["commitMeta"]
    assert newest["parentCommitHash"] == mark["commitMeta"]["hash"]
    assert mark["commitMeta"]["message"] == "about to publish nyc.weather"
    assert mark["parentCommitHash"] == before.hash
    assert meta["authors"] == ["wap run both"]
    properties = meta.get("allProperties") or meta["properties"]
    assert "nyc.flights/wap.report" in properties
    assert "nyc.weather/wap.contract" in properties
    assert refs(uri) == {"main"}


def test_one_of_a_group_that_has_moved_holds_all_back(uri, lake):
    lake.publish([1])
    runs = group(lake, "both")
    lake.publish([9], WEATHER)
    with pytest.raises(HeadMovedError):
        lake.catalog.publish([run.audited() for run in runs])
    assert (lake.ids(), lake.ids(WEATHER)) == ([1], [9])
    runs[1].rebase()
    runs[1].seal()
    lake.catalog.publish([run.audited() for run in runs])
    assert (lake.ids(), lake.ids(WEATHER)) == ([1, 2], [2, 9])
    assert refs(uri) == {"main"}


def test_dropping_one_table_of_a_run_keeps_the_other(uri, lake):
    lake.publish([1])
    runs = group(lake, "both")
    runs[0].drop()
    assert [s.table for s in lake.catalog.branches()] == [WEATHER]
    with pytest.raises(BranchNotFoundError):
        lake.catalog.publish([run.audited() for run in runs])
    lake.catalog.publish([runs[1].audited()])
    assert (lake.ids(), lake.ids(WEATHER)) == ([1], [2])
    assert refs(uri) == {"main"}


def test_tables_of_two_runs_are_no_group(lake):
    runs = [lake.run("one"), lake.run("two", WEATHER)]
    for run in runs:
        run.open()
        run.stage([1])
        run.seal()
    with pytest.raises(UnsupportedError, match="one branch"):
        lake.catalog.publish([run.audited() for run in runs])
    assert lake.catalog.tables() == []


# --- other servers, stores and warehouses -------------------------------------------------------

KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def token(**claims: object) -> str:
    now = int(time.time())
    told = {"sub": "alice", "iss": "wap", "iat": now, "exp": now + 600, "groups": ["engineer"]}
    return jwt.encode({**told, **claims}, KEY, "RS256")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory, postgres, seaweedfs) -> Iterator[Nessie]:
    """Nessie over PostgreSQL that wants a token, with Iceberg REST over an S3 warehouse."""
    public = KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    s3 = "nessie.catalog.service.s3.default-options"
    settings = {
        **on_postgres(postgres.jdbc(postgres.database()), "wap", postgres.password),
        "nessie.server.authentication.enabled": "true",
        "quarkus.oidc.public-key": base64.b64encode(public).decode(),
        "quarkus.oidc.client-id": "nessie",
        "quarkus.oidc.token.issuer": "wap",
        "quarkus.oidc.token.principal-claim": "sub",
        "nessie.catalog.default-warehouse": "lake",
        "nessie.catalog.warehouses.lake.location": f"s3://{seaweedfs.bucket()}/wh",
        f"{s3}.endpoint": seaweedfs.endpoint,
        f"{s3}.path-style-access": "true",
        f"{s3}.region": REGION,
        f"{s3}.access-key": "urn:nessie-secret:quarkus:keys.lake",
        "keys.lake.name": seaweedfs.key,
        "keys.lake.secret": seaweedfs.secret,
    }
    server = Nessie(tmp_path_factory.mktemp("guarded"), settings)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def trusted(guarded: Nessie, tmp_path: Path) -> Iterator[Lake]:
    properties = {"uri": guarded.uri, "warehouse": str(tmp_path / "warehouse"), "token": token()}
    opened = open_catalog("nessie", "test", properties)
    assert isinstance(opened, NessieCatalog)
    yield Lake("nessie", tmp_path, opened, opened.iceberg)
    opened.close()


def test_runs_on_postgres_with_a_token(guarded, trusted):
    trusted.publish([1])
    run = trusted.run()
    run.open()
    run.stage([2])
    guarded.restart()
    run.finish()
    assert trusted.ids() == [1, 2]
    assert trusted.catalog.verify(FLIGHTS) == []
    assert trusted.catalog.branches() == []
    assert "token" not in trusted.plain.properties
    assert token()[:20] not in repr(run.now)


@pytest.mark.parametrize("bad", [None, "no.such.token", token(iss="somebody"), token(exp=1)])
def test_a_bad_token_is_a_mistake_in_the_settings(guarded, tmp_path, bad):
    properties = {"uri": guarded.uri, "warehouse": str(tmp_path)}
    given = {**properties, "token": bad} if bad else properties
    with pytest.raises(CatalogConfigError, match="refuses us") as raised:
        open_catalog("nessie", "test", given)
    assert not bad or bad not in str(raised.value)


def test_its_iceberg_rest_is_refused(guarded):
    properties = {"uri": guarded.uri.replace("/api/v2", "/iceberg"), "token": token()}
    with pytest.raises(UnsupportedError, match="Nessie's Iceberg REST"):
        open_catalog("rest", "test", properties)


def test_no_server_is_unavailable(tmp_path):
    (port,) = free_ports(1)
    properties = {"uri": f"http://127.0.0.1:{port}/api/v2", "warehouse": str(tmp_path)}
    with pytest.raises(CatalogUnavailableError, match=str(port)):
        open_catalog("nessie", "test", properties)


@pytest.mark.parametrize("path", ["/api/v1", "/iceberg", "/nowhere"])
def test_another_address_is_a_mistake_in_the_settings(nessie, tmp_path, path):
    properties = {"uri": nessie.uri.replace("/api/v2", path), "warehouse": str(tmp_path)}
    with pytest.raises(CatalogConfigError, match="no Nessie"):
        open_catalog("nessie", "test", properties)


def test_a_warehouse_on_s3(uri, tmp_path, seaweedfs):
    bucket = seaweedfs.bucket()
    place = {"warehouse": f"s3://{bucket}/wh", **seaweedfs.properties}
    opened = open_catalog("nessie", "test", {"uri": uri, **place})
    assert isinstance(opened, NessieCatalog)
    lake = Lake("nessie", tmp_path, opened, opened.iceberg)
    lost = lake.run("lost")
    lost.open()
    lost.stage([9])
    assert lost.drop().files >= 2
    assert seaweedfs.keys(bucket) == set()
    lake.publish([1])
    one, two = lake.run("one"), lake.run("two")
    for run, ids in ((one, [2]), (two, [3])):
        run.open()
        run.stage(ids)
    one.finish()
    with pytest.raises(HeadMovedError):
        two.finish()
    two.rebase()
    two.finish()
    assert lake.ids() == [1, 2, 3]
    before = seaweedfs.keys(bucket)
    rejected = lake.run("rejected")
    rejected.open()
    rejected.stage([4])
    rejected.drop()
    assert seaweedfs.keys(bucket) == before
    assert lake.plain.load_table(FLIGHTS.identifier).scan().count() == 3
    assert lake.catalog.verify(FLIGHTS) == []
    lake.close()


def test_a_branch_of_the_port_is_a_branch_of_nessie(lake):
    run = lake.run("seen")
    run.open()
    assert lake.plain.api.refs("wap/")[0].name == str(Branch.of_run("seen"))
