"""Writing by key has a memory budget too, and table and batch are larger than it (law 7)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_RUN = """
import json, sys
from datetime import UTC, datetime
from pathlib import Path
import pyarrow as pa
from catalog.base import Scan
from tests.unit.wap.engines.staging import staging
from tests.unit.wap.sources.feeding import Project
from wap.engines.arrow import ArrowEngine
from wap.keyed.rule import Rule
from wap.types import from_arrow, to_arrow

def peak_mib():
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10

root, mode, budget, copy = sys.argv[1:]
project = Project(Path(root))
engine = ArrowEngine(int(budget) << 20, 32 << 20, copy=copy == "copy")
stamp = pa.timestamp("us", "UTC")
own = [("valid_from", stamp), ("valid_to", stamp), ("is_current", pa.bool_())]
files, before = [], 0
for number, name in enumerate(["table.parquet", "batch.parquet"]):
    source = project.source(name, "parquet")
    plan = source.plan(None, everything=False)
    given = source.schema(plan)
    full = given
    for column, kind in own if mode == "history" else []:
        full = full.append(pa.field(column, kind))
    where = staging(Path(root) / mode / copy, from_arrow(full), run=f"run-{number}")
    rule = Rule(mode, ("id",), datetime(2026, 1, 1 + number, tzinfo=UTC))
    before = before or peak_mib()
    folder = Path(root) / "scratch" / f"{mode}-{copy}-{number}"
    with source.open(plan, to_arrow(from_arrow(given))) as extract:
        aside = engine.lay_aside(
            extract, where, rule, folder, report=lambda _: None, cancelled=lambda: False
        )
        extract.finish()
    found = Scan(where.schema, files, where.io)
    merged = engine.merge(
        aside, where, rule, (lambda _: found) if files else None, folder / "spill",
        cancelled=lambda: False,
    )
    files = [*merged.added.files, *merged.kept.files]
result = {"added": merged.added.rows, "kept": merged.kept.rows, "mib": peak_mib() - before}
print(json.dumps(result))
"""
TABLE_ROWS, BATCH_ROWS = 600_000, 300_000
#: The budget is of data; parsers, encoders and allocators come on top, the same for any size.
ON_TOP_MIB = 220
_SCHEMA = pa.schema([("id", pa.int64()), ("text", pa.string())])


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of 300 MB of Arrow data, and a batch of half of it that changes every second row."""
    folder = tmp_path_factory.mktemp("keyed")
    old = {"id": range(TABLE_ROWS), "text": ["x" * 500] * TABLE_ROWS}
    new = {"id": range(0, 2 * BATCH_ROWS, 2), "text": ["y" * 500] * BATCH_ROWS}
    pq.write_table(pa.table(old, _SCHEMA), folder / "table.parquet", compression="zstd")
    pq.write_table(pa.table(new, _SCHEMA), folder / "batch.parquet", compression="zstd")
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("mode", "how", "kept", "budget"),
    [
        ("merge", "copy", TABLE_ROWS - BATCH_ROWS, 100),
        # DuckDB's windows keep more of their rows in memory than its joins do.
        ("history", "stream", TABLE_ROWS, 200),
    ],
)
def test_a_table_larger_than_the_budget(root: Path, mode: str, how: str, kept: int, budget: int):
    command = [sys.executable, "-c", _RUN, str(root), mode, str(budget), how]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["added"], result["kept"]) == (BATCH_ROWS, kept)
    assert result["mib"] < budget + ON_TOP_MIB, result
