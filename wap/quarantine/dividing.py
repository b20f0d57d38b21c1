"""Dividing a staged batch: the rows that break a check go to the quarantine table, the rest stays.

A division is done once the table's own branch holds the rest. Until then an attempt begins anew,
and puts rows of its own in place of those that a killed one has staged in the quarantine table.
Both changes name the divisions they hold, so that two attempts' halves are never taken for one.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any

from pyiceberg.manifest import DataFile

from catalog.base import BranchCatalog, Change, Staging
from catalog.refs import Branch
from checks.base import Relation
from checks.contract import Contract
from checks.report import Report
from checks.row_level import separable
from checks.rules import Rule
from wap import attempts
from wap.auditing import contracts_of, named_in
from wap.engines.base import AGAIN, Engine, Written
from wap.errors import QuarantineError
from wap.field_map import duckdb_type, literal, quoted
from wap.keyed.names import Names
from wap.model import Quarantined
from wap.pipeline import Quarantine
from wap.quarantine import table as columns
from wap.quarantine.beside import plan_beside
from wap.quarantine.finding import FILE, PLACE, CannotDivideError, Found, find
from wap.relations import audit_relation, check_readable
from wap.runs import Division, PinnedPlan, RunFolder
from wap.writing import shape_of

#: Why a batch is not divided although each failed check could say its rows.
NOTHING = "no row of the batch breaks a check that failed: nothing to set aside"


@dataclass(frozen=True)
class Divider:
    """What dividing a run's batch needs.

    Attributes:
        audited: the head whose audit failed.
        temp_directory, memory_limit: of the connection that finds the rows.
    """

    run_id: str
    pinned: PinnedPlan
    folder: RunFolder
    audited: int
    catalog: BranchCatalog
    engine: Engine
    temp_directory: Path
    memory_limit: str

    @property
    def branch(self) -> Branch:
        """The run's."""
        return Branch.of_run(self.run_id)

    @property
    def prefix(self) -> str:
        """How the names of all files begin that attempts at this division write."""
        return f"{AGAIN}{self.audited}-"

    def staging(self) -> Staging:
        """The table on the run's branch."""
        return self.catalog.staging(self.branch, self.pinned.pipeline.table_name)


def divide(divider: Divider, report: Report) -> str | None:
    """Divide the batch; why it cannot be, and then nothing has changed, or None.

    Args:
        report: of the audit that failed.

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
    clear(divider)
    return None


def _divided(divider: Divider, staging: Staging, report: Report) -> None:
    pinned, contracts = divider.pinned, contracts_of(divider.pinned)
    failed = separable(report, contracts)
    with audit_relation(
        divider.catalog,
        staging,
        neighbours=named_in(contracts, staging.table, divider.catalog.tables()),
        masked=pinned.pipeline.masked,
        memory_limit=divider.memory_limit,
        temp_directory=divider.temp_directory,
    ) as relation:
        batch = _Batch.of(divider, staging, relation)
        done = tuple(staging.notes.get(columns.NOTE, "").split())
        found = batch.find(failed)
        _refuse_beyond(pinned.pipeline.quarantine_limits, batch, found, done)
        token = new_token()
        rest = batch.write_rest(found, f"{divider.prefix}{token}")
        aside = _stage_aside(divider, batch, found, done, token)
    told = Quarantined(table=str(aside.table), rows=found.rows, checks=found.checks)
    divider.folder.save_division(token, Division(told=told))
    untouched = [f for place, f in enumerate(batch.files) if place not in found.files]
    change = Change(
        added=[*untouched, *rest.files],
        summary={**own_notes(staging), columns.NOTE: " ".join((*done, token))},
    )
    divider.catalog.restage(staging, change)
    # A rebase may have taken them over from where the run would have made a new table.
    end = f"/data/{divider.run_id}"
    for place in found.files:
        folder, _, name = batch.files[place].file_path.rpartition("/")
        divider.engine.clear(replace(staging, location=folder.removesuffix(end)), of=name)


def new_token() -> str:
    """The name of one attempt at a division."""
    return uuid.uuid4().hex[:12]


def own_notes(staging: Staging) -> dict[str, str]:
    """What the batch said of itself when it was staged."""
    return {key: staging.notes[key] for key in ("wap.pipeline", "wap.source")}


def _refuse_beyond(
    limits: Quarantine | None, batch: _Batch, found: Found, done: Sequence[str]
) -> None:
    """Refuse to set aside more than the pipeline allows, earlier divisions of the run included."""
    if not found.rows:
        raise CannotDivideError(NOTHING)
    if found.rows == batch.rows:
        # Of no row nothing can be measured, so nothing would be left that passes.
        raise CannotDivideError("every row of the batch breaks a check")
    if limits is None:
        raise CannotDivideError("the pipeline sets no rows aside")
    earlier = sum(batch.divider.folder.division(token).told.rows for token in done)
    aside, rows = earlier + found.rows, earlier + batch.rows
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
    def rows(self) -> int:
        return sum(f.record_count for f in self.files)

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
        known = {f.name for f in self.staging.schema.fields}
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
            con, query, staging, prefix, cancelled=attempts.cancelled
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


def put(catalog: BranchCatalog, staging: Staging, change: Change) -> Staging:
    """Stage a change, in place of one that is there."""
    return (catalog.restage if staging.staged else catalog.stage)(staging, change)


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


def clear(divider: Divider, *more: str) -> None:
    """Delete what the division left behind: superseded files, and those of killed attempts.

    Args:
        more: how the names of files begin that it has superseded.
    """
    staging = divider.staging()
    aside = divider.catalog.staging(
        divider.branch, columns.quarantine_of(divider.pinned.pipeline.table_name)
    )
    for one in (staging, aside):
        committed = divider.catalog.scan(one.table, one.head, one.branch).files
        keep = {f.file_path for f in committed}
        for of in (divider.prefix, *more, ""):
            divider.engine.clear(one, keep=keep, of=of)
