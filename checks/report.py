"""One report model: what one audit expected, measured and decided. Pure values."""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from checks.errors import ReportError

#: How the names of our own checks begin; a contract's check is named after its file.
OWN = "wap:"


class Outcome(StrEnum):
    """What became of one check."""

    PASSED = "passed"
    FAILED = "failed"
    WARNED = "warned"
    NOT_EVALUATED = "not_evaluated"


class Value(BaseModel):
    """Base of the values here: frozen, and unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CheckResult(Value):
    """One check and its outcome.

    Attributes:
        name: unique in the report: ``<contract file>:<path in it>``, or ``wap:<own check>``.
        relation: the relation checked: ``flights``, ``flights__batch`` or ``flights__published``.
        kind: Soda's check type (``missing``, ``duplicate``, …) or an own kind.
        column: the column it is about, None for the whole relation.
        title: one sentence an auditor understands without SQL.
        expected: the rule, in words.
        measured: what was found, in words.
        value: the measured number where there is one.
        failing_rows: rows that break the rule, where countable.
        tested_rows: rows looked at, where known.
        sample: up to a few failing rows, PII columns masked, values as text (None: null).
        blocking: whether a failure stops the publish (False: it only warns).
        message: why it was not evaluated, or what else a reader must know.
    """

    name: str
    relation: str
    kind: str
    column: str | None = None
    title: str
    expected: str
    measured: str = ""
    value: float | None = None
    failing_rows: int | None = None
    tested_rows: int | None = None
    sample: tuple[dict[str, str | None], ...] = ()
    blocking: bool = True
    outcome: Outcome
    message: str = ""


class ContractRef(Value):
    """Which contract was used: its path in the project and the sha256 of its text."""

    path: str
    digest: str


class Report(Value):
    """All outcomes of one audit: the evidence that publish asks for.

    Attributes:
        run_id, table: whose audit it is.
        snapshot_id: the snapshot that was audited; None when the batch never got that far
            (it did not fit a strict schema), and such a report never passes.
        expected: main's snapshot then; None when the table was not published yet.
        contracts: what it was audited against.
        declared: names of all checks that must be evaluated, from our own parse.
        results: the outcomes.
        errors: what the engine or the gate complained about; any entry means: not passed.
        columns: the candidate's columns as (name, Iceberg type).
        masked: columns whose values are never shown.
        neighbours: other tables the contracts look at, each with the snapshot that was looked at.
        started_at, seconds: when, and how long it took (wall clock).
    """

    format: int = 1
    run_id: str
    table: str
    snapshot_id: int | None
    expected: int | None
    contracts: tuple[ContractRef, ...]
    declared: frozenset[str]
    results: tuple[CheckResult, ...]
    errors: tuple[str, ...] = ()
    columns: tuple[tuple[str, str], ...] = ()
    masked: frozenset[str] = frozenset()
    neighbours: tuple[tuple[str, int], ...] = ()
    started_at: datetime
    seconds: float = Field(ge=0)

    @field_serializer("declared", "masked")
    def _in_order(self, value: frozenset[str]) -> list[str]:
        # A set has no order of its own; the same report must give the same text.
        return sorted(value)

    @property
    def evaluated(self) -> frozenset[str]:
        """Names of the checks that have an outcome other than not evaluated."""
        return frozenset(r.name for r in self.results if r.outcome is not Outcome.NOT_EVALUATED)

    @property
    def passed(self) -> bool:
        """The gate's verdict; it fails closed (law 3)."""
        return (
            self.snapshot_id is not None
            and not self.errors
            and bool(self.contracts)
            and bool(self.declared)
            and len(self.results) == len(self.declared)
            and self.evaluated == self.declared
            and all(r.outcome in (Outcome.PASSED, Outcome.WARNED) for r in self.results)
        )

    @property
    def waivable(self) -> frozenset[str]:
        """Names of the failed checks, when they are all that keeps the report from passing.

        A person can answer for what a contract expects of the data. Nobody can for what was not
        evaluated, nor for the checks of our own: the table's columns, and the books.
        """
        failed = frozenset(r.name for r in self.results if r.outcome is Outcome.FAILED)
        healed = tuple(
            r.model_copy(update={"outcome": Outcome.PASSED}) if r.outcome is Outcome.FAILED else r
            for r in self.results
        )
        whole = self.model_copy(update={"results": healed}).passed
        own = any(name.startswith(OWN) for name in failed)
        return failed if whole and not own else frozenset()

    def count(self, outcome: Outcome) -> int:
        """How many checks ended so."""
        return sum(r.outcome is outcome for r in self.results)

    @property
    def contract_digest(self) -> str:
        """sha256 hex over the contracts' paths and digests."""
        return _sha256([[c.path, c.digest] for c in sorted(self.contracts, key=lambda c: c.path)])

    @property
    def digest(self) -> str:
        """sha256 hex over what was audited, against what, and every outcome.

        Times are left out, so that auditing the same snapshot again gives the same digest.
        """
        outcomes = [
            [r.name, r.outcome.value, r.expected, r.measured, r.failing_rows, r.blocking]
            for r in sorted(self.results, key=lambda r: r.name)
        ]
        declared = sorted(self.declared)
        return _sha256(
            [self.table, self.snapshot_id, self.contract_digest, declared, outcomes,
             list(self.errors)]
        )  # fmt: skip

    def to_json(self) -> str:
        """The report as JSON text, its digest included."""
        return json.dumps(
            {**self.model_dump(mode="json"), "passed": self.passed, "digest": self.digest},
            indent=2,
            ensure_ascii=False,
        )

    @classmethod
    def from_json(cls, text: str, *, digest: str | None = None) -> Self:
        """Read :meth:`to_json` back and prove it whole.

        Raises:
            ReportError: not such a text, or its content does not give the digest it states
                (or the one asked for).
        """
        try:
            data: dict[str, Any] = json.loads(text)
            stated = data.pop("digest")
            data.pop("passed")
            report = cls.model_validate(data)
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise ReportError(f"not a report: {exc}") from exc
        if report.digest != stated or (digest is not None and digest != stated):
            raise ReportError(
                f"the report's digest is {report.digest}, it should be {digest or stated}",
                hint="the file was changed after the audit; audit again",
            )
        return report


def _sha256(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
