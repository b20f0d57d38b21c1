"""What a door loads before it does anything: seconds of a person's, and of every test's."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: By door: what it calls, and of what nothing may be loaded for it.
LOOKING = ("wap.ports", "wap.status", "wap.query", "wap.verifying", "wap.diff", "wap.reports")


@pytest.mark.parametrize(
    ("modules", "heavy"),
    [
        (
            ("wap.cli.entry",),
            ("temporalio", "duckdb", "pyarrow", "pyiceberg", "sqlalchemy", "soda"),
        ),
        (LOOKING, ("temporalio", "soda_core", "pyspark", "datahub")),
    ],
    ids=["every-door", "doors-that-look"],
)
def test_a_door_loads_no_more_than_it_needs(modules, heavy):
    program = (
        f"import sys, {', '.join(modules)}\n"
        f"print(*sorted({{m.partition('.')[0] for m in sys.modules}} & set({heavy!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == []
