"""Workers that die, are replaced by a new build, or are not there: runs end well all the same."""

import asyncio
import base64
import json
import os
import signal
import time

import pytest
from pyarrow import parquet

from tests.e2e.cluster import Cluster, events, identities
from tests.servers.temporal import NAMESPACE
from wap import attributes
from wap.connecting import connect
from wap.errors import ConfigError
from wap.project import load_project
from wap.queues import CONTROL, is_served, queue_of
from wap.settings import TemporalSection


@pytest.fixture
def cluster(temporal, tmp_path):
    cluster = Cluster(tmp_path, temporal, {"WAP_TEMPORAL__HEARTBEAT_SECONDS": "3"})
    yield cluster
    cluster.close()


def rows(cluster):
    """Ids in the data files there are; in these tests all of them are published."""
    files = sorted((cluster.base / "shared" / "warehouse").rglob("*.parquet"))
    return [i for f in files for i in parquet.read_table(f).column("id").to_pylist()]


def await_step(cluster, name):
    """Wait until the step is at work; returns the run's workflow id."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        # Those of other tests have ended; to ask for each of them would take longer than a step.
        running = ("workflow", "list", "--query", "ExecutionStatus='Running'")
        for one in list(cluster.temporal.cli(*running) or []):
            found = one["execution"]["workflowId"]
            told = cluster.temporal.cli("workflow", "describe", "--workflow-id", found)
            if any(p["activityType"]["name"] == name for p in told.get("pendingActivities", [])):
                return found
    raise AssertionError(f"no run came to {name}")


@pytest.mark.slow
def test_one_of_two_workers_is_killed_behind_its_effect_and_the_other_goes_on(cluster):
    pair = [cluster.worker("one", WAP_DRILL="stage:after") for _ in range(2)]
    for worker in pair:
        worker.await_ready()
    door = cluster.machine("one")
    result = cluster.run(door, cluster.orders("orders-1.csv", range(50)))
    assert result["ending"] == "published"
    assert [w.process.poll() for w in pair].count(-signal.SIGKILL) == 1
    (survivor,) = [w for w in pair if w.process.poll() is None]
    history = cluster.history(result)
    assert identities(history)["stage"].startswith(f"{survivor.process.pid}@")
    assert sorted(rows(cluster)) == list(range(50))


def who_has(cluster, workflow, step):
    """The process that is at the step."""
    while True:
        told = cluster.temporal.cli("workflow", "describe", "--workflow-id", workflow)
        for pending in told["pendingActivities"]:
            if pending["activityType"]["name"] == step and "lastWorkerIdentity" in pending:
                return int(pending["lastWorkerIdentity"].partition("@")[0])


@pytest.mark.slow
def test_a_worker_that_was_frozen_changes_nothing_when_it_goes_on(cluster):
    """Its run has been staged, audited and published by the other one meanwhile."""
    pair = {w.process.pid: w for w in (cluster.worker("one") for _ in range(2))}
    for worker in pair.values():
        worker.await_ready()
    door = cluster.machine("one")
    source = cluster.orders("orders-1.csv", range(1_000_000))
    running = door.start("orders", "--json", "--source", source, **cluster.settings)
    frozen = pair[who_has(cluster, await_step(cluster, "stage"), "stage")]
    os.kill(frozen.process.pid, signal.SIGSTOP)
    out, err = running.communicate(timeout=180)
    result = json.loads(out)
    assert result["ending"] == "published", err
    (other,) = set(pair) - {frozen.process.pid}
    assert identities(cluster.history(result))["stage"].startswith(f"{other}@")

    os.kill(frozen.process.pid, signal.SIGCONT)
    assert frozen.stop() == 0
    again = cluster.run(door, source)
    assert again["nothing_new"]
    (found,) = door.query("select count(*) n, count(distinct id) ids from shop.orders")
    assert (found["n"], found["ids"]) == (1_000_000, 1_000_000)
    verified = door.wap("verify", "--json", **cluster.settings)
    assert verified.returncode == 0, verified.stdout
    assert not list((door.root / ".wap" / "runs").glob("*/books*"))


@pytest.mark.slow
def test_a_run_at_work_stays_with_its_build_and_new_runs_go_to_the_next(cluster):
    cluster.env["WAP_WORKER__DEPLOYMENT"] = "rolling"
    old = cluster.worker("one", WAP_WORKER__BUILD="v1").await_ready()
    door = cluster.machine("one")
    source = cluster.orders("orders-1.csv", range(1_000_000))
    running = door.start("orders", "--json", "--source", source, **cluster.settings)
    await_step(cluster, "stage")
    os.kill(old.process.pid, signal.SIGSTOP)
    new = cluster.worker("one", WAP_WORKER__BUILD="v2").await_ready()
    promoted = door.wap("deploy", "v2", "--json", **cluster.settings)
    states = {b["build"]: b["state"] for b in json.loads(promoted.stdout)}
    assert states == {"v2": "current", "v1": "draining"}
    os.kill(old.process.pid, signal.SIGCONT)
    out, err = running.communicate(timeout=120)
    first = json.loads(out)
    assert first["ending"] == "published", err
    by_old = set(identities(cluster.history(first)).values())
    assert {i.partition("@")[0] for i in by_old} == {str(old.process.pid)}

    second = cluster.run(door, cluster.orders("orders-2.csv", range(1_000_000, 1_000_050)))
    by_new = set(identities(cluster.history(second)).values())
    assert {i.partition("@")[0] for i in by_new} == {str(new.process.pid)}
    assert old.stop() == 0
    assert sorted(rows(cluster)) == list(range(1_000_050))


def connected(cluster):
    return connect(cluster.temporal.address, TemporalSection(namespace=NAMESPACE), cluster.base)


@pytest.mark.slow
def test_a_door_alone_does_its_run_and_tells_where_it_stands_once_the_server_can_keep_it(cluster):
    door = cluster.machine("one")
    first = cluster.run(door, cluster.orders("orders-1.csv", range(5)))
    assert not events(cluster.history(first), "upsertWorkflowSearchAttributes")

    async def waits() -> bool:
        """Whether the server still lists the door, which is gone, and whether we count on it."""
        client = await connected(cluster)
        project = load_project(door.root, {})
        queue = ("task-queue", "describe", "--task-queue", queue_of(project))
        assert "door-" in json.dumps(cluster.temporal.cli(*queue))
        return await is_served(client, project, CONTROL)

    assert not asyncio.run(waits()), "the next door would wait a minute for this one"

    async def register():
        client = await connected(cluster)
        with pytest.raises(ConfigError, match="WapTable, WapStatus, WapGroup") as caught:
            await attributes.are_set(client, TemporalSection(search_attributes="on"))
        assert "wap doctor --fix" in caught.value.hint
        return await attributes.register(client), await attributes.missing(client)

    assert asyncio.run(register()) == (list(attributes.NAMES), [])
    second = cluster.run(door, cluster.orders("orders-2.csv", range(5, 9)))
    assert second["ending"] == "published"
    told = [
        json.loads(base64.b64decode(payload["data"]))
        for event in events(cluster.history(second), "upsertWorkflowSearchAttributes")
        for payload in event["searchAttributes"]["indexedFields"].values()
    ]
    assert told == ["shop.orders", "staging", "auditing", "publishing", "published"]
    query = "WapTable='shop.orders' AND WapStatus='published'"
    assert len(cluster.temporal.cli("workflow", "list", "--query", query)) == 1
