"""A run that writes small files anew as larger ones: what it takes, and the proof of its rows."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pyarrow as pa
from pyiceberg.expressions import AlwaysFalse
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat

from catalog.base import BranchCatalog, Published, Scan, Staging
from catalog.errors import TableNotFoundError
from checks.contract import Contract
from checks.own import SameRows, same_rows_check
from checks.report import CheckResult
from wap import attempt, evidence
from wap.declared import Declared, declared
from wap.engines.arrow import TARGET_FILE_BYTES
from wap.engines.base import Engine, Written
from wap.errors import ConfigError, RelationError
from wap.field_map import quoted
from wap.project import Project
from wap.relations import connect, create_view
from wap.runs import PinnedPlan
from wap.sources.base import Counts, Cursor, Extract, Interval, Plan, Source, Split, SqlStream

KIND = "compaction"
#: A data file below this is small.
SMALL_BYTES = TARGET_FILE_BYTES // 4
#: So many small files a partition must hold before they are written anew: else each run's file
#: would be written again by the next compaction.
FEWEST = 5
#: So many files one run takes at most; the next one goes on.
MOST = 2000


def pipeline_of(project: Project, table: str) -> str:
    """The pipeline by whose contracts a table's compaction is audited: the first that loads it.

    Raises:
        ConfigError: none does.
    """
    names = project.pipelines()
    for name in names:
        if str(declared(project, name).pipeline.table) == table:
            return name
    raise ConfigError(
        "no pipeline loads this table, so no contract tells how it is to be",
        where=table,
        hint=f"pipelines: {', '.join(names) or 'none yet'}",
    )


def is_compaction(pinned: PinnedPlan) -> bool:
    """Whether the round writes rows anew that are published already."""
    return pinned.plan.kind == KIND


def plan_compaction(catalog: BranchCatalog, said: Declared) -> PinnedPlan:
    """Plan a compaction of what is published now.

    Raises:
        TableNotFoundError: nothing is published.
        ConfigError: it was published by no run of ours, or no contract is about the table.
    """
    published = catalog.published(said.table)
    if published is None:
        raise TableNotFoundError("no such published table", where=str(said.table))
    since = evidence.cursor(catalog, said.table)
    if since is None:
        raise ConfigError(
            "no run has published this table yet, so nobody proved its rows",
            where=str(said.table),
            hint="load a batch by its pipeline first",
        )
    scan = catalog.scan(said.table, published.snapshot.id)
    chosen = small_files(scan.files, published.spec.spec_id)
    return PinnedPlan(
        started_at=datetime.now(UTC),
        pipeline=said.pipeline,
        contracts=said.contracts,
        version=said.version,
        plan=_plan(chosen),
        since=since,
        before=published.snapshot.id,
        wanted_schema=published.schema.model_dump_json(),
        columns=_columns(published),
    )


def _columns(published: Published) -> tuple[str, ...]:
    return tuple(field.name for field in published.schema.fields)


def _plan(chosen: Sequence[DataFile]) -> Plan:
    paths = sorted(file.file_path for file in chosen)
    size = sum(file.file_size_in_bytes for file in chosen)
    return Plan(
        kind=KIND,
        work={"paths": [*paths]},
        digest=hashlib.sha256(json.dumps([KIND, paths]).encode()).hexdigest(),
        empty=not paths,
        summary=f"{len(paths):,} small files, {size / 1e6:,.1f} MB",
        bytes=size,
    )


def small_files(files: Sequence[DataFile], spec_id: int) -> list[DataFile]:
    """The files that are worth writing anew: small, and at least so many in their partition."""
    groups: dict[str, list[DataFile]] = defaultdict(list)
    for file in files:
        parquet = file.content is DataFileContent.DATA and file.file_format is FileFormat.PARQUET
        if parquet and file.spec_id == spec_id and file.file_size_in_bytes < SMALL_BYTES:
            groups[repr(file.partition)].append(file)
    chosen = [f for _, group in sorted(groups.items()) if len(group) >= FEWEST for f in group]
    return chosen[:MOST]


def contracts_about_the_table(contracts: Sequence[Contract]) -> tuple[Contract, ...]:
    """Those that a compaction is audited by: it adds no batch that one could look at.

    Raises:
        ConfigError: none is left.
    """
    left = tuple(c for c in contracts if not c.relation.endswith("__batch"))
    if not left:
        raise ConfigError(
            "every contract is about the batch, and a compaction has none",
            where=", ".join(c.path for c in contracts),
            hint="write a contract about the table itself",
        )
    return left


def rewritten(
    pinned: PinnedPlan, engine: Engine, catalog: BranchCatalog, staging: Staging
) -> tuple[Scan, Written]:
    """The planned files that main still shows, and their rows in new ones."""
    paths = pinned.plan.work["paths"]
    planned = set(paths) if isinstance(paths, list) else set()
    scan = catalog.scan(staging.table, staging.expected or 0)
    # One partition after the other, so that few files are open at a time.
    files = sorted((f for f in scan.files if f.file_path in planned), key=_by_partition)
    old = Scan(scan.schema, files, scan.io)
    return old, engine.carry(old, AlwaysFalse(), staging, cancelled=attempt.cancelled)


def _by_partition(file: DataFile) -> tuple[str, str]:
    return repr(file.partition), file.file_path


# --- proof --------------------------------------------------------------------------------------


def same_rows(
    catalog: BranchCatalog, staging: Staging, *, memory_limit: str, temp_directory: Path
) -> CheckResult:
    """Hold the rows of the files that go against those of the files that come, by value.

    What both snapshots show is the same file and needs no look. Streams, within the limit.

    Raises:
        RelationError: a file cannot be read.
    """
    old = catalog.scan(staging.table, staging.expected or 0)
    new = catalog.scan(staging.table, staging.head, staging.branch)
    shared = {f.file_path for f in old.files} & {f.file_path for f in new.files}
    con = connect(temp_directory=temp_directory, memory_limit=memory_limit)
    try:
        before, after = (
            _digest(con, name, Scan(new.schema, _others(scan, shared), scan.io))
            for name, scan in (("before", old), ("after", new))
        )
    finally:
        con.close()
    return same_rows_check(before, after)


def _others(scan: Scan, shared: Container[str]) -> list[DataFile]:
    return [file for file in scan.files if file.file_path not in shared]


def _digest(con: duckdb.DuckDBPyConnection, name: str, scan: Scan) -> SameRows:
    """Rows and an order-free digest over them: two independent sums of hashes of whole rows."""
    create_view(con, "compaction", name, scan)
    query = (
        "SELECT count(*), coalesce(sum(hash(r)::HUGEINT), 0),"  # noqa: S608 - a name of ours
        f" coalesce(sum(hash(r, 'again')::HUGEINT), 0) FROM compaction.{quoted(name)} AS r"
    )
    try:
        found = con.execute(query).fetchone()
    except duckdb.Error as exc:
        raise RelationError(f"the rows cannot be compared: {exc}", where=name) from exc
    rows, *sums = found or (0, 0, 0)
    digest = hashlib.sha256(json.dumps([str(s) for s in sums]).encode()).hexdigest()
    return SameRows(rows=int(rows), files=len(scan.files), digest=digest)


# --- a source of no rows ------------------------------------------------------------------------


class NoRows(Source):
    """What a compaction reads from its pipeline's source: nothing, and the cursor stays."""

    kind = KIND

    def plan(
        self, since: Cursor | None, *, everything: bool, interval: Interval | None = None
    ) -> Plan:
        """Nothing."""
        del since, everything, interval
        return _plan(())

    def schema(self, plan: Plan) -> pa.Schema:
        """No column."""
        del plan
        return pa.schema([])

    @contextmanager
    def open(
        self, plan: Plan, schema: pa.Schema, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Extract]:
        """No rows, in the columns that are asked for."""
        del plan, cancelled
        yield _Nothing(schema)

    def advance(self, since: Cursor | None, plan: Plan) -> Cursor:
        """The cursor as it is published.

        Raises:
            ConfigError: none is; see :func:`plan_compaction`.
        """
        del plan
        if since is None:
            raise ConfigError("a compaction of a table without a cursor")
        return since

    def done(self, since: Cursor | None, plan: Plan) -> bool:
        """Never: what another run published meanwhile does not write these files anew."""
        del since, plan
        return False

    def outdated(self, since: Cursor | None, now: Cursor | None, plan: Plan) -> bool:
        """Never: nothing was read."""
        del since, now, plan
        return False


class _Nothing:
    """An extract without rows."""

    def __init__(self, schema: pa.Schema) -> None:
        self.schema = schema
        self.counts = Counts()
        self.sql: SqlStream | None = None
        self.split: Split | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """None."""
        return iter(())

    def finish(self) -> Counts:
        """Nothing was read."""
        return self.counts
