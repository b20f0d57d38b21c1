"""A small project in a temporary folder, and the door as its users open it: a subprocess."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from catalog.base import BranchState
from wap import runtime
from wap.cli.live import plain
from wap.drill import crash
from wap.ports import Ports, open_ports
from wap.project import load_project
from wap.query import query

ROOT = Path(__file__).parents[2]

WAP_TOML = '[project]\nname = "shop"\n'

PIPELINE = """\
table: shop.orders
source: {{kind: files, path: "data/orders-*.csv", format: csv}}
write: {write}
schema:
  on_change: {on_change}
  columns: {{id: long, customer: string, amount: "decimal(12,2)", placed: date}}
contracts: [contracts/orders.yml]
owners: [data-eng]
tags: {{customer: [pii]}}
"""

CONTRACT = """\
dataset: wap/shop/orders
columns:
  - name: id
    checks:
      - missing:
  - name: amount
    checks:
      - invalid: {valid_min: 0}
checks:
  - row_count:
  - duplicate: {columns: [id]}
"""


@dataclass
class Shop:
    """The project and what can be done with it."""

    root: Path

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def orders(self, name: str, ids: range, **columns: str) -> Path:
        """A file of orders; ``columns`` override a column's value in every row."""
        rows = [
            [columns.get("id", str(i)), columns.get("customer", f"c{i}"),
             columns.get("amount", f"{i}.50"), columns.get("placed", "2026-01-01")]
            for i in ids
        ]  # fmt: skip
        lines = ["id,customer,amount,placed", *(",".join(row) for row in rows)]
        return self.write(f"data/{name}", "\n".join(lines) + "\n")

    def run(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self._call([str(ROOT / "run_workflow.py"), *args], env)

    def wap(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self._call(["-m", "wap", *args], env)

    def plain(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """The same with the environment as it is given: nobody makes this a scratch project."""
        command = [sys.executable, "-m", "wap", *args, "--project", str(self.root)]
        own = {k: v for k, v in os.environ.items() if not k.startswith(("WAP_", "TEMPORAL_"))}
        return subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=240, env={**own, **env}
        )

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "run_workflow.py"), *args, "--project", str(self.root)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=environment(env, self.root),
        )  # fmt: skip

    def result(self, *args: str, code: int = 0, **env: str) -> dict[str, Any]:
        done = self.run(*args, "--json", **env)
        assert done.returncode == code, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def query(self, sql: str) -> list[dict[str, Any]]:
        """What `wap query` prints of it, in this process: a door of its own loads for a second."""
        with self.opened() as ports:
            table = query(ports.catalog, sql, temp_directory=self.root / ".wap" / "tmp")
        return list(json.loads(json.dumps(plain(table.to_pylist()))))

    def files(self) -> list[str]:
        """Every file under the warehouse, relative, sorted."""
        warehouse = self.root / "warehouse"
        return sorted(str(p.relative_to(warehouse)) for p in warehouse.rglob("*") if p.is_file())

    def data_files(self) -> list[str]:
        return [f for f in self.files() if f.endswith(".parquet")]

    def branches(self) -> list[BranchState]:
        """What is staged; see :meth:`query`."""
        with self.opened() as ports:
            return ports.catalog.branches()

    @contextmanager
    def opened(self) -> Iterator[Ports]:
        """Its catalog and ledger as they are now."""
        with open_ports(load_project(self.root, {})) as ports:
            yield ports
            ports.catalog.close()

    def server(self) -> runtime.Server | None:
        return runtime.running(self.root / ".wap" / "temporal")

    def _call(self, args: list[str], env: dict[str, str]) -> subprocess.CompletedProcess[str]:
        where = [] if "--project" in args else ["--project", str(self.root)]
        return subprocess.run(
            [sys.executable, *args, *where],
            capture_output=True, text=True, check=False, timeout=240,
            env=environment(env, self.root),
        )  # fmt: skip


def environment(env: dict[str, str], root: Path) -> dict[str, str]:
    """What a door of a project gets; a boundary to crash at makes it a scratch project first."""
    if crash.VARIABLE in env:
        env = {**env, **crash.crash_at(root, env[crash.VARIABLE])}
    own = {k: v for k, v in os.environ.items() if not k.startswith(("WAP_", "TEMPORAL_"))}
    return {**own, "WAP_TEMPORAL__HEARTBEAT_SECONDS": "3", **env}


@pytest.fixture
def shop(tmp_path: Path):
    shop = Shop(tmp_path / "shop")
    shop.write("wap.toml", WAP_TOML)
    shop.write("pipelines/orders.yml", PIPELINE.format(write="{mode: append}", on_change="strict"))
    shop.write("contracts/orders.yml", CONTRACT)
    yield shop
    server = shop.server()
    if server is not None and server.pid is not None:
        os.kill(server.pid, signal.SIGKILL)
    shutil.rmtree(shop.root, ignore_errors=True)
