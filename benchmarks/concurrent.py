"""Many writers of one table at once, ours and others: ``python -m benchmarks.concurrent``."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.data import DATA
from benchmarks.machine import described
from benchmarks.naive import NAME, SCHEMA, SIDES, catalog_in, rows_of
from wap.evidence import runs_of, seals
from wap.ports import open_ports
from wap.project import load_project

CUSTOMERS = 100
_FILES = {
    "wap.toml": '[project]\nname = "bench"\n[lineage]\nkind = "none"\n',
    "pipelines/customers.yml": """\
table: shop.customers
source: {kind: files, path: "in/customers.parquet", format: parquet}
write: {mode: append}
schema: {columns: {c_custkey: long}}
contracts: [contracts/customers.yml]
""",
    "contracts/customers.yml": """\
dataset: wap/shop/customers
columns: [{name: c_custkey, checks: [missing: ]}]
""",
    "pipelines/orders.yml": """\
table: shop.orders
source: {kind: files, path: "in/orders-*.parquet", format: parquet}
write: {mode: append}
schema: {columns: {o_orderkey: long, o_custkey: long, o_total: long}}
contracts: [contracts/orders.yml]
""",
    # The public OlapBranchBench's: a unique key, and a customer that is there and exists.
    "contracts/orders.yml": """\
dataset: wap/shop/orders
columns:
  - name: o_orderkey
    checks: [missing: ]
  - name: o_custkey
    checks:
      - missing:
      - invalid:
          valid_reference_data: {dataset: wap/shop/customers, column: c_custkey}
checks:
  - row_count: {threshold: {must_be_greater_than: 0}}
  - duplicate: {columns: [o_orderkey]}
""",
}
_DOOR = """
import json, os, sys, time
from pathlib import Path
from wap import worker
from wap.doors import run_requests
from wap.model import RunRequest
from wap.project import load_project
project = load_project(Path(sys.argv[1]), os.environ)
requests = [RunRequest(project=project.id, pipeline="orders", inputs=(f,)) for f in sys.argv[2:]]
print("ready", flush=True)
while not (project.root / "go").exists():
    time.sleep(0.005)
watched = run_requests(project, requests, changed=lambda _: None, server_found=lambda _: None)
print(json.dumps([one.result.model_dump(mode="json") for one in watched]), flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Figures:
    """One side's row of the table."""

    side: str
    said: str
    expected: int
    found: int
    twice: int
    wall: float
    more: str


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.concurrent", description=__doc__)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--processes", type=int, default=5, help="doors that share our runs")
    parser.add_argument("--rows", type=int, default=1000, help="of each run")
    parser.add_argument("--writers", type=int, default=20, help="processes of the other sides")
    parser.add_argument("--sides", nargs="+", default=["ours", *SIDES])
    arguments = parser.parse_args()
    print(f"{described()}\n")
    print("| side | said | rows expected | rows found | twice | wall s | |")
    print("|---|---|---:|---:|---:|---:|---|")
    DATA.mkdir(exist_ok=True)
    for side in arguments.sides:
        folder = Path(tempfile.mkdtemp(prefix="concurrent-", dir=DATA)).resolve()
        try:
            if side == "ours":
                row = _ours(folder, arguments.runs, arguments.processes, arguments.rows)
            else:
                row = _naive(folder, side, arguments.writers, arguments.rows)
        finally:
            shutil.rmtree(folder)
        print(f"| {row.side} | {row.said} | {row.expected:,} | {row.found:,} | {row.twice:,} "
              f"| {row.wall:.1f} | {row.more} |", flush=True)  # fmt: skip


# --- ours ---------------------------------------------------------------------------------------


def _ours(folder: Path, runs: int, processes: int, rows: int) -> Figures:
    """Two of the runs are one broken batch that is offered twice: an order of nobody's."""
    for name, text in _FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    files = _batches(folder / "in", runs, rows)
    for pipeline in ("customers", "orders"):
        door = [sys.executable, "-m", "wap", "run", pipeline, "--project", str(folder)]
        subprocess.run(door, check=True, capture_output=True)
    shares = [[str(f) for f in files[n::processes]] for n in range(processes)]
    commands = [[sys.executable, "-c", _DOOR, str(folder), *share] for share in shares]
    outputs, wall = _together(folder, commands)
    results = [one for _, output in outputs for one in json.loads(output)]
    endings = Counter(one["ending"] for one in results)
    found, twice, audits, stages, more = _published(folder, {one["run_id"] for one in results})
    return Figures(
        side=f"ours, {runs} runs by {processes} processes",
        said=", ".join(f"{n} {ending}" for ending, n in sorted(endings.items())),
        expected=(runs - 2 + 1) * rows,
        found=found,
        twice=twice,
        wall=wall,
        more=f"{audits} audits, batches written {stages} times, {more}",
    )


def _batches(folder: Path, runs: int, rows: int) -> list[Path]:
    folder.mkdir()
    pq.write_table(
        rows_of(0, CUSTOMERS).select(["o_orderkey"]).rename_columns(["c_custkey"]),
        folder / "customers.parquet",
    )
    pq.write_table(rows_of(0, rows), folder / "orders-0.parquet")
    files = []
    for number in range(1, runs + 1):
        batch = rows_of(number, rows)
        if number in (runs // 3, 2 * runs // 3):
            batch = rows_of(runs // 3, rows).set_column(1, SCHEMA.field(1), [[-1] * rows])
        files.append(folder / f"late-{number}.parquet")
        pq.write_table(batch, files[-1])
    return files


def _published(folder: Path, run_ids: set[str]) -> tuple[int, int, int, int, str]:
    with open_ports(load_project(folder, {})) as ports:
        (orders,) = (t for t in ports.catalog.tables() if t.name == "orders")
        assert ports.catalog.verify(orders) == []
        assert ports.catalog.branches() == []
        sealed = [runs_of(seal) for _, seal in seals(ports.catalog, orders)]
        published = ports.catalog.published(orders)
        assert published is not None
        scan = ports.catalog.scan(orders, published.snapshot.id)
        keys = Counter(
            key
            for file in scan.files
            for key in pq.read_table(file.file_path.removeprefix("file://"))[
                "o_orderkey"
            ].to_pylist()
        )
        steps: Counter[str] = Counter()
        for facts in ports.ledger.runs(limit=10_000):
            if facts.run_id in run_ids:
                steps.update({s.name: s.attempts for s in facts.steps})
    unions = [runs for runs in sealed if len(runs) > 1]
    more = (
        f"{len(unions)} unions of {sum(map(len, unions))} runs published, "
        f"{steps['publish'] - (len(sealed) - 1 - len(unions))} publishes that lost, "
        f"{steps['rebase']} rebases"
    )
    return sum(keys.values()), sum(n > 1 for n in keys.values()), (
        steps["audit"] + len(unions)
    ), steps["stage"], more  # fmt: skip


# --- the others ---------------------------------------------------------------------------------


def _naive(folder: Path, side: str, writers: int, rows: int) -> Figures:
    (folder / "data").mkdir()
    catalog = catalog_in(folder)
    catalog.create_namespace(NAME[0])
    catalog.create_table(NAME, SCHEMA).append(rows_of(0, rows))
    commands = [
        [sys.executable, "-m", "benchmarks.naive", side, str(folder), str(n), str(rows)]
        for n in range(1, writers + 1)
    ]
    outputs, wall = _together(folder, commands)
    succeeded = [int(output) for code, output in outputs if code == 0]
    keys = Counter(catalog.load_table(NAME).scan().to_arrow()["o_orderkey"].to_pylist())
    return Figures(
        side=f"{side}, {writers} processes",
        said=f"{len(succeeded)} succeeded, {len(outputs) - len(succeeded)} failed",
        expected=(len(succeeded) + 1) * rows,
        found=sum(keys.values()),
        twice=sum(n > 1 for n in keys.values()),
        wall=wall,
        more=f"{sum(succeeded)} tries of those that succeeded",
    )


def _together(folder: Path, commands: list[list[str]]) -> tuple[list[tuple[int, str]], float]:
    """Start all, let them go at once; exit code and output of each, and the seconds it took."""
    started = [
        subprocess.Popen(c, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for c in commands
    ]
    for process in started:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    began = time.perf_counter()
    (folder / "go").touch()
    outputs = [process.communicate()[0] for process in started]
    wall = time.perf_counter() - began
    return [(p.returncode, o) for p, o in zip(started, outputs, strict=True)], wall


if __name__ == "__main__":
    main()
