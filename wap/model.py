"""Values that cross the saga: request, rows, endings, results and facts. Pure pydantic."""

from __future__ import annotations

import json
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, field_serializer


class Value(BaseModel):
    """Base of the values here: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Ending(StrEnum):
    """How a run ends (law 4)."""

    PUBLISHED = "published"
    REJECTED = "rejected"
    ROLLED_BACK = "rolled_back"
    HELD = "held"


class ExitCode(IntEnum):
    """Exit codes of the doors (architecture, «Errors»)."""

    PUBLISHED = 0
    REJECTED = 1
    USAGE = 2
    ROLLED_BACK = 3
    INCOMPLETE = 4
    HELD = 5


class Rows(Value):
    """The books of one run (law 6), in rows.

    ``read == staged + unchanged + deleted + quarantined + deduplicated + discarded`` must hold
    before a publish.

    Attributes:
        read: records in the source, malformed ones included, counted at the source.
        staged: rows in the files this run adds, counted in the table.
        quarantined: rows kept aside with file, line and reason.
        unchanged: rows that made no new one: the table says the same already; deletes of keys
            that it does not have are among them.
        deleted: rows that deleted a published row, or ended its validity.
        deduplicated: rows left out because their key was there already.
        discarded: rows left out by a stated rule (outside the data interval, late).
        kept: rows of replaced files that were carried over; not part of the batch.
        published: rows of the batch that consumers see because of this run.
        inserted, updated: of the rows staged by key, those whose key was new, and the others.
    """

    read: int = 0
    staged: int = 0
    unchanged: int = 0
    deleted: int = 0
    quarantined: int = 0
    deduplicated: int = 0
    discarded: int = 0
    kept: int = 0
    published: int = 0
    inserted: int = 0
    updated: int = 0

    @property
    def balanced(self) -> bool:
        """Whether every row read is accounted for."""
        applied = self.staged + self.unchanged + self.deleted
        return self.read == applied + self.quarantined + self.deduplicated + self.discarded


class SnapshotMove(Value):
    """What main showed before and shows after the run; None: the table was not there."""

    before: int | None = None
    after: int | None = None


class CheckCounts(Value):
    """Outcomes of the audit, counted."""

    passed: int = 0
    failed: int = 0
    warned: int = 0
    not_evaluated: int = 0


class Replay(Value):
    """Which rows that wait in a quarantine table are to be staged again.

    Attributes:
        run: only those that this run set aside.
        where: only those with these values, as text, by column.
        file: a file of corrected rows, each named by its ``wap_row``; only those, with its values.
    """

    run: str | None = None
    where: tuple[tuple[str, str], ...] = ()
    file: str | None = None


class RunRequest(Value):
    """What a door asks for; the workflow's argument.

    Attributes:
        project: identity of the project (not its path).
        pipeline: name of the pipeline file without its ending.
        inputs: given in place of the pipeline's own source path; () means the pipeline's.
        interval: bounds ``(start, end)`` of the data interval; None means no bounds.
        heartbeat_seconds: a worker that is silent for so long is taken for dead.
        data_queue: workers of their own take the steps that move rows (stage, audit).
        indexed: the server knows our search attributes, so that the run may set them.
        compact: nothing is read: small files that are published are written anew as larger ones.
        members: pipelines that are published together; ``pipeline`` names their group then.
        contracts: files of the group's own contracts, each about the table of one of its members.
        replay: nothing is read but rows of the quarantine table.
        abreast: so many members are staged, and audited, at once.
    """

    project: str
    pipeline: str
    inputs: tuple[str, ...] = ()
    interval: tuple[str, str] | None = None
    heartbeat_seconds: float = 10.0
    data_queue: bool = False
    indexed: bool = False
    compact: bool = False
    members: tuple[str, ...] = ()
    contracts: tuple[str, ...] = ()

    def of_member(self, pipeline: str) -> Self:
        """What one member of the group is asked for."""
        return self.model_copy(update={"pipeline": pipeline, "members": ()})

    replay: Replay | None = None
    abreast: int = 1


class StepState(Value):
    """One step as the progress query shows it; ``seconds`` is None while it runs.

    Attributes:
        member: the pipeline that it is a step of, in the run of a group; "" elsewhere.
    """

    name: str
    started_at: datetime
    seconds: float | None = None
    failed: bool = False
    member: str = ""


class StepFacts(Value):
    """One step as it went."""

    name: str
    started_at: datetime
    seconds: float
    attempts: int = 1
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None


class InputFact(Value):
    """One input of the source: where, how large, which version (modification or etag)."""

    path: str
    bytes: int | None = None
    version: str = ""


class FailedCheck(Value):
    """A check that failed and that a person may answer for.

    Attributes:
        name: the report's, ``<contract file>:<path in it>``.
        title, measured: what it expects and what was found, for people.
        failing_rows: rows that break it, where they can be counted.
    """

    name: str
    title: str
    measured: str
    failing_rows: int | None = None


class Held(Value):
    """What a run waits for: somebody who approves or rejects it.

    Attributes:
        workflow_id: the run's, where Temporal finds it.
        request: what was asked for when it began.
        round: the run's round by then.
        report_digest: of the audit that is to be decided on.
        checks: those that failed; all that is wrong with it.
        since, until: from when it waits, and from when on it is rejected.
    """

    workflow_id: str
    request: RunRequest
    round: int = 0
    report_digest: str
    checks: tuple[FailedCheck, ...]
    since: datetime
    until: datetime

    @property
    def names(self) -> frozenset[str]:
        """Names of the checks that failed."""
        return frozenset(check.name for check in self.checks)


class Waiver(Value):
    """A person's word for publishing a run whose audit failed (``catalog.Waiver``).

    Attributes:
        run_id, report_digest: what it is for; it covers no other run and no other audit.
        checks: names of the failed checks that it answers for.
        person: who gave it, as they were told to us; nobody proves the name.
        reason: why.
        at: when it was given.
        until: from then on it covers nothing any more, and is not shown as in force.
    """

    run_id: str
    report_digest: str
    checks: frozenset[str]
    person: str
    reason: str
    at: datetime
    until: datetime

    @field_serializer("checks")
    def _in_order(self, value: frozenset[str]) -> list[str]:
        # A set has no order of its own; the same waiver must give the same text.
        return sorted(value)

    @property
    def text(self) -> str:
        """All of it as one text; a seal carries it in its summary."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, ensure_ascii=False)


class Refusal(Value):
    """A person's no to a held run: which run and audit, who and why."""

    run_id: str
    report_digest: str
    person: str
    reason: str


class SetAside(Value):
    """A check that failed, and the rows that were set aside because of it.

    Attributes:
        name: the report's, ``<contract file>:<path in it>``.
        title: what it expects, for people.
        rows: a row that breaks several checks counts for each.
    """

    name: str
    title: str
    rows: int


class Quarantined(Value):
    """What a run set aside in its table's quarantine table.

    Attributes:
        table: the quarantine table.
        rows: how many it holds of this run.
        checks: because of what.
    """

    table: str
    rows: int
    checks: tuple[SetAside, ...]


class RunResult(Value):
    """What a run came to; the workflow's result, and what the doors print.

    Attributes:
        reason: for people: why it was rejected or rolled back; "" when published.
        error_type: class name of the error behind ``rolled_back``; "" elsewhere.
        nothing_new: published, because there was nothing to publish.
        report: path of the report's page inside the project; None when there is none.
        warnings: what went wrong beside the run (lineage could not be sent, …).
        incomplete: what could not be undone; a person must look (exit code 4).
        held: what a held run waits for; None: it does not.
        waiver: under which it is published although its audit failed; None: the audit passed.
        members: what became of each table in the run of a group; ``pipeline`` names the group
            then, rows and checks are those of all together, and there is no one table.
        quarantine: which rows were published in the quarantine table, beside the valid ones.
    """

    run_id: str
    pipeline: str
    table: str
    ending: Ending
    reason: str = ""
    error_type: str = ""
    nothing_new: bool = False
    rows: Rows = Rows()
    snapshot: SnapshotMove = SnapshotMove()
    checks: CheckCounts = CheckCounts()
    report: str | None = None
    seconds: float = 0.0
    warnings: tuple[str, ...] = ()
    incomplete: tuple[str, ...] = ()
    held: Held | None = None
    waiver: Waiver | None = None
    members: tuple[RunResult, ...] = ()
    quarantine: Quarantined | None = None

    def warned(self, *said: str) -> Self:
        """The result with further warnings."""
        return self.model_copy(update={"warnings": (*self.warnings, *said)})

    @property
    def exit_code(self) -> ExitCode:
        """The door's exit code for this ending."""
        if self.incomplete:
            return ExitCode.INCOMPLETE
        if self.error_type in (
            "CatalogConfigError",
            "ConfigError",
            "ContractError",
            "GroupRefusedError",
            "NotInstalledError",
        ):
            return ExitCode.USAGE
        return {
            Ending.PUBLISHED: ExitCode.PUBLISHED,
            Ending.REJECTED: ExitCode.REJECTED,
            Ending.ROLLED_BACK: ExitCode.ROLLED_BACK,
            Ending.HELD: ExitCode.HELD,
        }[self.ending]


class Progress(Value):
    """What the workflow's ``progress`` query answers.

    Attributes:
        held: how it stands while a run waits for a person; None: it does not wait.
        result: what it came to, at its end.
    """

    run_id: str
    table: str | None = None
    summary: str = ""
    bytes: int | None = None
    steps: tuple[StepState, ...] = ()
    held: RunResult | None = None
    result: RunResult | None = None


class ColumnFact(Value):
    """A column of the published table: Iceberg type as text, and its tags."""

    name: str
    type: str
    tags: tuple[str, ...] = ()


class CheckFact(Value):
    """One check's outcome as ledger and lineage keep it (no sample rows)."""

    name: str
    kind: str
    column: str | None
    title: str
    expected: str
    measured: str
    value: float | None
    failing_rows: int | None
    blocking: bool
    outcome: str


class RunFacts(Value):
    """Everything known about a finished run, for ledger, lineage and report.

    Attributes:
        result: what it came to.
        pipeline_digest: sha256 hex of the pipeline as the run pinned it, with its contracts.
        pipeline_version: its version in the ledger's database; None when files declare it.
        source_kind, source_location: what was read, without secrets.
        source_columns: the input's own columns, in the source's names and order.
        quarantine_report: digest of the report on the quarantine table; None: nothing set aside.
        ended_at: end of the last step, None while it runs.
    """

    result: RunResult
    pipeline_digest: str
    pipeline_version: int | None = None
    source_kind: str
    source_location: str
    source_columns: tuple[ColumnFact, ...] = ()
    columns: tuple[ColumnFact, ...] = ()
    owners: tuple[str, ...] = ()
    contact: str | None = None
    write_mode: str = "append"
    inputs: tuple[InputFact, ...] = ()
    checks: tuple[CheckFact, ...] = ()
    report_digest: str | None = None
    contract_digest: str | None = None
    quarantine_report: str | None = None
    steps: tuple[StepFacts, ...] = ()
    location: str | None = None
    started_at: datetime
    ended_at: datetime | None = None

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.result.run_id

    def with_result(self, result: RunResult) -> Self:
        """The same facts about another result."""
        return self.model_copy(update={"result": result})


class Build(Value):
    """One build of a deployment, as the server knows it.

    Attributes:
        state: ``current`` takes new runs; ``draining`` only ends those it has; ``drained`` has
            none left, so that its workers may be stopped; ``inactive`` never had any.
    """

    build: str
    state: str


def data_queue(queue: str) -> str:
    """The queue of the steps that move rows, beside a project's own."""
    return f"{queue}-data"
