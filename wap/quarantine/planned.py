"""The plan of a replay: which rows it is about, fixed by the quarantine table's snapshot."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

from catalog.base import BranchCatalog, Published
from catalog.errors import TableNotFoundError
from catalog.refs import TableName
from wap import evidence
from wap.declared import Declared
from wap.errors import ConfigError
from wap.keyed.columns import history_columns
from wap.model import Replay
from wap.pipeline import Pipeline
from wap.project import Project
from wap.quarantine import table as columns
from wap.quarantine.corrections import Corrections
from wap.quarantine.waiting import Choice, Waiting
from wap.relations import connect
from wap.runs import PinnedPlan
from wap.sources.base import Plan


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
    _check_order(said.pipeline, replay)
    own = history_columns(said.pipeline.write)
    names = tuple(f.name for f in published.schema.fields if f.name not in own)
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


def _check_order(pipeline: Pipeline, replay: Replay) -> None:
    """Refuse to put what waits over what may be newer: nobody has looked at either.

    Raises:
        ConfigError: nothing says which is the later one.
    """
    write = pipeline.write
    if write.mode in ("merge", "history") and write.order_by is None and replay.file is None:
        raise ConfigError(
            "nothing says whether a row that waits is newer than the one published under its key",
            where=f"pipelines/{pipeline.name}.yml: write",
            hint="state order_by, or name the rows by --file: a file with the column wap_row is "
            "enough",
        )


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


def choice_of(plan: Plan) -> Choice:
    """Which rows a planned replay is about."""
    work: Any = plan.work
    where = tuple((str(column), str(value)) for column, value in work["where"])
    return Choice(int(work["snapshot"]), work["run"], where)


def corrections_of(plan: Plan) -> Corrections | None:
    """The file of corrected rows that it was planned with; None: there is none."""
    told: Any = plan.work["corrections"]
    return None if told is None else Corrections(told[0], told[1], tuple(told[2]))
