"""The first step's work: read pipeline and contracts, find what is new, and fix all of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from catalog.base import BranchCatalog, Published
from catalog.refs import TableName
from checks.contract import check_columns, parse_contract
from wap import evidence
from wap.compaction import NoRows, plan_compaction
from wap.declared import Declared, check_interval
from wap.errors import BatchRefusedError
from wap.model import ColumnFact, RunRequest
from wap.pipeline import Pipeline
from wap.project import Project
from wap.quarantine.beside import check_catalog
from wap.quarantine.planned import plan_replay
from wap.quarantine.table import quarantine_schema
from wap.runs import PinnedPlan, RunFolder
from wap.schema import desired_schema
from wap.sources import open_source
from wap.sources.base import Cursor, Interval, Plan, Source
from wap.spark.session import Spark
from wap.spark.types import spark_schema
from wap.types import column_texts


def source_of(
    project: Project,
    pipeline: Pipeline,
    request: RunRequest,
    *,
    rejects: Path | None = None,
    spark: Spark | None = None,
) -> Source:
    """The pipeline's source, reading the inputs the request gives in place of its own.

    A compaction and a replay read nothing of it.

    Args:
        rejects: where every row that is set aside is kept, as JSON lines.
        spark: what reads databases.
    """
    if request.compact or request.replay is not None:
        return NoRows()
    return open_source(
        pipeline.source,
        project.root,
        request.inputs,
        rejects=rejects,
        columns=pipeline.columns,
        spark=spark,
    )


def interval_of(pipeline: Pipeline, request: RunRequest) -> Interval | None:
    """The run's data interval on the pipeline's interval column.

    Raises:
        ConfigError: see :func:`wap.declared.check_interval`.
    """
    column = check_interval(pipeline, request)
    if column is None or request.interval is None:
        return None
    return Interval(column=column, start=request.interval[0], end=request.interval[1])


def said_first(folder: RunFolder) -> Declared | None:
    """What the run's first round was declared by; None before that is pinned.

    A later round keeps to it, so that nobody changes a run that is at work.
    """
    if not folder.has_plan(0):
        return None
    first = folder.plan(0)
    return Declared(first.pipeline, first.contracts, first.version)


def make_plan(
    project: Project,
    catalog: BranchCatalog,
    request: RunRequest,
    said: Declared,
    *,
    spark: Spark | None = None,
) -> PinnedPlan:
    """Plan one round against what is published now.

    Raises:
        ConfigError, ContractError: the declaration is not valid, or does not fit the input.
        SourceError: there is no input, or it cannot be read.
    """
    if request.compact:
        return plan_compaction(catalog, said)
    if request.replay is not None:
        return plan_replay(project, catalog, said, request.replay)
    pipeline = said.pipeline
    check_catalog(catalog, pipeline)
    published = catalog.published(said.table)
    since = evidence.cursor(catalog, said.table)
    source = source_of(project, pipeline, request, spark=spark)
    replaces_all = (
        pipeline.write.mode == "replace"
        and pipeline.write.where is None
        and request.interval is None
    )
    plan = source.plan(since, everything=replaces_all, interval=interval_of(pipeline, request))
    pinned = PinnedPlan(
        started_at=datetime.now(UTC),
        pipeline=pipeline,
        contracts=said.contracts,
        version=said.version,
        plan=plan,
        since=since,
        before=published.snapshot.id if published else None,
        engine=engine_of(pipeline, plan, project.engine.spark_from),
    )
    return pinned if plan.empty else _with_schema(pinned, source, plan, published)


def engine_of(pipeline: Pipeline, plan: Plan, spark_from: int | None) -> Literal["arrow", "spark"]:
    """The pipeline's own engine, or Spark for input of at least ``spark_from`` bytes."""
    large = spark_from is not None and plan.bytes is not None and plan.bytes >= spark_from
    return "spark" if large else pipeline.engine


def _with_schema(
    pinned: PinnedPlan, source: Source, plan: Plan, published: Published | None
) -> PinnedPlan:
    try:
        inferred = source.schema(plan)
        source_columns = tuple(ColumnFact(name=f.name, type=str(f.type)) for f in inferred)
        wanted, columns = desired_schema(
            pinned.pipeline, inferred, published.schema if published else None
        )
    except BatchRefusedError as exc:
        return pinned.model_copy(update={"refused": exc.what, "differences": exc.differences})
    if pinned.engine == "spark":
        spark_schema(wanted)
    if pinned.pipeline.quarantine_limits is not None:
        quarantine_schema(wanted, None)  # refuses columns named as ours
    types = column_texts(wanted)
    for contract in pinned.contracts:
        check_columns(parse_contract(contract.text, contract.path), types)
    return pinned.model_copy(
        update={
            "wanted_schema": wanted.model_dump_json(),
            "columns": columns,
            "source_columns": source_columns,
        }
    )


def was_done(source: Source, catalog: BranchCatalog, table: TableName, *plans: Plan) -> bool:
    """Whether another run has published any of the plans' work meanwhile."""
    since = evidence.cursor(catalog, table)
    return any(source.done(since, plan) for plan in plans)


def advanced(
    source: Source, catalog: BranchCatalog, table: TableName, expected: int | None, *plans: Plan
) -> Cursor:
    """The cursor once the plans, one or more, in their order, are published over main's head.

    Args:
        expected: that head; what others have published since is not under it.
    """
    first, *others = plans
    cursor = source.advance(evidence.cursor_on(catalog, table, expected), first)
    for plan in others:
        cursor = source.advance(cursor, plan)
    return cursor


def said_of_main(catalog: BranchCatalog, pinned: PinnedPlan) -> tuple[str, ...]:
    """What of main a run builds on although nobody sealed it, for its result and report.

    Raises:
        UnsealedError: a publish over this main would be refused.
    """
    pipeline = pinned.pipeline
    found = catalog.ground(pipeline.table_name, sealed_only=pipeline.on_foreign == "refuse")
    if not found:
        return ()
    newest, more = found[0].snapshot, len(found) - 1
    others = f" and {more} more" if more else ""
    said = f"main holds what no run of this catalog wrote: snapshot {newest.id}{others}"
    return (f"{said}; `wap verify` names each",)
