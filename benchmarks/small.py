"""1,000 rows at a time, cold and warm, and what each step takes: ``python -m benchmarks.small``."""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq

from benchmarks.data import DATA, lineitem
from benchmarks.machine import described
from benchmarks.measuring import measure, processes_of
from benchmarks.project import write_project

ROWS = 1000
ROOT = Path(__file__).parent.parent
WAP = Path(sys.executable).parent / "wap"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.small", description=__doc__)
    parser.add_argument("--repeat", type=int, default=9, help="runs of each side; medians count")
    repeat = parser.parse_args().repeat
    print(f"{described()}\n")
    DATA.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="small-", dir=DATA))
    try:
        _bench(folder, repeat)
    finally:
        shutil.rmtree(folder)


def _bench(folder: Path, repeat: int) -> None:
    batches = _batches(2 * repeat + 2)
    project = folder / "project"
    (project / "in").mkdir(parents=True)
    write_project(project, "parquet")
    door = [sys.executable, ROOT / "run_workflow.py", "lineitem", "--project", project, "--json"]
    walls: dict[str, list[float]] = defaultdict(list)
    runs: dict[str, list[str]] = defaultdict(list)

    def run(side: str, command: list[str | Path], beside: list[int]) -> None:
        next(batches).replace(project / "in" / f"{sum(map(len, runs.values()))}.parquet")
        result = measure(command, beside)
        said = json.loads(next(x for x in result.output.splitlines() if x.startswith("{")))
        assert said["rows"]["published"] == ROWS, result.output
        walls[f"{side}, from the shell"].append(result.seconds)
        walls[f"{side}, the run alone"].append(said["seconds"])
        runs[side].append(said["run_id"])

    run("first", door, [])  # makes the table
    for turn in range(repeat):
        run("ours, cold", door, [])
        print(f"{turn + 1}/{repeat}", file=sys.stderr)
    with _warm(project) as beside:
        run("first", [WAP, "run", *door[2:]], beside)  # imports what is left
        for _ in range(repeat):
            run("ours, warm", [WAP, "run", *door[2:]], beside)
    print("| side | median s | least | most |\n|---|---:|---:|---:|")
    for side, seconds in walls.items():
        if not side.startswith("first"):
            print(f"| {side} | {statistics.median(seconds):.2f} | {min(seconds):.2f} "
                  f"| {max(seconds):.2f} |")  # fmt: skip
    _print_steps(project, runs["ours, warm"])


def _batches(count: int) -> Iterator[Path]:
    """Files of rows that no other of them holds."""
    table = pq.ParquetFile(lineitem(0.1, "parquet"))
    batches = table.iter_batches(ROWS)
    for number in range(count):
        path = DATA / f"small-{number}.parquet"
        with pq.ParquetWriter(path, table.schema_arrow) as writer:
            writer.write_batch(next(batches))
        yield path


@contextmanager
def _warm(project: Path) -> Iterator[list[int]]:
    subprocess.run([WAP, "up", "--project", project], check=True, capture_output=True)
    try:
        yield processes_of(project)
    finally:
        subprocess.run([WAP, "down", "--project", project], check=True, capture_output=True)


def _print_steps(project: Path, run_ids: list[str]) -> None:
    """What the ledger noted of the warm runs."""
    steps: dict[str, list[float]] = defaultdict(list)
    with sqlite3.connect(project / ".wap" / "ledger.db") as ledger:
        marks = ", ".join("?" for _ in run_ids)
        for name, seconds in ledger.execute(
            f"select name, seconds from steps where run_id in ({marks}) order by started_at",
            run_ids,
        ):
            steps[name].append(1000 * seconds)
    print("\n| step, warm | median ms | most |\n|---|---:|---:|")
    for name, milliseconds in steps.items():
        print(f"| {name} | {statistics.median(milliseconds):.0f} | {max(milliseconds):.0f} |")


if __name__ == "__main__":
    main()
