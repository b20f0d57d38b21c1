"""The main job through its door: exit codes, stdout, report, and what consumers can see."""

import json
import os
import signal
import sqlite3
import subprocess
import sys

import pytest

from tests.e2e.conftest import ROOT, environment


def test_good_batch_is_published_and_a_second_run_has_nothing_to_do(shop):
    shop.orders("orders-1.csv", range(100))
    first = shop.result("orders")
    assert first["ending"] == "published"
    assert first["rows"] == {
        "read": 100, "staged": 100, "unchanged": 0, "deleted": 0, "quarantined": 0,
        "deduplicated": 0, "discarded": 0, "kept": 0, "published": 100, "inserted": 0, "updated": 0,
    }  # fmt: skip
    assert first["snapshot"]["before"] is None
    assert first["snapshot"]["after"] is not None
    assert first["checks"]["failed"] == 0
    assert (shop.root / first["report"]).is_file()
    assert shop.query("select count(*) as n, sum(amount) as s from shop.orders") == [
        {"n": 100, "s": "5000.00"}
    ]
    files = shop.files()
    second = shop.result("orders")
    assert second["nothing_new"] is True
    assert second["snapshot"]["after"] == first["snapshot"]["after"]
    assert shop.files() == files
    assert shop.branches() == []
    assert shop.server() is None


def test_second_file_is_added_to_the_first(shop):
    shop.orders("orders-1.csv", range(10))
    first = shop.result("orders")
    shop.orders("orders-2.csv", range(10, 30))
    second = shop.result("orders")
    assert second["rows"]["read"] == 20
    assert second["snapshot"]["before"] == first["snapshot"]["after"]
    assert shop.query("select count(*) as n, count(distinct id) as d from shop.orders") == [
        {"n": 30, "d": 30}
    ]


def test_bad_batch_is_rejected_and_leaves_nothing(shop):
    shop.orders("orders-1.csv", range(10))
    first = shop.result("orders")
    files = [f for f in shop.files() if not f.endswith("metadata.json")]
    shop.orders("orders-2.csv", range(5, 15))
    second = shop.result("orders", code=1)
    assert second["ending"] == "rejected"
    assert second["checks"]["failed"] == 1
    assert second["rows"]["published"] == 0
    assert second["snapshot"] == {"before": first["snapshot"]["after"],
                                  "after": first["snapshot"]["after"]}  # fmt: skip
    assert [f for f in shop.files() if not f.endswith("metadata.json")] == files
    assert shop.query("select count(*) as n from shop.orders") == [{"n": 10}]
    assert shop.branches() == []
    report = json.loads((shop.root / second["report"]).with_suffix(".json").read_text())
    failed = [r for r in report["audit"]["results"] if r["outcome"] == "failed"]
    assert [r["kind"] for r in failed] == ["duplicate"]


def test_rejected_first_load_leaves_no_table(shop):
    shop.orders("orders-1.csv", range(10), id="7")
    assert shop.result("orders", code=1)["ending"] == "rejected"
    assert shop.files() == []
    done = shop.wap("query", "select 1 from shop.orders")
    assert done.returncode == 2
    with sqlite3.connect(shop.root / ".wap" / "catalog.db") as db:
        assert db.execute("select count(*) from iceberg_tables").fetchone() == (0,)


def test_masked_values_appear_nowhere(shop):
    shop.orders("orders-1.csv", range(10), id="7", customer="secretive")
    result = shop.result("orders", code=1)
    folder = (shop.root / result["report"]).parent
    for file in [*folder.iterdir(), *(shop.root / "lineage").iterdir()]:
        assert "secretive" not in file.read_text(), file
    ledger = (shop.root / ".wap" / "ledger.db").read_bytes()
    assert b"secretive" not in ledger


def test_lost_column_is_rejected_with_the_difference(shop):
    shop.orders("orders-1.csv", range(10))
    shop.result("orders")
    shop.write("data/orders-2.csv", "id,customer,amount\n1,a,2.00\n")
    result = shop.result("orders", code=1)
    assert result["ending"] == "rejected"
    assert "placed" in (shop.root / result["report"]).with_suffix(".md").read_text()


def test_value_that_does_not_fit_names_file_line_and_column(shop):
    shop.write("data/orders-1.csv", "id,customer,amount,placed\n1,a,2.00,2026-01-01\n"
                                    "2,b,dear,2026-01-01\n")  # fmt: skip
    result = shop.result("orders", code=1)
    assert result["ending"] == "rejected"
    said = (shop.root / result["report"]).with_suffix(".md").read_text()
    assert "orders-1.csv" in said
    assert "amount" in said
    assert "3" in said
    assert shop.files() == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("wap.toml", "[project]\nnam = 'x'\n", "nam"),
        ("pipelines/orders.yml", "table: shop.orders\nsorce: {}\n", "sorce"),
        ("contracts/orders.yml", "dataset: wap/shop/orders\ncolumns: []\nchecks: []\n", "check"),
        (
            "contracts/orders.yml",
            "dataset: wap/shop/orders\ncolumns: []\nchecks: [{row_cuont: }]\n",
            "row_cuont",
        ),
        (
            "contracts/orders.yml",
            "dataset: wap/shop/orders\ncolumns: [{name: idd, checks: [{missing: }]}]\n",
            "idd",
        ),
    ],
)
def test_mistake_in_a_file_is_a_usage_error_that_starts_nothing(shop, file, text, said):
    shop.orders("orders-1.csv", range(3))
    shop.write(file, text)
    done = shop.run("orders")
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr + done.stdout
    everything = done.stderr + done.stdout
    assert "Hint:" in everything or "did you mean" in everything
    assert not (shop.root / "warehouse").exists() or shop.files() == []


def test_missing_source_says_what_to_do(shop):
    done = shop.run("orders")
    assert done.returncode == 3
    assert "data/orders-*.csv" in done.stdout
    assert shop.files() == []
    assert list((shop.root / ".wap" / "runs").glob("*")) == []


def test_unknown_pipeline(shop):
    done = shop.run("order")
    assert done.returncode == 2
    assert "orders" in done.stderr


def test_own_source_in_place_of_the_pipelines(shop):
    shop.orders("orders-1.csv", range(10))
    other = shop.orders("more.csv", range(100, 105))
    assert shop.result("orders", "--source", str(other))["rows"]["read"] == 5
    assert shop.query("select min(id) as a, max(id) as b from shop.orders") == [
        {"a": 100, "b": 104}
    ]


def test_two_runs_of_one_table_at_once_lose_nothing(shop):
    shop.orders("orders-1.csv", range(10))
    shop.result("orders")
    one = shop.orders("one.csv", range(100, 200))
    two = shop.orders("two.csv", range(200, 300))
    runs = [shop.start("orders", "--json", "--source", str(p)) for p in (one, two)]
    results = [json.loads(p.communicate(timeout=200)[0]) for p in runs]
    assert [r["ending"] for r in results] == ["published", "published"]
    assert shop.query("select count(*) as n, count(distinct id) as d from shop.orders") == [
        {"n": 210, "d": 210}
    ]
    assert shop.branches() == []
    assert json.loads(shop.wap("verify", "--json").stdout)["ok"] is True


def test_a_door_that_nobody_reads_any_more_does_not_say_rejected(shop):
    """As when its output goes to ``head``: 1 would be «rejected» to whoever waits for the code."""
    shop.orders("orders-1.csv", range(10))
    assert unread(shop, "stderr").returncode == 128 + signal.SIGPIPE
    taken_up = shop.run("orders")
    assert taken_up.returncode == 0, taken_up.stderr
    shop.orders("orders-2.csv", range(10, 20))
    assert unread(shop, "stdout", "--json").returncode == 128 + signal.SIGPIPE
    assert shop.query("select count(*) as n from shop.orders") == [{"n": 20}]


def unread(shop, stream: str, *args: str):
    """A run whose ``stream`` is a pipe that has lost its reader."""
    reader, writer = os.pipe()
    os.close(reader)
    other = "stdout" if stream == "stderr" else "stderr"
    command = [sys.executable, str(ROOT / "run_workflow.py"), "orders", *args]
    try:
        return subprocess.run(
            [*command, "--project", str(shop.root)], check=False, env=environment({}, shop.root),
            timeout=240, **{stream: writer, other: subprocess.DEVNULL},
        )  # fmt: skip
    finally:
        os.close(writer)
