"""What `wap status` tells: the published tables with their freshness, and the latest runs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from catalog.base import BranchCatalog
from catalog.refs import TableName
from wap import evidence
from wap.errors import ConfigError
from wap.ledger.base import Ledger
from wap.model import RunFacts, Value, Waiver
from wap.project import Project
from wap.quarantine.pending import Pending, pending


class TableStatus(Value):
    """One declared or published table.

    Attributes:
        late: older than its pipeline's freshness allows.
        freshness: the same in words.
        waivers: in force: consumers see rows of these runs although their audits failed.
        waiting: rows that were set aside and not replayed; None: there are none.
    """

    table: str
    pipeline: str | None
    snapshot: int | None
    rows: int
    published_at: datetime | None
    late: bool
    freshness: str
    waivers: tuple[Waiver, ...] = ()
    waiting: Pending | None = None


class Overview(Value):
    """Tables and runs."""

    tables: tuple[TableStatus, ...]
    runs: tuple[RunFacts, ...]


def overview(
    project: Project, catalog: BranchCatalog, ledger: Ledger, pipeline: str | None, limit: int
) -> Overview:
    """Look at the catalog for tables and at the ledger for runs.

    Raises:
        ConfigError: no such pipeline.
    """
    names = project.pipelines()
    if pipeline is not None and pipeline not in names:
        raise ConfigError(f"no pipeline {pipeline!r}", hint=f"there are: {', '.join(names)}")
    declared = {project.pipeline(n).table: n for n in names if pipeline is None or n == pipeline}
    tables = [TableName.parse(t) for t in declared]
    if pipeline is None:
        tables += [t for t in catalog.tables() if str(t) not in declared]
    return Overview(
        tables=tuple(_table(project, catalog, t, declared.get(str(t))) for t in tables),
        runs=tuple(ledger.runs(pipeline=pipeline, limit=limit)),
    )


def _table(
    project: Project, catalog: BranchCatalog, table: TableName, pipeline: str | None
) -> TableStatus:
    published = catalog.published(table)
    at = published.snapshot.committed_at if published else None
    rule = project.pipeline(pipeline).freshness if pipeline else None
    limit = timedelta(hours=rule.max_age_hours) if rule else None
    late = limit is not None and (at is None or datetime.now(UTC) - at > limit)
    words = "no rule" if limit is None else ("late" if late else "fresh")
    return TableStatus(
        table=str(table),
        pipeline=pipeline,
        snapshot=published.snapshot.id if published else None,
        rows=catalog.scan(table, published.snapshot.id).rows if published else 0,
        published_at=at,
        late=late,
        freshness=f"{words} (at most {rule.max_age_hours:g} h old)" if rule else words,
        waivers=evidence.in_force(catalog, table, datetime.now(UTC)),
        waiting=pending(
            catalog,
            table,
            temp_directory=project.state / "tmp",
            memory_limit=project.audit.memory,
        ),
    )
