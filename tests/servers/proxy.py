"""A TCP proxy that tests put before a server, to cut its connections or lose its answers."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

#: ``refuse``: nothing reaches the server. ``swallow``: the server does what it was asked, and the
#: connection is cut in place of its answer. ``hang``: the same, but nobody says anything.
Fault = Literal["refuse", "swallow", "hang"]

_CHUNK = 65536
_PATIENCE = 60.0  # seconds a test may wait for what it has ordered


@dataclass
class _Order:
    """A fault that waits for the requests it was ordered for.

    Attributes:
        fault: what happens.
        wanted: whether the bytes of a request are meant; they are the first of the request.
        left: how many requests it still takes.
        met: set when the last of them was.
        then: called when a request was met: with ``swallow`` and ``hang`` after the answer.
    """

    fault: Fault
    wanted: Callable[[bytes], bool]
    left: int
    then: Callable[[], None]
    met: threading.Event = field(default_factory=threading.Event)

    def carry_out(self) -> None:
        """Say that a request was met."""
        self.then()
        if self.left <= 0:
            self.met.set()


class Proxy:
    """Passes bytes on until it is told otherwise; its own port stays the same throughout.

    What is cut is told by requests, not by time: a request is what a client sends after it has
    been answered, as HTTP/1.1 and databases do. One that is sent in several pieces is met when its
    first bytes (up to 64 KiB) come.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        """Make it and listen.

        Args:
            port: where the server is; it may be down, and come up again there.
            host: the server's address.
        """
        self._upstream = (host, port)
        self._lock = threading.Lock()
        self._orders: list[_Order] = []
        self._open: set[socket.socket] = set()
        self._down = threading.Event()
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens, on the loopback address."""
        return int(self._listener.getsockname()[1])

    def cut(self) -> None:
        """Cut every connection and refuse new ones until :meth:`mend`: the network is down."""
        self._down.set()
        self._drop_all()

    def mend(self) -> None:
        """Let connections through again, and forget what was ordered and not met."""
        with self._lock:
            self._orders.clear()
        self._down.clear()

    @contextlib.contextmanager
    def fault(
        self,
        fault: Fault,
        wanted: Callable[[bytes], bool] = lambda _: True,
        times: int = 1,
        then: Callable[[], None] = lambda: None,
    ) -> Iterator[threading.Event]:
        """Order a fault for the next requests that are meant; they must come within the block.

        Args:
            fault: what happens to them.
            wanted: tells by a request's first bytes whether it is meant.
            times: how many requests it happens to.
            then: called once a request was met, in the proxy's thread (kill a server, for example).

        Yields:
            An event that is set when all of them were met.

        Raises:
            AssertionError: at the end of the block, when they were not: the test tested nothing.
        """
        order = _Order(fault, wanted, times, then)
        with self._lock:
            self._orders.append(order)
        try:
            yield order.met
        finally:
            with self._lock:
                if order in self._orders:
                    self._orders.remove(order)
        if not order.met.wait(_PATIENCE if order.left <= 0 else 0):
            msg = f"{fault}: {order.left} of {times} requests never came"
            raise AssertionError(msg)

    def close(self) -> None:
        """Stop listening and cut everything."""
        self._closed.set()
        self._listener.close()
        self._drop_all()

    def _accept(self) -> None:
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._down.is_set():
                _reset(client)
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._upstream, 10)
        except OSError:
            _reset(client)
            return
        server.settimeout(None)
        link = _Link(client, server)
        with self._lock:
            # Cut while this connection was being made: then it is one of those that are cut.
            cut = self._down.is_set() or self._closed.is_set()
            self._open |= set() if cut else {client, server}
        if cut:
            _reset(client)
            server.close()
            return
        back = threading.Thread(target=link.answers, name="proxy-answers", daemon=True)
        back.start()
        link.requests(self._order)
        _shut(server)
        back.join(_PATIENCE)
        with self._lock:
            self._open -= {client, server}
        client.close()
        server.close()

    def _order(self, data: bytes) -> _Order | None:
        with self._lock:
            for order in self._orders:
                if order.left > 0 and order.wanted(data):
                    order.left -= 1
                    return order
        return None

    def _drop_all(self) -> None:
        with self._lock:
            found, self._open = self._open, set()
        for one in found:
            _reset(one)


class _Link:
    """One client's connection and the server's."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self._client, self._server = client, server
        self._waiting = False
        self._order: _Order | None = None

    def requests(self, ordered: Callable[[bytes], _Order | None]) -> None:
        """Pass on what the client says until it has no more, or a fault ends it."""
        while data := _receive(self._client):
            # What comes before an answer belongs to the request that is on its way.
            order = None if self._waiting else ordered(data)
            if order is not None and order.fault == "refuse":
                order.carry_out()
                _reset(self._client)
                return
            self._order = self._order or order
            self._waiting = True
            if not _send(self._server, data):
                break

    def answers(self) -> None:
        """Pass on what the server says, or carry the fault out in its place."""
        while data := _receive(self._server):
            if self._order is not None:
                self._order.carry_out()
                if self._order.fault == "swallow":
                    _reset(self._client)
                return
            self._waiting = False
            if not _send(self._client, data):
                return
        _shut(self._client)


def _receive(source: socket.socket) -> bytes:
    try:
        return source.recv(_CHUNK)
    except OSError:
        return b""


def _send(target: socket.socket, data: bytes) -> bool:
    try:
        target.sendall(data)
    except OSError:
        return False
    return True


def _shut(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)


def _reset(one: socket.socket) -> None:
    """Cut it: the other side sees a reset, not an end."""
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it
    one.close()
