"""Kill -9 at every boundary of every step: published exactly once or not at all, and no litter."""

import json
import os
import signal

import pytest

from wap.steps import Steps

FORWARD = [
    "resolve", "open_branch", "stage", "reconcile", "audit", "seal", "publish",
    "record_lineage", "close",
]  # fmt: skip


def test_every_step_is_drilled():
    # «hold» is in test_hold.py, the queue in test_crowd.py, «restage» in test_restage.py.
    elsewhere = {"rebase", "hold", "quarantine", "drop_branch", "enlist", "unite", "dissolve"}
    assert {*FORWARD, *elsewhere, "restage"} == set(Steps.__abstractmethods__)


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", FORWARD)
def test_killed_at_a_boundary_then_run_again_is_published_once(shop, step, when):
    shop.orders("orders-1.csv", range(50))
    killed = shop.run("orders", "--json", WAP_DRILL=f"{step}:{when}")
    assert killed.returncode == -signal.SIGKILL
    assert shop.server() is not None, "a server outlives the door that was killed"
    again = shop.result("orders")
    assert again["ending"] == "published"
    assert shop.query("select count(*) as n, count(distinct id) as d from shop.orders") == [
        {"n": 50, "d": 50}
    ]
    assert shop.branches() == []
    assert len(shop.data_files()) == 1
    assert json.loads(shop.wap("verify", "--json").stdout)["ok"] is True
    assert shop.server() is None


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["audit", "drop_branch", "close"])
def test_killed_while_a_bad_batch_is_refused_leaves_nothing(shop, step, when):
    shop.orders("orders-1.csv", range(50), id="7")
    killed = shop.run("orders", "--json", WAP_DRILL=f"{step}:{when}")
    assert killed.returncode == -signal.SIGKILL
    assert shop.result("orders", code=1)["ending"] == "rejected"
    assert shop.files() == []
    assert shop.branches() == []


@pytest.mark.slow
def test_killed_server_is_started_again_and_the_run_goes_on(shop):
    shop.orders("orders-1.csv", range(50))
    killed = shop.run("orders", "--json", WAP_DRILL="audit:before")
    assert killed.returncode == -signal.SIGKILL
    server = shop.server()
    assert server is not None
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    assert shop.result("orders")["ending"] == "published"
    assert shop.query("select count(*) as n from shop.orders") == [{"n": 50}]


def test_interrupt_rolls_back(shop):
    shop.orders("orders-1.csv", range(200_000))
    door = shop.start("orders", "--json")
    assert door.stderr is not None
    for line in door.stderr:
        if "open the branch" in line:
            break
    door.send_signal(signal.SIGINT)
    out, err = door.communicate(timeout=120)
    result = json.loads(out)
    if result["ending"] == "published":
        # The interrupt came behind the publish: too late, and then it must be whole.
        assert shop.query("select count(*) as n from shop.orders") == [{"n": 200_000}]
        return
    assert door.returncode == 3, err
    assert result["ending"] == "rolled_back"
    assert shop.files() == []
    assert shop.branches() == []
