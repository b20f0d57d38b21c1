"""The sides of the benchmark: each a command of its own, checked for what it came to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.data import DATA
from benchmarks.measuring import Result, processes_of
from benchmarks.project import make_project

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Side:
    """One way to get the rows into a table.

    Attributes:
        largest: scale factor above which it is known to fail.
    """

    name: str
    title: str
    largest: float = 1000

    @property
    def beside(self) -> list[int]:
        """Processes that run already and do a part of the work."""
        return []

    def suits(self, scale: float) -> bool:
        return scale <= self.largest

    @contextmanager
    def prepared(self, source: Path, form: str) -> Iterator[list[str | Path]]:
        """The command, in a fresh folder that goes with it."""
        DATA.mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=DATA))
        try:
            yield [sys.executable, "-m", "benchmarks.contenders", self.name, source, form, folder]
        finally:
            shutil.rmtree(folder)

    def check(self, result: Result, rows: int) -> None:
        """All rows must be there, or the time means nothing."""
        said = json.loads(result.output.strip().splitlines()[-1])
        assert said["rows"] == rows, f"{self.name}: {said['rows']} of {rows} rows"


class Door(Side):
    """The product from its door, everything included: start, audit, report, lineage, ledger."""

    @contextmanager
    def prepared(self, source: Path, form: str) -> Iterator[list[str | Path]]:
        folder = Path(tempfile.mkdtemp(prefix=f"{self.name}-", dir=DATA))
        make_project(folder, source, form)
        try:
            yield [
                sys.executable,
                ROOT / "run_workflow.py",
                "lineitem",
                "--project",
                folder,
                "--json",
            ]
        finally:
            shutil.rmtree(folder)

    def check(self, result: Result, rows: int) -> None:
        lines = [line for line in result.output.splitlines() if line.startswith("{")]
        said = json.loads(lines[-1])
        assert said["ending"] == "published", said
        assert said["rows"]["published"] == rows, said
        assert said["checks"]["passed"] >= 15, said


class WarmDoor(Door):
    """The same with the server and a worker kept running, as ``wap up`` does."""

    @contextmanager
    def prepared(self, source: Path, form: str) -> Iterator[list[str | Path]]:
        with super().prepared(source, form) as command:
            folder = command[command.index("--project") + 1]
            wap = Path(sys.executable).parent / "wap"
            subprocess.run([wap, "up", "--project", folder], check=True, capture_output=True)
            _WARM[:] = processes_of(Path(folder))
            assert _WARM, "no warm worker is running"
            try:
                yield [wap, "run", *command[2:]]
            finally:
                _WARM.clear()
                subprocess.run([wap, "down", "--project", folder], check=True, capture_output=True)

    @property
    def beside(self) -> list[int]:
        return list(_WARM)


#: Processes of the project that is warm now.
_WARM: list[int] = []


SIDES = (
    Side("floor", "floor: DuckDB `COPY` to zstd Parquet"),
    Side("floor-audit", "floor, then the audit in hand-written SQL"),
    Side("append", "pyiceberg `append` straight to main, no audit", largest=1),
    Side("write", "ours, the write alone (stage: no branch, no audit)"),
    Door("ours", "ours, the whole run from the shell: stage + audit + seal + publish"),
    WarmDoor("warm", "ours, the whole run with a warm worker (`wap up`)"),
)
