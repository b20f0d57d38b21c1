"""Embedded and server mode, arrow and Spark, side by side: ``python -m benchmarks.modes``."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import statistics
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from benchmarks.data import DATA, lineitem, rows_of
from benchmarks.machine import described
from benchmarks.measuring import Result, measure
from benchmarks.project import make_project
from tests.servers.__main__ import running

ROOT = Path(__file__).parent.parent
SIDES = [(mode, engine) for mode in ("embedded", "server") for engine in ("arrow", "spark")]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.modes", description=__doc__)
    parser.add_argument("--scale", type=float, nargs="+", default=[0.02, 1, 10])
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side; medians count")
    arguments = parser.parse_args()
    DATA.mkdir(exist_ok=True)
    state = Path(tempfile.mkdtemp(prefix="wap-modes-"))
    state.chmod(0o711)  # PostgreSQL runs as a user of its own
    try:
        with running(state / "servers") as servers:
            environments = {"embedded": {}, "server": servers.project_environment()}
            print(f"{described()}\n")
            for scale in arguments.scale:
                _bench(scale, arguments.repeat, environments)
    finally:
        shutil.rmtree(state)


def _bench(scale: float, repeat: int, environments: dict[str, dict[str, str]]) -> None:
    source, rows = lineitem(scale, "parquet"), rows_of(scale)
    found: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for turn in range(repeat):
        for mode, engine in SIDES:  # in turns: a slow minute hits all of them
            result = _run(source, engine, environments[mode], rows)
            found[mode, engine].append(result)
            print(f"{rows:,} {turn + 1}/{repeat} {mode} {engine}: {result}", file=sys.stderr)
    first = statistics.median(r.seconds for r in found["embedded", "arrow"])
    print(f"### {rows:,} rows\n")
    print("| mode | engine | wall s | × embedded arrow | peak MB of a process |")  # noqa: RUF001 - a factor
    print("|---|---|---:|---:|---:|")
    for (mode, engine), results in found.items():
        wall = statistics.median(r.seconds for r in results)
        peak = statistics.median(r.peak_mb for r in results)
        print(f"| {mode} | {engine} | {wall:.1f} | {wall / first:.1f} | {peak:,.0f} |")
    print(flush=True)


def _run(source: Path, engine: str, environment: dict[str, str], rows: int) -> Result:
    """One whole run from the shell into a table of its own."""
    folder = Path(tempfile.mkdtemp(prefix="modes-", dir=DATA))
    try:
        make_project(folder, source, "parquet")
        namespace = f"tpch_{secrets.token_hex(4)}"
        for path in (folder / "pipelines/lineitem.yml", folder / "contracts/lineitem.yml"):
            path.write_text(path.read_text().replace("tpch", namespace))
        pipeline = folder / "pipelines/lineitem.yml"
        pipeline.write_text(f"engine: {engine}\n{pipeline.read_text()}")
        command = [sys.executable, ROOT / "run_workflow.py", "lineitem", "--json"]
        result = measure([*command, "--project", folder], env={**os.environ, **environment})
        said = [json.loads(x) for x in result.output.splitlines() if x.startswith("{")]
        assert said, result.output
        assert said[-1]["rows"]["published"] == rows, said
        return result
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
