"""The gate drill: spoil a published batch in every way, and see which check notices."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import duckdb
import pyarrow as pa
from pyiceberg.schema import Schema

from catalog.base import Scan
from catalog.errors import TableNotFoundError
from checks.base import Relation
from checks.contract import Contract, parse_contract
from checks.gate import judge
from checks.own import SAME_ROWS
from checks.report import Outcome, Report
from wap import evidence
from wap.auditing import own_checks
from wap.declared import Declared
from wap.drill.model import GateDrill, Spoiled
from wap.drill.spoilings import (
    AS_IT_IS,
    LOST,
    NAMES,
    PLACE,
    RETYPED,
    Spoiling,
    nulled,
    spoilings_of,
)
from wap.errors import BatchRefusedError, ConfigError, NotRepeatableError, RelationError
from wap.field_map import quoted
from wap.keyed.columns import history_columns
from wap.model import Rows
from wap.past import Looking, PastRun, past_run, relation_of
from wap.relations import create_view
from wap.remote_files import failure_of
from wap.runs import Books
from wap.schema import desired_schema
from wap.types import column_texts, to_arrow

#: The names of what is no contract's check but keeps a batch out all the same.
FIT, REQUIRED = "wap:fit", "wap:required"

Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Bench:
    """A published run laid open: its relation, whose views are made anew for each spoiling."""

    looking: Looking
    past: PastRun
    said: Declared
    contracts: tuple[Contract, ...]
    relation: Relation

    @property
    def schema(self) -> Schema:
        """The candidate's."""
        return self.past.covered.schema

    @property
    def columns(self) -> list[str]:
        """Columns that come from the source."""
        own = history_columns(self.said.pipeline.write)
        return [f.name for f in self.schema.fields if f.name not in own]


def drill_gate(
    looking: Looking,
    said: Declared,
    *,
    wanted: Collection[str] = (),
    masked: frozenset[str] = frozenset(),
    told: Told,
) -> GateDrill:
    """Spoil the newest published batch of a table, and let today's contracts judge each spoiling.

    The audit sees views: what main shows but for the batch, and the batch as it is spoiled. No
    row is copied and nothing is written. It streams, within the audit's memory.

    Args:
        wanted: names of spoilings; empty: all.
        masked: columns whose values must not be shown.
        told: hears of each spoiling.

    Raises:
        ConfigError: no such spoiling.
        TableNotFoundError: nothing is published that could be spoiled.
        NotRepeatableError: the batch's snapshots are no longer kept.
        RelationError: its files cannot be read.
    """
    if unknown := sorted(set(wanted) - set(NAMES)):
        raise ConfigError(
            f"there is no spoiling {unknown[0]!r}", hint=f"there are: {', '.join(NAMES)}"
        )
    past = _newest(looking, said)
    contracts = tuple(parse_contract(c.text, c.path) for c in said.contracts)
    with relation_of(looking, past, contracts, masked) as relation:
        bench = _Bench(looking, past, said, contracts, relation)
        _lay_open(bench)
        calm = _judged(bench, AS_IT_IS)
        failing = frozenset(_names(calm, Outcome.FAILED, Outcome.NOT_EVALUATED))
        work = [one for one in _work(bench) if not wanted or one.name in wanted]
        done: list[Spoiled] = []
        for number, one in enumerate(work, 1):
            spoiled = _spoiled(bench, one, failing)
            if spoiled is not None:
                done.append(spoiled)
            told(_line(one, spoiled), number, len(work))
    return _drill(bench, calm, done, failing, everything=not wanted)


def _drill(
    bench: _Bench,
    calm: Report,
    done: Sequence[Spoiled],
    failing: frozenset[str],
    *,
    everything: bool,
) -> GateDrill:
    declared = frozenset().union(*(c.declared for c in bench.contracts))
    busy = {name for s in done for name in (*s.caught, *s.warned)}
    return GateDrill(
        run_id=bench.past.run_id,
        snapshot=bench.past.seal.id,
        rows=bench.past.covered.batch.rows,
        checks=len(declared),
        spoilings=tuple(done),
        failing=tuple(sorted(failing)),
        # Of some spoilings only, that a check was idle says nothing.
        idle=tuple(sorted(declared - busy - failing)) if everything else (),
        notes=tuple(_notes(bench, calm)),
    )


def _notes(bench: _Bench, calm: Report) -> Iterator[str]:
    yield f"spoiled: the batch of {bench.past.run_id}; main, as it was then, stands around it"
    if calm.errors:
        yield f"the contracts do not run on the batch as it is: {'; '.join(calm.errors)}"
    nested = [f.name for f in bench.schema.fields if not f.field_type.is_primitive]
    if nested:
        yield f"of nested columns only nulls and losses: {', '.join(nested)}"


def _newest(looking: Looking, said: Declared) -> PastRun:
    """The newest published run that brought rows."""
    catalog, table = looking.catalog, said.table
    lost: NotRepeatableError | None = None
    for snapshot, _ in evidence.seals(catalog, table):
        try:
            past = past_run(catalog, table, snapshot.id)
        except NotRepeatableError as exc:
            lost = lost or exc
            continue
        compacted = any(r.name == SAME_ROWS for r in past.report.results)
        if past.covered.batch.rows and not compacted:
            return past
    if lost is not None:
        raise lost
    raise TableNotFoundError(
        "nothing is published that could be spoiled", where=str(table),
        hint=f"load a batch first: wap run {said.pipeline.name}",
    )  # fmt: skip


def _lay_open(bench: _Bench) -> None:
    """Views of the batch, and of what stands around it, under names no contract knows."""
    covered, con = bench.past.covered, bench.relation.connection
    candidate = bench.looking.catalog.scan(covered.table, covered.head)
    batch = {f.file_path for f in covered.batch.files}
    rest = [f for f in candidate.files if f.file_path not in batch]
    create_view(con, PLACE, "batch", Scan(candidate.schema, covered.batch.files, candidate.io))
    create_view(con, PLACE, "rest", Scan(candidate.schema, rest, candidate.io))


# --- one spoiling -------------------------------------------------------------------------------


def _work(bench: _Bench) -> list[Spoiling]:
    keys = bench.said.pipeline.write.keys
    found = spoilings_of(bench.schema, bench.columns, keys)
    for name in bench.columns:
        field = bench.schema.find_field(name)
        found.append(nulled(field))
        wrong = "a number" if _arrow(bench).field(name).type == pa.string() else "a text"
        hint = f"declare it: schema: {{columns: {{{name}: …}}}}"
        found.append(Spoiling(RETYPED, name, f"the column comes as {wrong}", "", "", hint))
    return found


def _spoiled(bench: _Bench, one: Spoiling, failing: frozenset[str]) -> Spoiled | None:
    """What the gate says of it; None: it changes no row."""
    if (refused := _refused(bench, one)) is not None:
        return _told(one, bench.past.covered.batch.rows, (refused,))
    if not one.sql:  # its values are read into the declared type, or refused
        return _told(one, bench.past.covered.batch.rows, (FIT,))
    rows = _count(bench, one.changed)
    if not rows:
        return None
    report = _judged(bench, one.sql)
    stopped = set(_names(report, Outcome.FAILED, Outcome.NOT_EVALUATED)) - failing
    caught = tuple(sorted(stopped)) or (("the gate: " + report.errors[0],) if report.errors else ())
    warned = tuple(sorted(set(_names(report, Outcome.WARNED))))
    return _told(one, rows, caught, warned)


def _told(
    one: Spoiling, rows: int, caught: tuple[str, ...], warned: tuple[str, ...] = ()
) -> Spoiled:
    hint = "" if caught else one.hint
    return Spoiled(
        name=one.name, column=one.column, said=one.said, rows=rows, caught=caught, warned=warned,
        hint=hint,
    )  # fmt: skip


def _refused(bench: _Bench, one: Spoiling) -> str | None:
    """Who refuses such a batch before it is staged; None: nobody."""
    columns = _arrow(bench)
    if one.column is None:
        return None
    if one.name in ("nulls", LOST) and bench.schema.find_field(one.column).required:
        return REQUIRED
    if one.name == LOST:
        columns = columns.remove(columns.get_field_index(one.column))
    elif one.name == RETYPED:
        index = columns.get_field_index(one.column)
        kind = pa.int64() if columns.field(index).type == pa.string() else pa.string()
        columns = columns.set(index, pa.field(one.column, kind))
    else:
        return None
    try:
        desired_schema(bench.said.pipeline, _with_marker(bench, columns), bench.schema)
    except (BatchRefusedError, ConfigError):
        return FIT
    return None


def _arrow(bench: _Bench) -> pa.Schema:
    """The batch's columns as the source brings them."""
    full = to_arrow(bench.schema)
    return pa.schema([full.field(name).remove_metadata() for name in bench.columns])


def _with_marker(bench: _Bench, columns: pa.Schema) -> pa.Schema:
    marks = bench.said.pipeline.write.delete
    if marks is None:
        return columns
    return columns.append(pa.field(marks.column, pa.scalar(marks.values[0]).type))


def _judged(bench: _Bench, sql: str) -> Report:
    """The gate's verdict on the spoiled batch, with books that a source would bring for it."""
    covered = bench.past.covered
    rows = _show(bench, sql)
    batch, candidate = rows[f"{covered.table.name}__batch"], rows[covered.table.name]
    books = Books(
        rows=Rows(read=batch, staged=batch), files=1, bytes=0,
        counted=batch, candidate=candidate, expected_candidate=candidate,
    )  # fmt: skip
    texts = column_texts(bench.schema)
    return judge(
        run_id=bench.past.run_id,
        table=str(covered.table),
        snapshot_id=covered.head,
        expected=covered.expected,
        contracts=bench.contracts,
        relation=replace(bench.relation, rows={**bench.relation.rows, **rows}),
        auditor=bench.looking.auditor,
        own=own_checks(texts, texts, books),
        started_at=datetime.now(UTC),
    )


def _show(bench: _Bench, sql: str) -> dict[str, int]:
    """Make the views of the contracts show the spoiled rows; how many each shows."""
    name = bench.relation.table
    schema = quoted(bench.relation.schema)
    batch = f"{schema}.{quoted(f'{name}__batch')}"
    candidate = f"{schema}.{quoted(name)}"
    _execute(bench, f"CREATE OR REPLACE VIEW {batch} AS {sql}")
    both = f"SELECT * FROM {PLACE}.rest UNION ALL BY NAME SELECT * FROM {batch}"
    _execute(bench, f"CREATE OR REPLACE VIEW {candidate} AS {both}")
    return {
        f"{name}__batch": _count(bench, f"SELECT count(*) FROM {batch}"),
        name: _count(bench, f"SELECT count(*) FROM {candidate}"),
    }


def _count(bench: _Bench, sql: str) -> int:
    found = _execute(bench, sql).fetchone()
    return int(found[0]) if found else 0


def _execute(bench: _Bench, sql: str) -> duckdb.DuckDBPyConnection:
    con: duckdb.DuckDBPyConnection = bench.relation.connection
    try:
        return con.execute(sql)
    except duckdb.Error as exc:
        failure = failure_of(con)
        if failure is not None:
            raise failure from exc
        what = str(exc).splitlines()[0]
        raise RelationError(
            f"the batch cannot be spoiled: {what}", where=str(bench.said.table)
        ) from exc


def _names(report: Report, *outcomes: Outcome) -> Iterator[str]:
    return (r.name for r in report.results if r.outcome in outcomes)


def _line(one: Spoiling, spoiled: Spoiled | None) -> str:
    what = f"{one.name} {one.column}" if one.column else one.name
    return f"{what} {spoiled.verdict}" if spoiled else f"{what}: nothing to spoil"
