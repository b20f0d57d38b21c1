"""The proxy that integration tests rely on: what it passes, cuts and swallows."""

from __future__ import annotations

import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests

from tests.servers.proxy import Proxy


@pytest.fixture
def server():
    """An HTTP server that keeps what it was sent."""
    seen: list[bytes] = []

    class Keeper(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_):  # noqa: ANN002 - the base class names them
            """Say nothing."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Keeper)
    threading.Thread(target=httpd.serve_forever, daemon=True).start()
    proxy = Proxy(httpd.server_port)
    yield proxy, seen
    proxy.close()
    httpd.shutdown()
    httpd.server_close()


def _post(proxy: Proxy, body: bytes, session: requests.Session | None = None) -> str:
    url = f"http://127.0.0.1:{proxy.port}/x"
    return (session or requests).post(url, data=body, timeout=2).text


def test_it_passes_bytes_on_over_one_connection(server):
    proxy, seen = server
    with requests.Session() as session:
        assert _post(proxy, b"one", session) == "ok"
        assert _post(proxy, b"x" * 1_000_000, session) == "ok"
    assert [len(body) for body in seen] == [3, 1_000_000]


@pytest.mark.parametrize("size", [3, 1_000_000])
def test_a_swallowed_answer_comes_after_the_effect(server, size):
    proxy, seen = server
    with requests.Session() as session:
        assert _post(proxy, b"before", session) == "ok"
        with proxy.fault("swallow") as met, pytest.raises(requests.ConnectionError):
            _post(proxy, b"x" * size, session)
        assert met.is_set()
        assert _post(proxy, b"after", session) == "ok"
    assert [len(body) for body in seen] == [6, size, 5]


def test_a_refused_request_never_arrives(server):
    proxy, seen = server
    with proxy.fault("refuse", times=2):
        for _ in range(2):
            with pytest.raises(requests.ConnectionError):
                _post(proxy, b"lost")
    assert _post(proxy, b"after") == "ok"
    assert seen == [b"after"]


def test_a_hanging_server_is_left_to_the_client(server):
    proxy, seen = server
    with proxy.fault("hang"), pytest.raises(requests.Timeout):
        requests.post(f"http://127.0.0.1:{proxy.port}/x", data=b"slow", timeout=0.2)
    assert seen == [b"slow"]


def test_only_what_is_meant_is_met_and_what_never_came_is_told(server):
    proxy, _ = server
    with (
        pytest.raises(AssertionError, match="1 of 1 requests never came"),
        proxy.fault("refuse", lambda request: b"PUT" in request),
    ):
        assert _post(proxy, b"other") == "ok"
    assert _post(proxy, b"other") == "ok"


def test_a_cut_network_ends_what_is_open_and_is_mended(server):
    proxy, seen = server
    with socket.create_connection(("127.0.0.1", proxy.port), 5) as one:
        one.sendall(b"POST /x HTTP/1.1\r\n")
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            one.recv(1)
    with pytest.raises(requests.ConnectionError):
        _post(proxy, b"lost")
    proxy.mend()
    assert _post(proxy, b"after") == "ok"
    assert seen == [b"after"]
