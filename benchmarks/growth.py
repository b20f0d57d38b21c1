"""A fixed batch on a table that grows a hundredfold: ``python -m benchmarks.growth``."""

from __future__ import annotations

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import duckdb

from benchmarks.data import DATA, lineitem
from benchmarks.machine import described
from benchmarks.project import write_project

ROOT = Path(__file__).parent.parent
WAP = Path(sys.executable).parent / "wap"
#: Steps whose time is shown; ``audit again`` is the whole audit of the same snapshot.
STEPS = ("stage", "reconcile", "audit", "seal", "publish")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth", description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000, help="rows of the batch")
    parser.add_argument("--repeat", type=int, default=3, help="batches at each size; medians count")
    arguments = parser.parse_args()
    print(f"{described()}\n")
    DATA.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="growth-", dir=DATA))
    try:
        _bench(folder, arguments.rows, arguments.repeat)
    finally:
        shutil.rmtree(folder)


def _bench(folder: Path, rows: int, repeat: int) -> None:
    (folder / "in").mkdir(parents=True)
    write_project(folder, "parquet")
    parts = _parts(folder)
    next(parts)
    print(f"| rows of the table | {' s | '.join(STEPS)} s | audit again, whole s |")
    print("|---|" + "---:|" * (len(STEPS) + 1))
    held = 0
    for times in (1, 10, 100):
        held += _publish(folder, parts.send(times * rows - held))[1]
        found = []
        for _ in range(repeat):
            run_id, added = _publish(folder, parts.send(rows))
            held += added
            found.append([*_steps(folder, run_id), _whole(folder, run_id)])
        figures = " | ".join(f"{statistics.median(f):.2f}" for f in zip(*found, strict=True))
        print(f"| {held:,} | {figures} |", flush=True)


def _parts(folder: Path) -> Iterator[Path]:
    """Files of the next so many rows, as they are asked for."""
    source, begin, number = lineitem(10, "parquet"), 0, 0
    count = yield Path()
    while True:
        path = folder / "in" / f"{number:03}.parquet"
        with duckdb.connect() as con:
            con.execute(
                f"COPY (FROM '{source}' LIMIT {count} OFFSET {begin}) TO '{path}' (FORMAT parquet)"
            )
        begin, number = begin + count, number + 1
        count = yield path


def _publish(folder: Path, _: Path) -> tuple[str, int]:
    """Publish what lies there and is not loaded."""
    command = [sys.executable, ROOT / "run_workflow.py", "lineitem", "--project", folder, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.splitlines()[-1])
    return said["run_id"], said["rows"]["published"]


def _steps(folder: Path, run_id: str) -> list[float]:
    with sqlite3.connect(folder / ".wap" / "ledger.db") as ledger:
        took = dict(
            ledger.execute("select name, seconds from steps where run_id = ?", [run_id]).fetchall()
        )
    return [took[name] for name in STEPS]


def _whole(folder: Path, run_id: str) -> float:
    """Seconds of an audit of the same snapshot that looks at every row; its digest is the same."""
    command = [WAP, "reaudit", run_id, "--project", folder, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    again = json.loads(done.stdout)
    assert again["equal"], again
    return float(again["seconds"])


if __name__ == "__main__":
    main()
