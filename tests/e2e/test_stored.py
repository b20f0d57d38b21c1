"""Pipelines that exist in the database alone, through the doors, on SQLite and on Postgres."""

from __future__ import annotations

import json
import shutil
import signal

import pytest

STRICTER = "- row_count: {threshold: {must_be_greater_than: 1000}}"


@pytest.fixture(params=["sqlite", "postgres"])
def env(request, shop):
    """Settings of a ledger in which the shop's pipeline is, and no file of it any more."""
    settings = {"WAP_PIPELINES__FROM": "database"}
    server = request.getfixturevalue("postgres") if request.param == "postgres" else None
    name = server.database() if server else ""
    if server:
        settings["WAP_LEDGER__URL"] = server.url(name).replace("+psycopg", "")
    done = shop.wap("pipelines", "import", **settings)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(shop.root / "pipelines")
    shutil.rmtree(shop.root / "contracts")
    yield settings
    if server:
        server.drop(name)


def test_a_run_keeps_to_the_version_it_began_with(shop, env):
    shop.orders("orders-1.csv", range(50))
    killed = shop.run("orders", "--json", WAP_DRILL="open_branch:before", **env)
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    # While it is at work somebody stores a version that would reject it.
    exported = shop.wap("pipelines", "export", str(shop.root / "edit"), **env)
    assert exported.returncode == 0, exported.stderr
    contract = shop.root / "edit/contracts/orders.yml"
    contract.write_text(contract.read_text().replace("- row_count:", STRICTER))
    edit = shop.root / "edit"
    put = ["pipelines", "put", str(edit / "pipelines/orders.yml"), "--root", str(edit)]
    done = shop.wap(*put, "--reason", "too few rows", "--expect", "1", **env)
    assert done.returncode == 0, done.stderr
    assert "version 2" in done.stdout

    first = shop.result("orders", **env)
    assert (first["ending"], first["rows"]["published"]) == ("published", 50)

    shop.orders("orders-2.csv", range(100, 110))
    second = shop.result("orders", code=1, **env)
    assert (second["ending"], "Number of rows" in second["reason"]) == ("rejected", True)

    status = json.loads(shop.wap("status", "--json", **env).stdout)
    versions = {r["result"]["run_id"]: r["pipeline_version"] for r in status["runs"]}
    assert versions == {first["run_id"]: 1, second["run_id"]: 2}
    report = json.loads((shop.root / second["report"]).with_name("report.json").read_text())
    assert report["run"]["pipeline_version"] == 2
    assert "orders, version 2" in (shop.root / second["report"]).read_text()


@pytest.mark.parametrize("env", ["sqlite"], indirect=True)
def test_the_doors_read_what_is_stored(shop, env):
    listed = json.loads(shop.wap("pipelines", "list", "--json", **env).stdout)
    assert [(v["name"], v["version"], v["table"]) for v in listed] == [("orders", 1, "shop.orders")]
    looked = shop.wap("doctor", **env)
    assert looked.returncode == 0, looked.stdout + looked.stderr
    assert "version 1" in looked.stdout
    gone = shop.wap("pipelines", "delete", "orders", "--reason", "sold", **env)
    assert gone.returncode == 0, gone.stderr
    refused = shop.run("orders", **env)
    assert refused.returncode == 2
    assert "there is no pipeline 'orders' [the ledger's database]" in refused.stderr
    history = json.loads(shop.wap("pipelines", "history", "orders", "--json", **env).stdout)
    assert [(v["version"], v["deleted"]) for v in history] == [(2, True), (1, False)]
