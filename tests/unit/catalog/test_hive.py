"""What we rely on in pyiceberg's Hive catalog; there is no metastore to try the rest on."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from catalog import CatalogConfigError, CatalogUnavailableError, open_catalog
from catalog.hive import ThreadedHiveCatalog
from tests.servers.process import free_ports

PROPERTIES = {"uri": "thrift://127.0.0.1:9083", "warehouse": "file:///nowhere"}


def test_every_thread_has_a_connection_of_its_own():
    catalog = ThreadedHiveCatalog("t", **PROPERTIES)
    together = Barrier(3)

    def client(_: int) -> object:
        together.wait(30)
        return catalog._client

    with ThreadPoolExecutor(3) as pool:
        clients = list(pool.map(client, range(3)))
    assert len({id(c) for c in [*clients, catalog._client]}) == 4
    assert catalog._client is catalog._client


def test_a_metastore_that_is_not_there_is_unavailable():
    (port,) = free_ports(1)
    opened = open_catalog("hive", "t", {**PROPERTIES, "uri": f"thrift://127.0.0.1:{port}"})
    with pytest.raises(CatalogUnavailableError):
        opened.tables()
    assert not opened.capabilities.atomic_groups


@pytest.mark.parametrize("key", ["uri", "warehouse"])
def test_a_missing_property_is_named(key):
    with pytest.raises(CatalogConfigError, match=key):
        open_catalog("hive", "t", {**PROPERTIES, key: ""})
