"""A given Temporal server with workers on machines that share no folder, and all of its extras."""

import base64
import os
import re
import urllib.request

import pytest
from pyarrow import parquet

from tests.e2e.cluster import Cluster, events, identities, text
from tests.servers.collector import Collector
from tests.servers.process import free_ports
from wap.project import load_project
from wap.reports import find_report

STEPS = {
    "resolve", "open_branch", "stage", "reconcile", "audit", "seal", "publish", "record_lineage",
    "close",
}  # fmt: skip


def get(port: int, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
        return answer.read().decode()


class Scene:
    """Two machines of workers and one of the door; two runs were made."""

    def __init__(self, cluster: Cluster, collector: Collector, bucket: str, s3) -> None:
        self.cluster, self.collector, self.s3, self.bucket = cluster, collector, s3, bucket
        self.health, self.metrics = free_ports(2)
        self.control = cluster.worker(
            "one", "--queues", "control", WAP_WORKER__HEALTH=f"127.0.0.1:{self.health}",
            WAP_METRICS__ADDRESS=f"127.0.0.1:{self.metrics}",
        )  # fmt: skip
        self.data = cluster.worker("two", "--queues", "data")
        for worker in (self.control, self.data):
            worker.await_ready()
        self.door = cluster.machine("door")
        good = cluster.orders("orders-1.csv", range(50), customer="ann@example.org")
        self.published = cluster.run(self.door, good)
        bad = cluster.orders("orders-2.csv", range(50, 60), amount="-77123.00")
        self.rejected = cluster.run(self.door, bad, code=1)
        self.control.await_ready()  # else it says why it has ended
        self.probe = get(self.health)
        self.page = get(self.metrics, "/metrics")
        self.exit_codes = [worker.stop() for worker in (self.control, self.data)]


@pytest.fixture(scope="module")
def scene(temporal, seaweedfs, tmp_path_factory):
    bucket = seaweedfs.bucket()
    properties = {
        f"WAP_CATALOG__PROPERTIES__{k.upper().replace('.', '__').replace('-', '_')}": v
        for k, v in seaweedfs.properties.items()
    }
    with Collector() as collector:
        env = {
            **properties,
            "WAP_RUNS__LOCATION": f"s3://{bucket}/runs",
            "WAP_TEMPORAL__ENCRYPTION_KEYS": f"k1={base64.b64encode(os.urandom(32)).decode()}",
            "WAP_WORKER__DEPLOYMENT": "shop",
            "WAP_WORKER__MEMORY": "1500MB",
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
        }
        cluster = Cluster(tmp_path_factory.mktemp("cluster"), temporal, env)
        try:
            yield Scene(cluster, collector, bucket, seaweedfs.client)
        finally:
            cluster.close()


def test_runs_end_as_on_one_machine(scene):
    assert scene.published["ending"] == "published"
    assert scene.rejected["ending"] == "rejected"
    files = (scene.cluster.base / "shared" / "warehouse").rglob("*.parquet")
    assert [parquet.read_metadata(f).num_rows for f in files] == [50]


def test_steps_that_move_rows_are_done_by_data_workers_and_none_by_the_door(scene):
    who = identities(scene.cluster.history(scene.published))
    assert set(who) == STEPS
    data, control = scene.data.process.pid, scene.control.process.pid
    assert {name for name, i in who.items() if i.startswith(f"{data}@")} == {"stage", "audit"}
    assert {i.partition("@")[0] for i in who.values()} == {str(data), str(control)}


def test_data_steps_are_as_many_as_fit_the_workers_memory(scene):
    # (1500 MB - 350 MB) / 400 MB
    assert "2 data step(s) at once" in "".join(scene.data.said)


def test_machines_share_no_folder_and_nothing_is_left(scene):
    for result in (scene.published, scene.rejected):
        assert (scene.door.root / result["report"]).exists(), "the report came to the door"
    keys = [
        o["Key"] for o in scene.s3.list_objects_v2(Bucket=scene.bucket).get("Contents", [])
    ]  # fmt: skip
    objects = [key for key in keys if not key.endswith("/")]  # those are Arrow's marks of folders
    assert {key.split("/")[1] for key in objects} == {"reports"}
    assert not list(scene.cluster.base.glob("*/.wap/runs/*"))


def test_a_report_is_found_from_any_machine(scene):
    other = load_project(scene.cluster.machine("three").root, scene.cluster.settings)
    found = find_report(other, "orders")
    assert found == other.reports / scene.rejected["run_id"]
    assert "Rejected" in (found / "report.md").read_text()


def test_nothing_in_temporals_history_is_in_clear(scene):
    for result in (scene.published, scene.rejected):
        history = scene.cluster.history(result)
        said = text(history)
        decoded = said + "".join(
            base64.b64decode(data).decode("latin-1")
            for data in re.findall(r'"data": "([^"]+)"', said)
        )
        # With its decimals: five digits alone are soon found in the history's own times.
        for secret in ("shop.orders", "orders-1.csv", "orders-2.csv", "amount", "ann@example.org",
                       str(scene.cluster.base), "77123.00", "negative", "reports/"):  # fmt: skip
            assert secret not in decoded, secret
        (started,) = events(history, "workflowExecutionStarted")
        (payload,) = started["input"]["payloads"]
        assert base64.b64decode(payload["metadata"]["wap-key-id"]) == b"k1"


def test_traces_tell_workflow_and_steps_and_no_data(scene):
    names = {name for name, _ in scene.collector.spans()}
    assert "StartWorkflow:WriteAuditPublish" in names
    assert "RunWorkflow:WriteAuditPublish" in names
    assert {f"RunActivity:{step}" for step in STEPS} <= names
    for resource in scene.collector.resources():
        assert resource["service.name"] == "wap"
        assert resource["deployment.environment.name"] == "test"
    sent = b"".join(scene.collector.raw)
    for secret in (b"shop.orders", b"ann@example.org", b"77123.00", b"orders-1.csv"):
        assert secret not in sent


def series(page: str, name: str) -> dict[frozenset[tuple[str, str]], float]:
    """Values of one metric by its labels, Temporal's own labels left out."""
    found = {}
    for labels, value in re.findall(rf"^{name}\{{(.*?)\}} (\S+)$", page, re.MULTILINE):
        pairs = re.findall(r'(\w+)="([^"]*)"', labels)
        own = {"namespace", "service_name", "task_queue", "workflow_type", "activity_type"}
        found[frozenset(p for p in pairs if p[0] not in own)] = float(value)
    return found


def labels(**pairs: str) -> frozenset[tuple[str, str]]:
    return frozenset({"table": "shop.orders", **pairs}.items())


def test_figures_for_prometheus(scene):
    runs = series(scene.page, "wap_runs_total")
    assert runs == {labels(ending="published"): 1, labels(ending="rejected"): 1}
    rows = series(scene.page, "wap_rows_total")
    assert rows[labels(kind="read")] == 60
    assert rows[labels(kind="published")] == 50
    assert series(scene.page, "wap_checks_total")[labels(outcome="failed")] == 1
    assert series(scene.page, "wap_written_bytes_total")[labels()] > 0
    assert series(scene.page, "wap_last_publish_timestamp_seconds")[labels()] > 1.7e9
    assert len(series(scene.page, "wap_run_seconds_count")) == 2
    assert series(scene.page, "wap_step_seconds_count")[
        frozenset({"step": "publish", "outcome": "done"}.items())
    ] == 1  # fmt: skip
    assert "temporal_workflow_task_execution_latency" in scene.page


def test_a_probe_and_a_polite_end(scene):
    assert scene.probe == "takes work\n"
    assert scene.exit_codes == [0, 0]
