"""The stage step's work: stream the batch into data files, keep the books, commit the change."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
from pyiceberg.expressions import (
    And,
    BooleanExpression,
    GreaterThanOrEqual,
    LessThan,
    Reference,
)
from pyiceberg.expressions.literals import literal
from pyiceberg.expressions.parser import parse
from pyiceberg.schema import Schema

from catalog.base import BranchCatalog, Change, Scan, Staging, TableShape
from wap import aside, attempt
from wap.compaction import is_compaction, rewritten
from wap.engines.base import Engine, Merged, Progress, Written
from wap.engines.met import laid_aside, schema_aside
from wap.errors import ConfigError
from wap.keyed.rule import Became, Rule
from wap.model import InputFact, Rows
from wap.pipeline import Pipeline, split_transform
from wap.runs import Books, PinnedPlan, RunFolder
from wap.sources.base import Counts, Plan, Source
from wap.types import arrow_type, to_arrow

#: Snapshots say their time in milliseconds, rows theirs in microseconds.
_TICK = timedelta(milliseconds=1)


def shape_of(pinned: PinnedPlan) -> TableShape:
    """What the table is to look like."""
    return TableShape(
        schema=Schema.model_validate_json(pinned.wanted_schema),
        partitioning=tuple(split_transform(t) for t in pinned.pipeline.partitioning),
    )


def write_batch(
    *,
    pinned: PinnedPlan,
    source: Source,
    engine: Engine,
    catalog: BranchCatalog,
    staging: Staging,
    folder: RunFolder,
    number: int,
) -> tuple[Staging, Books]:
    """Write and commit a round's batch; after a crash behind the commit, only say what was done.

    Raises:
        BatchRefusedError: a row or value does not fit.
        SourceError, EngineError, CatalogError: see the ports.
    """
    if staging.staged:
        books = folder.books(number)
    else:
        staging, books = _stage(pinned, source, engine, catalog, staging, folder, number)

    def committed() -> set[str]:
        files = catalog.scan(staging.table, staging.head, staging.branch).files
        return {f.file_path for f in files}

    # Now that the branch has moved no other attempt can commit: what else lies there is litter.
    engine.clear(staging, committed)
    return staging, books


def _stage(
    pinned: PinnedPlan,
    source: Source,
    engine: Engine,
    catalog: BranchCatalog,
    staging: Staging,
    folder: RunFolder,
    number: int,
) -> tuple[Staging, Books]:
    became: Became | None = None
    replaced: Scan | None
    try:
        if pinned.pipeline.write.keyed and not is_compaction(pinned):
            merged, counts = _merge(pinned, source, engine, catalog, staging, folder, number)
            became, written, kept = merged.became, merged.added, merged.kept
            replaced = Scan(staging.schema, merged.removed, staging.io)
        else:
            written, counts = _write(pinned, source, engine, staging)
            replaced, kept = _replaced(pinned, engine, catalog, staging)
    finally:
        folder.hand_over_rejects()
    books = books_of(pinned.plan, written, counts, replaced, kept, became)
    # Before the commit: an attempt that dies behind it must still find its books.
    folder.save_books(number, books)
    change = Change(
        added=written.files,
        removed=replaced.files if replaced else (),
        kept=kept.files,
        same_rows=is_compaction(pinned),
        summary=notes_of(pinned),
    )
    return catalog.stage(staging, change), books


def _write(
    pinned: PinnedPlan, source: Source, engine: Engine, staging: Staging
) -> tuple[Written, Counts]:
    schema = _asked_for(pinned, staging)
    with source.open(pinned.plan, schema, cancelled=attempt.cancelled) as extract:
        written = engine.write(extract, staging, report=_report(), cancelled=attempt.cancelled)
        return written, extract.finish()


def _merge(
    pinned: PinnedPlan,
    source: Source,
    engine: Engine,
    catalog: BranchCatalog,
    staging: Staging,
    folder: RunFolder,
    number: int,
) -> tuple[Merged, Counts]:
    """Lay the batch aside; let it meet the rows of the snapshot that the branch began at."""
    rule = rule_on(pinned, catalog, staging.expected)
    with laid_aside(folder.scratch, aside.name_of(number), keep=folder.shared is None) as place:
        given, counts = read_aside(pinned, source, engine, staging, rule, place)
        aside.note(place, given, schema_aside(staging.schema, rule), counts)
        if folder.shared is not None:
            folder.refuse_late()
            # Whichever worker meets another main needs the batch, and this one may be gone then.
            aside.share(folder.shared, place)
        with laid_aside(place, "spill-") as temp:
            return meet(given, rule, engine, catalog, staging, staging.expected, temp), counts


def read_aside(
    pinned: PinnedPlan,
    source: Source,
    engine: Engine,
    staging: Staging,
    rule: Rule,
    place: Path,
) -> tuple[Written, Counts]:
    """Read the batch into a folder on this machine, where :func:`meet` finds it."""
    schema = _asked_for(pinned, staging)
    if rule.marks is not None:
        schema = schema.append(pa.field(rule.marks.column, arrow_type(rule.marks.kind)))
    with source.open(pinned.plan, schema, cancelled=attempt.cancelled) as extract:
        given = engine.lay_aside(
            extract, staging, rule, place, report=_report(), cancelled=attempt.cancelled
        )
        return given, extract.finish()


def meet(
    given: Written,
    rule: Rule,
    engine: Engine,
    catalog: BranchCatalog,
    staging: Staging,
    main: int | None,
    temp: Path,
    *,
    again: str = "",
    without: Scan | None = None,
) -> Merged:
    """Let a batch that lies aside meet the published rows.

    Args:
        main: the snapshot they are of; None: nothing is published.
        temp, again, without: see :meth:`wap.engines.base.Engine.merge`.
    """

    def find(condition: BooleanExpression) -> Scan:
        assert main is not None  # noqa: S101 - else it is not handed on
        return catalog.scan(staging.table, main, row_filter=condition)

    return engine.merge(
        given, staging, rule, find if main is not None else None, temp,
        again=again, without=without, cancelled=attempt.cancelled,
    )  # fmt: skip


def rule_on(pinned: PinnedPlan, catalog: BranchCatalog, main: int | None) -> Rule:
    """How the batch meets what a snapshot of main shows.

    The run comes after whoever published that, and so does what it writes down as its own time,
    also when that one was planned later and was faster.
    """
    at = pinned.started_at
    if main is not None and pinned.pipeline.write.mode == "history":
        log = catalog.log(pinned.pipeline.table_name)
        at = max([at, *(s.committed_at + _TICK for s in log if s.id == main)])
    return Rule.of(pinned.pipeline.write, at)


def notes_of(pinned: PinnedPlan) -> dict[str, str]:
    """What a batch says of itself when it is staged."""
    return {"wap.pipeline": pinned.pipeline.name, "wap.source": pinned.plan.digest}


def _asked_for(pinned: PinnedPlan, staging: Staging) -> pa.Schema:
    """The columns that are read from the source, in the table's types."""
    full = to_arrow(staging.schema)
    return pa.schema([full.field(name) for name in pinned.columns])


def _report() -> Callable[[Progress], None]:
    now = attempt.current()

    def report(progress: Progress) -> None:
        now.report(
            rows=progress.rows,
            bytes_read=progress.bytes_read,
            bytes_written=progress.bytes_written,
        )

    return report


def _replaced(
    pinned: PinnedPlan, engine: Engine, catalog: BranchCatalog, staging: Staging
) -> tuple[Scan | None, Written]:
    """The published files this run replaces, and the rows of them that stay, written anew."""
    if is_compaction(pinned):
        return rewritten(pinned, engine, catalog, staging)
    if pinned.pipeline.write.mode != "replace" or staging.expected is None:
        return None, Written(())
    return replaced_on(pinned, engine, catalog, staging, staging.expected)


def replaced_on(
    pinned: PinnedPlan,
    engine: Engine,
    catalog: BranchCatalog,
    staging: Staging,
    main: int,
    *,
    again: str = "",
) -> tuple[Scan, Written]:
    """The files of main that a ``replace`` takes, and the rows of them that stay, written anew.

    Args:
        main: the snapshot they are of.
        again: see :meth:`wap.engines.base.Engine.carry`.
    """
    condition = _condition(pinned.pipeline, pinned.plan)
    scan = catalog.scan(staging.table, main, row_filter=condition)
    if condition is None:
        return scan, Written(())
    return scan, engine.carry(scan, condition, staging, again=again, cancelled=attempt.cancelled)


def _condition(pipeline: Pipeline, plan: Plan) -> BooleanExpression | None:
    """Which published rows are replaced; None: all of them."""
    if pipeline.write.where is not None:
        try:
            return parse(pipeline.write.where)
        except Exception as exc:
            raise ConfigError(
                f"write.where is not an Iceberg row filter: {pipeline.write.where!r}",
                where=f"pipelines/{pipeline.name}.yml",
                hint="write for example: carrier = 'AA' and year >= 2013",
            ) from exc
    if plan.interval is not None:
        column = plan.interval.column
        return And(
            GreaterThanOrEqual(term=Reference(column), value=literal(plan.interval.start)),
            LessThan(term=Reference(column), value=literal(plan.interval.end)),
        )
    return None


def books_of(
    plan: Plan,
    written: Written,
    counts: Counts,
    replaced: Scan | None,
    kept: Written,
    became: Became | None,
) -> Books:
    """The books of a change: what the source, the writer and the meeting by key counted."""
    by_key = became or Became()
    return Books(
        rows=Rows(
            read=counts.read,
            staged=written.rows,
            unchanged=by_key.unchanged,
            deleted=by_key.deleted,
            quarantined=counts.rejected,
            deduplicated=by_key.deduplicated,
            discarded=counts.discarded + by_key.late,
            kept=kept.rows,
            inserted=by_key.inserted,
            updated=by_key.updated,
        ),
        late=by_key.late,
        files=len(written.files) + len(kept.files),
        bytes=written.bytes + kept.bytes,
        removed_rows=replaced.rows if replaced else 0,
        rejects=aside.rejects_of(counts),
        inputs=_inputs(plan),
    )


def _inputs(plan: Plan) -> tuple[InputFact, ...]:
    """What a plan reads, as reports and lineage name it."""
    inputs = plan.work.get("files") or plan.work.get("inputs")
    return tuple(
        InputFact(path=str(f["path"]), bytes=_size(f.get("size")), version=str(f["version"]))
        for f in (inputs if isinstance(inputs, list) else ())
        if isinstance(f, dict)
    )


def _size(value: object) -> int | None:
    return None if value is None else int(str(value))


def count_batch(catalog: BranchCatalog, staging: Staging, books: Books) -> Books:
    """Count what lies in the table: the batch, and the candidate against what it must come to."""
    before = 0
    if staging.expected is not None:
        before = catalog.scan(staging.table, staging.expected).rows
    return books.model_copy(
        update={
            "before_rows": before,
            "counted": catalog.batch(staging).rows,
            "candidate": catalog.scan(staging.table, staging.head, staging.branch).rows,
            "expected_candidate": before - books.removed_rows + books.rows.kept + books.rows.staged,
        }
    )
