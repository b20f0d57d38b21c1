"""One project's steps, with Spark beside it, and its tables as others read and write them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.table import StaticTable, Table
from s3fs import S3FileSystem

from catalog import TableName
from catalog.refs import Snapshot
from checks.report import Report
from tests.e2e.places import Place
from tests.servers.seaweedfs import REGION
from wap.activities import Activities
from wap.engines.arrow import ArrowEngine
from wap.engines.spark import SparkEngine
from wap.model import RunRequest
from wap.project import load_project
from wap.query import query
from wap.spark.ports import SparkPorts
from wap.spark.relations import spark_relation
from wap.spark.session import Spark
from wap.steps import Audited, RunRef
from wap.worker import open_activities

NAME = "shop"
ENGINES = ("arrow", "spark")

_PIPELINE = """\
table: shop.{engine}
engine: {engine}
source: {{kind: files, path: "data/*.parquet", format: parquet}}
write: {{mode: append, keys: [id]}}
partitioning: [region]
schema: {{on_change: evolve}}
contracts: [contracts/{engine}.yml]
"""
_CONTRACT = """\
dataset: wap/shop/{engine}
columns:
  - name: price
    checks:
      - invalid: {{valid_min: 0}}
      - missing: {{threshold: {{metric: percent, must_be_less_than: 50}}}}
checks:
  - row_count:
  - duplicate: {{columns: [id]}}
  - failed_rows: {{expression: "seen < TIMESTAMP '2000-01-01'"}}
"""

_COLUMNS = [
    pa.field("id", pa.int64()),
    pa.field("region", pa.string()),
    pa.field("quantity", pa.int32()),
    pa.field("price", pa.decimal128(12, 2)),
    pa.field("ratio", pa.float64()),
    pa.field("paid", pa.bool_()),
    pa.field("day", pa.date32()),
    pa.field("seen", pa.timestamp("us")),
    pa.field("placed", pa.timestamp("us", "UTC")),
    pa.field("raw", pa.binary()),
    pa.field("four", pa.binary(4)),
    pa.field("ref", pa.uuid()),
    pa.field("tags", pa.list_(pa.string())),
    pa.field("address", pa.struct([("street", pa.string()), ("codes", pa.list_(pa.int64()))])),
    pa.field("counts", pa.map_(pa.string(), pa.decimal128(9, 3))),
]
FIRST = pa.schema(_COLUMNS)
#: A wider type, and a column more.
SECOND = FIRST.set(2, pa.field("quantity", pa.int64())).append(pa.field("note", pa.string()))


def orders(ids: range, schema: pa.Schema = SECOND, **columns: Any) -> pa.Table:
    """Rows of every type with nulls in all but the id; ``columns`` override a column's value."""
    start = dt.datetime(2026, 1, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)
    rows = [
        {
            "id": i,
            "region": (None, "north", "sud'ouest")[i % 3],
            "quantity": i * (1 if schema is FIRST else 2**33) if i % 4 else None,
            "price": Decimal(i) / 100 if i % 5 else None,
            "ratio": i / 3 if i % 6 else None,
            "paid": i % 2 == 0 if i % 7 else None,
            "day": (start + dt.timedelta(days=i)).date() if i % 8 else None,
            "seen": (start + dt.timedelta(hours=i)).replace(tzinfo=None) if i % 9 else None,
            "placed": start + dt.timedelta(minutes=i) if i % 10 else None,
            "raw": bytes([i % 256, 0]) if i % 3 else None,
            "four": i.to_bytes(4, "big") if i % 4 else None,
            "ref": UUID(int=i) if i % 5 else None,
            "tags": ["a", None, f"né {i}"][: i % 4] if i % 5 else None,
            "address": {"street": f"s{i}", "codes": [i, None]} if i % 4 else None,
            "counts": [(f"k{j}", Decimal(j) / 8) for j in range(i % 3)] if i % 6 else None,
            "note": f"n{i}" if i % 2 else None,
            **columns,
        }
        for i in ids
    ]  # fmt: skip
    return pa.Table.from_pylist([{n: row[n] for n in schema.names} for row in rows], schema)


Rows = list[dict[str, Any]]


def in_order(table: pa.Table) -> Rows:
    """Rows by id; a uuid as its text, which is what Spark and DuckDB give for it."""
    rows = [
        {name: str(value) if isinstance(value, UUID) else value for name, value in row.items()}
        for row in table.to_pylist()
    ]
    return sorted(rows, key=lambda row: row["id"])


@dataclass
class Lakehouse:
    """A project with one table for each engine, at one place.

    Attributes:
        steps: of the project, on a Spark that others use too.
        place: where the tables lie.
        spark: whose session a consumer opens.
        reports: of the audits, by run.
    """

    steps: Activities
    place: Place
    spark: Spark
    reports: dict[str, Report]

    def deliver(self, name: str, table: pa.Table) -> Path:
        """Put a file where both pipelines read; several row groups."""
        path = self.steps.project.root / "data" / f"{name}.parquet"
        pq.write_table(table, path, row_group_size=40)
        return path

    # --- our own runs, step by step -------------------------------------------------------------

    def audited(self, engine: str, run_id: str) -> tuple[RunRef, Audited]:
        """A run until its audit."""
        run = RunRef(run_id=run_id, request=RunRequest(project=NAME, pipeline=engine))
        resolved = self.steps.resolve(run)
        assert (resolved.refused, resolved.nothing_new) == (None, False)
        self.steps.open_branch(run)
        staged = self.steps.stage(run)
        assert staged.refused is None
        return run, self.audit_again(run)

    def audit_again(self, run: RunRef) -> Audited:
        """Count and audit what the run's branch holds."""
        self.steps.reconcile(run)
        audited = self.steps.audit(run)
        self.reports[run.run_id] = self.steps.home.folder(run.run_id).report(audited.report_digest)
        return audited

    def publish(self, run: RunRef, audited: Audited) -> int:
        """Seal and publish; the snapshot that main shows then."""
        assert audited.passed, audited.reason
        self.steps.seal(run, audited)
        return self.steps.publish(run, audited).after

    def run(self, engine: str, run_id: str) -> int:
        """A whole run that is published."""
        return self.publish(*self.audited(engine, run_id))

    def unsealed(self, engine: str) -> list[int]:
        """What ``wap verify`` names, oldest first."""
        found: list[Snapshot] = self.steps.catalog.verify(TableName.parse(f"shop.{engine}"))
        return sorted((s.id for s in found), key=[s.id for s in self.log(engine)].index)

    def log(self, engine: str) -> list[Snapshot]:
        """Main's snapshots, oldest first."""
        return self.steps.catalog.log(TableName.parse(f"shop.{engine}"))[::-1]

    # --- who reads main -------------------------------------------------------------------------

    def by_us(self, engine: str) -> Rows:
        """``wap query``."""
        sql = f"select * from shop.{engine}"
        return in_order(query(self.steps.catalog, sql, temp_directory=self.steps.temp_directory))

    def by_spark(self, engine: str) -> Rows:
        """Spark's own catalog."""
        with self.consumer() as session:
            return in_order(session.table(f"shop.shop.{engine}").toArrow())

    def by_pyiceberg(self, engine: str) -> Rows:
        """pyiceberg's own catalog; for Nessie, which it has none for, the metadata file."""
        return in_order(self.plain(engine).scan().to_arrow())

    def by_duckdb(self, engine: str) -> Rows:
        """The data files that pyiceberg plans to read, by column name.

        Their columns alone: else it took ``region=null`` in a path for the text "null".
        """
        table = self.plain(engine)
        files = [task.file.file_path for task in table.scan().plan_files()]
        with duckdb.connect() as con:
            con.execute("SET TimeZone = 'UTC'")
            if self.place.storage:
                con.register_filesystem(_s3(self.place.storage))
            sql = "FROM read_parquet($files, union_by_name = true, hive_partitioning = false)"
            read = con.sql(sql, params={"files": files})
            names = [f.name for f in table.schema().fields]
            return in_order(read.select(*map(duckdb.ColumnExpression, names)).to_arrow_table())

    @contextmanager
    def consumer(self) -> Iterator[Any]:
        """A Spark session with a catalog ``shop`` of Spark's own, as docs/server.md says it."""
        conf = {"spark.sql.catalog.shop": "org.apache.iceberg.spark.SparkCatalog"}
        properties = {
            **_SPARK[self.place.kind](self),
            "warehouse": self.place.settings["WAP_CATALOG__WAREHOUSE"],
            "cache-enabled": "false",
            **_spark_storage(self.place.storage),
        }
        conf |= {f"spark.sql.catalog.shop.{key}": value for key, value in properties.items()}
        with self.spark.session(conf) as session:
            yield session

    def plain(self, engine: str) -> Table:
        """The table as pyiceberg opens it, without a line of ours."""
        identifier = ("shop", engine)
        if self.place.kind == "nessie":
            found = httpx.get(f"{self._uri}/trees/main/contents/{'.'.join(identifier)}", timeout=30)
            location = found.raise_for_status().json()["content"]["metadataLocation"]
            return StaticTable.from_metadata(location, self.place.storage)
        return self._plain_catalog().load_table(identifier)

    def append(self, engine: str, rows: pa.Table) -> None:
        """pyiceberg's own append to main. On Nessie through our pointers: it has no others."""
        if self.place.kind == "nessie":
            iceberg: Catalog = self.steps.catalog.iceberg  # type: ignore[attr-defined]
            iceberg.load_table(("shop", engine)).append(rows)
            return
        self._plain_catalog().load_table(("shop", engine)).append(rows)

    def _plain_catalog(self) -> Catalog:
        kind = "rest" if self.place.kind == "rest" else "sql"
        uri = self._uri.replace("postgresql://", "postgresql+psycopg://")
        return load_catalog(NAME, type=kind, uri=uri, **self.place.storage)

    @property
    def _uri(self) -> str:
        return self.steps.project.catalog.uri


def _jdbc(house: Lakehouse) -> dict[str, str]:
    scheme, _, rest = house.steps.project.catalog.uri.partition("://")
    if scheme == "sqlite":
        return {
            "type": "jdbc",
            "uri": f"jdbc:sqlite:/{rest.lstrip('/')}",
            "jdbc.schema-version": "V1",
        }
    user, _, address = rest.rpartition("@")
    name, _, password = user.partition(":")
    return {
        "type": "jdbc", "uri": f"jdbc:postgresql://{address}", "jdbc.schema-version": "V1",
        "jdbc.user": name, "jdbc.password": password,
    }  # fmt: skip


def _rest(house: Lakehouse) -> dict[str, str]:
    return {"type": "rest", "uri": house.steps.project.catalog.uri}


def _nessie(house: Lakehouse) -> dict[str, str]:
    return {"type": "nessie", "uri": house.steps.project.catalog.uri, "ref": "main"}


_SPARK: Mapping[str, Callable[[Lakehouse], dict[str, str]]] = {
    "sqlite": _jdbc, "postgres": _jdbc, "rest": _rest, "nessie": _nessie,
}  # fmt: skip


def _spark_storage(storage: Mapping[str, str]) -> dict[str, str]:
    if not storage:
        return {}
    own = {k: v for k, v in storage.items() if k != "s3.region"}
    return {"io-impl": "org.apache.iceberg.aws.s3.S3FileIO", "client.region": REGION, **own}


def _s3(storage: Mapping[str, str]) -> S3FileSystem:
    return S3FileSystem(
        key=storage["s3.access-key-id"],
        secret=storage["s3.secret-access-key"],
        endpoint_url=storage["s3.endpoint"],
        skip_instance_cache=True,
    )


@contextmanager
def open_lakehouse(root: Path, place: Place, spark: Spark) -> Iterator[Lakehouse]:
    """A project without runs yet."""
    for folder in ("data", "pipelines", "contracts"):
        (root / folder).mkdir(parents=True)
    (root / "wap.toml").write_text(f'[project]\nname = "{NAME}"\n[lineage]\nkind = "none"\n')
    for engine in ENGINES:
        (root / "pipelines" / f"{engine}.yml").write_text(_PIPELINE.format(engine=engine))
        (root / "contracts" / f"{engine}.yml").write_text(_CONTRACT.format(engine=engine))
    with open_activities(load_project(root, place.settings)) as steps:
        assert isinstance(steps.engine, ArrowEngine)
        engine = SparkEngine(spark, steps.engine)
        shared = SparkPorts(engine, partial(spark_relation, spark=spark), spark)
        yield Lakehouse(replace(steps, spark=shared), place, spark, {})
