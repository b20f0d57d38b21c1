"""A replay: rows that wait in quarantine are staged in their table, and marked where they waited.

Both tables are staged on one branch and published in one commit, so a row is replayed once. What
still breaks a check is left where it is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import duckdb

from catalog.base import BranchCatalog, Change, Published, Staging
from catalog.errors import TableNotFoundError
from catalog.refs import TableName
from checks.report import Report
from checks.row_level import separable
from wap import attempts, evidence
from wap.auditing import contracts_of, named_in
from wap.declared import Declared
from wap.engines.base import Written
from wap.engines.met import laid_aside
from wap.errors import ConfigError, EngineError, QuarantineError
from wap.field_map import literal, quoted
from wap.model import Quarantined, Replay, Rows
from wap.project import Project
from wap.quarantine import table as columns
from wap.quarantine.beside import plan_beside
from wap.quarantine.corrections import Corrections
from wap.quarantine.dividing import NOTHING, Divider, clear, new_token, own_notes, put
from wap.quarantine.finding import FILE, PLACE, CannotDivideError, Found, find
from wap.quarantine.waiting import Choice, Waiting
from wap.relations import audit_relation, connect
from wap.remote_files import failure_of
from wap.runs import Books, Division, PinnedPlan
from wap.sources.base import Plan
from wap.types import to_arrow
from wap.writing import shape_of

# --- plan ---------------------------------------------------------------------------------------


def plan_replay(
    project: Project, catalog: BranchCatalog, said: Declared, replay: Replay
) -> PinnedPlan:
    """Plan a replay of what waits now.

    Raises:
        ConfigError: nobody has set rows of this table aside; or the request does not fit.
        TableNotFoundError: the table is not published.
    """
    aside = columns.quarantine_of(said.table)
    published, waits = catalog.published(said.table), catalog.published(aside)
    since = evidence.cursor(catalog, said.table)
    if published is None or since is None:
        raise TableNotFoundError("no such published table", where=str(said.table))
    if waits is None:
        raise ConfigError(
            "no row of this table was ever set aside",
            where=str(said.table),
            hint="rows are, by runs of a pipeline with on_failure: quarantine",
        )
    _check_columns(replay, waits)
    names = tuple(f.name for f in published.schema.fields)
    corrections = Corrections.planned(replay.file, names) if replay.file else None
    choice = Choice(waits.snapshot.id, replay.run, replay.where)
    con = connect(temp_directory=project.state / "tmp", memory_limit=project.audit.memory)
    try:
        rows = Waiting.of(con, catalog, aside, choice, published.schema).count()
    finally:
        con.close()
    return PinnedPlan(
        started_at=datetime.now(UTC),
        pipeline=said.pipeline,
        contracts=said.contracts,
        version=said.version,
        plan=_plan(aside, choice, corrections, rows),
        since=since,
        before=published.snapshot.id,
        wanted_schema=published.schema.model_dump_json(),
        columns=names,
    )


def _check_columns(replay: Replay, waits: Published) -> None:
    known = {f.name for f in waits.schema.fields}
    for column, _ in replay.where:
        if column not in known:
            hint = f"there are: {', '.join(sorted(known))}"
            raise ConfigError(f"no column {column!r}", where="--where", hint=hint)


def _plan(aside: TableName, choice: Choice, corrections: Corrections | None, rows: int) -> Plan:
    work: dict[str, Any] = {
        "snapshot": choice.snapshot,
        "run": choice.run,
        "where": [list(pair) for pair in choice.where],
        "corrections": None
        if corrections is None
        else [corrections.path, corrections.digest, list(corrections.columns)],
    }
    told = json.dumps([columns.REPLAY, str(aside), work], sort_keys=True)
    return Plan(
        kind=columns.REPLAY,
        work=work,
        digest=hashlib.sha256(told.encode()).hexdigest(),
        empty=not rows,
        summary=f"{rows:,} rows of {aside}"
        if corrections is None
        else f"corrected rows of {aside}",
    )


def _choice(plan: Plan) -> Choice:
    work: Any = plan.work
    where = tuple((str(column), str(value)) for column, value in work["where"])
    return Choice(int(work["snapshot"]), work["run"], where)


def _corrections(plan: Plan) -> Corrections | None:
    told: Any = plan.work["corrections"]
    return None if told is None else Corrections(told[0], told[1], tuple(told[2]))


# --- stage --------------------------------------------------------------------------------------


def stage_replay(divider: Divider, number: int) -> tuple[Staging, Books]:
    """Stage the rows that wait, and mark them; after a crash behind that, only say what was done.

    Args:
        divider: its ``audited`` is main's head, as the branch was opened.
        number: the round.

    Raises:
        BatchRefusedError: a corrected row is none that waits, or has a value that does not fit.
        SourceError, EngineError, CatalogError: see the ports.
    """
    staging = divider.staging()
    if staging.staged:
        books = divider.folder.books(number)
    else:
        con = connect(temp_directory=divider.temp_directory, memory_limit=divider.memory_limit)
        try:
            with _waiting(divider, staging, con) as waiting, _translated(con, staging):
                waiting.refuse_strangers()
                rows = waiting.count()
                # Before the commit: an attempt that dies behind it must still find its books.
                books = Books(rows=Rows(read=rows, staged=rows), files=0, bytes=0)
                divider.folder.save_books(number, books)
                _replayed(divider, staging, waiting, rows, None)
        finally:
            con.close()
    clear(divider)
    return divider.staging(), books


@contextmanager
def _waiting(divider: Divider, staging: Staging, con: Any) -> Iterator[Waiting]:
    plan = divider.pinned.plan
    corrections, aside = _corrections(plan), columns.quarantine_of(staging.table)
    with laid_aside(divider.folder.scratch) as folder:
        corrected = None
        if corrections is not None:
            schema = to_arrow(staging.schema)
            path = corrections.laid_aside(schema, folder, attempts.cancelled)
            corrected = (path, frozenset(corrections.columns))
        yield Waiting.of(con, divider.catalog, aside, _choice(plan), staging.schema, corrected)


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
    names = ", ".join(f"c.{quoted(f.name)}" for f in waiting.table.fields)
    taken = _write(
        divider, con, staging, f"{divider.prefix}{token}",
        f"SELECT {names} FROM ({chosen}) AS c "  # noqa: S608 - quoted names
        f"SEMI JOIN wap_taken AS w ON c.{FILE} = w.f AND c.{PLACE} = w.r",
    )  # fmt: skip
    remaining = found.rows if found is not None else 0
    if taken.rows + remaining != rows:
        raise QuarantineError(
            f"{rows:,} rows wait, {taken.rows:,} were taken and {remaining:,} left",
            where=str(staging.table),
        )
    told = Quarantined(
        table=str(columns.quarantine_of(staging.table)),
        rows=remaining,
        checks=found.checks if found is not None else (),
    )
    note = f"{staging.notes.get(columns.NOTE, '')} {token}".strip()
    _mark(divider, waiting, taken, told, note)
    said = {"wap.pipeline": divider.pinned.pipeline.name, "wap.source": divider.pinned.plan.digest}
    notes = own_notes(staging) if staging.staged else said
    put(divider.catalog, staging, Change(taken.files, summary={**notes, columns.NOTE: note}))


def _mark(divider: Divider, waiting: Waiting, taken: Written, told: Quarantined, note: str) -> None:
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
    if marked.rows != taken.rows or marked.rows + kept.rows != removed:
        raise QuarantineError(
            f"{taken.rows:,} rows were taken, {marked.rows:,} marked and {kept.rows:,} kept "
            f"of {removed:,}",
            where=str(aside.table),
        )
    division = Division(told=told, removed=removed, kept=kept.rows)
    divider.folder.save_division(token, division)
    notes = {"wap.pipeline": plan.pipeline.name, "wap.source": plan.plan.digest}
    change = Change(
        added=marked.files,
        removed=gone,
        kept=kept.files,
        summary={**notes, columns.NOTE: note},
    )
    put(divider.catalog, aside, change)


def _write(divider: Divider, con: Any, staging: Staging, prefix: str, query: str) -> Written:
    return divider.engine.write_query(con, query, staging, prefix, cancelled=attempts.cancelled)
