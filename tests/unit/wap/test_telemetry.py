"""Our traces are ours: no library's provider gets them, and no message of an error goes along."""

import json
import os
import subprocess
import sys

from tests.servers.collector import Collector

TRACE = """
import json, os, sys
from pathlib import Path
from wap.project import load_project
from wap.telemetry import tracing

with tracing(load_project(Path(sys.argv[1]), {}), os.environ) as interceptors:
    from checks.soda import SodaAuditor
    from opentelemetry import trace
    SodaAuditor(sample_rows=1).warm()
    (ours,) = interceptors
    try:
        with ours.tracer.start_as_current_span("RunActivity:stage"):
            raise ValueError("customer ann@example.org is odd")
    except ValueError:
        pass
    with trace.get_tracer("somebody").start_as_current_span("somebody else's"):
        pass
    print(json.dumps(type(trace.get_tracer_provider()).__name__))
"""


def traced(folder, **env: str):
    (folder / "wap.toml").write_text('[project]\nname = "shop"\n')
    own = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "WAP_"))}
    return subprocess.run(
        [sys.executable, "-c", TRACE, str(folder)],
        capture_output=True, text=True, check=False, env={**own, **env},
    )  # fmt: skip


def test_spans_go_to_our_collector_alone_and_without_messages(tmp_path):
    with Collector() as collector:
        done = traced(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == "ProxyTracerProvider", "nobody took the global one"
        assert [name for name, _ in collector.spans()] == ["RunActivity:stage"]
        assert {r["service.name"] for r in collector.resources()} == {"wap"}
        assert {r["wap.project"] for r in collector.resources()} == {"shop"}
        sent = b"".join(collector.raw)
        assert b"ValueError" in sent
        assert b"ann@example.org" not in sent


def test_a_collector_that_is_away_holds_nobody_up(tmp_path):
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SERVICE_NAME": "mine"}
    done = traced(tmp_path, **env)
    assert done.returncode == 0, done.stderr
