"""Dividing a staged batch: the rows that break a check go to the quarantine table, the rest stays.

A division is done once the table's own branch holds the rest. Until then an attempt begins anew,
and puts rows of its own in place of those that a killed one has staged in the quarantine table.
Both changes name the divisions they hold, so that two attempts' halves are never taken for one.

Where rows meet the published ones by key, the rest of the batch meets them once more: a published
row whose place a broken row had taken is then there again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

from pyiceberg.manifest import DataFile

from catalog.base import Change, Staging
from checks.base import Relation
from checks.contract import Contract
from checks.report import Report
from checks.row_level import separable
from checks.rules import Rule
from wap import attempt
from wap.auditing import contracts_of, named_in
from wap.division import Division
from wap.engines.base import AGAIN, Written
from wap.errors import QuarantineError, RunNotFoundError
from wap.field_map import duckdb_type, literal, quoted
from wap.keyed.columns import history_columns
from wap.keyed.names import Names
from wap.model import Quarantined
from wap.quarantine import table as columns
from wap.quarantine.beside import is_divided, plan_beside
from wap.quarantine.divider import (
    Divider,
    clear,
    clear_superseded,
    new_token,
    own_notes,
    put,
)
from wap.quarantine.finding import FILE, PLACE, CannotDivideError, Found, find
from wap.quarantine.rest import Carried, meet_rest
from wap.relations import audit_relation, check_readable
from wap.writing import shape_of

#: Why a batch is not divided although each failed check could say its rows.
NOTHING = (
    "no row of the batch breaks a check that failed: rows that are published already do, "
    "and there is nothing to set aside"
)
#: Why a table's first load is not divided where new tables get their names one by one.
FIRST_LOAD = (
    "this catalog cannot publish a new table in one commit with another, "
    "so a table's first load is published whole or not at all"
)
#: So often a batch is divided: behind each broken row an older one of its key may come to light.
MOST = 10


def divide(divider: Divider, report: Report) -> str | None:
    """Divide the batch; why it cannot be, and then nothing has changed, or None.

    Args:
        report: of the audit that failed.

    Raises:
        QuarantineError: the rows do not add up.
        RunNotFoundError: the attempt comes late: the batch met another main, and is whole again.
        CatalogError, EngineError, RelationError: see the ports.
    """
    staging = divider.staging()
    if staging.head == divider.audited:
        try:
            _divided(divider, staging, report)
        except CannotDivideError as exc:
            return str(exc)
    elif not is_divided(staging):
        raise RunNotFoundError(
            f"the batch of run {divider.run_id} that was audited is not there any more, and what "
            "is in its place was not divided",
            where=f"{staging.table} on {staging.branch}",
            hint="an attempt that comes late; nothing was changed, the run goes on without it",
        )
    clear(divider)
    return None


def _divided(divider: Divider, staging: Staging, report: Report) -> None:
    if staging.expected is None and not divider.catalog.capabilities.new_in_groups:
        raise CannotDivideError(FIRST_LOAD)
    pinned, contracts = divider.pinned, contracts_of(divider.pinned)
    failed = separable(report, contracts)
    done, token = tuple(staging.notes.get(columns.NOTE, "").split()), new_token()
    if len(done) >= MOST:
        raise CannotDivideError(f"rows break a check still after {MOST} divisions of the batch")
    with audit_relation(
        divider.catalog,
        staging,
        neighbours=named_in(contracts, staging.table, divider.catalog.tables()),
        beside=named_in(contracts, staging.table, divider.group),
        masked=pinned.pipeline.masked,
        memory_limit=divider.memory_limit,
        temp_directory=divider.temp_directory,
    ) as relation:
        batch = _Batch.of(divider, staging, relation)
        found = batch.find(failed)
        _refuse_beyond(divider, found, done)
        keyed = pinned.pipeline.write.keyed
        rest = None if keyed else batch.write_rest(found, f"{divider.prefix}{token}")
        aside = _stage_aside(divider, batch, found, done, token)
    carried = Carried.of(divider.catalog, staging, batch.files)
    if rest is None:
        # Out of the audit's connection, whose memory it needs.
        change, met = meet_rest(divider, staging, aside, token)
    else:
        untouched = [f for place, f in enumerate(batch.files) if place not in found.files]
        change, met = Change([*untouched, *rest.files], carried.removed, carried.kept), None
    told = Quarantined(table=str(aside.table), rows=found.rows, checks=found.checks)
    divider.folder.save_division(token, Division(told=told, met=met))
    summary = {**own_notes(staging), columns.NOTE: " ".join((*done, token))}
    divider.catalog.restage(staging, replace(change, summary=summary))
    clear_superseded(divider, staging, [*batch.files, *carried.kept], change)


def _refuse_beyond(divider: Divider, found: Found, done: Sequence[str]) -> None:
    """Refuse to set aside more than the pipeline allows, earlier divisions of the run included."""
    limits = divider.pinned.pipeline.quarantine_limits
    if not found.rows:
        raise CannotDivideError(NOTHING)
    if limits is None:
        raise CannotDivideError("the pipeline sets no rows aside")
    earlier = sum(divider.folder.division(token).told.rows for token in done)
    aside, rows = earlier + found.rows, divider.books.given
    if aside == rows:
        # Of no row nothing can be measured, so nothing would be left that passes.
        raise CannotDivideError("every row of the batch breaks a check")
    share = aside * 100 / rows
    if limits.max_rows is not None and aside > limits.max_rows:
        most = f"at most {limits.max_rows:,} are set aside"
        raise CannotDivideError(f"{aside:,} rows break a check, {most}")
    if share > limits.max_percent:
        raise CannotDivideError(
            f"{aside:,} of {rows:,} rows ({share:.2f} %) break a check, "
            f"at most {limits.max_percent:g} % are set aside"
        )


@dataclass
class _Batch:
    """The batch's files, in the connection that the audit's views are in."""

    divider: Divider
    staging: Staging
    relation: Relation
    files: Sequence[DataFile]
    paths: Sequence[str]

    @classmethod
    def of(cls, divider: Divider, staging: Staging, relation: Relation) -> _Batch:
        scan = divider.catalog.batch(staging)
        paths = check_readable(relation.connection, scan, str(staging.table)) if scan.files else []
        return cls(divider, staging, relation, list(scan.files), paths)

    @property
    def names(self) -> Names:
        return Names(self.staging.schema)

    def read(self, places: Sequence[int]) -> str:
        """The rows of some files under our names, with file and place in it as ``f`` and ``r``."""
        numbers = ", ".join(map(str, places))
        return self.names.read(
            [self.paths[i] for i in places],
            sum(self.files[i].record_count for i in places),
            f"list_extract([{numbers}]::BIGINT[], file_index::BIGINT + 1) AS f",
            "file_row_number::BIGINT AS r",
        )

    def find(self, failed: Sequence[tuple[Contract, Rule]]) -> Found:
        """The rows that break the rules; see :func:`wap.quarantine.finding.find`."""
        checked = (
            f"SELECT {self.names.written()}, f AS {FILE}, r AS {PLACE} "  # noqa: S608 - quoted
            f"FROM ({self.read(range(len(self.files)))})"
        )
        return find(self.relation, checked, failed)

    def write_rest(self, found: Found, prefix: str) -> Written:
        """Write the files that hold a row that was found anew, without those rows."""
        places = sorted(found.files)
        query = (
            f"SELECT {self.names.written()} FROM ({self.read(places)}) AS t "  # noqa: S608 - names of ours
            "ANTI JOIN wap_broken AS b ON t.f = b.f AND t.r = b.r"
        )
        rest = self._write(query, self.staging, prefix)
        held = sum(self.files[i].record_count for i in places)
        if rest.rows + found.rows != held:
            raise QuarantineError(
                f"{held:,} rows were divided into {rest.rows:,} and {found.rows:,}",
                where=str(self.staging.table),
            )
        return rest

    def write_aside(
        self, found: Found, aside: Staging, prefix: str, told: Mapping[str, str]
    ) -> Written:
        """Write the rows that were found, with what the quarantine table tells of them.

        Args:
            told: SQL of our own columns, by name; null for those it lacks.
        """
        written_by_us = history_columns(self.divider.pinned.pipeline.write)
        known = {f.name for f in self.staging.schema.fields} - set(written_by_us)
        selected = []
        for field in aside.schema.fields:
            own = told.get(field.name) if field.name in columns.OWN else None
            value = f"t.{self.names.of(field.name)}" if field.name in known else (own or "NULL")
            selected.append(f"{value}::{duckdb_type(field.field_type)} AS {quoted(field.name)}")
        query = (
            f"SELECT {', '.join(selected)} FROM ({self.read(sorted(found.files))}) AS t "  # noqa: S608 - names of ours
            "JOIN wap_broken AS b ON t.f = b.f AND t.r = b.r"
        )
        written = self._write(query, aside, prefix)
        if written.rows != found.rows:
            raise QuarantineError(
                f"{found.rows:,} rows break a check, {written.rows:,} were set aside",
                where=str(aside.table),
            )
        return written

    def _write(self, query: str, staging: Staging, prefix: str) -> Written:
        con: Any = self.relation.connection
        return self.divider.engine.write_query(
            con, query, staging, prefix, cancelled=attempt.cancelled
        )


def _stage_aside(
    divider: Divider, batch: _Batch, found: Found, done: Sequence[str], token: str
) -> Staging:
    """Put the rows that were found on the quarantine table's branch, after those of before."""
    plan = plan_beside(divider.catalog, divider.pinned)
    table = plan.pipeline.table_name
    aside = divider.catalog.open_branch(divider.branch, table, shape_of(plan))
    earlier = sum(divider.folder.division(one).told.rows for one in done)
    told = _told(divider.run_id, earlier, divider.pinned.started_at)
    written = batch.write_aside(found, aside, f"{divider.prefix}{token}", told)
    held = divider.catalog.batch(aside).files if aside.staged else ()
    change = Change(
        added=[*(f for f in held if _division_of(f) in done), *written.files],
        summary={**own_notes(batch.staging), columns.NOTE: " ".join((*done, token))},
    )
    return put(divider.catalog, aside, change)


def _told(run_id: str, earlier: int, at: datetime) -> dict[str, str]:
    """What the quarantine table tells of a row that was found, as SQL."""
    return {
        columns.ROW: f"concat({literal(run_id)}, '-', b.number + {earlier})",
        columns.CHECKS: "b.names",
        columns.REASON: "b.titles",
        columns.RUN: literal(run_id),
        columns.AT: f"TIMESTAMPTZ {literal(at.isoformat())}",
    }


def _division_of(file: DataFile) -> str:
    """The division that wrote a file, by its name: ``again-<head>-<division>-<number>.parquet``."""
    return PurePosixPath(file.file_path).name.removeprefix(AGAIN).split("-")[1]
