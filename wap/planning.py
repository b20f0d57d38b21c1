"""The first step's work: read pipeline and contracts, find what is new, and fix all of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from catalog.base import BranchCatalog, Published
from catalog.refs import TableName
from checks.contract import check_columns, parse_contract
from wap import evidence
from wap.errors import BatchRefusedError, ConfigError
from wap.model import ColumnFact, RunRequest
from wap.pipeline import Pipeline
from wap.project import Project
from wap.runs import ContractText, PinnedPlan
from wap.schema import desired_schema
from wap.sources import open_source
from wap.sources.base import Cursor, Interval, Plan, Source
from wap.types import from_arrow, type_text


@dataclass(frozen=True, slots=True)
class Declared:
    """A pipeline and its contracts as the project declares them now, proved to be valid."""

    pipeline: Pipeline
    contracts: tuple[ContractText, ...]

    @property
    def table(self) -> TableName:
        """The pipeline's table."""
        return TableName.parse(self.pipeline.table)


def declared(project: Project, name: str) -> Declared:
    """Read and check a pipeline with its contracts.

    Raises:
        ConfigError, ContractError: with file, line and hint; nothing was started.
    """
    pipeline = project.pipeline(name)
    TableName.parse(pipeline.table)
    texts = tuple(ContractText(path=p, text=project.contract_text(p)) for p in pipeline.contracts)
    for contract in texts:
        parse_contract(contract.text, contract.path)
    return Declared(pipeline, texts)


def source_of(project: Project, pipeline: Pipeline, request: RunRequest) -> Source:
    """The pipeline's source, reading the inputs the request gives in place of its own."""
    return open_source(pipeline.source, project.root, request.inputs)


def interval_of(pipeline: Pipeline, request: RunRequest) -> Interval | None:
    """The run's data interval on the pipeline's interval column.

    Raises:
        ConfigError: bounds without a column to hold them against, or an empty interval.
    """
    if request.interval is None:
        return None
    start, end = request.interval
    if pipeline.write.interval is None:
        raise ConfigError(
            "a data interval was given, but the pipeline says no column for it",
            where=f"pipelines/{pipeline.name}.yml",
            hint="add write: {interval: <column>}, or run without --start and --end",
        )
    if start >= end:
        raise ConfigError(f"the data interval [{start}, {end}) is empty", hint="start < end")
    return Interval(column=pipeline.write.interval, start=start, end=end)


def make_plan(project: Project, catalog: BranchCatalog, request: RunRequest) -> PinnedPlan:
    """Plan one round against what is published now.

    Raises:
        ConfigError, ContractError: the declaration is not valid, or does not fit the input.
        SourceError: there is no input, or it cannot be read.
    """
    said = declared(project, request.pipeline)
    pipeline = said.pipeline
    published = catalog.published(said.table)
    since = evidence.cursor(catalog, said.table)
    source = source_of(project, pipeline, request)
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
        plan=plan,
        since=since,
        before=published.snapshot.id if published else None,
    )
    return pinned if plan.empty else _with_schema(pinned, source, plan, published)


def _with_schema(
    pinned: PinnedPlan, source: Source, plan: Plan, published: Published | None
) -> PinnedPlan:
    try:
        inferred = source.schema(plan)
        source_columns = tuple(
            ColumnFact(name=f.name, type=type_text(f.field_type))
            for f in from_arrow(inferred).fields
        )
        wanted, columns = desired_schema(
            pinned.pipeline, inferred, published.schema if published else None
        )
    except BatchRefusedError as exc:
        return pinned.model_copy(update={"refused": exc.what, "differences": exc.differences})
    types = {f.name: type_text(f.field_type) for f in wanted.fields}
    for contract in pinned.contracts:
        check_columns(parse_contract(contract.text, contract.path), types)
    return pinned.model_copy(
        update={
            "wanted_schema": wanted.model_dump_json(),
            "columns": columns,
            "source_columns": source_columns,
        }
    )


def was_done(source: Source, catalog: BranchCatalog, table: TableName, plan: Plan) -> bool:
    """Whether another run has published any of this plan's work meanwhile."""
    return source.done(evidence.cursor(catalog, table), plan)


def advanced(source: Source, catalog: BranchCatalog, table: TableName, plan: Plan) -> Cursor:
    """The cursor over what is published now and this plan."""
    return source.advance(evidence.cursor(catalog, table), plan)
