"""The stage step's work: stream the batch into data files, keep the books, commit the change."""

from __future__ import annotations

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
from wap.engines.base import Engine, Progress, Written
from wap.errors import ConfigError
from wap.model import InputFact, Rows
from wap.pipeline import Pipeline, split_transform
from wap.runs import Books, PinnedPlan, Reject, RunFolder
from wap.sources.base import Counts, Plan, Source
from wap.types import to_arrow

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
    try:
        written, counts = _write(pinned.plan, source, engine, staging, pinned.columns)
    finally:
        folder.hand_over_rejects()
    replaced, kept = _replaced(pinned, engine, catalog, staging)
    books = _books(pinned.plan, written, counts, replaced, kept)
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
    plan: Plan, source: Source, engine: Engine, staging: Staging, columns: tuple[str, ...]
) -> tuple[Written, Counts]:
    attempt = attempts.current()

    def report(progress: Progress) -> None:
        attempt.report(
            rows=progress.rows,
            bytes_read=progress.bytes_read,
            bytes_written=progress.bytes_written,
        )

    full = to_arrow(staging.schema)
    schema = pa.schema([full.field(name) for name in columns])
    with source.open(plan, schema, cancelled=attempts.cancelled) as extract:
        written = engine.write(extract, staging, report=report, cancelled=attempts.cancelled)
        return written, extract.finish()


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
    plan: Plan, written: Written, counts: Counts, replaced: Scan | None, kept: Written
) -> Books:
    return Books(
        rows=Rows(
            read=counts.read,
            staged=written.rows,
            quarantined=counts.rejected,
            discarded=counts.discarded,
            kept=kept.rows,
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
