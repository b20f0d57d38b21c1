"""A run's folder: the pinned plan, the books, the report and step facts, until it is closed."""

from __future__ import annotations

import hashlib
import json
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from checks.report import Report
from wap.attempt import current
from wap.division import Division
from wap.documents import Documents, LocalDocuments, StoredDocuments
from wap.errors import RunNotFoundError
from wap.model import ColumnFact, InputFact, Rows, StepFacts
from wap.pipeline import Pipeline
from wap.rejects import Rejects
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
        beside: of the quarantined rows those that lie in the quarantine table.
        late: of the discarded rows those older than what is published under their keys.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Rows
    files: int
    bytes: int
    removed_rows: int = 0
    before_rows: int = 0
    beside: int = 0
    late: int = 0
    counted: int | None = None
    candidate: int | None = None
    expected_candidate: int | None = None
    rejects: tuple[Reject, ...] = ()
    inputs: tuple[InputFact, ...] = ()

    @property
    def given(self) -> int:
        """Rows that the source handed on: read, but for those that it left out itself."""
        malformed, discarded = self.rows.quarantined - self.beside, self.rows.discarded - self.late
        return self.rows.read - malformed - discarded


class Member(BaseModel):
    """A run whose batch a union holds, as the union took it.

    Attributes:
        run_id, round: the run, and its plan.
        head: of the run's own branch: only while it is there may the union be published.
        plan: what the run read.
        rows, inputs, bytes: of its books.
        started_at: when it was planned.
        steps: of the run, as far as it had come.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    run_id: str
    round: int
    head: int
    plan: Plan
    rows: Rows
    inputs: tuple[InputFact, ...] = ()
    bytes: int = 0
    started_at: datetime
    steps: tuple[StepFacts, ...] = ()


class Members(BaseModel):
    """All runs whose batches a union holds, first come first."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    members: tuple[Member, ...]


class Followed(BaseModel):
    """What one attempt at staging a batch again on a moved main does.

    Attributes:
        books: the run's from then on.
        written: bytes that it wrote.
        superseded: how the names of data files begin that are of no use once it is committed.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    books: Books
    written: int
    superseded: tuple[str, ...] = ()


#: Steps before which the folder of a run that goes on is empty; "": outside of Temporal.
_FIRST_STEPS = ("", "resolve", "unite", "check_group")


class RunFolder:
    """The documents of one run, in ``<state>/runs/<run id>`` or where all workers reach."""

    def __init__(
        self,
        state: Path,
        run_id: str,
        documents: Documents | None = None,
        rejects: StoredDocuments | None = None,
    ) -> None:
        """Name the folder; it is made when something is first written.

        Args:
            state: the project's own folder on this machine.
            run_id: the run.
            documents: where the documents lie in place of the folder there.
            rejects: where the rows that were set aside go then.
        """
        self.path = state / "runs" / run_id
        self._run_id = run_id
        self._documents = documents or LocalDocuments(self.path)
        self._rejects = Rejects(self.path, run_id, rejects)

    @property
    def rejects(self) -> Path:
        """Where this attempt at the stage step keeps every row it sets aside, as JSON lines.

        Raises:
            RunNotFoundError: it came late.
        """
        self.refuse_late()
        return self._rejects.begin()

    @property
    def scratch(self) -> Path:
        """Where the stage step lays a batch aside, on this machine; it goes with the folder."""
        return self.path / "scratch"

    @property
    def shared(self) -> StoredDocuments | None:
        """The documents where all workers reach them; None: they lie on this machine."""
        return self._documents if isinstance(self._documents, StoredDocuments) else None

    def clear_scratch(self) -> None:
        """Remove what lies aside on this machine."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def hand_over_rejects(self) -> None:
        """Make the rows that this attempt set aside those of the run, where all workers reach.

        Before the batch is committed: the attempt that finds it committed reads no source again.

        Raises:
            RunNotFoundError: it came late; those of the attempt after it stay.
        """
        if self._rejects.begun:
            try:
                self.refuse_late()
            except RunNotFoundError:
                self._rejects.discard()
                raise
            self._rejects.hand_over()

    def keep_rejects(self, target: Path) -> bool:
        """Move the rows that were set aside to where they stay; False when there are none."""
        return self._rejects.keep(target)

    def pin(self, number: int, plan: PinnedPlan) -> None:
        """Fix the plan of a round; what is fixed already stays."""
        self.refuse_late()
        if not self.has_plan(number):
            self._write(f"plan-{number}.json", plan.model_dump_json())

    def plan(self, number: int) -> PinnedPlan:
        """The plan of a round.

        Raises:
            RunNotFoundError: it was never pinned, or the folder is gone or damaged.
        """
        name = f"plan-{number}.json"
        try:
            return PinnedPlan.model_validate_json(self._read(name))
        except (ValidationError, UnicodeDecodeError) as exc:
            raise RunNotFoundError(
                f"run {self._run_id} has a damaged {name}",
                where=self._documents.where,
                hint="it is rolled back; run it again",
            ) from exc

    def damage(self) -> str | None:
        """What is wrong with the folder: its first plan cannot be read; None: nothing."""
        if not self.has_plan(0):
            return None
        try:
            self.plan(0)
        except RunNotFoundError as exc:
            return exc.what
        return None

    def has_plan(self, number: int) -> bool:
        """Whether the round was pinned already (by an attempt that died afterwards)."""
        return self._documents.has(f"plan-{number}.json")

    def refuse_over(self, number: int) -> None:
        """Refuse a late attempt of a round that is over: what it finds is the next one's.

        To be asked behind the look at the run's branch: a round opens it once its plan is pinned.

        Raises:
            RunNotFoundError: the run was planned anew.
        """
        if self.has_plan(number + 1):
            raise RunNotFoundError(
                f"round {number} of run {self._run_id} is over: it was planned anew",
                where=self._documents.where,
                hint="nothing was changed; the run goes on without this attempt",
            )

    def save_books(self, number: int, books: Books) -> None:
        """Keep a round's books."""
        self.refuse_late()
        self._write(f"books-{number}.json", books.model_dump_json())

    def books(self, number: int) -> Books:
        """A round's books."""
        return Books.model_validate_json(self._read(f"books-{number}.json"))

    def has_books(self, number: int) -> bool:
        """Whether the round got as far as writing files."""
        return self._documents.has(f"books-{number}.json")

    def save_report(self, report: Report, *, beside: bool = False) -> None:
        """Keep the latest audit's report.

        Args:
            beside: it is about the quarantine table.
        """
        self.refuse_late()
        self._write(_report_of(beside=beside), report.to_json())

    def report(self, digest: str | None = None, *, beside: bool = False) -> Report:
        """The latest audit's report, proved whole (and the one asked for).

        Raises:
            ReportError: it was changed, or is another than ``digest``.
        """
        return Report.from_json(self._read(_report_of(beside=beside)), digest=digest)

    def save_division(self, token: str, division: Division) -> None:
        """Keep what one attempt at a division does; it counts once it is committed."""
        self.refuse_late()
        self._write(f"division-{token}.json", division.model_dump_json())

    def was_undivided(self) -> bool:
        """Whether rows were set aside, and the batch has met another main: then it may be whole."""
        kinds = {name.partition("-")[0] for name in self._documents.names()}
        return {"division", "followed"} <= kinds

    def division(self, token: str) -> Division:
        """What a division has done."""
        return Division.model_validate_json(self._read(f"division-{token}.json"))

    def save_followed(self, token: str, followed: Followed) -> None:
        """Keep what one attempt at following main does; it counts once it is committed."""
        self.refuse_late()
        self._write(f"followed-{token}.json", followed.model_dump_json())

    def followed(self, token: str) -> Followed:
        """What an attempt at following main has done."""
        return Followed.model_validate_json(self._read(f"followed-{token}.json"))

    def has_report(self, *, beside: bool = False) -> bool:
        """Whether any audit ended (of the quarantine table: ``beside``)."""
        return self._documents.has(_report_of(beside=beside))

    def save_members(self, members: Members) -> None:
        """Keep whose batches the union, which this folder is of, holds."""
        self.refuse_late()
        self._write("members.json", members.model_dump_json())

    def members(self) -> tuple[Member, ...]:
        """The same; () when this is no union's folder."""
        if not self._documents.has("members.json"):
            return ()
        return Members.model_validate_json(self._read("members.json")).members

    def note_evidence(self, path: str) -> None:
        """Note where evidence is about to be written: the seal may come to name another file."""
        self.refuse_late()
        name = path.rpartition("/")[2].rpartition("-")[2].removesuffix(".json")
        self._write(f"evidence-{name}.json", json.dumps(path))

    def evidence(self) -> frozenset[str]:
        """Where attempts at sealing wrote evidence, of any of the run's tables."""
        names = (n for n in self._documents.names() if n.startswith("evidence-"))
        return frozenset(json.loads(self._read(name)) for name in names)

    def note_union(self, union: str) -> None:
        """Note that a union is about to take the run's batch: whoever drops it must know.

        Raises:
            RunNotFoundError: the run has ended meanwhile.
        """
        if not _planned(self._documents.names()):
            raise RunNotFoundError(
                f"run {self._run_id} has ended, so no union takes its batch",
                where=self._documents.where,
                hint="nothing was changed; the other runs are published without it",
            )
        self._write(f"union-{union}.json", "{}")

    def unions(self) -> tuple[str, ...]:
        """The unions that have, or had, the run's batch."""
        names = (n for n in self._documents.names() if n.startswith("union-"))
        return tuple(sorted(n.removeprefix("union-").removesuffix(".json") for n in names))

    def begin(self, step: str, number: int) -> None:
        """Note that an attempt at a step has begun which follows another."""
        self._write(f"attempt-{step}-{number}.json", "{}")

    def refuse_late(self) -> None:
        """Refuse an attempt that another one has taken the place of: what is kept is that one's.

        So it is with the thread of a worker that was stopped for longer than its heartbeat may be
        silent, and that goes on then. When the run has ended meanwhile, what the attempt made of
        the run's folder on this machine is removed again.

        Raises:
            RunNotFoundError: it came late.
        """
        now, names = current(), self._documents.names()
        begun = f"attempt-{now.step}-"
        later = (n.removeprefix(begun) for n in names if n.startswith(begun))
        closed = now.step not in _FIRST_STEPS and not _planned(names)
        if closed and not [name for name in names if name != self.scratch.name]:
            shutil.rmtree(self.path, ignore_errors=True)
        if closed or any(int(n.removesuffix(".json")) > now.number for n in later):
            raise RunNotFoundError(
                f"another attempt at {now.step} of run {self._run_id} has begun, or ended it",
                where=self._documents.where,
                hint="nothing was changed; the run goes on without this attempt",
            )

    def add_step(self, facts: StepFacts) -> None:
        """Note an attempt of a step: a document of its own, so that none waits for another.

        Of a run that has ended nothing is noted: its folder is gone, and does not come back.
        """
        if current().step not in _FIRST_STEPS and not self._documents.names():
            return
        began = f"{facts.started_at.timestamp():017.6f}"
        name = f"step-{began}-{time.time_ns():020d}-{secrets.token_hex(4)}.json"
        self._write(name, facts.model_dump_json())

    def steps(self) -> tuple[StepFacts, ...]:
        """The steps in the order they first began; attempts and rounds of one step added up."""
        merged: dict[str, StepFacts] = {}
        for facts in self._attempts():
            earlier = merged.get(facts.name)
            merged[facts.name] = _added(earlier, facts) if earlier else facts
        return tuple(merged.values())

    def was_disturbed(self) -> bool:
        """Whether an attempt of a step came to no end of its own, or failed, and was made again."""
        return any(facts.attempts > 1 for facts in self._attempts())

    def _attempts(self) -> Iterator[StepFacts]:
        for name in self._documents.names():
            if name.startswith("step-"):
                yield StepFacts.model_validate_json(self._read(name))

    def remove(self) -> None:
        """Remove the folder once ledger and report hold what matters."""
        self._documents.remove()
        shutil.rmtree(self.path, ignore_errors=True)

    def _write(self, name: str, text: str) -> None:
        self._documents.write(name, text.encode())

    def _read(self, name: str) -> str:
        try:
            return self._documents.read(name).decode()
        except FileNotFoundError as exc:
            raise RunNotFoundError(
                f"run {self._run_id} has no {name}",
                where=self._documents.where,
                hint="its folder was removed while it ran; it is rolled back, run it again",
            ) from exc


def _planned(names: Iterable[str]) -> bool:
    return any(name.startswith("plan-") for name in names)


def _report_of(*, beside: bool) -> str:
    return "report-quarantine.json" if beside else "report.json"


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
