"""New and wider columns: invisible on main until publish, gone with a dropped run."""

from __future__ import annotations

import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import DoubleType, IntegerType, LongType, NestedField, StringType

from catalog import HeadMovedError, RebaseRefusedError, SchemaConflictError

#: What is judged here was read already: no server has a say in it.
pytestmark = pytest.mark.embedded
#: Whose tables a plain reader can open.
READ = pytest.mark.kinds("sqlite", "portable", "nessie")

ORIGIN = NestedField(7, "origin", StringType(), required=False)
DEST = NestedField(7, "dest", StringType(), required=False)


def _columns(lake, flights):
    return [f.name for f in lake.catalog.published(flights).schema.fields]


def _evolving(lake, make_schema, *extra: NestedField):
    run = lake.run()
    run.open(make_schema(*extra))
    return run


def test_a_new_column_is_the_candidates_only_until_publish(lake, make_schema, flights):
    lake.publish([1])
    run = _evolving(lake, make_schema, ORIGIN)
    assert [f.name for f in run.now.schema.fields] == ["id", "carrier", "origin"]
    run.stage([2])
    run.seal()
    assert _columns(lake, flights) == ["id", "carrier"]
    head = lake.catalog.published(flights).snapshot.id
    assert len(lake.catalog.scan(flights, head).schema.fields) == 2
    assert len(lake.catalog.scan(flights, run.now.head, run.branch).schema.fields) == 3
    assert len(lake.catalog.batch(run.now).schema.fields) == 3
    lake.catalog.publish([run.audited()])
    assert _columns(lake, flights) == ["id", "carrier", "origin"]
    assert lake.ids() == [1, 2]


def test_staging_remembers_the_candidates_columns(lake, make_schema):
    lake.publish([1])
    run = _evolving(lake, make_schema, ORIGIN)
    again = lake.catalog.staging(run.branch, run.table)
    assert again.schema == run.now.schema
    assert run.stage([2]).schema == again.schema


def test_field_ids_are_the_tables_own(lake, make_schema):
    lake.publish([1])
    run = _evolving(lake, make_schema, ORIGIN)
    assert [f.field_id for f in run.now.schema.fields] == [1, 2, 3]


def test_columns_that_the_shape_lacks_stay(lake, make_schema, flights):
    run = _evolving(lake, make_schema, ORIGIN)
    run.stage([1])
    run.finish()
    narrow = _evolving(lake, make_schema)
    assert [f.name for f in narrow.now.schema.fields] == ["id", "carrier", "origin"]


def test_a_dropped_run_leaves_no_column(lake, make_schema, flights):
    lake.publish([1])
    run = _evolving(lake, make_schema, ORIGIN)
    run.stage([2])
    run.drop()
    assert _columns(lake, flights) == ["id", "carrier"]
    after = _evolving(lake, make_schema, DEST)
    assert [f.name for f in after.now.schema.fields] == ["id", "carrier", "dest"]


def test_a_column_is_widened_only_with_publish(lake, flights):
    small = Schema(
        NestedField(1, "id", IntegerType(), required=False),
        NestedField(2, "carrier", StringType(), required=False),
    )
    run = lake.run()
    run.open(small)
    run.stage([1])
    run.finish()
    wider = lake.run()
    wider.open()
    assert wider.now.schema.find_field("id").field_type == LongType()
    wider.stage([2])
    assert lake.catalog.published(flights).schema.find_field("id").field_type == IntegerType()
    wider.finish()
    assert lake.catalog.published(flights).schema.find_field("id").field_type == LongType()
    back = lake.run()
    back.open(small)
    assert back.now.schema.find_field("id").field_type == LongType()


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (NestedField(9, "id", StringType(), required=False), "cannot become"),
        (NestedField(9, "id", LongType(), required=True), "required"),
        (NestedField(9, "extra", LongType(), required=True), "required"),
        (NestedField(9, "Carrier", StringType(), required=False), "case"),
    ],
)
def test_what_the_table_cannot_grow_into(lake, column, reason):
    lake.publish([1])
    run = lake.run()
    with pytest.raises(SchemaConflictError, match=reason):
        run.open(Schema(column))
    assert lake.catalog.branches() == []


def test_rebase_refuses_when_another_run_published_other_columns(lake, make_schema, flights):
    lake.publish([1])
    first = _evolving(lake, make_schema, ORIGIN)
    second = _evolving(lake, make_schema, DEST)
    first.stage([2])
    second.stage([3])
    first.finish()
    with pytest.raises(HeadMovedError):
        second.finish()
    with pytest.raises(RebaseRefusedError, match="schema"):
        second.rebase()
    plain = lake.run()
    plain.open()
    plain.stage([4])
    plain.finish()
    assert lake.ids() == [1, 2, 4]


def test_two_runs_that_add_the_same_column_agree_on_it(lake, make_schema, flights):
    lake.publish([1])
    first = _evolving(lake, make_schema, ORIGIN)
    second = _evolving(lake, make_schema, ORIGIN)
    first.stage([2])
    second.stage([3])
    first.finish()
    second.rebase()
    second.finish()
    assert _columns(lake, flights) == ["id", "carrier", "origin"]
    assert lake.ids() == [1, 2, 3]


def test_rollback_takes_the_columns_back_too(lake, make_schema, flights):
    first = lake.publish([1])
    run = _evolving(lake, make_schema, NestedField(7, "delay", DoubleType(), required=False))
    run.stage([2])
    second = run.finish()
    lake.catalog.rollback(flights, first.id, expected=second.id)
    assert _columns(lake, flights) == ["id", "carrier"]


@READ
def test_a_plain_reader_sees_the_new_column_only_after_publish(lake, make_schema, flights):
    lake.publish([1])
    run = _evolving(lake, make_schema, ORIGIN)
    run.stage([2])
    run.seal()
    reader = lake.plain.load_table(flights.identifier)
    assert reader.scan().to_arrow().column_names == ["id", "carrier"]
    assert reader.scan().use_ref("main").to_arrow().column_names == ["id", "carrier"]
    assert reader.schema().column_names == ["id", "carrier"]
    plain, ref = lake.on_branch(run)
    branch = plain.load_table(flights.identifier).scan().use_ref(ref).to_arrow()
    assert branch.column_names == ["id", "carrier", "origin"]
    lake.catalog.publish([run.audited()])
    reader = lake.plain.load_table(flights.identifier)
    assert reader.scan().to_arrow().sort_by("id").to_pydict() == {
        "id": [1, 2],
        "carrier": ["AA", "AA"],
        "origin": [None, None],
    }


@READ
def test_a_dropped_run_leaves_no_schema_in_the_metadata(lake, make_schema, flights):
    lake.publish([1])
    run = _evolving(lake, make_schema, ORIGIN)
    run.stage([2])
    run.drop()
    kept = lake.plain.load_table(flights.identifier).metadata.schemas
    assert len(kept) == (1 if lake.faults.serial else 2)
