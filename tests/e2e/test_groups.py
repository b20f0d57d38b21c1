"""A group through the door: several tables, one publish, and no half of it whatever happens."""

import json
import signal
import subprocess

import pytest

from tests.e2e.conftest import PIPELINE, Shop
from tests.e2e.test_crash import FORWARD
from tests.e2e.test_maintain import AT_ONCE, terminate
from wap.group_steps import GroupSteps

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


def counted(shop: Shop) -> tuple[int, int]:
    sql = "select (select count(*) from shop.orders) o, (select count(*) from shop.customers) c"
    (row,) = shop.query(sql)
    return row["o"], row["c"]


def published_once(shop: Shop, orders: int, names: int) -> None:
    assert counted(shop) == (orders, names)
    (row,) = shop.query("select count(distinct id) d from shop.orders")
    assert row["d"] == orders
    assert shop.branches() == []
    assert json.loads(shop.wap("verify", "--json").stdout)["ok"] is True


def test_first_load_later_load_and_the_way_back(pair):
    pair.orders("orders-1.csv", range(20))
    customers(pair, "customers-1.csv", range(20))
    first = pair.result("--group", "both")
    assert (first["group"], first["ending"]) == ("both", "published")
    assert [m["pipeline"] for m in first["members"]] == ["customers", "orders"]
    assert [m["rows"]["published"] for m in first["members"]] == [20, 20]
    published_once(pair, 20, 20)
    assert pair.result("--group", "both")["nothing_new"] is True

    pair.orders("orders-2.csv", range(20, 30))
    customers(pair, "customers-2.csv", range(20, 30))
    second = pair.result("--group", "both")
    published_once(pair, 30, 30)
    proofs = json.loads(pair.wap("verify", "--json").stdout)["tables"]
    newest = {p["table"]: p["seals"][0] for p in proofs}
    members = ["shop.customers", "shop.orders"]
    assert {(s["group"], *s["members"]) for s in newest.values()} == {("both", *members)}
    assert newest["shop.orders"]["run_id"] == f"{second['run_id']}.orders"
    assert newest["shop.orders"]["ledger"] == "equal"

    page = (pair.root / second["report"]).read_text()
    for member in second["members"]:
        assert (pair.root / member["report"]).exists()
        assert f"../{member['run_id']}/report.html" in page
    assert "Published: group both" in pair.wap("report", second["run_id"]).stdout
    assert "shop.orders" in pair.wap("report", "orders").stdout
    again = pair.wap("reaudit", f"{second['run_id']}.orders", "--json")
    assert json.loads(again.stdout)["equal"] is True, again.stdout + again.stderr

    alone = pair.wap("rollback", "shop.orders", "--yes")
    assert alone.returncode == 2
    assert f"wap rollback --group {second['run_id']}" in alone.stderr
    assert counted(pair) == (30, 30)
    assert pair.wap("rollback", "--group", second["run_id"], "--yes").returncode == 0
    published_once(pair, 20, 20)


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
    assert pair.branches() == []
    report = json.loads((pair.root / told["report"]).with_name("report.json").read_text())
    endings = {m["table"]: m["checks"]["failed"] for m in report["run"]["members"]}
    assert endings == {"shop.customers": 0, "shop.orders": 1}


def test_mistakes_are_told_before_anything_starts(pair):
    for arguments, said in [
        (("--group", "bth"), "did you mean 'both'"),
        (("orders", "--group", "both"), "--group goes with no pipeline"),
    ]:
        done = pair.run(*arguments)
        assert done.returncode == 2
        assert said in done.stderr
    assert not (pair.root / ".wap" / "temporal").exists()
    found = {f["name"]: f for f in json.loads(pair.wap("doctor", "--json").stdout)}
    assert found["group both"]["ok"] is True
    held = (pair.root / "pipelines/orders.yml").read_text() + "on_failure: hold\n"
    pair.write("pipelines/orders.yml", held)
    assert "on_failure: hold" in pair.run("--group", "both").stderr


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
    published_once(pair, 20, 20)
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
    published_once(pair, 20, 20)
    assert pair.query("select count(*) n from shop.refunds") == [{"n": 10}]


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
    assert len(pair.branches()) == 2
    done = pair.wap("maintain", "--json", **AT_ONCE)
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    assert (run["state"], run["action"], run["files"]) == ("ended", "removed", 2)
    assert run["tables"] == ["shop.customers", "shop.orders"]
    assert pair.files() == []
    assert pair.branches() == []
    assert not any((pair.root / ".wap" / "runs").iterdir())
    told = json.loads(pair.wap("status", "--json").stdout)["runs"]
    assert {r["result"]["ending"] for r in told} == {"rolled_back"}
    assert len(told) == 2
    assert pair.result("--group", "both")["ending"] == "published"
    published_once(pair, 20, 20)
