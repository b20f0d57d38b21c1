"""Machines of a cluster: project folders of their own, and workers as processes in them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.conftest import CONTRACT, PIPELINE, Shop, environment
from tests.servers.temporal import NAMESPACE, Temporal

WAP_TOML = """\
[project]
name = "shop"
[catalog]
uri = "sqlite:///{shared}/catalog.db"
warehouse = "file://{shared}/warehouse"
[ledger]
url = "sqlite:///{shared}/ledger.db"
"""


@dataclass
class Worker:
    """``wap worker`` as a process; what it says is read beside us."""

    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)
    ready: threading.Event = field(default_factory=threading.Event)

    def listen(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.said.append(line)
            if "takes work" in line:
                self.ready.set()
        self.ready.set()  # it has ended

    def await_ready(self) -> "Worker":
        assert self.ready.wait(120)
        assert self.process.poll() is None, "".join(self.said)
        return self

    def stop(self) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)


@dataclass
class Cluster:
    """One shared catalog, a given Temporal server, and machines that share no folder."""

    base: Path
    temporal: Temporal
    env: dict[str, str] = field(default_factory=dict)
    workers: list[Worker] = field(default_factory=list)

    def machine(self, name: str) -> Shop:
        """A machine's own copy of the project."""
        shop = Shop(self.base / name)
        shared = self.base / "shared"
        shared.mkdir(parents=True, exist_ok=True)
        shop.write("wap.toml", WAP_TOML.format(shared=shared))
        pipeline = PIPELINE.format(write="{mode: append}", on_change="strict")
        shop.write("pipelines/orders.yml", pipeline)
        shop.write("contracts/orders.yml", CONTRACT)
        return shop

    def orders(self, name: str, ids: range, **columns: str) -> str:
        """A file that every machine reaches, for ``--source``."""
        return str(Shop(self.base).orders(name, ids, **columns))

    @property
    def settings(self) -> dict[str, str]:
        return {
            "TEMPORAL_ADDRESS": self.temporal.address,
            "TEMPORAL_NAMESPACE": NAMESPACE,
            **self.env,
        }

    def worker(self, machine: str, *args: str, **env: str) -> Worker:
        """Start one; it may not take work yet."""
        shop = self.machine(machine)
        process = subprocess.Popen(
            [sys.executable, "-m", "wap", "worker", "--project", str(shop.root), *args],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            env=environment({**self.settings, **env}, shop.root),
        )  # fmt: skip
        worker = Worker(process)
        threading.Thread(target=worker.listen, daemon=True).start()
        self.workers.append(worker)
        return worker

    def run(self, door: Shop, source: str, code: int = 0, **env: str) -> dict:
        arguments = ("orders", "--source", source)
        return door.result(*arguments, code=code, **{**self.settings, **env})

    def workflows(self) -> list[dict]:
        """Executions on the server, newest first."""
        return list(self.temporal.cli("workflow", "list") or [])

    def history(self, result: dict) -> dict:
        """The raw history of a run, as the server keeps it."""
        for one in self.workflows():
            execution = one["execution"]
            raw = self.temporal.history(execution["workflowId"], execution["runId"])
            if raw["run"][-8:] == result["run_id"][-8:]:
                return raw
        raise AssertionError(result)

    def close(self) -> None:
        for worker in self.workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.process.pid, signal.SIGKILL)
            worker.process.wait()


def events(history: dict, kind: str) -> list[dict]:
    """Attributes of the events of one kind."""
    key = f"{kind}EventAttributes"
    return [e[key] for e in history["events"] if key in e]


def identities(history: dict) -> dict[str, str]:
    """Who did which step: the process, by the step's name."""
    names = {e["eventId"]: e for e in history["events"]}
    done = {}
    for started in events(history, "activityTaskStarted"):
        scheduled = names[started["scheduledEventId"]]["activityTaskScheduledEventAttributes"]
        done[scheduled["activityType"]["name"]] = started["identity"]
    return done


def text(history: dict) -> str:
    return json.dumps(history)
