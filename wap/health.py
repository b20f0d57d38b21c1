"""A page for probes: whether this worker takes work."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio.client import Client
from temporalio.service import RPCError

from wap.errors import ConfigError

#: A probe that gets no answer in a few seconds takes the worker for dead anyway.
_ANSWER = timedelta(seconds=2)


@asynccontextmanager
async def told(
    address: str | None,
    client: Client,
    running: Sequence[asyncio.Task[None]],
    stop: asyncio.Event,
) -> AsyncIterator[None]:
    """Answer ``GET`` at the address: 200 while the workers run and the server answers, else 503.

    Args:
        address: ``host:port``; None: nobody asks.
        client: asks the server.
        running: one task a worker; one that has ended is a worker that failed.
        stop: set when the worker was told to stop, and takes no new work.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    if address is None:
        yield
        return

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError):
            await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _ANSWER.total_seconds())
            trouble = await _trouble(client, running, stop)
            code = "503 Service Unavailable" if trouble else "200 OK"
            body = f"{trouble or 'takes work'}\n".encode()
            head = f"HTTP/1.1 {code}\r\nContent-Type: text/plain\r\nContent-Length: {len(body)}"
            writer.write(f"{head}\r\nConnection: close\r\n\r\n".encode() + body)
            await writer.drain()
        writer.close()

    host, _, port = address.rpartition(":")
    try:
        server = await asyncio.start_server(answer, host, int(port))
    except OSError as exc:
        raise ConfigError(
            f"nothing can listen there: {exc.strerror}",
            where=f"[worker] health = {address}",
            hint="is another worker there already?",
        ) from exc
    async with server:
        yield


async def _trouble(
    client: Client, running: Sequence[asyncio.Task[None]], stop: asyncio.Event
) -> str:
    """Why no work is taken; "" when it is."""
    if stop.is_set():
        return "told to stop"
    if any(task.done() for task in running):
        return "a worker has failed"
    try:
        if await client.service_client.check_health(timeout=_ANSWER):
            return ""
    except RPCError:
        return "the Temporal server does not answer"
    return "the Temporal server is not well"
