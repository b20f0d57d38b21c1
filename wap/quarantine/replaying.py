"""A replay: rows that wait in quarantine are staged in their table, and marked where they waited.

Both tables are staged on one branch and published in one commit, so a row is replayed once. What
still breaks a check is left where it is. Where rows meet the published ones by key, these do, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import duckdb
import pyarrow as pa

from catalog.base import Change, Staging
from checks.report import Report
from checks.row_level import separable
from wap import attempt
from wap.auditing import contracts_of, named_in
from wap.division import Division, Met
from wap.engines.base import Written
from wap.engines.met import laid_aside
from wap.errors import BatchRefusedError, EngineError, QuarantineError
from wap.field_map import literal, quoted
from wap.keyed.columns import history_columns
from wap.model import Quarantined, Rows
from wap.quarantine import table as columns
from wap.quarantine.beside import met_books, plan_beside
from wap.quarantine.divider import Divider, clear, new_token, own_notes, put
from wap.quarantine.dividing import NOTHING
from wap.quarantine.finding import FILE, PLACE, CannotDivideError, Found, find
from wap.quarantine.planned import choice_of, corrections_of
from wap.quarantine.queried import Queried
from wap.quarantine.rest import came_of, meet_rows, met_of
from wap.quarantine.waiting import Waiting
from wap.relations import audit_relation, connect
from wap.remote_files import failure_of
from wap.runs import Books
from wap.types import to_arrow
from wap.writing import rule_on, shape_of

# --- stage --------------------------------------------------------------------------------------


def stage_replay(divider: Divider) -> tuple[Staging, Books]:
    """Stage the rows that wait, and mark them; after a crash behind that, only say what was done.

    Args:
        divider: its ``audited`` is main's head, as the branch was opened.

    Raises:
        BatchRefusedError: a corrected row is none that waits, or has a value that does not fit.
        SourceError, EngineError, CatalogError: see the ports.
    """
    staging = divider.staging()
    if not staging.staged:
        con = connect(temp_directory=divider.temp_directory, memory_limit=divider.memory_limit)
        try:
            with _waiting(divider, staging, con) as waiting, _translated(con, staging):
                waiting.refuse_strangers()
                rows = waiting.count()
                # Before the commit: an attempt that dies behind it must still find its books.
                books = Books(rows=Rows(read=rows, staged=rows), files=0, bytes=0)
                divider.folder.save_books(divider.number, books)
                _replayed(divider, staging, waiting, rows, None)
        finally:
            con.close()
    clear(divider)
    staging = divider.staging()
    books = met_books(divider.folder, staging, divider.books)
    divider.folder.save_books(divider.number, books)
    return staging, books


@contextmanager
def _waiting(divider: Divider, staging: Staging, con: Any) -> Iterator[Waiting]:
    plan = divider.pinned.plan
    corrections, aside = corrections_of(plan), columns.quarantine_of(staging.table)
    with laid_aside(divider.folder.scratch) as folder:
        corrected = None
        if corrections is not None:
            schema = to_arrow(staging.schema)
            path = corrections.laid_aside(schema, folder, attempt.cancelled)
            corrected = (path, frozenset(corrections.columns))
        yield Waiting.of(con, divider.catalog, aside, choice_of(plan), staging.schema, corrected)


@contextmanager
def _translated(con: Any, staging: Staging) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as exc:
        failure = failure_of(con)
        if failure is not None:
            raise failure from exc
        what = f"the rows cannot be replayed: {str(exc).splitlines()[0]}"
        raise EngineError(what, where=str(staging.table)) from exc


# --- divide -------------------------------------------------------------------------------------


def divide_replay(divider: Divider, report: Report) -> str | None:
    """Leave the rows that still break a check where they wait; why that cannot be, or None.

    Raises:
        QuarantineError: the rows do not add up.
        CatalogError, EngineError, RelationError: see the ports.
    """
    staging = divider.staging()
    if staging.head == divider.audited:
        try:
            _divided(divider, staging, report)
        except CannotDivideError as exc:
            return str(exc)
        except BatchRefusedError as exc:
            return f"without the rows that still break a check: {exc.what}"
    clear(divider, replace(divider, audited=staging.expected or 0).prefix)
    return None


def _divided(divider: Divider, staging: Staging, report: Report) -> None:
    contracts = contracts_of(divider.pinned)
    with (
        audit_relation(
            divider.catalog,
            staging,
            neighbours=named_in(contracts, staging.table, divider.catalog.tables()),
            masked=divider.pinned.pipeline.masked,
            memory_limit=divider.memory_limit,
            temp_directory=divider.temp_directory,
        ) as relation,
        _waiting(divider, staging, relation.connection) as waiting,
    ):
        found = find(relation, waiting.chosen(), separable(report, contracts))
        rows = waiting.count()
        if not found.rows:
            raise CannotDivideError(NOTHING)
        if found.rows == rows:
            raise CannotDivideError("every row still breaks a check")
        with _translated(relation.connection, staging):
            _replayed(divider, staging, waiting, rows, found)


# --- both ---------------------------------------------------------------------------------------


def _replayed(
    divider: Divider, staging: Staging, waiting: Waiting, rows: int, found: Found | None
) -> None:
    """Stage all rows but those that were found, mark them, and put both on the branch."""
    con, token = waiting.con, new_token()
    chosen = waiting.chosen()
    left = (
        ""
        if found is None
        else (f" ANTI JOIN wap_broken AS b ON c.{FILE} = b.f AND c.{PLACE} = b.r")
    )
    con.execute(
        f"CREATE TEMP TABLE wap_taken AS SELECT c.{FILE} AS f, c.{PLACE} AS r "  # noqa: S608 - names of ours
        f"FROM ({chosen}) AS c{left}"
    )
    own = history_columns(divider.pinned.pipeline.write)
    names = ", ".join(f"c.{quoted(f.name)}" for f in waiting.table.fields if f.name not in own)
    change, met, taken = _taken(
        divider, con, staging, token,
        f"SELECT {names} FROM ({chosen}) AS c "  # noqa: S608 - quoted names
        f"SEMI JOIN wap_taken AS w ON c.{FILE} = w.f AND c.{PLACE} = w.r",
    )  # fmt: skip
    remaining = found.rows if found is not None else 0
    if taken + remaining != rows:
        raise QuarantineError(
            f"{rows:,} rows wait, {taken:,} were taken and {remaining:,} left",
            where=str(staging.table),
        )
    told = Quarantined(
        table=str(columns.quarantine_of(staging.table)),
        rows=remaining,
        checks=found.checks if found is not None else (),
    )
    note = f"{staging.notes.get(columns.NOTE, '')} {token}".strip()
    _mark(divider, waiting, taken, Division(told=told, met=met), note)
    said = {"wap.pipeline": divider.pinned.pipeline.name, "wap.source": divider.pinned.plan.digest}
    notes = own_notes(staging) if staging.staged else said
    put(divider.catalog, staging, replace(change, summary={**notes, columns.NOTE: note}))


def _taken(
    divider: Divider, con: Any, staging: Staging, token: str, query: str
) -> tuple[Change, Met | None, int]:
    """Write a query's rows, or let them meet the published ones; how many they are."""
    write, prefix = divider.pinned.pipeline.write, f"{divider.prefix}{token}"
    if not write.keyed:
        written = _write(divider, con, staging, prefix, query)
        return Change(written.files), None, written.rows
    full, own = to_arrow(staging.schema), history_columns(write)
    rows = Queried(con, query, pa.schema([f for f in full if f.name not in own]))
    rule = rule_on(divider.pinned, divider.catalog, staging.expected)
    # No row that waits deletes: what deletes has no values that could break a check.
    rule = replace(rule, marks=None)
    with laid_aside(divider.folder.scratch, "replay-") as place:
        given = divider.engine.lay_aside(
            rows, staging, rule, place, report=lambda _: None, cancelled=attempt.cancelled
        )
        merged = meet_rows(divider, given, rule, staging, token)
    met = met_of(merged)
    return Change(merged.added.files, merged.removed, merged.kept.files), met, came_of(met)


def _mark(divider: Divider, waiting: Waiting, taken: int, division: Division, note: str) -> None:
    """Write the files that hold a row that was taken anew: it says where it went, others stay."""
    con, token = waiting.con, note.rsplit(maxsplit=1)[-1]
    plan = plan_beside(divider.catalog, divider.pinned)
    aside = divider.catalog.open_branch(divider.branch, plan.pipeline.table_name, shape_of(plan))
    touched = [
        int(f) for (f,) in con.execute("SELECT DISTINCT f FROM wap_taken ORDER BY f").fetchall()
    ]
    values = {
        columns.REPLAYED_RUN: literal(divider.run_id),
        columns.REPLAYED_AT: f"TIMESTAMPTZ {literal(divider.pinned.started_at.isoformat())}",
    }
    read, on = waiting.read(touched), "wap_taken AS w ON t.f = w.f AND t.r = w.r"
    marked = _write(
        divider, con, aside, f"{divider.prefix}{token}",
        f"SELECT {waiting.selected(aside.schema, values)} FROM ({read}) AS t SEMI JOIN {on}",  # noqa: S608 - quoted names
    )  # fmt: skip
    kept = _write(
        divider, con, aside, f"kept-{divider.prefix}{token}",
        f"SELECT {waiting.selected(aside.schema, {})} FROM ({read}) AS t ANTI JOIN {on}",  # noqa: S608 - quoted names
    )  # fmt: skip
    gone = [waiting.files[i] for i in touched]
    removed = sum(f.record_count for f in gone)
    if marked.rows != taken or marked.rows + kept.rows != removed:
        raise QuarantineError(
            f"{taken:,} rows were taken, {marked.rows:,} marked and {kept.rows:,} kept "
            f"of {removed:,}",
            where=str(aside.table),
        )
    counts = {"removed": removed, "kept": kept.rows}
    divider.folder.save_division(token, division.model_copy(update=counts))
    notes = {"wap.pipeline": plan.pipeline.name, "wap.source": plan.plan.digest}
    change = Change(
        added=marked.files,
        removed=gone,
        kept=kept.files,
        summary={**notes, columns.NOTE: note},
    )
    put(divider.catalog, aside, change)


def _write(divider: Divider, con: Any, staging: Staging, prefix: str, query: str) -> Written:
    return divider.engine.write_query(con, query, staging, prefix, cancelled=attempt.cancelled)
