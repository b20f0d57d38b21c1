"""``python -m tests.servers``: the servers of ``docker-compose.yml``, kept without Docker."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deploy.make_env import WORDS, Issuer, variables
from tests.servers.composed import ROOT, Composed, composed
from wap.access import Role

#: Databases, logs and passwords; git ignores it.
FOLDER = ROOT / ".servers"
KEPT = "variables.json"
STOP_SECONDS = 60.0
#: The project that compose mounts, too.
EXAMPLE = ROOT / "examples" / "nycflights"


@contextmanager
def running(folder: Path = FOLDER, issuer: Issuer | None = None) -> Iterator[Composed]:
    """Start them on what an earlier start left, and stop them at the end; one at a time.

    While they run, ``<role>.env`` in the folder holds what a project needs in its environment.

    Args:
        folder: databases, logs and passwords.
        issuer: signs the tokens; by default a new one.
    """
    folder.mkdir(mode=0o711, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sys.exit("the servers run already: make servers-down stops them")
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        try:
            with composed(folder, _kept(folder / KEPT, issuer or Issuer())) as servers:
                for role in Role:
                    lines = servers.project_environment(role).items()
                    text = "".join(f"export {k}={shlex.quote(v)}\n" for k, v in lines)
                    _write(folder / f"{role}.env", text)
                yield servers
        finally:
            for role in Role:
                (folder / f"{role}.env").unlink(missing_ok=True)


def _kept(path: Path, issuer: Issuer) -> dict[str, str]:
    """The passwords that the databases in the folder were made with; tokens are new each time."""
    fresh = variables(issuer)
    if path.exists():
        old = json.loads(path.read_text())
        fresh |= {name: old[name] for name in WORDS}
    _write(path, json.dumps(fresh))
    return fresh


def _write(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def up(*profiles: str) -> None:
    """Start them, our worker and console on the example, and stay until Ctrl-C or ``down``."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with running() as servers, ExitStack() as stack:
            ours = [servers.worker(EXAMPLE), servers.console(EXAMPLE)]
            for server in ([servers.spark()] if "spark" in profiles else []) + ours:
                stack.callback(server.stop)
                server.start()
            print(_addresses(servers))
            print(f"{'console':<11} http://127.0.0.1:{servers.console_port}")
            print(f"{'its tokens':<11} WAP_API_TOKEN and WAP_API_AUDITOR_TOKEN in .servers/{KEPT}")
            if "spark" in profiles:
                print(f"{'Spark':<11} sc://127.0.0.1:{servers.spark_port}")
            print("set a project's environment: . .servers/engineer.env   (or auditor, consumer)")
            print("stop with Ctrl-C, or from elsewhere: make servers-down", flush=True)
            signal.pause()
    except KeyboardInterrupt:
        print("stopped")


def _addresses(servers: Composed) -> str:
    found = {
        "Nessie": servers.nessie.uri,
        "S3": servers.s3_endpoint,
        "PostgreSQL": f"127.0.0.1:{servers.postgres.port}",
        "Temporal": f"127.0.0.1:{servers.temporal_port}",
        "its pages": f"http://127.0.0.1:{servers.temporal_ui}",
    }
    return "\n".join(f"{name:<11} {where}" for name, where in found.items())


def holder(folder: Path = FOLDER) -> int | None:
    """Process id of who keeps the servers running; None when nobody does."""
    path = folder / "lock"
    if not path.exists():
        return None
    with path.open() as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return int(lock.read())
    return None


def down() -> None:
    """Tell them to stop, and wait until they have."""
    pid = holder()
    if pid is None:
        print("nothing was running")
        return
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_SECONDS
    while holder() is not None:
        if time.monotonic() > deadline:
            sys.exit(f"process {pid} does not stop; its log lies in .servers")
        time.sleep(0.1)
    print("stopped")


def status() -> None:
    """Whether they run."""
    print("running" if holder() else "not running")
    sys.exit(0 if holder() else 1)


if __name__ == "__main__":
    word, *rest = sys.argv[1:] or [""]
    chosen = {"up": up, "down": down, "status": status}.get(word)
    if chosen is None or not set(rest) <= ({"spark"} if word == "up" else set()):
        sys.exit("usage: python -m tests.servers up [spark] | down | status")
    chosen(*rest)
