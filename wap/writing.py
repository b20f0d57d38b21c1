"""The stage step's work: stream the batch into data files, keep the books, commit the change."""

from __future__ import annotations

from collections.abc import Callable

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
from wap import attempts
from wap.compaction import is_compaction, rewritten
from wap.engines.base import Engine, Merged, Progress, Written
from wap.errors import ConfigError
from wap.keyed.rule import Became, Rule
from wap.model import InputFact, Rows
from wap.pipeline import Pipeline, split_transform
from wap.runs import Books, PinnedPlan, Reject, RunFolder
from wap.sources.base import Counts, Plan, Source
from wap.types import arrow_type, to_arrow

#: So many of the rows that were set aside are shown in the report.
SHOWN_REJECTS = 20


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
    # Now that the branch has moved no other attempt can commit: what else lies there is litter.
    committed = catalog.scan(staging.table, staging.head, staging.branch).files
    engine.clear(staging, keep={f.file_path for f in committed})
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
            merged, counts = _merge(pinned, source, engine, catalog, staging, folder)
            became, written, kept = merged.became, merged.added, merged.kept
            replaced = Scan(staging.schema, merged.removed, staging.io)
        else:
            written, counts = _write(pinned, source, engine, staging)
            replaced, kept = _replaced(pinned, engine, catalog, staging)
    finally:
        folder.hand_over_rejects()
    books = _books(pinned.plan, written, counts, replaced, kept, became)
    # Before the commit: an attempt that dies behind it must still find its books.
    folder.save_books(number, books)
    change = Change(
        added=written.files,
        removed=replaced.files if replaced else (),
        kept=kept.files,
        same_rows=is_compaction(pinned),
        summary={"wap.pipeline": pinned.pipeline.name, "wap.source": pinned.plan.digest},
    )
    return catalog.stage(staging, change), books


def _write(
    pinned: PinnedPlan, source: Source, engine: Engine, staging: Staging
) -> tuple[Written, Counts]:
    schema = _asked_for(pinned, staging)
    with source.open(pinned.plan, schema, cancelled=attempts.cancelled) as extract:
        written = engine.write(extract, staging, report=_report(), cancelled=attempts.cancelled)
        return written, extract.finish()


def _merge(
    pinned: PinnedPlan,
    source: Source,
    engine: Engine,
    catalog: BranchCatalog,
    staging: Staging,
    folder: RunFolder,
) -> tuple[Merged, Counts]:
    """Let the batch meet the published rows of the snapshot that the branch began at."""
    rule = Rule.of(pinned.pipeline.write, pinned.started_at)
    schema = _asked_for(pinned, staging)
    if rule.marks is not None:
        schema = schema.append(pa.field(rule.marks.column, arrow_type(rule.marks.kind)))

    def find(condition: BooleanExpression) -> Scan:
        assert staging.expected is not None  # noqa: S101 - else it is not handed on
        return catalog.scan(staging.table, staging.expected, row_filter=condition)

    with source.open(pinned.plan, schema, cancelled=attempts.cancelled) as extract:
        merged = engine.merge(
            extract, staging, rule, find if staging.expected is not None else None,
            folder.scratch, report=_report(), cancelled=attempts.cancelled,
        )  # fmt: skip
        return merged, extract.finish()


def _asked_for(pinned: PinnedPlan, staging: Staging) -> pa.Schema:
    """The columns that are read from the source, in the table's types."""
    full = to_arrow(staging.schema)
    return pa.schema([full.field(name) for name in pinned.columns])


def _report() -> Callable[[Progress], None]:
    attempt = attempts.current()

    def report(progress: Progress) -> None:
        attempt.report(
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
    pipeline = pinned.pipeline
    if pipeline.write.mode != "replace" or staging.expected is None:
        return None, Written(())
    condition = _condition(pipeline, pinned.plan)
    scan = catalog.scan(staging.table, staging.expected, row_filter=condition)
    if condition is None:
        return scan, Written(())
    kept = engine.carry(scan, condition, staging, cancelled=attempts.cancelled)
    return scan, kept


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


def _books(
    plan: Plan,
    written: Written,
    counts: Counts,
    replaced: Scan | None,
    kept: Written,
    became: Became | None,
) -> Books:
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
        files=len(written.files) + len(kept.files),
        bytes=written.bytes + kept.bytes,
        removed_rows=replaced.rows if replaced else 0,
        rejects=tuple(
            Reject(file=r.file, line=r.line, reason=r.reason)
            for r in counts.rejects[:SHOWN_REJECTS]
        ),
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
