"""The main job and its kill tests wherever tables can lie: only the settings differ."""

from __future__ import annotations

import json
import signal

import pytest

from catalog import TableName
from tests.behaviors.conftest import read_ids
from tests.e2e.places import PLACES, Place, open_place
from tests.e2e.test_crash import FORWARD
from wap.ports import open_ports
from wap.project import load_project

ORDERS = TableName.parse("shop.orders")
#: With ``--boundaries=all`` at every one: of steps that only read, a crash changes nothing here.
BOUNDARIES = ("stage:after", "publish:after")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "boundary" in metafunc.fixturenames:
        every = [f"{step}:{when}" for step in FORWARD for when in ("before", "after")]
        chosen = metafunc.config.getoption("--boundaries", default="some")
        metafunc.parametrize("boundary", every if chosen == "all" else BOUNDARIES)


@pytest.fixture(params=PLACES)
def place(request, shop):
    return open_place(request, request.param, shop.root)


def published(shop, place: Place) -> list[int]:
    """What main shows, read in this process; nothing may be staged, and all of it proved."""
    with open_ports(load_project(shop.root, place.settings)) as ports:
        catalog = ports.catalog
        found = catalog.published(ORDERS)
        assert catalog.branches() == []
        if found is None:
            return []
        assert catalog.verify(ORDERS) == []
        ids = read_ids(catalog.scan(ORDERS, found.snapshot.id).files, found.io)
        catalog.close()
    return ids


@pytest.mark.slow
@pytest.mark.server
def test_published_rejected_and_nothing_new(shop, place):
    doctor = shop.wap("doctor", **place.settings)
    assert doctor.returncode == 0, doctor.stdout + doctor.stderr
    assert place.able in " ".join(doctor.stdout.split())
    shop.orders("orders-1.csv", range(1, 101))
    first = shop.run("orders", "--json", **place.settings)
    assert first.returncode == 0, first.stdout + first.stderr
    assert json.loads(first.stdout)["rows"]["published"] == 100
    assert published(shop, place) == list(range(1, 101))

    files = place.files()
    shop.orders("orders-2.csv", range(101, 121), amount="-1.00")
    second = shop.run("orders", "--json", **place.settings)
    assert json.loads(second.stdout)["ending"] == "rejected", second.stderr
    assert published(shop, place) == list(range(1, 101))
    assert place.files() == files

    (shop.root / "data" / "orders-2.csv").unlink()
    assert shop.result("orders", **place.settings)["nothing_new"] is True
    if place.secret is not None:
        said = [r.stdout + r.stderr for r in (doctor, first, second)]
        assert not any(place.secret in text for text in said)


@pytest.mark.slow
@pytest.mark.server
def test_killed_then_run_again_is_published_once(shop, place, boundary):
    shop.orders("orders-1.csv", range(50))
    killed = shop.run("orders", "--json", WAP_DRILL=boundary, **place.settings)
    assert killed.returncode == -signal.SIGKILL, killed.stdout + killed.stderr
    assert shop.result("orders", **place.settings)["ending"] == "published"
    assert published(shop, place) == list(range(50))
    assert sum(name.endswith(".parquet") for name in place.files()) == 1
    assert shop.server() is None
