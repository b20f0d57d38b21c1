"""Spark beside the product: one verdict whoever audits, by URL and in S3 too; its jars."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from catalog import Branch, TableName, open_catalog
from catalog.base import Change, TableShape
from checks.contract import parse_contract
from checks.report import Outcome
from checks.soda import SodaAuditor
from tests.behaviors.test_engine import TYPES, rows
from tests.unit.wap.sources.feeding import Project
from wap.engines.arrow import ArrowEngine
from wap.engines.spark import SparkEngine, observed_or_read
from wap.errors import EngineUnavailableError, NotInstalledError
from wap.relations import audit_relation
from wap.settings import SparkSection
from wap.spark.jars import ICEBERG, jar_paths, postgres_driver
from wap.spark.relations import spark_relation
from wap.spark.session import Spark, functions_of
from wap.types import from_arrow

pytestmark = pytest.mark.server

TABLE = TableName.parse("nyc.flights")
CONTRACT = """\
dataset: wap/nyc/flights
columns:
  - name: id
    checks: [{missing: }, {duplicate: }, {invalid: {valid_min: 5}}]
  - name: s
    checks: [{missing: {threshold: {metric: percent, must_be_less_than: 90}}}]
checks:
  - row_count: {threshold: {must_be: 300}}
  - duplicate: {columns: [id, i]}
  - failed_rows: {expression: "\\"day\\" < DATE '1970-01-02' AND b::INT = 1"}
"""


def stage(root: Path, engine, table: pa.Table, run: str = "run-1", **properties: str):
    """A table of a SQLite catalog with one run's rows on a branch."""
    own = {"uri": f"sqlite:///{root}/lake.db", "warehouse": f"{root}/warehouse"}
    catalog = open_catalog("sqlite", "lake", {**own, **properties})
    (root / "in").mkdir(exist_ok=True)
    pq.write_table(table, root / "in" / "in.parquet")
    source = Project(root / "in").source("in.parquet", "parquet")
    shape = TableShape(from_arrow(table.schema))
    where = catalog.open_branch(Branch.of_run(run), TABLE, shape)
    with source.open(source.plan(None, everything=False), table.schema) as extract:
        written = engine.write(extract, where, report=lambda _: None, cancelled=lambda: False)
    staged = catalog.stage(where, Change(written.files))
    engine.clear(staged, lambda: {f.file_path for f in written.files})
    return catalog, staged


def audited(relation_of, catalog, staged, tmp: Path):
    with relation_of(catalog, staged, temp_directory=tmp) as relation:
        audit = SodaAuditor().audit(relation, [parse_contract(CONTRACT, "c.yml")])
    assert audit.errors == ()
    return audit.results


def test_both_engines_come_to_the_same_verdict(spark, tmp_path):
    """Whoever wrote it and whoever audits it: outcome, number and failing rows are the same."""
    table = pa.Table.from_pylist(rows(300), TYPES)
    arrow = ArrowEngine()
    results = []
    for name, engine in (("arrow", arrow), ("spark", SparkEngine(spark, arrow))):
        root = tmp_path / name
        root.mkdir()
        catalog, staged = stage(root, engine, table)
        openers = (audit_relation, partial(spark_relation, spark=spark))
        results += [audited(opener, catalog, staged, root / "tmp") for opener in openers]
    facts = [[(r.name, r.outcome, r.measured, r.failing_rows) for r in one] for one in results]
    assert facts[0] == facts[1] == facts[2] == facts[3]
    assert {outcome for _, outcome, _, _ in facts[0]} == {Outcome.PASSED, Outcome.FAILED}


def test_the_same_by_url(spark_connect, tmp_path):
    """Spark Connect: the driver is another process, which shares nothing but the storage."""
    remote = Spark(SparkSection(remote=spark_connect.remote), tmp_path / "state")
    table = pa.Table.from_pylist(rows(300), TYPES)
    catalog, staged = stage(tmp_path, SparkEngine(remote, ArrowEngine()), table)
    results = audited(partial(spark_relation, spark=remote), catalog, staged, tmp_path / "tmp")
    here = audited(audit_relation, catalog, staged, tmp_path / "tmp")
    facts = [[(r.name, r.outcome, r.measured, r.failing_rows) for r in one]
             for one in (results, here)]  # fmt: skip
    assert facts[0] == facts[1]


def test_books_that_a_busy_server_does_not_tell_are_read_again(spark):
    """Spark Connect waits a tenth of a second for them, and then answers without."""
    with spark.session({}) as session:
        rows = session.createDataFrame([(1, None), (2, None), (None, "book")], "id int, b string")
        functions, observation = functions_of(session)
        told, books = observation("books-1"), functions.col("b")
        rows.observe(told, functions.collect_list(books).alias("books")).collect()
        assert observed_or_read(told.get, rows, books) == ["book"]
        assert observed_or_read({}, rows, books) == ["book"]


def test_the_same_in_s3(spark, seaweedfs, tmp_path):
    """Iceberg's own FileIO for S3, with the settings and keys that pyiceberg has."""
    bucket = seaweedfs.bucket()
    properties = {**seaweedfs.properties, "warehouse": f"s3://{bucket}/warehouse"}
    table = pa.Table.from_pylist(rows(300), TYPES)
    engine = SparkEngine(spark, ArrowEngine())
    catalog, staged = stage(tmp_path, engine, table, **properties)
    results = audited(partial(spark_relation, spark=spark), catalog, staged, tmp_path / "tmp")
    here = audited(audit_relation, catalog, staged, tmp_path / "tmp")
    facts = [[(r.name, r.outcome, r.measured, r.failing_rows) for r in one]
             for one in (results, here)]  # fmt: skip
    assert facts[0] == facts[1]
    assert not [key for key in seaweedfs.keys(bucket) if "scratch-" in key]
    catalog.drop(Branch.of_run("run-1"), TABLE)
    assert seaweedfs.keys(bucket) == set()


def test_a_server_that_does_not_answer_is_tried_again(tmp_path):
    away = Spark(SparkSection(remote="sc://127.0.0.1:1/;token=secret"), tmp_path)
    with pytest.raises(EngineUnavailableError) as caught, away.session({}):
        pytest.fail("there is no server")
    assert "secret" not in str(caught.value)


def test_a_jar_that_is_not_there_is_named(tmp_path, monkeypatch):
    with pytest.raises(NotInstalledError, match="not there"):
        jar_paths([], [str(tmp_path / "no.jar")])
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotInstalledError, match="Maven") as caught:
        jar_paths([ICEBERG], [])
    assert ICEBERG.file in caught.value.where
    own = tmp_path / ICEBERG.file
    own.write_bytes(b"a user's own")
    assert jar_paths([ICEBERG], [str(own)]) == [str(own)]
    with pytest.raises(NotInstalledError, match=r"com\.example:driver:1\.0, and Maven"):
        jar_paths([], ["com.example:driver:1.0"])
    assert postgres_driver(["org.postgresql:postgresql:42.0.0"]) is None
    assert postgres_driver([str(tmp_path / "postgresql-42.0.0.jar")]) is None


def test_an_audit_on_duckdb_loads_nothing_of_spark():
    """Though soda-sparkdf is installed, whose plug-in would bring PySpark and Databricks."""
    program = """
import sys
import duckdb
from checks.base import Relation
from checks.contract import parse_contract
from checks.soda import SodaAuditor
import wap.worker
con = duckdb.connect()
con.execute("CREATE SCHEMA s; CREATE VIEW s.t AS SELECT 1 AS a")
contract = parse_contract("dataset: w/s/t\\ncolumns: []\\nchecks: [{row_count: }]", "c.yml")
audit = SodaAuditor().audit(Relation(con, "w", "s", "t", {"a": "int"}), [contract])
assert not audit.errors, audit.errors
found = {m.partition(".")[0] for m in sys.modules}
print(sorted(found & {"pyspark", "databricks", "soda_sparkdf", "py4j", "freezegun"}))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
