"""An upsert, ours beside DuckDB's MERGE of the same data: ``python -m benchmarks.merge``."""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import duckdb

from benchmarks.data import DATA
from benchmarks.machine import described
from benchmarks.measuring import Result, measure

ROOT = Path(__file__).parent.parent

PIPELINE = """\
table: bench.orders
source: {kind: files, path: "in/*.parquet", format: parquet}
write: {mode: merge, keys: [id]}
contracts: [contracts/orders.yml]
"""
CONTRACT = """\
dataset: wap/bench/orders__batch
columns: [{name: id, checks: [{missing: }]}]
"""
#: Twelve columns. Half of the batch's keys are published and change, all over the table, so that
#: every file is rewritten; half are new.
ROWS = """\
SELECT (hash(i) % 100000000000)::BIGINT * 20000000 + i AS id, i AS n, {version} AS version,
 i % 1000 AS customer, (i * 7 % 100000 / 100)::DECIMAL(12, 2) AS amount, i * 0.5 AS x,
 DATE '2020-01-01' + (i % 2000)::INTEGER AS day, TIMESTAMP '2020-01-01' + INTERVAL (i) SECOND AS at,
 'customer ' || i % 5000 AS name, 'status ' || i % 7 AS status, i % 2 = 0 AS flag, 'note' AS note
 FROM ({numbers}) t(i)"""
MERGE = """\
import sys, time, duckdb
con = duckdb.connect(sys.argv[1], config={"threads": 2})
began = time.perf_counter()
con.execute("MERGE INTO orders o USING (FROM read_parquet(?)) b ON o.id = b.id"
            " WHEN MATCHED THEN UPDATE WHEN NOT MATCHED THEN INSERT", [sys.argv[2]])
con.execute("CHECKPOINT")
print("\\ntook", time.perf_counter() - began)
"""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge", description=__doc__)
    parser.add_argument("--table", type=int, default=10_000_000, help="published rows")
    parser.add_argument("--batch", type=int, default=1_000_000, help="rows of the upsert")
    parser.add_argument("--repeat", type=int, default=3, help="runs of each side; medians count")
    arguments = parser.parse_args()
    DATA.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="merge-", dir=DATA))
    try:
        print(f"{described()}\n")
        _bench(folder, arguments.table, arguments.batch, arguments.repeat)
    finally:
        shutil.rmtree(folder)


def _bench(folder: Path, table: int, batch: int, repeat: int) -> None:
    first, second = folder / "1.parquet", folder / "2.parquet"
    half = batch // 2
    old = f"FROM range(0, {half * (table // half)}, {table // half})"
    new = f"FROM range({table}, {table + batch - half})"
    _write(first, ROWS.format(version=1, numbers=f"FROM range({table})"))
    _write(second, ROWS.format(version=2, numbers=f"{old} UNION ALL {new}"))
    with duckdb.connect(folder / "before.db") as con:
        con.execute("CREATE TABLE orders AS FROM read_parquet(?)", [str(first)])
    before = _project(folder / "before", first)
    merges, runs, stages, peaks = [], [], [], []
    for turn in range(repeat):  # in turns: a slow minute hits both
        merges.append(_duckdb(folder, second))
        result, stage = _ours(folder, before, second, table + batch - half, batch)
        runs.append(result.seconds)
        stages.append(stage)
        peaks.append(result.peak_mb)
        print(f"{turn + 1}/{repeat} DuckDB {merges[-1]:.1f} s, ours {result}", file=sys.stderr)
    merge = statistics.median(merges)
    print(f"### {batch:,} rows into {table:,}\n")
    print("| side | wall s | × DuckDB's MERGE | peak MB |")  # noqa: RUF001 - a factor
    print("|---|---:|---:|---:|")
    print(f"| DuckDB, MERGE into its own file | {merge:.1f} | 1.0 | |")
    for name, seconds in (("the stage step", stages), ("the whole run", runs)):
        wall = statistics.median(seconds)
        print(f"| ours, {name} | {wall:.1f} | {wall / merge:.1f} | {max(peaks):,.0f} |")


def _write(path: Path, query: str) -> None:
    with duckdb.connect() as con:
        con.execute(f"COPY ({query}) TO '{path}'")


def _project(folder: Path, first: Path) -> Path:
    """A project in which the first file is published."""
    for name, text in {
        "wap.toml": "",
        "pipelines/orders.yml": PIPELINE,
        "contracts/orders.yml": CONTRACT,
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "in").mkdir()
    shutil.copy(first, folder / "in")
    _run(folder)
    return folder


def _ours(folder: Path, before: Path, second: Path, rows: int, batch: int) -> tuple[Result, float]:
    """One run, in the very place of the first: the catalog knows its files by their paths."""
    aside = folder / "aside"
    shutil.copytree(before, aside)
    try:
        shutil.copy(second, before / "in")
        result, said = _run(before)
        assert said["rows"]["staged"] == batch, said
        report = json.loads((before / said["report"]).with_suffix(".json").read_text())["run"]
        assert report["after"][1] == rows, report
        return result, dict(report["steps"])["stage"]
    finally:
        shutil.rmtree(before)
        aside.rename(before)


def _run(folder: Path) -> tuple[Result, dict]:
    result = measure(
        [sys.executable, ROOT / "run_workflow.py", "orders", "--json", "--project", folder]
    )
    said = [json.loads(x) for x in result.output.splitlines() if x.startswith("{")]
    assert said, result.output
    assert said[-1]["ending"] == "published", said
    return result, said[-1]


def _duckdb(folder: Path, second: Path) -> float:
    database = folder / "merge.db"
    shutil.copy(folder / "before.db", database)
    try:
        result = measure([sys.executable, "-c", MERGE, database, second])
        assert not result.failed, result.output
        (took,) = [x for x in result.output.splitlines() if x.startswith("took ")]
        return float(took.split()[1])
    finally:
        database.unlink()


if __name__ == "__main__":
    main()
