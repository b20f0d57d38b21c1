"""The other doors: what auditors and consumers ask, and what keeps a project running."""

import json
import os
import signal
import sqlite3

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from tests.e2e.conftest import CONTRACT


@pytest.fixture
def loaded(shop):
    shop.orders("orders-1.csv", range(10))
    shop.result("orders")
    return shop


def plain(shop) -> SqlCatalog:
    """The catalog as any other program opens it."""
    return SqlCatalog(
        "shop",
        uri=f"sqlite:///{shop.root}/.wap/catalog.db",
        warehouse=f"file://{shop.root}/warehouse",
    )


def test_verify_names_a_snapshot_that_no_run_made(loaded):
    good = loaded.wap("verify", "--json")
    assert good.returncode == 0
    assert json.loads(good.stdout)["tables"][0]["unsealed"] == []
    table = plain(loaded).load_table("shop.orders")
    table.append(table.scan().to_arrow().slice(0, 1))
    foreign = table.refresh().current_snapshot().snapshot_id
    bad = loaded.wap("verify", "--json")
    assert bad.returncode == 1
    proof = json.loads(bad.stdout)
    assert proof["ok"] is False
    assert [u["snapshot"] for u in proof["tables"][0]["unsealed"]] == [foreign]
    assert str(foreign) in loaded.wap("verify").stdout


def test_verify_names_damaged_evidence(loaded):
    (evidence,) = (loaded.root / "warehouse").rglob("wap-evidence/*.json")
    evidence.write_text(evidence.read_text().replace('"published"', '"PUBLISHED"'))
    proof = json.loads(loaded.wap("verify", "--json").stdout)
    assert proof["ok"] is False
    assert "evidence" in proof["tables"][0]["unsealed"][0]["reason"]


def test_a_published_run_is_audited_again_and_differs_once_its_rows_do(loaded):
    run_id = json.loads(loaded.wap("status", "--json").stdout)["runs"][0]["result"]["run_id"]
    same = loaded.wap("reaudit", run_id, "--json")
    assert same.returncode == 0, same.stderr
    found = json.loads(same.stdout)
    assert found["digest"] == found["sealed_digest"]
    assert "EQUAL" in loaded.wap("reaudit", run_id).stdout
    (data,) = (loaded.root / "warehouse" / f for f in loaded.data_files())
    rows = pq.read_table(data)
    twice = pa.array([0, 0, *range(2, 10)], rows.schema.field("id").type)
    pq.write_table(rows.set_column(0, rows.schema.field(0), twice), data)
    other = loaded.wap("reaudit", run_id)
    assert other.returncode == 1
    assert "again:  failed: 1 of 10 rows" in other.stdout
    gone = loaded.wap("reaudit", "orders-20260101-000000-00000000")
    assert gone.returncode == 2
    assert "latest:" in gone.stderr


def test_a_proposed_contract_is_tried_on_what_was_published(loaded):
    loaded.orders("orders-2.csv", range(10, 20))
    loaded.result("orders")
    files = loaded.files()
    new = loaded.write("new.yml", CONTRACT.replace("valid_min: 0", "valid_max: 12"))
    tried = loaded.wap("audit", "--contract", str(new), "--last", "30", "orders", "--json")
    assert tried.returncode == 1, tried.stderr
    assert tried.stderr.splitlines()[0].startswith("audit 1 of 2: ")
    trials = json.loads(tried.stdout)["trials"]
    assert [t["verdict"] for t in trials] == ["blocks", "passes"]
    assert {row["customer"] for row in trials[0]["bad"][0]["sample"]} == {"•••"}
    said = loaded.wap("audit", "--contract", str(new)).stdout
    assert "would have blocked 1 of 2 published runs" in said
    assert "row: id=13" in said.replace("id=12, amount=12.50", "")
    old = str(loaded.root / "contracts" / "orders.yml")
    assert loaded.wap("audit", "--contract", old).returncode == 0
    assert loaded.wap("audit", "--contract", old, "shop.other").returncode == 2
    assert loaded.files() == files


def test_rollback_goes_to_the_sealed_snapshot_before(loaded):
    before = loaded.query("select count(*) as n from shop.orders")
    loaded.orders("orders-2.csv", range(10, 20))
    second = loaded.result("orders")
    done = loaded.wap("rollback", "shop.orders", "--yes")
    assert done.returncode == 0, done.stderr
    assert loaded.query("select count(*) as n from shop.orders") == before
    again = loaded.result("orders")
    assert again["rows"]["read"] == 10, "rolled-back input is new again"
    assert again["snapshot"]["before"] != second["snapshot"]["after"]
    assert json.loads(loaded.wap("verify", "--json").stdout)["ok"] is True


def test_ledger_is_rebuilt_from_the_seals(loaded):
    loaded.orders("orders-2.csv", range(10, 20))
    loaded.result("orders")
    before = json.loads(loaded.wap("status", "--json").stdout)["runs"]
    for file in (loaded.root / ".wap").glob("ledger.db*"):
        file.unlink()
    assert json.loads(loaded.wap("status", "--json").stdout)["runs"] == []
    done = loaded.wap("rebuild-ledger")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 runs")
    after = json.loads(loaded.wap("status", "--json").stdout)["runs"]

    def core(runs):
        return [
            (
                r["result"]["run_id"], r["result"]["ending"], r["result"]["rows"],
                r["result"]["snapshot"], [c["outcome"] for c in r["checks"]],
                [(i["path"], i["bytes"]) for i in r["inputs"]], r["report_digest"],
            )
            for r in runs
        ]  # fmt: skip

    assert core(after) == core(before)
    assert loaded.wap("rebuild-ledger").stdout.startswith("0 runs")


def test_run_goes_on_without_its_ledger(loaded):
    for file in (loaded.root / ".wap").glob("ledger.db*"):
        file.unlink()
    assert loaded.result("orders")["nothing_new"] is True, "what is loaded stands in the catalog"


def test_query_reads_only_what_is_published(loaded):
    for sql in (
        "select * from read_csv('/etc/passwd')",
        "copy shop.orders to '/tmp/x.csv'",
        "select * from shop.other",
        "create table t as select 1",
        "select 1; select 2",
    ):
        done = loaded.wap("query", sql)
        assert done.returncode == 2, sql
        assert "error:" in done.stderr


def test_report_is_found_by_run_and_by_pipeline(loaded):
    run_id = json.loads(loaded.wap("status", "--json").stdout)["runs"][0]["result"]["run_id"]
    by_run = loaded.wap("report", run_id, "--json")
    assert json.loads(by_run.stdout)["run"]["run_id"] == run_id
    assert loaded.wap("report", "orders").returncode == 0
    missing = loaded.wap("report", "nope")
    assert missing.returncode == 2
    assert run_id in missing.stderr


def test_doctor_leaves_nothing_behind(shop):
    shop.orders("orders-1.csv", range(3))
    done = shop.wap("doctor", "--json")
    assert done.returncode == 0, done.stdout
    assert all(f["ok"] for f in json.loads(done.stdout))
    assert shop.files() == []
    with sqlite3.connect(shop.root / ".wap" / "catalog.db") as db:
        assert db.execute("select count(*) from iceberg_tables").fetchone() == (0,)


def test_warm_worker_takes_runs_and_goes_down(shop):
    shop.orders("orders-1.csv", range(10))
    assert shop.wap("up").returncode == 0
    try:
        again = shop.wap("up")
        assert "already" in again.stdout
        assert shop.result("orders")["ending"] == "published"
        assert shop.server() is not None, "`wap up` keeps the server"
        assert shop.result("orders")["nothing_new"] is True
    finally:
        down = shop.wap("down")
    assert down.stdout.strip() == "stopped"
    assert shop.server() is None
    assert shop.wap("down").stdout.strip() == "nothing was running"


def test_killed_warm_worker_is_noticed(shop):
    shop.orders("orders-1.csv", range(10))
    assert shop.wap("up").returncode == 0
    pid = json.loads((shop.root / ".wap" / "temporal" / "worker.json").read_text())["pid"]
    os.kill(pid, signal.SIGKILL)
    assert shop.result("orders")["ending"] == "published"
    assert shop.wap("down").returncode == 0
    assert shop.server() is None


def test_init_makes_a_project_that_runs(shop, tmp_path):
    data = shop.orders("sample.csv", range(50))
    project = tmp_path / "fresh"
    done = shop._call(
        ["-m", "wap", "init", str(data), "--table", "raw.sample", "--project", str(project)], {}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT guard" in done.stdout


def test_published_rows_are_read_by_plain_pyiceberg(loaded):
    rows = plain(loaded).load_table("shop.orders").scan().to_arrow()
    assert rows.num_rows == 10
    assert rows.schema.names == ["id", "customer", "amount", "placed"]


def test_status_shows_a_table_that_is_late(loaded):
    pipeline = loaded.root / "pipelines" / "orders.yml"
    pipeline.write_text(pipeline.read_text() + "freshness: {max_age_hours: 0.000001}\n")
    tables = json.loads(loaded.wap("status", "--json").stdout)["tables"]
    assert [t["late"] for t in tables] == [True]
