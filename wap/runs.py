"""A run's folder: the pinned plan, the books, the report and step facts, until it is closed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from checks.report import Report
from wap.errors import RunNotFoundError
from wap.model import ColumnFact, InputFact, Rows, StepFacts
from wap.pipeline import Pipeline
from wap.sources.base import Cursor, Plan
from wap.versions import ContractText


class PinnedPlan(BaseModel):
    """Everything a round of a run goes by, fixed by its first step.

    Attributes:
        started_at: when the round was planned.
        version: of the pipeline in the ledger's database; None when it is declared in files.
        plan: what the source will read; its ``empty`` means nothing new.
        wanted_schema: the Iceberg schema wanted for the table, as pyiceberg writes it.
        columns: columns read from the source, in the table's names.
        source_columns: the input's own columns with their types.
        since: the published cursor the plan was made against.
        before: main's snapshot then; None when the table is new.
        engine: what writes and audits it.
        refused: why the batch does not fit the table; the later steps are not run then.
        differences: what does not fit, one line each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    started_at: datetime
    pipeline: Pipeline
    contracts: tuple[ContractText, ...]
    version: int | None = None
    plan: Plan
    wanted_schema: str = ""
    columns: tuple[str, ...] = ()
    source_columns: tuple[ColumnFact, ...] = ()
    since: Cursor | None = None
    before: int | None = None
    engine: Literal["arrow", "spark"] = "arrow"
    refused: str | None = None
    differences: tuple[str, ...] = ()

    @property
    def definition(self) -> str:
        """The pipeline's version as JSON text: its definition and its contracts."""
        return json.dumps(
            {
                "pipeline": self.pipeline.model_dump(mode="json", by_alias=True),
                "contracts": {c.path: c.text for c in self.contracts},
            },
            sort_keys=True,
        )

    @property
    def digest(self) -> str:
        """sha256 hex of :attr:`definition`."""
        return hashlib.sha256(self.definition.encode()).hexdigest()


class Reject(BaseModel):
    """A row that was left out, for the report."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    line: int | None
    reason: str


class Books(BaseModel):
    """What the source counted, what the writer wrote, and what the table holds (law 6).

    Attributes:
        rows: the run's books; ``staged`` is the writer's count until the table was counted.
        counted: rows of the batch counted in the table; None before the reconcile step.
        candidate: rows of the table as it would be published, from its metadata.
        expected_candidate: what that must be: published before - replaced + kept + staged.
        rejects: the first rows that were set aside.
        files, bytes: what was written.
        removed_rows: rows of the published files this run replaces.
        before_rows: rows main showed when the batch was counted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Rows
    files: int
    bytes: int
    removed_rows: int = 0
    before_rows: int = 0
    counted: int | None = None
    candidate: int | None = None
    expected_candidate: int | None = None
    rejects: tuple[Reject, ...] = ()
    inputs: tuple[InputFact, ...] = ()


class RunFolder:
    """``<state>/runs/<run id>``: small documents, each replaced as a whole or not at all."""

    def __init__(self, state: Path, run_id: str) -> None:
        """Name the folder; it is made when something is first written."""
        self.path = state / "runs" / run_id
        self._run_id = run_id

    @property
    def rejects(self) -> Path:
        """Where the stage step keeps every row it sets aside, as JSON lines."""
        self.path.mkdir(parents=True, exist_ok=True)
        return self.path / "rejects.jsonl"

    def keep_rejects(self, target: Path) -> bool:
        """Move the rows that were set aside to where they stay; False when there are none.

        They hold what the source held, personal data included, so only the owner may read them.
        """
        kept = self.path / "rejects.jsonl"
        if not kept.exists() or kept.stat().st_size == 0:
            return False
        kept.chmod(0o600)
        target.parent.mkdir(parents=True, exist_ok=True)
        kept.replace(target)
        return True

    def pin(self, number: int, plan: PinnedPlan) -> None:
        """Fix the plan of a round."""
        self._write(f"plan-{number}.json", plan.model_dump_json())

    def plan(self, number: int) -> PinnedPlan:
        """The plan of a round.

        Raises:
            RunNotFoundError: it was never pinned, or the folder is gone.
        """
        return PinnedPlan.model_validate_json(self._read(f"plan-{number}.json"))

    def has_plan(self, number: int) -> bool:
        """Whether the round was pinned already (by an attempt that died afterwards)."""
        return (self.path / f"plan-{number}.json").exists()

    def save_books(self, number: int, books: Books) -> None:
        """Keep a round's books."""
        self._write(f"books-{number}.json", books.model_dump_json())

    def books(self, number: int) -> Books:
        """A round's books."""
        return Books.model_validate_json(self._read(f"books-{number}.json"))

    def has_books(self, number: int) -> bool:
        """Whether the round got as far as writing files."""
        return (self.path / f"books-{number}.json").exists()

    def save_report(self, report: Report) -> None:
        """Keep the latest audit's report."""
        self._write("report.json", report.to_json())

    def report(self, digest: str | None = None) -> Report:
        """The latest audit's report, proved whole (and the one asked for).

        Raises:
            ReportError: it was changed, or is another than ``digest``.
        """
        return Report.from_json(self._read("report.json"), digest=digest)

    def has_report(self) -> bool:
        """Whether any audit ended."""
        return (self.path / "report.json").exists()

    def add_step(self, facts: StepFacts) -> None:
        """Note an attempt of a step; a line is appended in one write."""
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / "steps.jsonl").open("a") as file:
            file.write(facts.model_dump_json() + "\n")

    def steps(self) -> tuple[StepFacts, ...]:
        """The steps in the order they first began; attempts and rounds of one step added up."""
        path = self.path / "steps.jsonl"
        merged: dict[str, StepFacts] = {}
        for line in path.read_text().splitlines() if path.exists() else ():
            facts = StepFacts.model_validate_json(line)
            earlier = merged.get(facts.name)
            merged[facts.name] = _added(earlier, facts) if earlier else facts
        return tuple(merged.values())

    def remove(self) -> None:
        """Remove the folder once ledger and report hold what matters."""
        shutil.rmtree(self.path, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f".{name}.{os.getpid()}"
        temporary.write_text(text)
        temporary.replace(self.path / name)

    def _read(self, name: str) -> str:
        try:
            return (self.path / name).read_text()
        except FileNotFoundError as exc:
            raise RunNotFoundError(
                f"run {self._run_id} has no {name}",
                where=str(self.path),
                hint="its folder was removed while it ran; it is rolled back, run it again",
            ) from exc


def _added(one: StepFacts, other: StepFacts) -> StepFacts:
    def total(a: float | None, b: float | None) -> float | None:
        return None if a is None and b is None else (a or 0.0) + (b or 0.0)

    return one.model_copy(
        update={
            "seconds": one.seconds + other.seconds,
            "attempts": one.attempts + 1,
            "cpu_seconds": total(one.cpu_seconds, other.cpu_seconds),
            "peak_memory_bytes": max(one.peak_memory_bytes or 0, other.peak_memory_bytes or 0)
            or None,
        }
    )
