"""Facts of a run to rows of the ledger's tables, and back without loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from pydantic import ValidationError

from wap.errors import LedgerError
from wap.model import CheckFact, Ending, InputFact, RunFacts, RunResult, StepFacts

Row = Mapping[str, Any]

#: What has tables of its own, and so no place in the JSON of ``runs.facts``.
_DETAILS = frozenset({"checks", "inputs", "steps"})


def run_row(facts: RunFacts) -> dict[str, Any]:
    """The row of ``runs``."""
    result = facts.result
    counted = ("read", "staged", "quarantined", "deduplicated", "discarded", "published")
    return {
        "run_id": result.run_id,
        "pipeline": result.pipeline,
        "table_name": result.table,
        "started_at": facts.started_at,
        "ended_at": facts.ended_at,
        "ending": result.ending.value,
        "nothing_new": result.nothing_new,
        "reason": result.reason,
        "pipeline_digest": facts.pipeline_digest,
        "pipeline_version": facts.pipeline_version,
        "contract_digest": facts.contract_digest,
        "report_digest": facts.report_digest,
        **{f"rows_{name}": getattr(result.rows, name) for name in counted},
        "snapshot_before": result.snapshot.before,
        "snapshot_after": result.snapshot.after,
        "checks_passed": result.checks.passed,
        "checks_failed": result.checks.failed,
        "checks_warned": result.checks.warned,
        "seconds": result.seconds,
        "facts": facts.model_dump_json(exclude=set(_DETAILS)),
    }


def step_row(run_id: str, step: StepFacts) -> dict[str, Any]:
    """The row of ``steps``."""
    ended_at = step.started_at + timedelta(seconds=step.seconds)
    return {"run_id": run_id, "ended_at": ended_at, **step.model_dump()}


def check_rows(facts: RunFacts) -> list[dict[str, Any]]:
    """The rows of ``checks``, in the report's order."""
    return [
        {
            "run_id": facts.run_id,
            "position": position,
            "column_name": check.column,
            **check.model_dump(exclude={"column"}),
        }
        for position, check in enumerate(facts.checks)
    ]


def file_rows(facts: RunFacts) -> list[dict[str, Any]]:
    """The rows of ``files``, in the order they were planned."""
    return [
        {"run_id": facts.run_id, "position": position, **given.model_dump()}
        for position, given in enumerate(facts.inputs)
    ]


def facts_of(
    run: Row, steps: Iterable[Row], checks: Iterable[Row], files: Iterable[Row]
) -> RunFacts:
    """The facts again; of a run that has not ended, what is known of it so far.

    Raises:
        LedgerError: the row was written by a newer version, or by hand.
    """
    details = {
        "steps": tuple(StepFacts(**_only(StepFacts, row)) for row in steps),
        "checks": tuple(
            CheckFact(column=row["column_name"], **_only(CheckFact, row)) for row in checks
        ),
        "inputs": tuple(InputFact(**_only(InputFact, row)) for row in files),
    }
    if run["facts"] is None:
        return _unfinished(run).model_copy(update=details)
    # The columns are what people's SQL sees, so they are what is told, and what is verified.
    columns = {name: run[name] for name in ("report_digest", "contract_digest")}
    try:
        facts = RunFacts.model_validate_json(run["facts"])
        told = facts.result.model_copy(update={"ending": Ending(run["ending"])})
        return facts.model_copy(update={**columns, **details, "result": told})
    except ValueError as exc:
        fields = exc.error_count() if isinstance(exc, ValidationError) else 1
        raise LedgerError(
            f"run {run['run_id']} cannot be read: {fields} fields do not fit",
            hint="the ledger was written by another version; rebuild it from the seals",
        ) from exc


def _only(model: type[StepFacts | CheckFact | InputFact], row: Row) -> dict[str, Any]:
    return {name: row[name] for name in model.model_fields if name in row}


def _unfinished(run: Row) -> RunFacts:
    """A run that goes on, or was killed: ``ended_at`` None says that its ending is not one yet."""
    return RunFacts(
        result=RunResult(
            run_id=run["run_id"],
            pipeline=run["pipeline"],
            table=run["table_name"],
            ending=Ending.ROLLED_BACK,
            reason="running",
        ),
        pipeline_digest=run["pipeline_digest"] or "",
        pipeline_version=run["pipeline_version"],
        source_kind="",
        source_location="",
        started_at=run["started_at"],
    )
