"""What we rely on in pyiceberg's REST catalog, seen from a server that says what it is told."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    RESTError,
)

from catalog import CatalogConfigError, CatalogUnavailableError, UnsupportedError, open_catalog
from catalog.iceberg_rest import TimedRestCatalog

GROUPS = "POST /v1/{prefix}/transactions/commit"
LISTING = "GET /v1/{prefix}/namespaces"


class Answers:
    """A server that says what it is told, and keeps what it was asked."""

    def __init__(self) -> None:
        self.config: dict = {"defaults": {}, "overrides": {}, "endpoints": [LISTING, GROUPS]}
        self.status, self.body = 200, {"namespaces": []}
        self.asked: list[tuple[str, dict]] = []
        self.silent = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                length = int(self.headers.get("Content-Length", 0))
                outer.asked.append((self.path, dict(self.headers)))
                self.rfile.read(length)
                if outer.silent.is_set():
                    self.close_connection = True
                    outer.over.wait(30)
                    return
                is_config = urlsplit(self.path).path == "/v1/config"
                said = json.dumps(outer.config if is_config else outer.body).encode()
                self.send_response(200 if is_config else outer.status)
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            do_GET = do_POST = answer  # noqa: N815 - the base class names them

            def log_message(self, *_):  # noqa: ANN002 - the base class names them
                """Say nothing."""

        self.over = threading.Event()
        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.httpd.serve_forever, daemon=True).start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.httpd.server_port}"

    def close(self) -> None:
        self.over.set()
        self.httpd.shutdown()
        self.httpd.server_close()


@pytest.fixture
def server():
    answers = Answers()
    yield answers
    answers.close()


def _open(server: Answers, **more: str) -> TimedRestCatalog:
    return TimedRestCatalog("t", timeout=(5, 5), uri=server.uri, **more)


def test_the_private_names_are_there():
    for name in ("_create_session", "_fetch_config"):
        assert callable(getattr(RestCatalog, name))
    assert {"_session", "_supported_endpoints"} <= set(RestCatalog.__annotations__)


def test_every_call_ends_the_one_for_the_configuration_too(server):
    short = {"rest.client.socket-timeout-ms": "200"}
    catalog = open_catalog("rest", "t", {"uri": server.uri, **short})
    server.silent.set()
    with pytest.raises(CatalogUnavailableError, match="timed out"):
        catalog.tables()
    with pytest.raises(CatalogUnavailableError, match="timed out"):
        open_catalog("rest", "t", {"uri": server.uri, **short})


@pytest.mark.parametrize("value", ["0", "soon", "-1", "1.5"])
def test_a_timeout_that_is_none_is_refused(server, value):
    with pytest.raises(CatalogConfigError, match="milliseconds"):
        open_catalog("rest", "t", {"uri": server.uri, "rest.client.socket-timeout-ms": value})


@pytest.mark.parametrize("endpoints", [[LISTING], None])
def test_groups_are_offered_only_by_a_server_that_says_so(server, endpoints):
    assert _open(server).commits_groups
    assert open_catalog("rest", "t", {"uri": server.uri}).capabilities.atomic_groups
    server.config["endpoints"] = endpoints
    assert not _open(server).commits_groups
    opened = open_catalog("rest", "t", {"uri": server.uri})
    assert not opened.capabilities.atomic_groups
    assert not opened.capabilities.new_in_groups


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (404, CommitFailedException),
        (409, CommitFailedException),
        (403, ForbiddenError),
        (400, RESTError),
        (500, CommitStateUnknownException),
        (503, CommitStateUnknownException),
    ],
)
def test_what_a_group_commit_is_answered(server, status, error):
    catalog = _open(server)
    server.status, server.body = status, {"error": {"message": "so it is"}}
    with pytest.raises(error, match=f"{status} so it is") as raised:
        catalog.commit_tables([])
    assert type(raised.value) is error


def test_the_parent_of_namespaces_is_quoted_once(server):
    _open(server).list_namespaces(("Çà et là", "b"))
    query = urlsplit(server.asked[-1][0]).query
    assert parse_qs(query)["parent"] == ["Çà et là\x1fb"]


def test_nessie_is_refused(server):
    server.config["overrides"] = {"nessie.is-nessie-catalog": "true", "uri": server.uri}
    with pytest.raises(UnsupportedError, match="Nessie") as raised:
        open_catalog("rest", "t", {"uri": server.uri})
    assert 'kind = "nessie"' in raised.value.hint


@pytest.mark.parametrize("key", ["auth", "ssl"])
def test_what_text_cannot_say_is_refused(server, key):
    with pytest.raises(CatalogConfigError, match=key):
        open_catalog("rest", "t", {"uri": server.uri, key: "basic"})


def test_a_token_is_sent_and_never_shown(server):
    opened = open_catalog("rest", "t", {"uri": server.uri, "token": "hunter2"})
    assert server.asked[-1][1]["Authorization"] == "Bearer hunter2"
    server.status, server.body = 401, {"error": {"message": "no", "type": "T", "code": 401}}
    with pytest.raises(CatalogConfigError) as raised:
        opened.tables()
    assert "hunter2" not in str(raised.value)


def test_a_warehouse_in_s3_is_left_to_the_keys_that_the_server_hands_out(server):
    closed = {"s3.endpoint": "http://127.0.0.1:9", "warehouse": "s3://nowhere/lake"}
    opened = open_catalog("rest", "t", {"uri": server.uri, **closed})
    assert opened.tables() == []
    assert "warehouse=s3" in server.asked[0][0]
