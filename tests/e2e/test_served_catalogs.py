"""The main job on catalogs with a server: the same project, only the settings differ."""

import json

import pytest
from sqlalchemy import make_url

from catalog import open_catalog
from tests.behaviors.conftest import empty


def _on_postgres(request) -> dict[str, str]:
    server = request.getfixturevalue("postgres")
    uri = server.url(server.database()).replace("postgresql+psycopg://", "postgresql://")
    return {"WAP_CATALOG__KIND": "postgres", "WAP_CATALOG__URI": uri}


def _on_rest(request) -> dict[str, str]:
    uri = request.getfixturevalue("iceberg_rest").uri
    opened = open_catalog("rest", "sweep", {"uri": uri})
    empty(opened.iceberg)  # type: ignore[attr-defined]
    opened.close()
    warehouse = (request.getfixturevalue("shop").root / "warehouse").as_uri()
    return {
        "WAP_CATALOG__KIND": "rest",
        "WAP_CATALOG__URI": uri,
        "WAP_CATALOG__WAREHOUSE": warehouse,
    }


CATALOGS = {
    "postgres": (_on_postgres, "publishes several tables in one step"),
    "rest": (_on_rest, "publishes several tables in one step, a new one by itself"),
}


@pytest.mark.parametrize("kind", CATALOGS)
def test_published_rejected_and_nothing_new(shop, request, kind):
    settings, able = CATALOGS[kind]
    env = settings(request)
    password = make_url(env["WAP_CATALOG__URI"]).password

    def said(*args: str) -> str:
        done = shop.wap(*args, **env)
        assert done.returncode == 0, done.stdout + done.stderr
        assert password is None or password not in done.stdout + done.stderr
        return done.stdout

    def asked() -> list[dict]:
        sql = "select count(*) as n, max(id) as last from shop.orders"
        return json.loads(said("query", sql, "--json"))

    assert able in " ".join(said("doctor").split())
    shop.orders("orders-1.csv", range(1, 101))
    first = shop.result("orders", **env)
    assert (first["ending"], first["rows"]["published"]) == ("published", 100)
    assert asked() == [{"n": 100, "last": 100}]

    files = shop.data_files()
    shop.orders("orders-2.csv", range(101, 121), amount="-1.00")
    assert shop.result("orders", code=1, **env)["ending"] == "rejected"
    assert asked() == [{"n": 100, "last": 100}]
    assert json.loads(said("branches", "--json")) == []
    assert shop.data_files() == files

    (shop.root / "data" / "orders-2.csv").unlink()
    assert shop.result("orders", **env)["nothing_new"] is True
    said("verify")
