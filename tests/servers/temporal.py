"""Temporal as a given server: a namespace of its own, no search attribute, TLS by a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import subprocess
import threading
from pathlib import Path
from typing import Self

from temporalio.client import Client
from temporalio.service import RPCError

from tests.servers.process import Server, free_ports, program
from wap.runtime import binary

NAMESPACE = "lake"


class Temporal:
    """``temporal server start-dev`` as somebody else's server; state in memory."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.port, ui, metrics = free_ports(3)
        command = [
            binary(), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(self.port),
            "--ui-port", str(ui), "--headless", "--metrics-port", str(metrics),
            "--namespace", NAMESPACE, "--log-level", "error",
            "--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000", *flags,
        ]  # fmt: skip
        self.server = Server("temporal", command, folder, self._answers)

    @property
    def address(self) -> str:
        """``host:port`` of its frontend."""
        return f"127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        async def ask() -> bool:
            client = await Client.connect(self.address, namespace=NAMESPACE)
            await client.count_workflows("WorkflowType='none'")
            return True

        with contextlib.suppress(RPCError, RuntimeError):
            return asyncio.run(ask())
        return False

    def cli(self, *args: str) -> object:
        """What the official command answers, from its JSON."""
        done = subprocess.run(
            [binary(), *args, "--address", self.address, "--namespace", NAMESPACE,
             "--output", "json"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return json.loads(done.stdout) if done.stdout.strip() else None

    def history(self, workflow: str, run: str) -> dict[str, object]:
        """A history as the server keeps it, no payload decoded; its first run id under ``run``."""

        async def fetch() -> str:
            client = await Client.connect(self.address, namespace=NAMESPACE)
            return (
                await client.get_workflow_handle(workflow, run_id=run).fetch_history()
            ).to_json()

        return {"run": run.replace("-", ""), **json.loads(asyncio.run(fetch()))}

    def start(self) -> None:
        """Start it."""
        self.server.start()

    def stop(self) -> None:
        """Stop it at once: nothing of it is kept."""
        self.server.kill()


class Certificates:
    """An authority with a server's and a client's certificate, made by openssl."""

    def __init__(self, folder: Path, name: str = "temporal.test") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name
        self.ca = self._authority("ca")
        self.other_ca = self._authority("other-ca")
        self.server = self._signed("server", f"subjectAltName=DNS:{name}")
        self.client = self._signed("client", "extendedKeyUsage=clientAuth")

    def _authority(self, name: str) -> Path:
        self._openssl(
            "req", "-x509", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-days", "2", "-subj", f"/CN={name}",
        )  # fmt: skip
        return self.folder / f"{name}.pem"

    def _signed(self, name: str, extension: str) -> tuple[Path, Path]:
        self._openssl(
            "req", "-x509", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem",
            "-days", "2", "-subj", f"/CN={name}", "-CA", "ca.pem", "-CAkey", "ca.key",
            "-addext", extension, "-addext", "basicConstraints=critical,CA:FALSE",
        )  # fmt: skip
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _openssl(self, *args: str) -> None:
        subprocess.run(
            [program("openssl", "openssl"), *args], cwd=self.folder, check=True, capture_output=True
        )


_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class TlsProxy:
    """Takes TLS, wants a client's certificate, and passes the bytes on to a plain server."""

    def __init__(self, target: int, certificates: Certificates) -> None:
        (self.port,) = free_ports(1)
        self._target = target
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(*certificates.server)
        self._context.load_verify_locations(certificates.ca)
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.set_alpn_protocols(["h2"])
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        listening = asyncio.start_server(self._pass, "127.0.0.1", self.port, ssl=self._context)
        asyncio.run_coroutine_threadsafe(listening, self._loop).result()
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    async def _close(self) -> None:
        passing = [t for t in asyncio.all_tasks() if t is not asyncio.current_task()]
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(_pump(reader, back), _pump(there, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, ssl.SSLError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
