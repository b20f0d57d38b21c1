"""Where a project's tables can lie: every kind of catalog with a server, on a folder and in S3."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from catalog import open_catalog
from tests.behaviors.conftest import empty
from tests.servers.seaweedfs import SeaweedFS

Settings = dict[str, str]


@dataclass(frozen=True)
class Place:
    """One place.

    Attributes:
        settings: what makes a project use it, as environment.
        able: what ``wap doctor`` says of its catalog.
        files: every file of the warehouse but the versions of tables' metadata, sorted.
        secret: what must never be shown.
    """

    settings: Settings
    able: str
    files: Callable[[], list[str]]
    secret: str | None


def _postgres(request: pytest.FixtureRequest, storage: str) -> tuple[Settings, str]:
    del storage
    server = request.getfixturevalue("postgres")
    uri = server.url(server.database()).replace("postgresql+psycopg://", "postgresql://")
    return {"WAP_CATALOG__URI": uri}, server.password


def _rest(request: pytest.FixtureRequest, storage: str) -> tuple[Settings, str | None]:
    server = request.getfixturevalue("iceberg_rest" if storage == "folder" else "iceberg_rest_s3")
    opened = open_catalog("rest", "sweep", {"uri": server.uri})
    empty(opened.iceberg)  # type: ignore[attr-defined]
    opened.close()
    return {"WAP_CATALOG__URI": server.uri}, None


def _nessie(name: str) -> Callable[[pytest.FixtureRequest, str], tuple[Settings, str | None]]:
    def settings(request: pytest.FixtureRequest, storage: str) -> tuple[Settings, str | None]:
        del storage
        server = request.getfixturevalue(name)
        server.empty()
        return {"WAP_CATALOG__URI": server.uri}, None

    return settings


def _sqlite(request: pytest.FixtureRequest, storage: str) -> tuple[Settings, str | None]:
    del request, storage
    return {}, None


_GROUPS = "publishes several tables in one step"
#: Name → kind, what doctor says, and its settings.
CATALOGS = {
    "sqlite": ("sqlite", _GROUPS, _sqlite),
    "postgres": ("postgres", _GROUPS, _postgres),
    "rest": ("rest", f"{_GROUPS}, a new one by itself", _rest),
    "nessie": ("nessie", _GROUPS, _nessie("nessie")),
    "nessie on postgres": ("nessie", _GROUPS, _nessie("nessie_on_postgres")),
}
#: SQLite on a folder is what every other test runs on.
PLACES = [f"{c}, {s}" for s in ("folder", "s3") for c in CATALOGS if (c, s) != ("sqlite", "folder")]


def open_place(request: pytest.FixtureRequest, name: str, root: Path) -> Place:
    """A place that nobody else uses, for the project in a folder."""
    catalog, _, storage = name.partition(", ")
    kind, able, settings_of = CATALOGS[catalog]
    settings, secret = settings_of(request, storage)
    settings = {"WAP_CATALOG__KIND": kind, **settings}
    if storage == "s3":
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        bucket, prefix = request.getfixturevalue("place_bucket"), secrets.token_hex(6)
        return Place(
            {
                **settings,
                **as_environment(server.properties),
                "WAP_CATALOG__WAREHOUSE": f"s3://{bucket}/{prefix}",
            },
            able,
            lambda: _kept(server.keys(bucket, f"{prefix}/") | server.uploads(bucket, prefix)),
            server.secret,
        )
    warehouse = root / "warehouse"

    def files() -> list[str]:
        return _kept(str(p.relative_to(warehouse)) for p in warehouse.rglob("*") if p.is_file())

    return Place({**settings, "WAP_CATALOG__WAREHOUSE": warehouse.as_uri()}, able, files, secret)


def _kept(names: Iterable[str]) -> list[str]:
    return sorted(name for name in names if ".metadata.json" not in name)


def as_environment(properties: Settings) -> Settings:
    """A catalog's properties as variables."""
    return {
        f"WAP_CATALOG__PROPERTIES__{k.upper().replace('.', '__').replace('-', '_')}": v
        for k, v in properties.items()
    }
