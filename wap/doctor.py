"""``wap doctor``: proves the set-up, above all that a staged write stays invisible on main."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from catalog.base import BranchCatalog, Change, TableShape
from catalog.errors import CatalogError
from catalog.refs import Branch, Capabilities, TableName
from checks.errors import ChecksError
from wap import attributes, doors, runtime
from wap.declared import declared
from wap.engines.base import Engine, Progress
from wap.errors import WapError
from wap.groups import check_able, declared_group
from wap.model import Value
from wap.ports import open_ports
from wap.project import Project
from wap.queues import ROLES, is_served
from wap.sources.base import Counts, Split, SqlStream
from wap.worker import open_activities

ROWS = 3
#: How the run id of a probe begins.
PROBE = "doctor-"


class Finding(Value):
    """One thing that was looked at."""

    name: str
    ok: bool
    said: str


class _Probe:
    """An extract of three rows."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.counts = Counts(read=ROWS)
        self.sql: SqlStream | None = None
        self.split: Split | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield pa.RecordBatch.from_pydict({"id": list(range(ROWS))}, schema=self.schema)

    def finish(self) -> Counts:
        return self.counts


def examine(project: Project, *, fix: bool = False) -> list[Finding]:
    """Look at pipelines, Temporal, ledger, catalog and storage; nothing is left behind.

    Args:
        fix: register at a given Temporal server what it should know of our runs.
    """
    findings = _pipelines(project)
    findings.append(_try("temporal", lambda: _temporal(project)))
    if project.temporal.address is not None:
        findings.append(_try("search attributes", lambda: _attributes(project, fix=fix)))
    findings.append(_try("probe write", lambda: _probe_write(project)))
    findings += [
        _try(f"group {name}", lambda name=name: _group(project, name))  # type: ignore[misc]
        for name in project.groups
    ]
    return findings


def _try(name: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(name=name, ok=True, said=look())
    except (WapError, CatalogError, ChecksError, OSError) as exc:
        return Finding(name=name, ok=False, said=str(exc))


def _pipelines(project: Project) -> list[Finding]:
    try:
        names = project.pipelines()
    except WapError as exc:  # two of one name, or the database that holds them does not answer
        return [Finding(name="pipelines", ok=False, said=str(exc))]
    return [
        _try(f"pipeline {name}", lambda name=name: _pipeline(project, name))  # type: ignore[misc]
        for name in names
    ]


def _pipeline(project: Project, name: str) -> str:
    said = declared(project, name)
    version = f", version {said.version}" if said.version else ""
    return f"→ {said.pipeline.table}, {len(said.contracts)} contract(s){version}"


def _group(project: Project, name: str) -> str:
    tables = [one.table for one in declared_group(project, name)]
    with open_ports(project) as ports:
        check_able(ports.catalog, name, tables)
    return f"→ {', '.join(map(str, tables))}, in one step"


def _temporal(project: Project) -> str:
    if project.temporal.address is not None:
        return asyncio.run(_given(project, project.temporal.address))
    server = runtime.running(doors.folder_of(project))
    return f"{runtime.binary()}, {'running at ' + server.address if server else 'not running now'}"


async def _given(project: Project, address: str) -> str:
    client = await doors.connect(project, runtime.Server(address))
    served = [role for role in ROLES if await is_served(client, project, role)]
    workers = f"workers at {', '.join(served)}" if served else "no worker; doors do their own runs"
    return f"a given server at {address}, namespace {client.namespace}: {workers}"


def _attributes(project: Project, *, fix: bool) -> str:
    return asyncio.run(_known_attributes(project, fix=fix))


async def _known_attributes(project: Project, *, fix: bool) -> str:
    if project.temporal.search_attributes == "off":
        return "switched off"
    client = await doors.connect(project, runtime.Server(str(project.temporal.address)))
    if fix and (made := await attributes.register(client)):
        return f"registered now: {', '.join(made)}"
    if names := await attributes.missing(client):
        raise WapError(
            f"not registered: {', '.join(names)}; runs go on without, but are not found by table",
            where=f"namespace {client.namespace}",
            hint="wap doctor --fix registers them",
        )
    return f"{', '.join(attributes.NAMES)} are registered"


def _probe_write(project: Project) -> str:
    with open_activities(project) as steps:
        return probe(steps.catalog, steps.engine)


def probe(catalog: BranchCatalog, engine: Engine) -> str:
    """Stage three rows of a table that does not exist, prove main unmoved, remove every trace.

    Raises:
        WapError: main showed the probe, or the probe could not be read back.
    """
    branch = Branch.of_run(f"{PROBE}{uuid.uuid4().hex[:8]}")
    table = TableName(("wap_doctor",), "probe")
    shape = TableShape(Schema(NestedField(1, "id", LongType(), required=False)))
    before = catalog.tables()
    try:
        staging = catalog.open_branch(branch, table, shape)
        extract = _Probe(pa.schema([pa.field("id", pa.int64())]))
        written = engine.write(extract, staging, report=_silent, cancelled=lambda: False)
        staging = catalog.stage(staging, Change(added=written.files))
        rows = catalog.scan(table, staging.head, branch).rows
        if rows != ROWS:
            raise WapError(
                f"{ROWS} rows were staged, {rows} can be read back", where=staging.location
            )
        if catalog.tables() != before or catalog.published(table) is not None:
            raise WapError(
                "main showed a write that was only staged",
                where=str(table),
                hint="do not use this catalog: readers would see unaudited data",
            )
    finally:
        dropped = catalog.drop(branch, table)
    if any(state.branch == branch for state in catalog.branches()):
        raise WapError("the probe's branch could not be removed", where=str(branch))
    able = "; ".join(_words(catalog.capabilities))
    return f"staged, invisible on main, removed ({dropped.files} files); {able}"


def _words(able: Capabilities) -> Iterator[str]:
    """What the catalog can do and what it refuses."""
    if not able.atomic_groups:
        yield "publishes one table a step, refuses groups"
    elif able.new_in_groups:
        yield "publishes several tables in one step"
    else:
        yield "publishes several tables in one step, a new one by itself"
    if not able.staged_schema:
        yield "refuses new columns: readers would see them before publish"
    if not able.rollback:
        yield "refuses `wap rollback`"


def _silent(progress: Progress) -> None:
    """Three rows need no progress."""
