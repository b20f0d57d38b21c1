"""S3 as our client meets it: answers by a small HTTP server that says what it is told to say."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from catalog.errors import CatalogConfigError, CatalogUnavailableError, StorageFullError
from catalog.file_io import prepared
from catalog.s3 import TRIES, Access, Client
from catalog.s3_objects import ObjectReader, ObjectWriter

SECRET = "s3cr3t-that-nobody-may-see"  # noqa: S105 - it opens nothing
CONTENT = bytes(range(256)) * 8192


def _error(code: str) -> bytes:
    said = f"<Message>key {SECRET}</Message>"
    return f"<Error><Code>{code}</Code>{said}</Error>".encode()


@dataclass
class Told:
    """What the server answers, and what it was asked."""

    answer: Callable[[BaseHTTPRequestHandler, int], None]
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def serve():
    """A server that answers as the given function does; ``told.asked`` are its requests."""
    running = []

    def start(answer: Callable[[BaseHTTPRequestHandler, int], None]) -> tuple[Client, Told]:
        told = Told(answer)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _any(self) -> None:
                told.asked.append(f"{self.command} {self.headers.get('Range', '')}".strip())
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                told.answer(self, len(told.asked))

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _any  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        endpoint = f"http://127.0.0.1:{server.server_port}"
        access = Access(endpoint, "us-east-1", key="k", secret=SECRET, virtual=False, request=5)
        return Client(access), told

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def _say(request: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name.replace("_", "-"), value)
    request.send_header("Content-Length", headers.get("length", str(len(body))))
    request.end_headers()
    request.wfile.write(body)


@pytest.mark.parametrize(
    ("status", "code", "error", "said"),
    [
        (404, "NoSuchBucket", CatalogConfigError, "no such bucket"),
        (404, "NoSuchKey", FileNotFoundError, "no object"),
        (403, "InvalidAccessKeyId", CatalogConfigError, "credentials"),
        (403, "SignatureDoesNotMatch", CatalogConfigError, "credentials"),
        (403, "AccessDenied", CatalogConfigError, "denies"),
        (400, "ExpiredToken", CatalogConfigError, "expired"),
        (400, "AuthorizationHeaderMalformed", CatalogConfigError, "elsewhere"),
        (400, "InvalidArgument", CatalogConfigError, "refuses"),
        (507, "XMinioStorageFull", StorageFullError, "room"),
        (404, "NoSuchUpload", CatalogUnavailableError, "upload is gone"),
        (503, "SlowDown", CatalogUnavailableError, "SlowDown"),
        (500, "InternalError", CatalogUnavailableError, "InternalError"),
    ],
)
def test_what_s3_says_becomes_our_error_without_its_words(serve, status, code, error, said):
    client, told = serve(lambda request, _: _say(request, status, _error(code)))
    with pytest.raises(error, match=said) as raised:
        client.call("get_object", "s3://b/k", Bucket="b", Key="k")
    text = str(raised.value)
    assert SECRET not in text
    assert "s3://b/k" in text
    transient = error is CatalogUnavailableError and status >= 500
    assert len(told.asked) == (TRIES if transient else 1)


def test_a_store_that_slows_us_down_and_then_answers_is_waited_for(serve):
    def answer(request, number):
        _say(request, *((503, _error("SlowDown")) if number < TRIES else (200, b"here")))

    client, _ = serve(answer)
    assert client.call("get_object", "s3://b/k", Bucket="b", Key="k")["Body"].read() == b"here"


def test_a_store_that_says_nothing_is_given_up(serve):
    gone = threading.Event()
    client, _ = serve(lambda *_: gone.wait(60))
    object.__setattr__(client._access, "request", 0.2)
    with pytest.raises(CatalogUnavailableError, match="does not answer"):
        client.call("get_object", "s3://b/k", Bucket="b", Key="k")
    gone.set()


def test_nobody_at_the_endpoint():
    access = Access("http://127.0.0.1:1", "us-east-1", key="k", secret=SECRET)
    with pytest.raises(CatalogUnavailableError, match="does not answer") as raised:
        Client(access).call("get_object", "s3://b/k", Bucket="b", Key="k")
    assert SECRET not in str(raised.value)


def _range(request: BaseHTTPRequestHandler) -> tuple[int, int]:
    first, _, last = request.headers["Range"].removeprefix("bytes=").partition("-")
    return int(first), min(int(last) + 1, len(CONTENT))


def _give(request: BaseHTTPRequestHandler, cut: int = 0) -> None:
    """Answer a range; with ``cut`` the connection ends after so many bytes of it."""
    first, end = _range(request)
    request.send_response(206)
    request.send_header("Content-Length", str(end - first))
    request.send_header("Content-Range", f"bytes {first}-{end - 1}/{len(CONTENT)}")
    request.end_headers()
    request.wfile.write(CONTENT[first : first + cut if cut else end])
    if cut:
        request.wfile.flush()
        request.connection.close()
        request.close_connection = True


def test_a_transfer_that_breaks_off_goes_on_where_it_broke(serve):
    client, told = serve(lambda request, n: _give(request, cut=700_000 if n == 1 else 0))
    reader = ObjectReader(client, "b", "k", len(CONTENT))
    assert reader.read() == CONTENT
    first = told.asked[1].removeprefix("GET bytes=").partition("-")[0]
    assert 0 < int(first) <= 700_000, "what had come is not asked for again"


def test_a_transfer_that_always_breaks_off_is_an_error_and_no_short_read(serve):
    client, told = serve(lambda request, _: _give(request, cut=10))
    with pytest.raises(CatalogUnavailableError):
        ObjectReader(client, "b", "k", len(CONTENT)).read_at(1000, 0)
    assert len(told.asked) == TRIES


def test_only_ranges_are_asked_for_and_a_small_file_in_one_request(serve):
    client, told = serve(lambda request, _: _give(request))
    sized = ObjectReader(client, "b", "k", len(CONTENT))
    assert sized.read_at(100, 5000) == CONTENT[5000:5100]
    assert told.asked == ["GET bytes=5000-5099"]
    told.asked.clear()
    sized.seek(-8, 2)
    assert sized.read(8) == CONTENT[-8:]
    sized.seek(-4000, 2)
    assert sized.read(4000) == CONTENT[-4000:]
    assert len(told.asked) == 1, "a footer costs one request"


def test_an_object_that_was_never_completed_by_its_writer_is_not_shown(serve):
    """Forgetting a writer, or leaving its block by an error, sends nothing."""
    client, told = serve(lambda request, _: _say(request, 200))
    writer = ObjectWriter(client, "b", "k")
    writer.write(b"half")
    del writer
    with pytest.raises(TypeError), ObjectWriter(client, "b", "k") as other:
        other.write("no bytes")
    assert told.asked == []


@pytest.mark.parametrize(
    ("properties", "said"),
    [
        ({"s3.access-key-id": SECRET}, "go together"),
        ({"s3.role-arn": SECRET}, "role-arn"),
        ({"s3.endpoint": f"http://me:{SECRET}@127.0.0.1:1"}, "s3.endpoint"),
        ({"s3.request-timeout": SECRET}, "request-timeout"),
        ({"s3.connect-timeout": "0"}, "connect-timeout"),
    ],
)
def test_a_property_that_cannot_be_used_is_named_and_its_value_is_not(properties, said):
    with pytest.raises(CatalogConfigError, match=said) as raised:
        Access.of(properties)
    assert SECRET not in str(raised.value)


def test_a_warehouse_whose_url_holds_a_password_is_refused():
    with pytest.raises(CatalogConfigError, match="password") as raised:
        prepared({"warehouse": f"s3://key:{SECRET}@bucket/wh"})
    assert SECRET not in str(raised.value)


def test_an_access_shows_no_secret():
    secret = ("s3.access-key-id", "s3.secret-access-key", "s3.session-token", "s3.proxy-uri")
    properties = dict.fromkeys(secret, SECRET)
    assert SECRET not in repr(Access.of(properties))
