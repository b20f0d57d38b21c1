"""A lake on a Nessie server, over a network on which requests and answers can be lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from catalog.nessie import NessieCatalog
from catalog.nessie_api import Api
from catalog.nessie_tables import PointerCatalog
from tests.behaviors.conftest import Lake


@dataclass
class Wire(httpx.BaseTransport):
    """The real network, on which a request or its answer can be lost.

    Attributes:
        sent: method, path and body of every request that was sent.
        lose: number of the changing request that something befalls; None: of none.
        before: whether it is the request, not its answer.
        what: what befalls it.
    """

    sent: list[tuple[str, str, str]] = field(default_factory=list)
    lose: int | None = None
    before: bool = True
    what: Callable[[], None] | BaseException = field(default_factory=KeyboardInterrupt)
    changes: int = 0

    def __post_init__(self) -> None:
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        changing = request.method != "GET" and not path.endswith("/contents")
        self.changes += changing
        hit = changing and self.changes - 1 == self.lose
        if hit and self.before:
            self._befall()
        self.sent.append((request.method, path, request.content.decode()))
        answer = self._inner.handle_request(request)
        if hit and not self.before:
            answer.read()
            self._befall()
        return answer

    def _befall(self) -> None:
        if isinstance(self.what, BaseException):
            raise self.what
        self.what()

    def close(self) -> None:
        self._inner.close()


class AtTheMerge(Wire):
    """What befalls the merge does so when the server has found the branch and goes on with it."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/history/merge") and self.changes == self.lose:
            body = json.loads(request.content) | {"fromRefName": "DETACHED"}
            headers = {k: v for k, v in request.headers.items() if k != "content-length"}
            request = httpx.Request(request.method, request.url, headers=headers, json=body)
        return super().handle_request(request)


def make_lake(root: Path, uri: str, wire: Wire | None = None, **properties: str) -> Lake:
    given = {"warehouse": str(root / "warehouse"), **properties}
    plain = PointerCatalog("test", Api(uri, None, wire), given)
    return Lake("nessie", root, NessieCatalog(plain), plain)


def refs(uri: str) -> set[str]:
    found = httpx.get(f"{uri}/trees", params={"max-records": 1000}).raise_for_status().json()
    return {ref["name"] for ref in found["references"]}


def bodies(wire: Wire) -> list[dict[str, object]]:
    return [json.loads(body) for _, path, body in wire.sent if path.endswith("/history/merge")]
