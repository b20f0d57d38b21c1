"""A Hive metastore's catalog, by pyiceberg's own support for it.

The one module that touches private names of that: ``HiveCatalog._client``, the connection that
every call opens and closes, and ``HiveCatalog._create_hive_client``, which makes it;
``tests/unit/catalog/test_hive.py`` says what we rely on.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from pyiceberg.catalog.hive import HiveCatalog

from catalog.native import NativeCatalog
from catalog.properties import needed, warehouse_location
from catalog.vendor import translated


class ThreadedHiveCatalog(HiveCatalog):
    """pyiceberg's, with a connection per thread: steps run side by side, and it has one for all."""

    def __init__(self, name: str, **properties: str) -> None:
        """Make it; nothing is connected before the first call."""
        self._own = threading.local()
        super().__init__(name, **properties)

    @property
    def _client(self) -> Any:
        if not hasattr(self._own, "client"):
            self._own.client = self._create_hive_client(self.properties)
        return self._own.client

    @_client.setter
    def _client(self, client: Any) -> None:
        self._own.client = client


def open_hive(name: str, properties: Mapping[str, str]) -> NativeCatalog:
    """The metastore's catalog.

    Args:
        name: the catalog's name, for messages.
        properties: ``uri`` (``thrift://host:9083``), ``warehouse``, and any of pyiceberg's own.

    Raises:
        CatalogConfigError: a property is missing.
    """
    own = {
        "uri": needed(properties, "uri"),
        "warehouse": warehouse_location(needed(properties, "warehouse")),
    }
    with translated(f"catalog {name}"):
        catalog = ThreadedHiveCatalog(name, **{**properties, **own})
    return NativeCatalog(catalog)
