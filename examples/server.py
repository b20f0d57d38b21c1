"""The flights in server mode: starts every server, publishes, and looks as a consumer does.

The project is ``examples/nycflights`` as it is; only the environment differs. The consumer is
nothing of ours: Nessie's API with a consumer's token, and pyiceberg with keys that may only read.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pyarrow.compute as pc
from pyiceberg.table import StaticTable

from tests.servers.__main__ import running
from tests.servers.composed import Composed

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "examples" / "nycflights"
#: What the data's own documentation says of it.
EXPECTED = {"flights": 336_776, "mean departure delay": 12.63907, "no departure time": 8_255}


def main() -> None:
    """Run it; the exit code is the run's, or 1 when the consumer sees anything else."""
    print("starting PostgreSQL, Nessie, SeaweedFS and Temporal ...", flush=True)
    with running() as servers:
        command = [sys.executable, str(ROOT / "run_workflow.py"), "flights"]
        env = {**os.environ, **servers.project_environment()}
        done = subprocess.run([*command, "--project", str(PROJECT)], env=env, check=False)
        if done.returncode:
            sys.exit(done.returncode)
        seen = published(servers)
    print(f"a consumer sees {seen}")
    sys.exit(0 if seen == EXPECTED else f"expected {EXPECTED}")


def published(servers: Composed) -> dict[str, float]:
    """What main shows to somebody with a consumer's token and keys."""
    env = servers.project_environment("consumer")
    token = env["WAP_CATALOG__PROPERTIES__TOKEN"]
    answer = httpx.get(
        f"{env['WAP_CATALOG__URI']}/trees/main/contents/nyc.flights",
        headers={"Authorization": f"Bearer {token}"},
        timeout=30,
    )
    location = answer.raise_for_status().json()["content"]["metadataLocation"]
    table = StaticTable.from_metadata(location, servers.file_io("consumer"))
    rows = table.scan(selected_fields=("dep_delay", "dep_time")).to_arrow()
    mean = pc.mean(rows["dep_delay"]).as_py()
    return {
        "flights": rows.num_rows,
        "mean departure delay": round(mean, 6),
        "no departure time": rows["dep_time"].null_count,
    }


if __name__ == "__main__":
    main()
