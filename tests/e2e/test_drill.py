"""``wap drill``: kills of a healthy product are survived, and what a contract misses is told."""

import json
import shutil

import pytest

from catalog import Branch
from catalog.base import TableShape
from tests.e2e.conftest import PIPELINE
from wap.declared import declared
from wap.drill.looking import NOTHING, Expected, look, wrong_with
from wap.drill.making import scratch_of
from wap.drill.scratch import Batch
from wap.ports import open_ports
from wap.project import load_project

NEIGHBOUR = """\
table: shop.customers
source: {kind: files, path: "data/customers.csv", format: csv}
write: {mode: append}
contracts: [contracts/customers.yml]
"""
REFERENCE = """\
dataset: wap/shop/orders
columns:
  - name: customer
    checks:
      - invalid: {valid_reference_data: {dataset: wap/shop/customers, column: name}}
"""


def drill(shop, *args: str, code=0):
    done = shop.wap("drill", "shop.orders", *args, "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return json.loads(done.stdout), done.stderr


def with_neighbour(shop):
    """A published table that the contract of orders looks at."""
    shop.write("pipelines/customers.yml", NEIGHBOUR)
    shop.write(
        "contracts/customers.yml",
        "dataset: wap/shop/customers\ncolumns: []\nchecks: [{row_count: }]\n",
    )
    shop.write("contracts/known.yml", REFERENCE)
    names = "\n".join(f"c{i}" for i in range(50))
    shop.write("data/customers.csv", f"name\n{names}\n")
    pipeline = shop.root / "pipelines/orders.yml"
    text = pipeline.read_text().replace(
        "[contracts/orders.yml]", "[contracts/orders.yml, contracts/known.yml]"
    )
    pipeline.write_text(text)
    shop.result("customers")


@pytest.mark.slow
def test_every_way_a_run_can_take_survives_a_kill_and_the_real_tables_see_nothing(shop, request):
    with_neighbour(shop)
    shop.orders("orders-1.csv", range(50))
    files, report = shop.files(), {p.name for p in (shop.root / "reports").iterdir()}
    some = ["drop_branch:after", "hold:after", "rebase:before", "quarantine:after", "unite:after"]
    every = request.config.getoption("--boundaries") == "all"
    chosen = [] if every else [part for at in some for part in ("--boundary", at)]
    found, said = drill(shop, *chosen, "--heartbeat", "1")
    crash = found["crash"]
    assert found["ok"] is True
    assert (crash["rows"], crash["heartbeat_seconds"]) == (50, 1.0)
    assert len(crash["boundaries"]) == (38 if every else len(some))
    expected = {"published": ("published", 1, 50), "overtaken": ("published", 1, 50),
                "rejected": ("rejected", 0, 0), "held": ("held", 0, 0),
                "quarantined": ("published", 1, 50), "united": ("published", 1, 350)}  # fmt: skip
    for one in crash["boundaries"]:
        told = (one["ending"], one["published"], one["rows"] + one["aside"])
        assert (one["aside"] > 0) == (one["scenario"] == "quarantined")
        assert told == expected[one["scenario"]], one
        assert (one["branches"], one["files"], one["folders"], one["said"]) == (0, 0, 0, ""), one
        assert one["seconds"] > 0
    assert f"kill {len(crash['boundaries'])} of" in said, "progress is shown"
    assert shop.files() == files
    assert {p.name for p in (shop.root / "reports").iterdir()} == report
    assert list((shop.root / ".wap/drill").iterdir()) == []
    assert shop.branches() == []
    assert shop.server() is None


@pytest.mark.slow
def test_a_batch_that_follows_another_main_survives_a_kill(shop):
    write = "{mode: merge, keys: [id]}"
    shop.write("pipelines/orders.yml", PIPELINE.format(write=write, on_change="strict"))
    shop.orders("orders-1.csv", range(50))
    found, _ = drill(shop, "--boundary", "restage:after", "--heartbeat", "1")
    (one,) = found["crash"]["boundaries"]
    assert (one["scenario"], one["ending"], one["rows"]) == ("followed", "published", 50)
    assert (one["branches"], one["files"], one["folders"], one["said"]) == (0, 0, 0, "")


def test_what_a_sick_product_leaves_is_seen_and_named(shop):
    """Litter is laid by hand where a product would that forgets to clear up, or publishes twice."""
    shop.orders("orders-1.csv", range(50))
    project = load_project(shop.root, {})
    with (
        open_ports(project) as ports,
        scratch_of(project, ports.catalog, declared(project, "orders"), Batch(),
                   heartbeat_seconds=1) as scratch,
    ):  # fmt: skip
        assert scratch.run().code == 0
        assert wrong_with(look(scratch), Expected(1, 50)) == []
        data = next((scratch.root / "warehouse").rglob("*.parquet"))
        shutil.copy(data, data.with_name("batch-left.parquet"))
        (scratch.root / ".wap/runs/orders-1").mkdir()
        with open_ports(scratch.opened()) as own:
            table = scratch.said.table
            found = own.catalog.published(table)
            own.catalog.open_branch(
                Branch.of_run("orders-20260101-000000-0123abcd"), table, TableShape(found.schema)
            )
        wrong = wrong_with(look(scratch), Expected(1, 25))
        assert wrong == [
            "main shows 50 rows, not 25",
            "1 staging branches are left",
            "1 files are left that nothing refers to",
            "1 folders of runs are left",
        ]
        assert "main holds it 1 times, not 0" in wrong_with(look(scratch), NOTHING)
        scratch.restart()
        assert look(scratch).published == 0
        assert scratch.files() == set()
    assert list((shop.root / ".wap/drill").iterdir()) == []


def test_a_pipeline_that_does_not_publish_undisturbed_is_not_drilled(shop):
    shop.orders("orders-1.csv", range(50), amount="-1.00")
    done = shop.wap("drill", "orders", "--boundary", "publish:after")
    assert done.returncode == 3
    assert "does not publish although nobody disturbs it" in done.stderr
    assert "--source FILE" in done.stderr
    assert shop.files() == []


def test_a_worker_that_no_drill_started_never_crashes(shop):
    shop.orders("orders-1.csv", range(5))
    refused = shop.plain("run", "orders", WAP_DRILL="publish:before@0123")
    assert refused.returncode == 2
    assert "no scratch project" in refused.stderr
    assert shop.files() == []
    assert shop.server() is None


# --- the gate -----------------------------------------------------------------------------------


def test_spoilings_that_a_contract_misses_are_listed_with_a_hint_and_nothing_is_written(shop):
    shop.orders("orders-1.csv", range(200))
    shop.result("orders")
    files, branches = shop.files(), shop.branches()
    found, said = drill(shop, "--gate", code=1)
    gate = found["gate"]
    verdicts = {(s["name"], s["column"]): s for s in gate["spoilings"]}
    contract = "contracts/orders.yml"
    assert f"{contract}:columns.id.checks.missing" in verdicts["nulls", "id"]["caught"]
    assert verdicts["duplicates", None]["caught"] == [f"{contract}:checks.duplicate"]
    assert verdicts["negated", "amount"]["caught"] == [f"{contract}:columns.amount.checks.invalid"]
    assert f"{contract}:checks.row_count" in verdicts["empty", None]["caught"]
    assert verdicts["lost column", "customer"]["caught"] == ["wap:fit"]
    for missed in (
        ("nulls", "customer"),
        ("half lost", None),
        ("stale", "placed"),
        ("shifted", "amount"),
    ):
        assert verdicts[missed]["caught"] == [], missed
        assert verdicts[missed]["hint"], missed
    assert (gate["rows"], gate["checks"], gate["failing"], gate["idle"]) == (200, 4, [], [])
    assert "spoil 1 of" in said
    assert (shop.files(), shop.branches()) == (files, branches)

    # The contract that the hint asks for catches it.
    text = (shop.root / contract).read_text()
    shop.write(
        contract,
        text.replace(
            "checks:\n  - row_count:",
            "  - name: customer\n    checks:\n      - missing:\nchecks:\n  - row_count:",
        ),
    )
    found, _ = drill(shop, "--gate", "--spoiling", "nulls", code=1)
    verdicts = {s["column"]: s["caught"] for s in found["gate"]["spoilings"]}
    assert verdicts["customer"] == [f"{contract}:columns.customer.checks.missing"]
    assert (verdicts["placed"], found["gate"]["idle"]) == ([], [])
    page = shop.root / "drills" / "gate.html"
    drill(shop, "--gate", "--spoiling", "duplicates", "--spoiling", "empty", "--report", str(page))
    assert "0 of 2 spoilings missed" in page.read_text()
    other = shop.wap("drill", "shop.orders", "--gate", "--report", "gate.pdf")
    assert (other.returncode, "HTML or Markdown" in other.stderr) == (2, True)


def test_a_gate_drill_of_a_table_that_is_not_published_says_so(shop):
    done = shop.wap("drill", "orders", "--gate")
    assert done.returncode == 3
    assert "nothing is published that could be spoiled" in done.stderr
    mixed = shop.wap("drill", "orders", "--gate", "--boundary", "stage")
    assert mixed.returncode == 2
