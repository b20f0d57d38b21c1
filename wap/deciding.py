"""Deciding on a held run: finding it, and making of a person's words what the run asks for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime

from catalog.base import BranchCatalog
from wap import evidence
from wap.errors import DecisionRefusedError, RunNotFoundError
from wap.homes import open_home
from wap.ledger.base import Ledger
from wap.model import Ending, Held, Refusal, RunFacts, Waiver
from wap.planning import source_of, was_done
from wap.project import Project
from wap.versions import Change


def find_held(ledger: Ledger, run_id: str) -> Held:
    """What a held run waits for, as the ledger tells it.

    Raises:
        RunNotFoundError: no such run is known.
        DecisionRefusedError: it is not held.
    """
    facts = ledger.run(run_id)
    if facts is None:
        raise RunNotFoundError(f"no run {run_id!r}", hint=f"held: {_held_runs(ledger)}")
    held = facts.result.held
    if held is None:
        hint = f"held: {_held_runs(ledger)}"
        raise DecisionRefusedError(f"the run is {_state(facts)}", where=f"run {run_id}", hint=hint)
    return held


def held_runs(ledger: Ledger) -> Sequence[RunFacts]:
    """The runs that wait for a person, newest first."""
    return [facts for facts in ledger.runs(limit=1_000) if facts.result.ending is Ending.HELD]


def _held_runs(ledger: Ledger) -> str:
    return ", ".join(facts.run_id for facts in held_runs(ledger)) or "no run"


def _state(facts: RunFacts) -> str:
    if facts.ended_at is None:
        return "not held: it goes on"
    return f"over: {facts.result.ending.value.replace('_', ' ')}"


def refuse_overtaken(project: Project, catalog: BranchCatalog, run_id: str, held: Held) -> None:
    """Refuse to approve what another run has published meanwhile.

    A plan that lies on another machine is not looked at: the run itself looks again when it is
    rebased, and then ends with nothing new.

    Raises:
        DecisionRefusedError: main holds the same input.
    """
    folder = open_home(project).folder(run_id)
    if not folder.has_plan(held.round):
        return
    pinned = folder.plan(held.round)
    source, table = source_of(project, pinned.pipeline, held.request), pinned.pipeline.table_name
    if any(run_id in evidence.runs_of(seal) for _, seal in evidence.seals(catalog, table)):
        return  # it is published itself, and whoever told it so was killed: it goes on from there
    if was_done(source, catalog, table, pinned.plan):
        raise DecisionRefusedError(
            "the run was overtaken: another run has published the same input",
            where=f"run {run_id}",
            hint=f'wap reject {run_id} --reason "…"',
        )


def waiver_of(
    run_id: str,
    held: Held,
    said: Change,
    *,
    checks: Collection[str],
    report: str | None,
    at: datetime,
    until: datetime,
) -> Waiver:
    """A person's yes.

    Args:
        said: who, and why.
        checks: what they answer for; nothing means all that failed.
        report: digest of the report that they read; None: the one that the run is held by.
        at, until: when it is given, and until when it counts.
    """
    return Waiver(
        run_id=run_id,
        report_digest=report or held.report_digest,
        checks=frozenset(checks) or held.names,
        person=said.author,
        reason=said.reason,
        at=at,
        until=until,
    )


def refusal_of(run_id: str, held: Held, said: Change) -> Refusal:
    """A person's no."""
    return Refusal(
        run_id=run_id,
        report_digest=held.report_digest,
        person=said.author,
        reason=said.reason,
    )
