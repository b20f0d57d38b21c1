"""A group through the door: several tables, one publish, and no half of it whatever happens."""

import json
import signal
import subprocess

import pytest

from checks.render import render_text
from tests.e2e.conftest import PIPELINE, Shop
from tests.e2e.test_crash import FORWARD
from tests.e2e.test_maintain import AT_ONCE, terminate
from wap.doctor import examine
from wap.group_steps import GroupSteps
from wap.maintenance import maintain
from wap.model import Ending
from wap.ports import open_ports
from wap.project import load_project
from wap.reports import find_report
from wap.verifying import Records, verify

GROUPS = """\
[project]
name = "shop"
[groups.both]
pipelines = ["customers", "orders"]
contracts = ["contracts/known.yml"]
"""
CUSTOMERS = """\
table: shop.customers
source: {kind: files, path: "data/customers-*.csv", format: csv}
write: {mode: append}
schema: {columns: {name: string}}
contracts: [contracts/customers.yml]
"""
KNOWN = """\
dataset: wap/shop/orders
columns:
  - name: customer
    checks:
      - invalid:
          name: Every customer is known
          valid_reference_data: {dataset: wap/shop/customers, column: name}
"""


@pytest.fixture
def pair(shop: Shop) -> Shop:
    """Orders and customers; an order's customer is among those of the same group's run."""
    shop.write("wap.toml", GROUPS)
    shop.write("pipelines/customers.yml", CUSTOMERS)
    shop.write(
        "contracts/customers.yml",
        "dataset: wap/shop/customers\ncolumns: []\nchecks:\n  - row_count:\n",
    )
    shop.write("contracts/known.yml", KNOWN)
    return shop


def customers(shop: Shop, name: str, ids: range) -> None:
    shop.write(f"data/{name}", "\n".join(["name", *(f"c{i}" for i in ids)]) + "\n")


def shown(shop: Shop) -> dict[str, int]:
    """Rows by table as main shows them, read in this process; all of it is proved."""
    project = load_project(shop.root, {})
    with open_ports(project) as ports:
        catalog = ports.catalog
        assert catalog.branches() == []
        proofs = verify(catalog, Records(ports.ledger, project.reports))
        assert [p.unsealed for p in proofs if p.unsealed] == []
        heads = {table: catalog.published(table) for table in catalog.tables()}
        return {
            table.name: catalog.scan(table, found.snapshot.id).rows
            for table, found in heads.items()
            if found is not None
        }


def no_order_is_there_twice(shop: Shop, orders: int) -> None:
    assert shop.query("select count(distinct id) d from shop.orders") == [{"d": orders}]


def test_first_load_later_load_and_the_way_back(pair):
    pair.orders("orders-1.csv", range(20))
    customers(pair, "customers-1.csv", range(20))
    first = pair.result("--group", "both")
    assert (first["group"], first["ending"]) == ("both", "published")
    assert [m["pipeline"] for m in first["members"]] == ["customers", "orders"]
    assert [m["rows"]["published"] for m in first["members"]] == [20, 20]

    pair.orders("orders-2.csv", range(20, 30))
    customers(pair, "customers-2.csv", range(20, 30))
    second = pair.result("--group", "both")
    assert shown(pair) == {"customers": 30, "orders": 30}
    project = load_project(pair.root, {})
    with open_ports(project) as ports:
        proofs = verify(ports.catalog, Records(ports.ledger, project.reports))
    for proof, member in zip(proofs, second["members"], strict=True):
        assert proof.seals[0].run_id == member["run_id"]
        assert (proof.seals[0].group, proof.seals[0].ledger) == ("both", "equal")
        assert proof.seals[0].members == ("shop.customers", "shop.orders")
        assert f"../{member['run_id']}/report.html" in (pair.root / second["report"]).read_text()
        assert (pair.root / member["report"]).exists()
    assert find_report(project, second["run_id"]).name == second["run_id"]
    assert find_report(project, "orders").name == f"{second['run_id']}.orders"
    assert "Published: group both" in render_text(pair.root / "reports" / second["run_id"])

    alone = pair.wap("rollback", "shop.orders", "--yes")
    assert alone.returncode == 2
    assert f"wap rollback --group {second['run_id']}" in alone.stderr
    assert shown(pair) == {"customers": 30, "orders": 30}
    assert pair.wap("rollback", "--group", second["run_id"], "--yes").returncode == 0
    assert shown(pair) == {"customers": 20, "orders": 20}


def test_one_bad_table_keeps_the_others_back_and_the_report_says_which(pair):
    pair.orders("orders-1.csv", range(20), customer="nobody")
    customers(pair, "customers-1.csv", range(20))
    told = pair.result("--group", "both", code=1)
    assert told["ending"] == "rejected"
    assert "shop.orders" in told["reason"]
    by_name = {m["pipeline"]: m for m in told["members"]}
    assert by_name["customers"]["checks"]["failed"] == 0
    assert by_name["customers"]["reason"].startswith("the group was rejected: shop.orders")
    assert by_name["orders"]["checks"]["failed"] == 1
    assert pair.files() == []
    report = json.loads((pair.root / told["report"]).with_name("report.json").read_text())
    endings = {m["table"]: m["checks"]["failed"] for m in report["run"]["members"]}
    assert endings == {"shop.customers": 0, "shop.orders": 1}


def test_mistakes_are_told_before_anything_starts(pair):
    done = pair.run("orders", "--group", "both")
    assert (done.returncode, "--group goes with no pipeline" in done.stderr) == (2, True)
    held = (pair.root / "pipelines/orders.yml").read_text() + "on_failure: hold\n"
    pair.write("pipelines/orders.yml", held)
    done = pair.run("--group", "both")
    assert (done.returncode, "on_failure: hold" in done.stderr) == (2, True)
    assert not (pair.root / ".wap" / "temporal").exists()
    found = {f.name: f for f in examine(load_project(pair.root, {}))}
    assert found["group both"].ok is False
    pair.write("pipelines/orders.yml", held.replace("hold", "reject"))
    found = {f.name: f for f in examine(load_project(pair.root, {}))}
    assert found["group both"].said == "→ shop.customers, shop.orders, in one step"


#: With ``--boundaries=all`` at every one.
BOUNDARIES = ("stage:after", "publish_group:after")
STEPS = [*FORWARD[:-3], *sorted(GroupSteps.__abstractmethods__), *FORWARD[-2:]]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "boundary" in metafunc.fixturenames:
        every = [f"{step}:{when}" for step in STEPS for when in ("before", "after")]
        chosen = metafunc.config.getoption("--boundaries", default="some")
        metafunc.parametrize("boundary", every if chosen == "all" else BOUNDARIES)


@pytest.mark.slow
def test_killed_at_a_boundary_then_run_again_is_published_once(pair, boundary):
    pair.orders("orders-1.csv", range(20))
    customers(pair, "customers-1.csv", range(20))
    killed = pair.run("--group", "both", "--json", WAP_DRILL=boundary)
    assert killed.returncode == -signal.SIGKILL
    assert pair.result("--group", "both")["ending"] == "published"
    assert shown(pair) == {"customers": 20, "orders": 20}
    assert len(pair.data_files()) == 2
    assert not any((pair.root / ".wap" / "runs").iterdir())


@pytest.mark.slow
def test_killed_while_a_bad_group_is_refused_leaves_nothing(pair):
    pair.orders("orders-1.csv", range(20), customer="nobody")
    customers(pair, "customers-1.csv", range(20))
    killed = pair.run("--group", "both", "--json", WAP_DRILL="drop_branch:after")
    assert killed.returncode == -signal.SIGKILL
    assert pair.result("--group", "both", code=1)["ending"] == "rejected"
    assert pair.files() == []
    assert pair.branches() == []


@pytest.mark.slow
def test_a_group_and_runs_of_its_tables_at_once_all_end_with_every_row_once(pair):
    """Two groups over one table at once, and a run of the table by itself."""
    pair.write(
        "wap.toml",
        f'{GROUPS}[groups.other]\npipelines = ["customers", "refunds"]\n',
    )
    refunds = PIPELINE.format(write="{mode: append}", on_change="strict")
    refunds = refunds.replace("shop.orders", "shop.refunds").replace("orders", "refunds")
    pair.write("pipelines/refunds.yml", refunds)
    contract = (pair.root / "contracts/orders.yml").read_text()
    pair.write("contracts/refunds.yml", contract.replace("shop/orders", "shop/refunds"))
    customers(pair, "customers-1.csv", range(20))
    pair.orders("orders-1.csv", range(20))
    pair.orders("refunds-1.csv", range(10))
    doors = [
        pair.start("--group", "both", "--json"),
        pair.start("--group", "other", "--json"),
        pair.start("customers", "--json"),
    ]
    told = [_ended(door) for door in doors]
    assert [t["ending"] for t in told] == ["published"] * 3
    assert shown(pair) == {"customers": 20, "orders": 20, "refunds": 10}
    no_order_is_there_twice(pair, 20)


def _ended(door: subprocess.Popen[str]) -> dict[str, object]:
    out, err = door.communicate(timeout=240)
    assert door.returncode == 0, out + err
    return dict(json.loads(out))


@pytest.mark.slow
def test_a_terminated_group_is_cleared_up_whole(pair):
    """Nobody compensates a terminated workflow; `wap maintain` undoes it in every table."""
    pair.orders("orders-1.csv", range(20))
    customers(pair, "customers-1.csv", range(20))
    killed = pair.run("--group", "both", "--json", WAP_DRILL="seal:after")
    assert killed.returncode == -signal.SIGKILL
    terminate(pair.server())
    with open_ports(load_project(pair.root, {})) as ports:
        assert len(ports.catalog.branches()) == 2
    (run,) = maintain(load_project(pair.root, AT_ONCE)).runs
    assert (run.state, run.action, run.files) == ("ended", "removed", 2)
    assert run.tables == ("shop.customers", "shop.orders")
    assert pair.files() == []
    assert not any((pair.root / ".wap" / "runs").iterdir())
    with open_ports(load_project(pair.root, {})) as ports:
        assert ports.catalog.branches() == []
        told = ports.ledger.runs()
    assert [facts.result.ending for facts in told] == [Ending.ROLLED_BACK] * 2
    assert {facts.result.table for facts in told} == {"shop.customers", "shop.orders"}


@pytest.mark.slow
def test_a_group_is_drilled_on_scratch_tables(pair, request):
    pair.orders("orders-1.csv", range(20))
    customers(pair, "customers-1.csv", range(20))
    every = request.config.getoption("--boundaries") == "all"
    some = ("drop_branch:after", "rebase:before")
    chosen = [] if every else [part for at in some for part in ("--boundary", at)]
    done = pair.wap("drill", "--group", "both", *chosen, "--heartbeat", "1", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    crash = json.loads(done.stdout)["crash"]
    assert len(crash["boundaries"]) == (30 if every else len(some))
    for one in crash["boundaries"]:
        told = (one["ending"], one["published"], one["rows"])
        rejected = one["scenario"] == "rejected"
        assert told == (("rejected", 0, 0) if rejected else ("published", 1, 40)), one
        assert (one["branches"], one["files"], one["folders"], one["said"]) == (0, 0, 0, ""), one
    assert pair.files() == []
    assert pair.server() is None
    mixed = pair.wap("drill", "orders", "--group", "both")
    assert (mixed.returncode, "--group" in mixed.stderr) == (2, True)
