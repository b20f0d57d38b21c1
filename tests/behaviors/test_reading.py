"""Audits, queries and diffs over every catalog: each sees its own snapshot and no other."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pytest
from pyiceberg.types import DateType, NestedField

from catalog import Branch, TableName, open_catalog
from catalog.errors import CatalogUnavailableError, TableNotFoundError
from tests.behaviors.conftest import told
from tests.behaviors.places import FULL
from tests.servers.proxy import Proxy
from wap import relations
from wap.diff import diff
from wap.errors import QueryError, RelationError
from wap.query import query
from wap.spark.relations import spark_relation

pytestmark = [
    pytest.mark.storage,
    # Files are found by the catalog and read the same way whatever it is.
    pytest.mark.by_default(*FULL, "sqlite-s3", "rest-s3"),
]


@pytest.fixture
def tmp(tmp_path: Path) -> Path:
    return tmp_path / "tmp"


@pytest.fixture
def audit_relation():
    return relations.audit_relation


def staged(lake: Any, ids: list[int], **options: Any) -> Any:
    run = lake.run(**options)
    run.open()
    run.stage(ids)
    return run


def ids(relation: Any, view: str, schema: str = "nyc") -> list[int]:
    found = relation.connection.execute(f'SELECT id FROM "{schema}"."{view}" ORDER BY id')
    return [row[0] for row in found.fetchall()]


def test_an_audit_sees_candidate_batch_and_published(lake, tmp, audit_relation):
    lake.publish([1, 2])
    run = staged(lake, [3])
    with audit_relation(lake.catalog, run.now, temp_directory=tmp) as relation:
        assert ids(relation, "flights") == [1, 2, 3]
        assert ids(relation, "flights__batch") == [3]
        assert ids(relation, "flights__published") == [1, 2]
        assert relation.rows == {"flights": 3, "flights__batch": 1, "flights__published": 2}
        assert relation.columns == {"id": "long", "carrier": "string"}
        assert (relation.source, relation.schema, relation.table) == ("wap", "nyc", "flights")
    assert list(tmp.iterdir()) == []


def test_what_is_published_of_a_new_table_is_empty_with_the_candidates_columns(
    lake, tmp, audit_relation
):
    run = staged(lake, [3])
    with audit_relation(lake.catalog, run.now, temp_directory=tmp) as relation:
        con = relation.connection
        assert ids(relation, "flights__published") == []
        published = con.sql("SELECT * FROM nyc.flights__published")
        candidate = con.sql("SELECT * FROM nyc.flights")
        assert (published.columns, published.types) == (candidate.columns, candidate.types)


def test_an_audit_stays_with_its_snapshots_when_main_and_the_branch_move_on(
    lake, tmp, audit_relation
):
    lake.publish([1])
    run = staged(lake, [2])
    before = run.now
    lake.publish([9])
    run.rebase()
    with audit_relation(lake.catalog, run.now, temp_directory=tmp) as relation:
        assert ids(relation, "flights") == [1, 2, 9]
        assert ids(relation, "flights__published") == [1, 9]
    assert before.head != run.now.head


def test_a_new_column_is_seen_by_the_audit_and_by_no_consumer(
    lake, make_schema, tmp, audit_relation
):
    lake.publish([1])
    run = lake.run()
    run.open(make_schema(NestedField(3, "day", DateType(), required=False)))
    run.stage([2])
    with audit_relation(lake.catalog, run.now, temp_directory=tmp) as relation:
        assert relation.columns == {"id": "long", "carrier": "string", "day": "date"}
        assert ids(relation, "flights") == [1, 2]
    assert query(lake.catalog, "from nyc.flights", temp_directory=tmp).column_names == [
        "id",
        "carrier",
    ]
    run.finish()
    assert query(lake.catalog, "from nyc.flights", temp_directory=tmp).column_names == [
        "id",
        "carrier",
        "day",
    ]


def test_neighbours_are_what_consumers_see(lake, tmp, audit_relation):
    airlines = TableName.parse("ref.air.lines")
    lake.publish([7], airlines)
    staged(lake, [8], table=airlines)
    run = staged(lake, [1])
    with audit_relation(
        lake.catalog, run.now, neighbours=[airlines], temp_directory=tmp
    ) as relation:
        assert ids(relation, "lines", "ref.air") == [7]


def test_a_neighbour_that_is_not_published_is_an_error(lake, tmp, audit_relation):
    run = staged(lake, [1])
    missing = [TableName.parse("nyc.planes")]
    with (
        pytest.raises(TableNotFoundError, match="not published"),
        audit_relation(lake.catalog, run.now, neighbours=missing, temp_directory=tmp),
    ):
        pytest.fail("no relation without the neighbour")


def test_a_neighbour_cannot_take_the_place_of_what_is_audited(lake, tmp, audit_relation):
    impostor = TableName.parse("nyc.flights__batch")
    lake.publish([7], impostor)
    run = staged(lake, [1])
    with (
        pytest.raises(RelationError, match="already exists"),
        audit_relation(lake.catalog, run.now, neighbours=[impostor], temp_directory=tmp),
    ):
        pytest.fail("no relation with two views of one name")


def test_a_consumer_sees_nothing_of_a_run_until_it_is_published(lake, tmp):
    sql = "select list(id order by id) ids from nyc.flights"

    def seen() -> list[int]:
        rows: list[dict[str, list[int]]] = query(lake.catalog, sql, temp_directory=tmp).to_pylist()
        return rows[0]["ids"]

    run = staged(lake, [1])
    with pytest.raises(QueryError, match="no published table"):
        seen()
    run.finish()
    assert seen() == [1]
    run = staged(lake, [2])
    run.seal()
    assert seen() == [1]
    run.finish()
    assert seen() == [1, 2]
    staged(lake, [3]).drop()
    assert seen() == [1, 2]


def test_a_diff_is_what_publishing_would_change(lake, tmp):
    first = lake.publish([1, 2])
    run = staged(lake, [5])
    found = diff(lake.catalog, run.branch, run.table, temp_directory=tmp)
    assert (found.before, found.main, found.after) == (first.id, first.id, run.now.head)
    assert (found.rows_before, found.rows_after, found.rows_added, found.rows_removed) == (
        2, 3, 1, 0,
    )  # fmt: skip
    assert [(c.before.max, c.after.max) for c in found.columns if c.before and c.after] == [
        ("2", "5"),
        ("AA", "AA"),
    ]


def test_a_diff_of_a_replace_counts_carried_rows_on_neither_side(lake, tmp):
    lake.publish([1, 2, 3])
    run = lake.run()
    run.open()
    old = lake.catalog.scan(run.table, run.now.expected).files
    run.stage([9], removed=old, kept=[run.write([2], "kept-0")])
    found = diff(lake.catalog, run.branch, run.table, temp_directory=tmp)
    assert (found.rows_added, found.rows_removed, found.rows_after) == (1, 2, 2)


def test_a_diff_tells_that_main_has_moved(lake, tmp):
    first = lake.publish([1])
    run = staged(lake, [2])
    second = lake.publish([3])
    found = diff(lake.catalog, run.branch, run.table, temp_directory=tmp)
    assert found.main_moved
    assert (found.before, found.main) == (first.id, second.id)
    assert (found.rows_before, found.rows_after) == (1, 2)


def test_a_diff_of_a_new_table_has_no_before(lake, tmp):
    run = staged(lake, [1])
    found = diff(lake.catalog, Branch.of_run(run.branch.run_id), run.table, temp_directory=tmp)
    assert (found.before, found.main, found.rows_before, found.rows_after) == (None, None, 0, 1)
    assert all(c.before is None for c in found.columns)


@pytest.mark.in_s3
def test_a_store_that_goes_away_in_an_audit_is_no_verdict(lake, tmp, audit_relation):
    """The auditor takes what DuckDB says for an error of the check."""
    run = staged(lake, [3])
    proxy = Proxy(lake.where.server.port)
    properties = {
        "uri": f"sqlite:///{lake.root / 'catalog.db'}",
        **told(lake.root),
        "s3.endpoint": f"http://127.0.0.1:{proxy.port}",
    }
    opened = open_catalog(lake.kind, properties.pop("name", "test"), properties)

    def audit() -> None:
        with audit_relation(opened, run.now, temp_directory=tmp) as relation:
            proxy.cut()
            with pytest.raises(duckdb.Error):
                ids(relation, "flights")

    with pytest.raises(CatalogUnavailableError, match="does not answer"):
        audit()
    proxy.close()


@pytest.mark.in_s3
def test_a_query_over_s3_reads_no_file_but_the_published(lake, tmp):
    lake.publish([1])
    run = staged(lake, [2])
    (staged_file,) = lake.catalog.batch(run.now).files
    for prefix in ("iceberg0://", ""):
        sql = (
            f"SELECT id FROM nyc.flights UNION FROM read_parquet('{prefix}{staged_file.file_path}')"
        )
        with pytest.raises(QueryError, match="published tables and nothing else"):
            query(lake.catalog, sql, temp_directory=tmp)
    assert query(lake.catalog, "SELECT id FROM nyc.flights", temp_directory=tmp)[
        "id"
    ].to_pylist() == [1]


ON_SPARK = (
    test_an_audit_sees_candidate_batch_and_published,
    test_an_audit_stays_with_its_snapshots_when_main_and_the_branch_move_on,
    test_a_new_column_is_seen_by_the_audit_and_by_no_consumer,
    test_neighbours_are_what_consumers_see,
    test_a_neighbour_that_is_not_published_is_an_error,
    test_a_neighbour_cannot_take_the_place_of_what_is_audited,
)


@pytest.mark.server
@pytest.mark.exactly("sqlite", "postgres", "rest", "nessie")
@pytest.mark.by_default("sqlite", "sqlite-s3")
@pytest.mark.parametrize("behavior", ON_SPARK, ids=lambda b: b.__name__)
def test_the_same_on_spark(behavior, lake, make_schema, tmp, spark):
    fixtures = {
        "lake": lake,
        "make_schema": make_schema,
        "tmp": tmp,
        "audit_relation": partial(spark_relation, spark=spark),
    }
    behavior(**{name: fixtures[name] for name in inspect.signature(behavior).parameters})
    assert not [f for f in lake.files() if "scratch-" in f]
