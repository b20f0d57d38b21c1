"""Where a project's tables can lie: every kind of catalog with a server, on a folder and in S3."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.behaviors.places import CATALOGS, IN_S3, catalog_of, properties_of, store_for

Settings = dict[str, str]


@dataclass(frozen=True)
class Place:
    """One place.

    Attributes:
        kind: of the catalog, as ``wap.toml`` says it.
        settings: what makes a project use it, as environment.
        able: what ``wap doctor`` says of its catalog.
        files: every file of the warehouse but the versions of tables' metadata, sorted.
        secret: what must never be shown.
        storage: properties of its S3; none on a folder.
    """

    kind: str
    settings: Settings
    able: str
    files: Callable[[], list[str]]
    secret: str | None
    storage: Settings


_GROUPS = "publishes several tables in one step"
_ABLE = {"rest": f"{_GROUPS}, a new one by itself"}
#: SQLite on a folder is what every other test runs on.
PLACES = [c + s for s in ("", IN_S3) for c in CATALOGS if c + s != "sqlite"]


def open_place(request: pytest.FixtureRequest, name: str, root: Path) -> Place:
    """A place that nobody else uses, for the project in a folder."""
    kind, secret = catalog_of(name), None
    if kind == "postgres":
        uri, secret = _database(request)
        properties = {"uri": uri}
    else:
        properties = properties_of(name, request)
    settings = {"WAP_CATALOG__KIND": kind}
    settings |= {f"WAP_CATALOG__{key.upper()}": value for key, value in properties.items()}
    able = _ABLE.get(kind, _GROUPS)
    if name.endswith(IN_S3):
        store = store_for(request)
        storage = store.server.properties
        settings |= {**as_environment(storage), "WAP_CATALOG__WAREHOUSE": store.url}
        secret = store.server.secret
        return Place(kind, settings, able, lambda: _kept(store.names()), secret, storage)
    warehouse = root / "warehouse"

    def files() -> list[str]:
        return _kept(str(p.relative_to(warehouse)) for p in warehouse.rglob("*") if p.is_file())

    settings |= {"WAP_CATALOG__WAREHOUSE": warehouse.as_uri()}
    return Place(kind, settings, able, files, secret, {})


def _database(request: pytest.FixtureRequest) -> tuple[str, str]:
    """All projects of the tests have one name, by which a catalog's rows are told apart there."""
    server = request.getfixturevalue("postgres")
    uri = server.url(server.database()).replace("postgresql+psycopg://", "postgresql://")
    return uri, server.password


def _kept(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if ".metadata.json" not in name)


def as_environment(properties: Settings) -> Settings:
    """A catalog's properties as variables."""
    return {
        f"WAP_CATALOG__PROPERTIES__{k.upper().replace('.', '__').replace('-', '_')}": v
        for k, v in properties.items()
    }
