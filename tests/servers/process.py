"""Real servers as processes of the tests: started on loopback, killed, started again, stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

import pytest

START_SECONDS = 120.0
STOP_SECONDS = 30.0

#: Set in CI: a server that cannot be had is then a failure, not a skip.
REQUIRED = "WAP_REQUIRE_SERVERS"

#: Where artifacts of Maven Central are kept between runs.
JARS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "wap-lakehouse" / "jars"


#: The locks of the ports that this process was given.
_HELD: list[TextIO] = []


def unavailable(name: str, why: str) -> None:
    """End a test whose server cannot be had: skipped loudly, or failed where it is required."""
    said = f"NO SERVER: {name} cannot be started: {why}"
    if os.environ.get(REQUIRED):
        pytest.fail(f"{said} ({REQUIRED} is set)", pytrace=False)
    pytest.skip(said)


def program(name: str, package: str) -> str:
    """A program on PATH; without it the test ends."""
    found = shutil.which(name)
    if found is None:
        unavailable(name, f"install the Debian package {package}")
    return str(found)


def free_ports(count: int) -> list[int]:
    """So many ports of the loopback address that nobody listens on now.

    From a range of which systems give none by themselves: a server that is started again still
    finds its port, which no connection has taken meanwhile. Nor does the product's own range.
    """
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(range(12_000, 20_000))
        if not _taken(port):
            with contextlib.suppress(OSError), socket.socket() as one:
                one.bind(("127.0.0.1", port))
                found.append(port)
    return found


def _taken(port: int) -> bool:
    """Whether a test of this process or another was given the port; else it is taken now.

    A server listens some time after its port was chosen. Until this process ends nobody else is
    given it.
    """
    folder = Path(tempfile.gettempdir()) / "wap-test-ports"
    folder.mkdir(exist_ok=True)
    held = (folder / str(port)).open("w")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.close()
        return True
    _HELD.append(held)
    return False


def listens(port: int) -> bool:
    """Whether somebody takes connections at the loopback port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


@contextlib.contextmanager
def fetching() -> Iterator[None]:
    """Be the only process of this machine that fetches from Maven Central."""
    JARS.mkdir(parents=True, exist_ok=True)
    with (JARS / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def jar(coordinates: str) -> Path:
    """An artifact of Maven Central, ``group:artifact:version[:jar:classifier]``, fetched once."""
    _, artifact, version, *rest = coordinates.split(":")
    path = JARS / f"{'-'.join([artifact, version, *rest[1:]])}.jar"
    with fetching():
        if path.exists():
            return path
        done = subprocess.run(
            [program("mvn", "maven"), "-q", "-B",
             "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy",
             f"-Dartifact={coordinates}", f"-DoutputDirectory={JARS}"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode or not path.exists():
        unavailable(artifact, f"Maven did not bring {coordinates}: {done.stdout[-500:]}")
    return path


@dataclass
class Server:
    """One server process with its folder; the same command starts it again on the same state.

    Attributes:
        name: what it is, for messages.
        command: as it is started.
        folder: its working directory; the log is ``<name>.log`` in it.
        ready: whether it answers.
        env: added to the environment.
    """

    name: str
    command: Sequence[str]
    folder: Path
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """What it prints."""
        return self.folder / f"{self.name}.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self.process = subprocess.Popen(
                self.command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                cwd=self.folder, env={**os.environ, **self.env}, start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                last = self.log.read_text(errors="replace").splitlines()[-15:]
                msg = f"{self.name} did not start:\n" + "\n".join(last)
                raise RuntimeError(msg)
            time.sleep(0.05)

    def kill(self) -> None:
        """End it and its children at once (SIGKILL)."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end (SIGTERM), and see to it."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Kill it and start it again on the same state."""
        self.kill()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self.process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None
