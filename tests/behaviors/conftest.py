"""Every implementation of the catalog port on real files, and a driver that plays one run."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog
from pyiceberg.io import FileIO
from pyiceberg.io.pyarrow import (
    compute_statistics_plan,
    data_file_statistics_from_parquet_metadata,
    parquet_path_to_id_mapping,
    schema_to_pyarrow,
)
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.typedef import Record
from pyiceberg.types import LongType, NestedField, StringType

from catalog import AuditedHead, Branch, Dropped, Seal, Snapshot, TableName, open_catalog
from catalog.base import BranchCatalog, Change, Staging, TableShape
from catalog.commits import Committer, PortableCommitter, Proposal
from catalog.native import NativeCatalog
from catalog.nessie import NessieCatalog
from catalog.nessie_commits import NessieCommitter
from catalog.nessie_tables import PointerCatalog
from tests.behaviors.places import (
    IN_S3,
    Folder,
    Store,
    catalog_of,
    properties_of,
    store_for,
    wanted_for,
)

FLIGHTS = TableName.parse("nyc.flights")
#: In the lake's folder: what its catalog is opened with.
TOLD = "catalog.json"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        metafunc.parametrize("kind", wanted_for(metafunc))


@dataclass(frozen=True)
class FakeReport:
    """Evidence that passes, unless a test says otherwise."""

    snapshot_id: int
    digest: str = "d" * 64
    passed: bool = True
    declared: frozenset[str] = frozenset({"flights: no duplicates"})
    evaluated: frozenset[str] = frozenset({"flights: no duplicates"})
    waivable: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FakeWaiver:
    """A person's word for what failed in a :class:`FakeReport`."""

    run_id: str
    report_digest: str
    checks: frozenset[str] = frozenset({"flights: no duplicates"})
    person: str = "ann"
    reason: str = "mended by Friday"
    text: str = '{"person": "ann"}'


def schema(*extra: NestedField) -> Schema:
    return Schema(
        NestedField(1, "id", LongType(), required=False),
        NestedField(2, "carrier", StringType(), required=False),
        *extra,
    )


class FaultyCommitter(Committer):
    """A real committer whose answers can be lost or whose commits can be refused, as told."""

    def __init__(self, inner: Committer) -> None:
        self.inner = inner
        self.atomic_groups, self.serial = inner.atomic_groups, inner.serial
        self.new_in_groups = inner.new_in_groups
        self.before: list[BaseException | Callable[[], None] | None] = []
        self.after: list[BaseException | Callable[[], None] | None] = []
        self.loading: list[BaseException | Callable[[], None] | None] = []

    def load(self, identifier: tuple[str, ...]) -> Table:
        _meet(self.loading)
        return self.inner.load(identifier)

    def commit(self, proposals: Sequence[Proposal]) -> None:
        _meet(self.before)
        self.inner.commit(proposals)
        _meet(self.after)

    def in_line(self, proposals: Sequence[Proposal]) -> AbstractContextManager[None]:
        return self.inner.in_line(proposals)


def _meet(faults: list[BaseException | Callable[[], None] | None]) -> None:
    fault = faults.pop(0) if faults else None
    if isinstance(fault, BaseException):
        raise fault
    if fault is not None:
        fault()


@dataclass
class Lake:
    """One catalog under test and the place it writes to.

    ``kind`` is what is opened: the same on a folder and in S3, and for both of Nessie's stores.
    ``plain`` is the pyiceberg catalog a consumer would open, None for the memory catalog.
    """

    kind: str
    root: Path
    catalog: BranchCatalog
    plain: Catalog | None = None
    faults: FaultyCommitter | None = None
    numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))
    place: Folder | Store | None = None
    handles: list[BranchCatalog] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.place = self.place or Folder(self.root / "warehouse")

    @property
    def where(self) -> Folder | Store:
        """Where its files lie."""
        assert self.place is not None
        return self.place

    def files(self) -> set[str]:
        """Every file of the warehouse but the versions of the tables' metadata file."""
        metadata = (".metadata.json", ".metadata.json.crc")
        return {f for f in self.where.names() if not f.endswith(metadata)}

    def ids(self, table: TableName = FLIGHTS) -> list[int] | None:
        """What a consumer reads from main, sorted; None: no such table."""
        published = self.catalog.published(table)
        if published is None:
            return None
        return read_ids(self.catalog.scan(table, published.snapshot.id).files, published.io)

    def run(self, run_id: str = "", table: TableName = FLIGHTS) -> Run:
        name = run_id or f"run-{next(iter(self.numbers))}"
        return Run(self, Branch.of_run(name), table)

    def publish(self, ids: Sequence[int], table: TableName = FLIGHTS) -> Snapshot:
        """A whole run that succeeds."""
        run = self.run(table=table)
        run.open()
        run.stage(ids)
        return run.finish()

    def on_branch(self, run: Run) -> tuple[Catalog, str]:
        """The catalog that shows the table of a run's branch, and what the branch is called there.

        A table that is new is in a hidden place where branches are refs of the table.
        """
        assert self.plain is not None
        if isinstance(self.plain, PointerCatalog):
            return self.plain.on(run.branch.name), "main"
        return self.plain, run.branch.name

    def again(self) -> Lake:
        """The same lake as another process would open it."""
        if self.plain is None:
            return self
        other = open_lake(self.kind, self.root, self.place)
        self.handles.append(other.catalog)
        return replace(other, numbers=self.numbers, handles=self.handles)

    def close(self) -> None:
        for catalog in (self.catalog, *self.handles):
            catalog.close()


@dataclass
class Run:
    """One run, step by step; ``staging`` is what the last step returned."""

    lake: Lake
    branch: Branch
    table: TableName
    staging: Staging | None = None
    digest: str = "d" * 64

    @property
    def catalog(self) -> BranchCatalog:
        return self.lake.catalog

    @property
    def now(self) -> Staging:
        assert self.staging is not None
        return self.staging

    def open(self, shape: Schema | None = None, **more: object) -> Staging:
        wanted = TableShape(shape or schema(), **more)  # type: ignore[arg-type]
        self.staging = self.catalog.open_branch(self.branch, self.table, wanted)
        return self.staging

    def write(
        self, ids: Sequence[int], name: str = "batch-0", partition: Record | None = None
    ) -> DataFile:
        """A data file in the run's own location, in no snapshot yet."""
        staging = self.now
        return write_file(staging, f"{staging.data_location}/{name}.parquet", ids, partition)

    def stage(self, ids: Sequence[int], **change: Any) -> Staging:
        added = [self.write(ids)] if ids else []
        self.staging = self.catalog.stage(
            self.now, Change(added, summary={"wap.pipeline": "flights"}, **change)
        )
        return self.staging

    def audited(self, **changes: object) -> AuditedHead:
        values = {
            "branch": self.branch,
            "table": self.table,
            "head": self.now.head,
            "expected": self.now.expected,
            "report": FakeReport(self.now.head, self.digest),
        }
        return AuditedHead(**{**values, **changes})  # type: ignore[arg-type]

    def waived(self) -> AuditedHead:
        """A failed audit of what is staged, under a waiver."""
        failed = frozenset({"flights: no duplicates"})
        report = FakeReport(self.now.head, self.digest, passed=False, waivable=failed)
        return self.audited(report=report, waiver=FakeWaiver(self.branch.run_id, self.digest))

    def facts(self, audited: AuditedHead, **changes: object) -> Seal:
        values = {
            "run_id": self.branch.run_id,
            "audited": audited.head,
            "contract_digest": "c" * 64,
            "report_digest": audited.report.digest,
            "source_digest": "s" * 64,
            "waiver": audited.waiver_text,
        }
        return Seal(**{**values, **changes})  # type: ignore[arg-type]

    def seal(self, **changes: object) -> Snapshot:
        audited = self.audited()
        return self.catalog.seal(audited, self.facts(audited, **changes))

    def finish(self) -> Snapshot:
        """Audit, seal and publish what is staged."""
        audited = self.audited()
        self.catalog.seal(audited, self.facts(audited))
        (snapshot,) = self.catalog.publish([audited])
        return snapshot

    def rebase(self) -> Staging:
        self.staging = self.catalog.rebase(self.branch, self.table)
        return self.staging

    def drop(self) -> Dropped:
        return self.catalog.drop(self.branch, self.table)

    def batch_ids(self) -> list[int]:
        return read_ids(self.catalog.batch(self.now).files, self.now.io)

    def candidate_ids(self) -> list[int]:
        scan = self.catalog.scan(self.table, self.now.head, self.branch)
        return read_ids(scan.files, scan.io)


def write_file(
    staging: Staging, location: str, ids: Sequence[int], partition: Record | None = None
) -> DataFile:
    arrow = schema_to_pyarrow(staging.schema)
    columns = {f.name: pa.nulls(len(ids), f.type) for f in arrow}
    columns["id"] = pa.array(ids, arrow.field("id").type)
    columns["carrier"] = pa.array(["AA"] * len(ids), arrow.field("carrier").type)
    with staging.io.new_output(location).create(overwrite=True) as stream:
        pq.write_table(pa.table(columns, schema=arrow), stream)
    with staging.io.new_input(location).open() as stream:
        footer = pq.read_metadata(stream)
    statistics = data_file_statistics_from_parquet_metadata(
        parquet_metadata=footer,
        stats_columns=compute_statistics_plan(staging.schema, dict(staging.properties)),
        parquet_column_mapping=parquet_path_to_id_mapping(staging.schema),
    )
    return DataFile.from_args(
        content=DataFileContent.DATA,
        file_path=location,
        file_format=FileFormat.PARQUET,
        partition=partition or Record(),
        file_size_in_bytes=len(staging.io.new_input(location)),
        sort_order_id=None,
        spec_id=staging.spec.spec_id,
        equality_ids=None,
        key_metadata=None,
        **statistics.to_serialized_dict(),
    )


def read_ids(files: Iterable[DataFile], io: FileIO) -> list[int]:
    found: list[int] = []
    for file in files:
        with io.new_input(file.file_path).open() as stream:
            found += pq.read_table(stream, columns=["id"])["id"].to_pylist()
    return sorted(found)


def open_lake(kind: str, root: Path, place: Folder | Store | None = None) -> Lake:
    """A lake whose folder says what its catalog is opened with."""
    properties = {
        "uri": f"sqlite:///{root / 'catalog.db'}",
        "warehouse": str(root / "warehouse"),
        **told(root),
    }
    name = properties.pop("name", "test")
    if kind == "memory":
        return Lake(kind, root, open_catalog("memory", name, properties))
    opened = open_catalog("sqlite" if kind == "portable" else kind, name, properties)
    assert isinstance(opened, NativeCatalog | NessieCatalog)
    plain = opened.iceberg
    if isinstance(plain, PointerCatalog):
        faults = FaultyCommitter(NessieCommitter(plain))
        return Lake(kind, root, NessieCatalog(plain, faults), plain, faults, place=place)
    assert isinstance(opened, NativeCatalog)
    faults = FaultyCommitter(PortableCommitter(plain) if kind == "portable" else opened.committer)
    return Lake(kind, root, NativeCatalog(plain, faults), plain, faults, place=place)


def told(root: Path) -> dict[str, str]:
    """What the folder of a lake says."""
    path = root / TOLD
    return dict(json.loads(path.read_text())) if path.exists() else {}


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database for a ledger."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/state of %/ledger.db"
        return
    server = request.getfixturevalue("postgres")
    name = server.database()
    yield server.url(name)
    server.drop(name)


def new_lake(kind: str, root: Path, request: pytest.FixtureRequest) -> Lake:
    """An empty lake of a kind in a folder; its server is started if it is not there yet."""
    properties, place = properties_of(kind, request), None
    if kind.endswith(IN_S3):
        place = store_for(request)
        properties |= {"warehouse": place.url, **place.server.properties}
    (root / TOLD).write_text(json.dumps(properties))
    return open_lake(catalog_of(kind), root, place)


@pytest.fixture
def lake(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lake]:
    opened = new_lake(kind, tmp_path, request)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_uri(request: pytest.FixtureRequest) -> str:
    server = request.getfixturevalue("postgres")
    return server.url(server.database())


@pytest.fixture
def make_schema() -> Callable[..., Schema]:
    return schema


@pytest.fixture
def report() -> type[FakeReport]:
    return FakeReport


@pytest.fixture
def flights() -> TableName:
    return FLIGHTS
