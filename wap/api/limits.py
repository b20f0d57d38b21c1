"""What every request is held to before a route sees it: its size, and whom it was sent to."""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from wap.api.problems import problem

#: A pipeline and its contracts are texts that people write.
MAX_BODY = 2 << 20

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
#: A report is one page with its style inside, and nothing else is a page.
_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    ),
)


class Limits:
    """ASGI around the app.

    Args:
        only_loopback: refuse requests that name another host, as a page does whose name was
            pointed at this machine (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, *, only_loopback: bool) -> None:
        self._app = app
        self._only_loopback = only_loopback

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; everything else (lifespan) goes straight on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_HEADERS]
            await send(message)

        headers = dict(scope["headers"])
        if self._only_loopback and _host(headers.get(b"host", b"")) not in _LOOPBACK:
            refusal = problem(421, "this server answers for localhost alone", where="header Host")
            await refusal(scope, receive, send_with_headers)
            return
        body = await _body(headers, receive)
        if body is None:
            refusal = problem(413, f"a request has at most {MAX_BODY:,} bytes", where="body")
            await refusal(scope, receive, send_with_headers)
            return
        await self._app(scope, _again(body, receive), send_with_headers)


def _host(header: bytes) -> str:
    """The name in a Host header, without its port."""
    text = header.decode("latin-1").lower()
    return text.partition("]")[0] + "]" if text.startswith("[") else text.partition(":")[0]


async def _body(headers: dict[bytes, bytes], receive: Receive) -> bytes | None:
    """All of the body; None: it is too large."""
    stated = headers.get(b"content-length", b"0")
    if stated.isdigit() and int(stated[:20]) > MAX_BODY:
        return None
    body = bytearray()
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":  # the caller is gone
            break
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        more = message.get("more_body", False)
    return bytes(body)


def _again(body: bytes, receive: Receive) -> Receive:
    """Give the body that was read once more, and then whatever comes."""
    told = False

    async def receive_again() -> Message:
        nonlocal told
        if told:
            return await receive()
        told = True
        return {"type": "http.request", "body": body, "more_body": False}

    return receive_again
