"""Memory has a budget, not a data size: a far larger batch takes no more of it (law 7)."""

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
from pathlib import Path
import pyarrow as pa
from tests.unit.wap.engines.staging import staging, write
from tests.unit.wap.sources.feeding import Project
from wap.engines.arrow import ArrowEngine
from wap.types import from_arrow, to_arrow

def peak_mib():
    # Not ru_maxrss: it starts with what the parent had when this process was forked.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) >> 10

root, name, form, budget, part, copy = sys.argv[1:]
project = Project(Path(root))
source = project.source(name, form)
plan = source.plan(None, everything=False)
iceberg = from_arrow(source.schema(plan))
where = staging(Path(root), iceberg, [("part", part)] if part != "none" else [])
before = peak_mib()
with source.open(plan, to_arrow(iceberg)) as extract:
    written = write(extract, where, ArrowEngine(int(budget) << 20, 8 << 20, copy=copy == "copy"))
    counts = extract.finish()
result = {"rows": written.rows, "read": counts.read, "mib": peak_mib() - before}
print(json.dumps(result))
"""
ROWS = 3_000_000
BUDGET_MIB = 100
#: The budget is of data; parsers, encoders and allocators come on top, the same for any size.
ALLOWED_MIB = BUDGET_MIB + 220


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """410 MB of Arrow data: as Parquet in one row group and as CSV."""
    folder = tmp_path_factory.mktemp("large")
    text = "x" * 120
    ids = range(ROWS)
    table = pa.table({"id": ids, "part": [i % 7 for i in ids], "text": [text] * ROWS}, _SCHEMA)
    pq.write_table(table, folder / "in.parquet", compression="zstd", row_group_size=ROWS)
    with (folder / "in.csv").open("w") as out:
        out.write("id,part,text\n")
        out.writelines(f"{i},{i % 7},{text}\n" for i in ids)
    return folder


_SCHEMA = pa.schema([("id", pa.int64()), ("part", pa.int64()), ("text", pa.string())])


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize(
    ("form", "part", "how"),
    [
        ("parquet", "none", "copy"),
        ("parquet", "none", "stream"),
        ("parquet", "identity", "stream"),
        ("csv", "none", "stream"),
        ("csv", "bucket[4]", "stream"),
    ],
)
def test_a_batch_larger_than_the_budget(root: Path, form: str, part: str, how: str):
    command = [
        sys.executable,
        "-c",
        _RUN,
        str(root),
        f"in.{form}",
        form,
        str(BUDGET_MIB),
        part,
        how,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert (result["rows"], result["read"]) == (ROWS, ROWS)
    assert result["mib"] < ALLOWED_MIB, result
