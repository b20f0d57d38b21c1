"""Every implementation of the catalog port on real files, and a driver that plays one run."""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import NoSuchNamespaceError
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
from tests.servers.seaweedfs import SeaweedFS

EMBEDDED = ("memory", "sqlite", "portable")
KINDS = (*EMBEDDED, "sqlite-s3", "postgres", "rest", "glue", "nessie")
#: A test for one kind is a test for those that commit as it does.
LIKE = {"sqlite-s3": "sqlite", "postgres": "sqlite", "rest": "portable", "glue": "portable"}
FLIGHTS = TableName.parse("nyc.flights")
#: Where the lake's folder says which server it is on.
NESSIE_URI = "nessie.uri"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--catalogs",
        default=",".join(KINDS),
        help=f"implementations of the catalog port to test, of {', '.join(KINDS)}; "
        "portable is SQLite through pyiceberg's public interface alone",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "kind" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--catalogs", default=",".join(KINDS)).split(",")
        unknown = set(chosen) - set(KINDS)
        if unknown:
            msg = f"--catalogs: unknown {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}"
            raise pytest.UsageError(msg)
        # Each mark narrows: one on the module, one on the test.
        marks = list(metafunc.definition.iter_markers("kinds"))
        wanted = [k for k in chosen if all({k, LIKE.get(k)} & {*mark.args} for mark in marks)]
        marked = {mark.name for mark in metafunc.definition.iter_markers()}
        if chosen == [*KINDS] and "s3" not in marked:
            wanted = [k for k in wanted if k != "sqlite-s3"]  # each request costs it milliseconds
        for mark in metafunc.definition.iter_markers("exactly"):
            wanted = [k for k in wanted if k in mark.args]
        if "glue" not in marked:
            wanted = [k for k in wanted if k != "glue"]
        if "embedded" in marked and chosen == [*KINDS]:
            wanted = [k for k in wanted if k in (*EMBEDDED, "sqlite-s3", "nessie")]
        metafunc.parametrize("kind", wanted)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "kinds(*names): only for these implementations and those that commit like them"
    )
    config.addinivalue_line(
        "markers", "s3: in S3 too; --catalogs=sqlite-s3 runs the others there as well"
    )
    config.addinivalue_line("markers", "exactly(*names): only for these implementations")
    config.addinivalue_line(
        "markers", "embedded: on catalogs with a server only where --catalogs names them"
    )
    config.addinivalue_line("markers", "glue: for AWS Glue too, as moto plays it")


@dataclass(frozen=True)
class FakeReport:
    """Evidence that passes, unless a test says otherwise."""

    snapshot_id: int
    digest: str = "d" * 64
    passed: bool = True
    declared: frozenset[str] = frozenset({"flights: no duplicates"})
    evaluated: frozenset[str] = frozenset({"flights: no duplicates"})


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

    def load(self, identifier: tuple[str, ...]) -> Table:
        return self.inner.load(identifier)

    def commit(self, proposals: Sequence[Proposal]) -> None:
        _meet(self.before)
        self.inner.commit(proposals)
        _meet(self.after)


def _meet(faults: list[BaseException | Callable[[], None] | None]) -> None:
    fault = faults.pop(0) if faults else None
    if isinstance(fault, BaseException):
        raise fault
    if fault is not None:
        fault()


@dataclass(frozen=True)
class Store:
    """A place of its own for one lake in the bucket that all share."""

    server: SeaweedFS
    bucket: str
    prefix: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"

    def keys(self) -> set[str]:
        """What lies there; an upload that nobody completed or aborted is litter too."""
        found = self.server.keys(self.bucket, self.prefix)
        found |= self.server.uploads(self.bucket, self.prefix)
        return {key.removeprefix(f"{self.prefix}/") for key in found}


@dataclass
class Lake:
    """One catalog under test and the folder it writes to.

    ``plain`` is the pyiceberg catalog a consumer would open, None for the memory catalog.
    """

    kind: str
    root: Path
    catalog: BranchCatalog
    plain: Catalog | None = None
    faults: FaultyCommitter | None = None
    numbers: Iterable[int] = field(default_factory=lambda: itertools.count(1))
    store: Store | None = None
    handles: list[BranchCatalog] = field(default_factory=list)

    @property
    def warehouse(self) -> Path:
        return self.root / "warehouse"

    def files(self) -> set[str]:
        """Every file of the warehouse but the versions of the tables' metadata file."""
        metadata = (".metadata.json", ".metadata.json.crc")
        return {f for f in self.everything() if not f.endswith(metadata)}

    def where(self, file: str) -> str:
        """The location of one of the files."""
        return f"{self.store.url}/{file}" if self.store else str(self.warehouse / file)

    def everything(self) -> set[str]:
        """Every file of the warehouse."""
        if self.store is not None:
            return self.store.keys()
        found = (p for p in self.warehouse.rglob("*") if p.is_file())
        return {str(p.relative_to(self.warehouse)) for p in found}

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
        other = open_lake(self.kind, self.root, self.store)
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

    def stage(self, ids: Sequence[int], **change: Sequence[DataFile]) -> Staging:
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

    def facts(self, audited: AuditedHead, **changes: object) -> Seal:
        values = {
            "run_id": self.branch.run_id,
            "audited": audited.head,
            "contract_digest": "c" * 64,
            "report_digest": audited.report.digest,
            "source_digest": "s" * 64,
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


def open_lake(kind: str, root: Path, store: Store | None = None) -> Lake:
    """A lake in a folder; what its catalog's server needs to be told lies there too."""
    warehouse = str(root / "warehouse")
    if kind == "memory":
        return Lake(kind, root, open_catalog("memory", "test", {"warehouse": warehouse}))
    if kind == "nessie":
        uri = (root / NESSIE_URI).read_text()
        opened = open_catalog("nessie", "test", {"uri": uri, "warehouse": warehouse})
        assert isinstance(opened, NessieCatalog)
        main = opened.iceberg
        faults = FaultyCommitter(NessieCommitter(main))
        return Lake(kind, root, NessieCatalog(main, faults), main, faults)
    told = root / "catalog.json"
    properties = {"uri": f"sqlite:///{root / 'catalog.db'}", "warehouse": warehouse}
    if told.exists():
        properties |= json.loads(told.read_text())
    if store is not None:
        properties |= {"warehouse": store.url, **store.server.properties}
    name = properties.pop("name", "test")
    opened = open_catalog("sqlite" if kind in ("portable", "sqlite-s3") else kind, name, properties)
    assert isinstance(opened, NativeCatalog)
    plain = opened.iceberg
    committer = PortableCommitter(plain) if kind == "portable" else opened.committer
    faults = FaultyCommitter(committer)
    return Lake(kind, root, NativeCatalog(plain, faults), plain, faults, store=store)


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


@pytest.fixture
def lake(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Lake]:
    if kind == "nessie":
        server = request.getfixturevalue("nessie")
        server.empty()
        (tmp_path / NESSIE_URI).write_text(server.uri)
    elif kind in _SERVED:
        told = _SERVED[kind](request)
        (tmp_path / "catalog.json").write_text(json.dumps(told))
    opened = open_lake(kind, tmp_path, _in_s3(request) if kind == "sqlite-s3" else None)
    yield opened
    opened.close()


def _in_s3(request: pytest.FixtureRequest) -> Store:
    server = request.getfixturevalue("seaweedfs")
    bucket = request.getfixturevalue("s3_bucket")
    return Store(server, bucket, f"lake-{secrets.token_hex(6)}")


@pytest.fixture(scope="session")
def s3_bucket(seaweedfs: SeaweedFS) -> str:
    return seaweedfs.bucket()


def _on_postgres(request: pytest.FixtureRequest) -> dict[str, str]:
    """One database for all: every lake has a catalog name of its own in it."""
    uri = request.getfixturevalue("postgres_uri")
    return {"uri": uri, "name": f"lake-{secrets.token_hex(6)}"}


def _on_rest(request: pytest.FixtureRequest) -> dict[str, str]:
    uri = request.getfixturevalue("iceberg_rest").uri
    with closing(open_catalog("rest", "sweep", {"uri": uri})) as opened:
        empty(opened.iceberg)  # type: ignore[attr-defined]
    return {"uri": uri}


def _on_glue(request: pytest.FixtureRequest) -> dict[str, str]:
    properties = dict(request.getfixturevalue("glue").properties)
    empty(load_catalog("sweep", type="glue", **properties), nested=False)
    return properties


_SERVED = {"postgres": _on_postgres, "rest": _on_rest, "glue": _on_glue}


def empty(plain: Catalog, *, nested: bool = True) -> None:
    """Remove every table and namespace: the tests share the server."""
    for namespace in sorted(_namespaces(plain, (), nested=nested), key=len, reverse=True):
        # A namespace in the middle of a name is gone with the last one below it.
        with suppress(NoSuchNamespaceError):
            for table in plain.list_tables(namespace):
                plain.drop_table(table)
            plain.drop_namespace(namespace)


def _namespaces(
    plain: Catalog, parent: tuple[str, ...], *, nested: bool
) -> Iterator[tuple[str, ...]]:
    for found in plain.list_namespaces(parent):
        yield found
        if nested:
            yield from _namespaces(plain, found, nested=nested)


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
