"""The server sink against a real HTTP server that answers as DataHub's does."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from wap.errors import ConfigError, LineageError, LineageUnavailableError
from wap.lineage import open_lineage
from wap.lineage.datahub_file import DataHubFileSink
from wap.lineage.datahub_rest import DataHubRestSink
from wap.model import Ending, RunFacts, RunResult
from wap.settings import LineageSection


@dataclass
class Server:
    """A DataHub that takes proposals, or answers with another status."""

    url: str = ""
    status: int = 200
    requests: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.requests.append((self.path, dict(self.headers), json.loads(body)))
            self._answer({})

        def do_GET(self) -> None:
            self._answer({"noCode": "true", "patchCapable": True, "versions": {}})

        def _answer(self, content: dict[str, Any]) -> None:
            self.send_response(state.status)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, *_: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{httpd.server_port}"
    yield state
    httpd.shutdown()
    thread.join()
    httpd.server_close()


@pytest.fixture
def told() -> RunFacts:
    return RunFacts(
        result=RunResult(run_id="r", pipeline="p", table="n.t", ending=Ending.PUBLISHED),
        pipeline_digest="d",
        source_kind="files",
        source_location="x.csv",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
        ended_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.fixture
def sink(server: Server, tmp_path: Path) -> DataHubRestSink:
    return DataHubRestSink(server.url, files=DataHubFileSink(tmp_path), token="hunter2")  # noqa: S106 - a test's token


def test_a_run_is_sent_whole_and_written_too(sink, server, told, tmp_path):
    assert sink.record(told) == server.url
    [(path, headers, body)] = server.requests
    assert path == "/aspects?action=ingestProposalBatch"
    assert headers["Authorization"] == "Bearer hunter2"
    written = json.loads((tmp_path / "n.t__r.json").read_text())
    sent = [(p["entityUrn"], p["aspectName"], p["changeType"]) for p in body["proposals"]]
    assert sent == [(p["entityUrn"], p["aspectName"], p["changeType"]) for p in written]
    assert len(sent) > 10


@pytest.mark.parametrize(
    ("status", "error", "again"),
    [
        (500, "now", True),
        (503, "now", True),
        (429, "now", True),
        (401, "HTTP 401", False),
        (400, "HTTP 400", False),
    ],
)
def test_an_answer_that_another_attempt_may_change_is_told_apart(
    sink, server, told, tmp_path, status, error, again
):
    server.status = status
    with pytest.raises(LineageError, match=error) as caught:
        sink.record(told)
    assert isinstance(caught.value, LineageUnavailableError) is again
    assert "hunter2" not in str(caught.value)
    assert (tmp_path / "n.t__r.json").exists()
    assert len(server.requests) == 1, "Temporal tries again, not the emitter"


def test_no_server_is_worth_another_try_and_the_file_is_there(told, tmp_path):
    sink = DataHubRestSink("http://127.0.0.1:9", files=DataHubFileSink(tmp_path))
    with pytest.raises(LineageUnavailableError, match="datahub ingest"):
        sink.record(told)
    assert (tmp_path / "n.t__r.json").exists()


def test_an_address_that_is_none_is_an_error_of_ours(told, tmp_path):
    with pytest.raises(LineageError):
        DataHubRestSink("not an address", files=DataHubFileSink(tmp_path)).record(told)


def test_the_settings_choose_the_sink(server, told, tmp_path):
    assert open_lineage(LineageSection(kind="none"), tmp_path) is None
    files = open_lineage(LineageSection(folder="told"), tmp_path)
    assert files is not None
    assert files.record(told) == str(tmp_path / "told" / "n.t__r.json")
    settings = LineageSection(kind="datahub", url=server.url, token=SecretStr("t0ken"))
    rest = open_lineage(settings, tmp_path)
    assert rest is not None
    rest.record(told)
    assert server.requests[0][1]["Authorization"] == "Bearer t0ken"
    with pytest.raises(ConfigError, match="address"):
        open_lineage(LineageSection(kind="datahub"), tmp_path)
