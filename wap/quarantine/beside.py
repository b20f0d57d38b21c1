"""The run's other table: the quarantine table's branch beside that of the table itself."""

from __future__ import annotations

from pyiceberg.schema import Schema

from catalog.base import BranchCatalog, Staging
from catalog.refs import AuditedHead, TableName
from checks.report import Report
from wap.auditing import counts_of, facts_of
from wap.compaction import is_compaction
from wap.errors import ConfigError, QuarantineError
from wap.evidence import member_notes
from wap.model import ColumnFact, Quarantined, Rows, RunFacts, SetAside, SnapshotMove
from wap.pipeline import Pipeline
from wap.quarantine.table import NOTE, beside, quarantine_of
from wap.runs import Books, PinnedPlan, RunFolder
from wap.sealing import seal_head
from wap.sources.base import Cursor
from wap.steps import AuditedBeside
from wap.type_texts import type_text
from wap.writing import count_batch

#: What a quarantine table was read from: nothing that could be read on.
CURSOR = Cursor(kind="quarantine", state={})


def check_catalog(catalog: BranchCatalog, pipeline: Pipeline) -> None:
    """Refuse to set rows aside where both tables cannot be published in one commit.

    Raises:
        ConfigError: the catalog cannot; nothing was written.
    """
    if pipeline.quarantine_limits is None:
        return
    able, table = catalog.capabilities, pipeline.table_name
    where = f"pipelines/{pipeline.name}.yml: on_failure"
    if not able.atomic_groups:
        raise ConfigError(
            "this catalog cannot publish a table and its quarantine table in one commit",
            where=where,
            hint="choose on_failure: reject or hold; `wap doctor` says what the catalog can do",
        )
    if not able.new_in_groups and catalog.published(quarantine_of(table)) is None:
        raise ConfigError(
            "this catalog cannot publish a new table in one commit with another, "
            f"and {quarantine_of(table)} would be new",
            where=where,
            hint=f"have it made first, once: wap quarantine {table}",
        )


def plan_beside(catalog: BranchCatalog, pinned: PinnedPlan) -> PinnedPlan:
    """The run's plan for the quarantine table; see :func:`wap.quarantine.table.beside`."""
    published = catalog.published(quarantine_of(pinned.pipeline.table_name))
    return beside(pinned, published.schema if published is not None else None)


def sets_aside(pinned: PinnedPlan, staging: Staging, *, replay: bool) -> bool:
    """Whether a batch whose audit failed may be divided.

    A replay is divided once, by what waits: it is planned anew when main has moved.
    """
    if replay:
        return len(staging.notes.get(NOTE, "").split()) == 1
    return pinned.pipeline.quarantine_limits is not None and not is_compaction(pinned)


def is_divided(staging: Staging) -> bool:
    """Whether rows of the batch were set aside."""
    return NOTE in staging.notes


def staging_beside(catalog: BranchCatalog, staging: Staging) -> Staging | None:
    """The quarantine table on the run's branch; None when no row was set aside.

    Raises:
        QuarantineError: it holds other rows than those that the batch was divided from.
    """
    if not is_divided(staging):
        return None
    aside = catalog.staging(staging.branch, quarantine_of(staging.table))
    if aside.notes.get(NOTE) != staging.notes[NOTE]:
        raise QuarantineError(
            "two attempts at dividing the batch met: the rows set aside are not those left out",
            where=f"{aside.table} on {aside.branch}",
            hint="nothing was published; run again",
        )
    return aside


def told(folder: RunFolder, staging: Staging) -> Quarantined | None:
    """What was set aside of a batch, and because of which checks; None: nothing."""
    if not is_divided(staging):
        return None
    parts = [folder.division(token).told for token in staging.notes[NOTE].split()]
    checks: dict[str, SetAside] = {}
    for check in (c for part in parts for c in part.checks):
        before = checks.get(check.name)
        rows = check.rows + (before.rows if before is not None else 0)
        checks[check.name] = check.model_copy(update={"rows": rows})
    rows = sum(part.rows for part in parts)
    aside = str(quarantine_of(staging.table))
    return Quarantined(table=aside, rows=rows, checks=tuple(checks.values())) if rows else None


def divided_books(
    catalog: BranchCatalog, folder: RunFolder, staging: Staging, books: Books
) -> Books:
    """The books of a batch that was divided, counted in both tables.

    The same however often it is done: what the source set aside is told apart from the rest.
    """
    rest = catalog.batch(staging)
    aside = catalog.batch(catalog.staging(staging.branch, quarantine_of(staging.table)))
    malformed = books.rows.quarantined - books.beside
    books = met_books(folder, staging, books)
    rows = {"staged": rest.rows, "quarantined": malformed + aside.rows}
    files = [*rest.files, *aside.files]
    return books.model_copy(
        update={
            "rows": books.rows.model_copy(update=rows),
            "beside": aside.rows,
            "files": len(files),
            "bytes": sum(f.file_size_in_bytes for f in files),
        }
    )


def replayed_books(
    catalog: BranchCatalog,
    folder: RunFolder,
    staging: Staging,
    books: Books,
    left: Quarantined | None = None,
) -> Books:
    """The books of a replay.

    Args:
        left: the rows that were left where they wait; None: none were.
    """
    files, books = catalog.batch(staging), met_books(folder, staging, books)
    rows = {"staged": files.rows, "quarantined": left.rows if left is not None else 0}
    return books.model_copy(
        update={
            "rows": books.rows.model_copy(update=rows),
            "files": len(files.files),
            "bytes": sum(f.file_size_in_bytes for f in files.files),
        }
    )


def met_books(folder: RunFolder, staging: Staging, books: Books) -> Books:
    """The books with what became of the rows that met the published ones by key, if they did."""
    met = folder.division(staging.notes[NOTE].split()[-1]).met
    if met is None:
        return books
    by_key = met.rows.model_dump(
        include={"staged", "unchanged", "deleted", "deduplicated", "kept", "inserted", "updated"}
    )
    discarded = books.rows.discarded - books.late + met.rows.discarded
    return books.model_copy(
        update={
            "rows": books.rows.model_copy(update={**by_key, "discarded": discarded}),
            "late": met.rows.discarded,
            "removed_rows": met.removed,
        }
    )


def books_beside(
    catalog: BranchCatalog, folder: RunFolder, aside: Staging, books: Books, *, replay: bool
) -> Books:
    """The quarantine table's own books: what the run's tell of it, and what lies there.

    Args:
        replay: its rows are marked, in files that are written anew; else they are added.
    """
    if not replay:
        rows = Rows(read=books.beside, staged=books.beside)
        return count_batch(catalog, aside, Books(rows=rows, files=0, bytes=0))
    # As many are marked as the table gets, and none is lost on the way.
    division = folder.division(aside.notes[NOTE].split()[-1])
    taken = books.rows.read - books.rows.quarantined
    rows = Rows(read=taken, staged=taken, kept=division.removed - taken)
    return count_batch(
        catalog, aside, Books(rows=rows, files=0, bytes=0, removed_rows=division.removed)
    )


def facts_beside(
    facts: RunFacts, plan: PinnedPlan, aside: Staging, report: Report, books: Books
) -> RunFacts:
    """The facts of the run as the quarantine table's evidence keeps them."""
    result = facts.result.model_copy(
        update={
            "table": plan.pipeline.table,
            "rows": books.rows.model_copy(update={"published": books.rows.staged}),
            "snapshot": SnapshotMove(before=aside.expected),
            "checks": counts_of(report),
            "quarantine": None,
        }
    )
    return facts.with_result(result).model_copy(
        update={
            "columns": _facts(aside.schema, plan),
            "checks": facts_of(report),
            "report_digest": report.digest,
            "contract_digest": report.contract_digest,
        }
    )


def head_beside(head: AuditedHead, audited: AuditedBeside, folder: RunFolder) -> AuditedHead:
    """The quarantine table's audited head beside that of the table; nobody can waive its audit."""
    return AuditedHead(
        branch=head.branch,
        table=quarantine_of(head.table),
        head=audited.head,
        expected=audited.expected,
        report=folder.report(audited.report_digest, beside=True),
        sealed_only=head.sealed_only,
    )


def seal_beside(
    catalog: BranchCatalog,
    folder: RunFolder,
    pinned: PinnedPlan,
    head: AuditedHead,
    facts: RunFacts,
    books: Books,
    group: str | None,
) -> None:
    """Put the run's seal on the quarantine table's head.

    Args:
        facts: of the run, about the table itself.
        books: the quarantine table's own.
        group: the name of that which the run is a member of.

    Raises:
        HeadMovedError, UnsealedError: see the port.
    """
    plan, aside = plan_beside(catalog, pinned), catalog.staging(head.branch, head.table)
    report = folder.report(head.report.digest, beside=True)
    seal_head(
        catalog, head, aside,
        pinned=plan, folder=folder, report=report, books=books, cursor=CURSOR,
        facts=facts_beside(facts, plan, aside, report, books),
        notes=member_notes(group) if group is not None else {},
    )  # fmt: skip


def columns_beside(catalog: BranchCatalog, pinned: PinnedPlan) -> tuple[ColumnFact, ...]:
    """The quarantine table's columns, as it is published; () where there is none."""
    published = catalog.published(quarantine_of(pinned.pipeline.table_name))
    return _facts(published.schema, pinned) if published is not None else ()


def _facts(schema: Schema, pinned: PinnedPlan) -> tuple[ColumnFact, ...]:
    tags = pinned.pipeline.tags
    return tuple(
        ColumnFact(name=f.name, type=type_text(f.field_type), tags=tuple(tags.get(f.name, ())))
        for f in schema.fields
    )


def table_of(pinned: PinnedPlan, *, replay: bool) -> TableName | None:
    """The quarantine table that a run may stage; None: it never does."""
    pipeline = pinned.pipeline
    may = replay or pipeline.quarantine_limits is not None
    return quarantine_of(pipeline.table_name) if may else None
