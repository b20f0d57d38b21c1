"""The end of a run: its facts put together, the final report written, the ledger told."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from pyiceberg.schema import Schema

from catalog.base import BranchCatalog, Staging
from catalog.errors import CatalogError
from catalog.refs import TableName
from checks.render import Aside, Seen, Story, Waived, write_report
from wap import evidence
from wap.auditing import counts_of, facts_of, refusal_reason, refuse_batch
from wap.homes import RunHome
from wap.ledger.base import Ledger
from wap.model import (
    CheckCounts,
    ColumnFact,
    Ending,
    Quarantined,
    Rows,
    RunFacts,
    RunResult,
    SnapshotMove,
    Waiver,
)
from wap.project import Project
from wap.quarantine.beside import told
from wap.runs import Books, PinnedPlan, RunFolder
from wap.steps import Audited, RunRef
from wap.type_texts import type_text


def facts_of_run(
    run: RunRef, pinned: PinnedPlan, folder: RunFolder, result: RunResult | None = None
) -> RunFacts:
    """Everything known about a run so far; without a result, those of a run that goes on."""
    pipeline = pinned.pipeline
    report = folder.report() if folder.has_report() else None
    steps = folder.steps()
    return RunFacts(
        result=result
        or RunResult(
            run_id=run.run_id,
            pipeline=pipeline.name,
            table=pipeline.table,
            ending=Ending.ROLLED_BACK,
            reason="running",
        ),
        pipeline_digest=pinned.digest,
        pipeline_version=pinned.version,
        source_kind=pinned.plan.kind,
        source_location=pipeline.source.location,
        source_columns=pinned.source_columns,
        columns=_columns(pinned),
        owners=tuple(pipeline.owners),
        contact=pipeline.contact,
        write_mode=pipeline.write.mode,
        inputs=_books(run, folder).inputs,
        checks=facts_of(report) if report else (),
        report_digest=report.digest if report else None,
        contract_digest=report.contract_digest if report else None,
        quarantine_report=folder.report(beside=True).digest
        if folder.has_report(beside=True)
        else None,
        steps=steps,
        started_at=pinned.started_at,
        ended_at=datetime.now(UTC) if result and result.held is None else None,
    )


def publish_result(
    run: RunRef, pinned: PinnedPlan, folder: RunFolder, audited: Audited, staging: Staging
) -> RunResult:
    """What the seal says of the run: that it is published (only then can it be read)."""
    rows = folder.books(run.round).rows
    return RunResult(
        run_id=run.run_id,
        pipeline=pinned.pipeline.name,
        table=pinned.pipeline.table,
        ending=Ending.PUBLISHED,
        rows=rows.model_copy(update={"published": rows.staged}),
        snapshot=SnapshotMove(before=staging.expected),
        checks=audited.checks,
        seconds=(datetime.now(UTC) - pinned.started_at).total_seconds(),
        waiver=audited.waiver,
        quarantine=told(folder, staging),
    )


def record_refusal(
    run: RunRef,
    pinned: PinnedPlan,
    folder: RunFolder,
    what: str,
    differences: tuple[str, ...],
    hint: str = "",
) -> str:
    """Keep the report of a batch that does not fit its table; returns why, for people."""
    folder.save_report(
        refuse_batch(
            run_id=run.run_id,
            table=pinned.pipeline.table,
            pinned=pinned,
            what=what,
            differences=differences,
        )
    )
    return refusal_reason(pinned, what, differences, hint)


def hold_run(
    run: RunRef,
    home: RunHome,
    project: Project,
    ledger: Ledger,
    result: RunResult,
    waivers: Sequence[Waiver],
) -> RunResult:
    """Write report and ledger of a run that waits for a person; its folder stays as it is."""
    folder = home.folder(run.run_id)
    pinned = folder.plan(run.round)
    result = result.model_copy(update={"report": _page(run, project)})
    facts = facts_of_run(run, pinned, folder, result)
    story = _story(run, pinned, folder, facts, waivers)
    page = write_report(project.reports / run.run_id, folder.report(), story)
    home.keep_report(page.parent)
    home.keep_held(facts)  # a ledger that is lost could else never tell how to decide it
    ledger.hold(facts)
    return result


def with_waivers(
    catalog: BranchCatalog, table: TableName, result: RunResult
) -> tuple[RunResult, tuple[Waiver, ...]]:
    """The waivers in force on a table; a run that ended because of the catalog is told without."""
    try:
        return result, evidence.in_force(catalog, table, datetime.now(UTC))
    except CatalogError as exc:
        said = f"the report does not tell the table's earlier waivers: {exc.what}"
        return result.warned(said), ()


def close_run(
    run: RunRef,
    home: RunHome,
    project: Project,
    ledger: Ledger,
    result: RunResult,
    waivers: Sequence[Waiver],
) -> RunResult:
    """Write report and ledger; a run that had nothing to do, or never got a plan, has neither.

    Args:
        waivers: those in force on the table.
    """
    folder = home.folder(run.run_id)
    if not folder.has_plan(0):
        folder.remove()  # it may hold what its steps took
    if not folder.has_plan(run.round):
        folder.remove()
        return result
    pinned = folder.plan(run.round)
    if not result.nothing_new:
        result = result.model_copy(
            update={
                "report": _page(run, project),
                "checks": counts_of(folder.report()) if folder.has_report() else CheckCounts(),
            }
        )
    facts = facts_of_run(run, pinned, folder, result)
    if not result.nothing_new:
        report = folder.report() if folder.has_report() else None
        page = write_report(
            project.reports / run.run_id, report, _story(run, pinned, folder, facts, waivers)
        )
        home.keep_report(page.parent)
    ledger.finish(facts)
    folder.keep_rejects(project.state / "rejects" / f"{run.run_id}.jsonl")
    folder.remove()
    return result


def _page(run: RunRef, project: Project) -> str:
    page = project.reports / run.run_id / "report.html"
    return str(page.relative_to(project.root))


def _story(
    run: RunRef,
    pinned: PinnedPlan,
    folder: RunFolder,
    facts: RunFacts,
    waivers: Sequence[Waiver],
) -> Story:
    books, result = _books(run, folder), facts.result
    published = result.ending is Ending.PUBLISHED
    before = books.before_rows
    return Story(
        pipeline=pinned.pipeline.name,
        pipeline_version=pinned.version,
        run_id=run.run_id,
        table=pinned.pipeline.table,
        ending=result.ending.value,
        reason=result.reason,
        rows=result.rows.model_dump(),
        before=Seen(result.snapshot.before, before),
        after=Seen(result.snapshot.after, books.candidate if published else before),
        inputs=tuple((i.path, i.bytes) for i in books.inputs),
        rejects=tuple((r.file, r.line, r.reason) for r in books.rejects),
        steps=tuple((s.name, s.seconds) for s in facts.steps),
        owners=facts.owners,
        contact=facts.contact,
        started_at=facts.started_at,
        seconds=result.seconds,
        warnings=(*result.warnings, *result.incomplete),
        held_until=result.held.until if result.held else None,
        waivers=tuple(map(_waived, _and_own(waivers, result.waiver))),
        aside=_aside(result.quarantine) if result.quarantine else None,
    )


def _aside(quarantine: Quarantined) -> Aside:
    checks = tuple((check.title, check.rows) for check in quarantine.checks)
    return Aside(table=quarantine.table, rows=quarantine.rows, checks=checks)


def _and_own(waivers: Sequence[Waiver], own: Waiver | None) -> list[Waiver]:
    """The run's own first, also when it has expired by now."""
    others = [w for w in waivers if own is None or w.run_id != own.run_id]
    return [*([own] if own else []), *others]


def _waived(waiver: Waiver) -> Waived:
    return Waived(
        run_id=waiver.run_id,
        checks=tuple(sorted(waiver.checks)),
        person=waiver.person,
        reason=waiver.reason,
        at=waiver.at,
        until=waiver.until,
    )


def _books(run: RunRef, folder: RunFolder) -> Books:
    if folder.has_books(run.round):
        return folder.books(run.round)
    return Books(rows=Rows(), files=0, bytes=0)


def _columns(pinned: PinnedPlan) -> tuple[ColumnFact, ...]:
    if not pinned.wanted_schema:
        return ()
    tags = pinned.pipeline.tags
    return tuple(
        ColumnFact(name=f.name, type=type_text(f.field_type), tags=tuple(tags.get(f.name, ())))
        for f in Schema.model_validate_json(pinned.wanted_schema).fields
    )
