"""The flights in server mode: starts every server, publishes, and asks as a consumer what is there.

The project is ``examples/nycflights`` as it is; only the environment differs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.servers.__main__ import running

ROOT = Path(__file__).resolve().parents[1]
PROJECT = ROOT / "examples" / "nycflights"
QUESTION = (
    "select count(*) as flights, round(avg(dep_delay), 6) as mean_delay,"
    " count(*) filter (dep_time is null) as no_departure from nyc.flights"
)
#: What the data's own documentation says of it.
ANSWER = {"flights": 336_776, "mean_delay": 12.63907, "no_departure": 8_255}


def main() -> None:
    """Run it; the exit code is the run's, or 1 when the consumer sees anything else."""
    print("starting PostgreSQL, Nessie, SeaweedFS and Temporal ...", flush=True)
    with running() as servers:
        run = [str(ROOT / "run_workflow.py"), "flights", "--project", str(PROJECT)]
        done = _python(run, servers.project_environment())
        if done.returncode:
            sys.exit(done.returncode)
        ask = ["-m", "wap", "query", QUESTION, "--json", "--project", str(PROJECT)]
        asked = _python(ask, servers.project_environment("consumer"), capture_output=True)
    if asked.returncode:
        sys.exit(asked.stderr)
    (seen,) = json.loads(asked.stdout)
    print(f"a consumer sees {seen}")
    sys.exit(0 if seen == ANSWER else f"expected {ANSWER}")


def _python(
    arguments: list[str], env: Mapping[str, str], *, capture_output: bool = False
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, **env},
        capture_output=capture_output,
        text=True,
        check=False,
    )


if __name__ == "__main__":
    main()
