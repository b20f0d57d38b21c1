"""``wap maintain``: what a dead run left goes, a live run is not touched, history gets shorter."""

import asyncio
import json
import os
import shutil
import signal
import socket
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client

from catalog import Branch, TableNotFoundError
from catalog.base import TableShape
from wap.errors import TemporalUnavailableError
from wap.maintenance import maintain
from wap.model import Ending
from wap.ports import open_ports
from wap.project import load_project
from wap.verifying import Records, verify

AT_ONCE = {"WAP_MAINTAIN__ABANDONED_HOURS": "0"}
SHORT = {"WAP_MAINTAIN__KEEP_RUNS": "1", "WAP_MAINTAIN__KEEP_DAYS": "0"}
NEVER = "orders-20260101-000000-0123abcd"


def killed(shop, at="audit:before"):
    """A run whose door was killed; its workflow is open, its branch is there."""
    shop.orders("orders-1.csv", range(50))
    assert shop.run("orders", "--json", WAP_DRILL=at).returncode == -signal.SIGKILL
    return shop.server()


def terminate(server):
    """End every workflow from outside: nothing is compensated."""

    async def end() -> None:
        client = await Client.connect(server.address)
        async for found in client.list_workflows("ExecutionStatus = 'Running'"):
            await client.get_workflow_handle(found.id, run_id=found.run_id).terminate()

    asyncio.run(end())


def runs_of(shop, env=None, **how: Any):
    """What becomes of every run that left something."""
    return list(maintain(load_project(shop.root, env or {}), **how).runs)


@contextmanager
def opened(shop):
    with open_ports(load_project(shop.root, {})) as ports:
        yield ports


def test_what_a_terminated_run_left_is_removed_after_a_while(shop):
    terminate(killed(shop))
    with opened(shop) as ports:
        (state,) = ports.catalog.branches()
    files = shop.files()
    (kept,) = runs_of(shop)
    told = (kept.run_id, kept.state, kept.action)
    assert told == (state.branch.run_id, "ended", "kept"), "it may be looked into first"
    done = shop.wap("maintain", "--json", "--dry-run", **AT_ONCE)
    assert done.returncode == 0, done.stderr
    (named,) = json.loads(done.stdout)["runs"]
    assert (named["action"], named["files"]) == ("removed", 1)
    assert named["bytes"] > 0
    assert shop.files() == files
    done = shop.wap("maintain", **AT_ONCE)
    assert done.returncode == 0, done.stderr
    line = next(x for x in done.stdout.splitlines() if x.startswith(state.branch.run_id))
    assert line.split()[1:4] == ["shop.orders", "ended", "removed"]
    assert shop.files() == []
    assert not list((shop.root / ".wap/runs").iterdir())
    with opened(shop) as ports:
        assert ports.catalog.branches() == []
        (facts,) = ports.ledger.runs()
    assert facts.result.ending is Ending.ROLLED_BACK
    assert facts.ended_at is not None
    assert runs_of(shop, AT_ONCE) == []
    assert shop.result("orders")["ending"] == "published"


def test_a_run_that_is_at_work_is_not_touched_and_one_that_nobody_knows_neither(shop):
    killed(shop)
    with opened(shop) as ports:
        (state,) = ports.catalog.branches()
        shape = TableShape(ports.catalog.staging(state.branch, state.table).schema)
        ports.catalog.open_branch(Branch.of_run(NEVER), state.table, shape)
    late = datetime.now(UTC) + timedelta(days=9)
    kept = {r.run_id: (r.state, r.action) for r in runs_of(shop, AT_ONCE, now=late)}
    assert kept == {
        state.branch.run_id: ("at_work", "kept"),
        NEVER: ("stranger", "kept"),
    }
    assert shop.result("orders")["run_id"] == state.branch.run_id
    assert shop.query("select count(*) as n from shop.orders") == [{"n": 50}]


def test_a_run_that_was_published_and_then_ended_from_outside_is_not_undone(shop):
    terminate(killed(shop, "publish:after"))
    (told,) = runs_of(shop, AT_ONCE)
    assert told.action == "published"
    with opened(shop) as ports:
        assert [
            p.sealed for p in verify(ports.catalog, Records(ports.ledger, shop.root / "reports"))
        ] == [1]
        (facts,) = ports.ledger.runs()
    assert facts.result.ending is Ending.PUBLISHED
    assert facts.result.rows.published == 50


def test_without_an_answer_of_temporal_nothing_is_removed(shop):
    terminate(killed(shop))
    files = shop.files()
    with closed_port() as address, pytest.raises(TemporalUnavailableError, match="nothing is rem"):
        runs_of(shop, {**AT_ONCE, "TEMPORAL_ADDRESS": address})
    assert shop.files() == files


def test_a_run_that_temporal_lost_is_removed_when_it_is_old(shop):
    os.kill(killed(shop).pid, signal.SIGKILL)
    shutil.rmtree(shop.root / ".wap" / "temporal")
    now = datetime.now(UTC)
    assert [(r.state, r.action) for r in runs_of(shop, AT_ONCE, now=now)] == [("lost", "kept")]
    late = now + timedelta(hours=25)
    assert [(r.state, r.action) for r in runs_of(shop, now=late)] == [("lost", "removed")]
    assert shop.files() == []


def test_small_files_are_written_anew_and_history_gets_shorter(shop):
    for number in range(5):
        first = number * 10
        shop.orders(f"orders-{number}.csv", range(first, first + 10))
        assert shop.result("orders")["ending"] == "published"
    before = shop.query("select * from shop.orders order by id")
    done = shop.wap("compact", "shop.orders", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["ending"], result["rows"]["kept"]) == ("published", 50)
    assert shop.query("select * from shop.orders order by id") == before
    assert len(shop.data_files()) == 6
    shop.orders("orders-9.csv", range(90, 100))
    assert shop.result("orders")["rows"]["published"] == 10, "what was loaded stays loaded"
    assert maintain(load_project(shop.root, SHORT)).tables[0].bytes == 0, "all is young"
    late = datetime.now(UTC) + timedelta(hours=25)
    (done,) = maintain(load_project(shop.root, SHORT), ["shop.orders"], now=late).tables
    assert (done.snapshots, done.data) == (3, 5)
    assert done.manifests > 0
    assert len(shop.data_files()) == 2
    (proof,) = json.loads(shop.wap("verify", "--json").stdout)["tables"]
    assert (proof["unsealed"], proof["sealed"]) == ([], 1)
    assert proof["since"] is not None
    assert shop.query("select count(*) as n from shop.orders") == [{"n": 60}]
    again = json.loads(shop.wap("compact", "shop.orders", "--json").stdout)
    assert again["nothing_new"] is True


def test_a_table_that_is_not_there_is_named(shop):
    with pytest.raises(TableNotFoundError, match="no such published table"):
        maintain(load_project(shop.root, {}), ["shop.nothing"])


@contextmanager
def closed_port():
    """An address of this machine where nobody answers."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"
