"""The door over Nessie: a good batch is published, a spoiled one leaves no file and no branch."""

from __future__ import annotations

import httpx
import pytest

from tests.servers.nessie import Nessie

WAP_TOML = """\
[project]
name = "shop"
[catalog]
kind = "nessie"
uri = "{uri}"
"""


@pytest.fixture
def on_nessie(shop, nessie: Nessie):
    nessie.empty()
    shop.write("wap.toml", WAP_TOML.format(uri=nessie.uri))
    return shop


def test_a_good_batch_is_published_and_a_spoiled_one_leaves_nothing(on_nessie, nessie):
    shop = on_nessie
    shop.orders("orders-1.csv", range(1, 6))
    good = shop.result("orders")
    assert good["ending"] == "published"
    files = shop.files()
    shop.orders("orders-2.csv", range(6, 9), amount="-1")
    bad = shop.result("orders", code=1)
    assert bad["ending"] == "rejected"
    assert shop.files() == files
    assert shop.branches() == []
    assert shop.query("select count(*) as n from shop.orders") == [{"n": 5}]
    found = httpx.get(f"{nessie.uri}/trees").raise_for_status().json()["references"]
    assert [ref["name"] for ref in found] == ["main"]
    assert shop.wap("verify").returncode == 0
