"""``wap up``: a process that keeps the server and a warm worker, so that runs cost no imports."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from wap import runtime
from wap.doors import connect, folder_of, server_of
from wap.errors import TemporalUnavailableError
from wap.logs import log_to
from wap.project import Project, load_project
from wap.queues import queue_of
from wap.telemetry import tracing

START_SECONDS = 90.0
STOP_SECONDS = 60.0


def up(project: Project) -> bool:
    """Start the daemon and wait until it takes work; False when one runs already.

    Raises:
        TemporalUnavailableError: it did not come up; the message holds its last words.
    """
    folder = folder_of(project)
    if runtime.has_warm_worker(folder):
        return False
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "wap.daemon", str(project.root)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    deadline = time.monotonic() + START_SECONDS
    while not runtime.has_warm_worker(folder):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            said = log.read_text(errors="replace").strip().splitlines()[-3:]
            raise TemporalUnavailableError(
                f"the worker did not come up: {' / '.join(said)}", where=str(log)
            )
        time.sleep(0.05)
    return True


def down(project: Project) -> bool:
    """Stop the daemon, and the server when no run uses it; False when neither ran."""
    folder = folder_of(project)
    stopped = False
    if runtime.has_warm_worker(folder):
        pid = int(json.loads((folder / "worker.json").read_text())["pid"])
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        # Gone for good, not only without work: then it uses the server no more.
        while runtime.has_daemon(folder) and time.monotonic() < deadline:
            time.sleep(0.05)
        stopped = True
    if runtime.running(folder) is not None:
        with runtime.embedded(folder):
            stopped = True  # the last user to leave stops the server
    return stopped


async def _serve(project: Project, server: runtime.Server, folder: Path) -> None:
    from wap import worker  # noqa: PLC0415 - heavy, and only the daemon itself needs it

    with (
        tracing(project, os.environ) as interceptors,
        worker.open_activities(project) as activities,
    ):
        client = await connect(project, server, interceptors)
        worker.warm(activities)
        async with worker.make_worker(client, queue_of(project), activities):
            (folder / "worker.json").write_text(json.dumps({"pid": os.getpid()}))
            with (folder / "worker.lock").open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                stop = asyncio.Event()
                for number in (signal.SIGINT, signal.SIGTERM):
                    asyncio.get_running_loop().add_signal_handler(number, stop.set)
                await stop.wait()


def main() -> None:
    """Serve the project whose folder is the first argument until told to stop."""
    project = load_project(Path(sys.argv[1]), os.environ)
    log_to(project.state, project.metrics.address)
    folder = folder_of(project)
    with (folder / "daemon.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with server_of(project) as server:
            asyncio.run(_serve(project, server, folder))
    sys.stderr.flush()
    os._exit(0)  # see wap.cli.entry: the SDK can abort an interpreter that is finishing


if __name__ == "__main__":
    main()
