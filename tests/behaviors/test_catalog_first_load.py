"""The first load of a table: hidden until it is published, raced by others, gone when dropped."""

from __future__ import annotations

import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import ListType, LongType, MapType, NestedField, StringType, StructType

from catalog import (
    BranchNotFoundError,
    HeadMovedError,
    RebaseRefusedError,
    TableName,
    UnsupportedError,
)

pytestmark = pytest.mark.storage

#: Whose every file and namespace can be seen: not in memory.
SEEN = pytest.mark.kinds("sqlite", "portable", "nessie")


def test_a_staged_table_is_not_listed(lake, flights):
    run = lake.run()
    run.open()
    run.stage([1])
    run.seal()
    assert lake.catalog.tables() == []
    assert lake.catalog.published(flights) is None
    assert lake.catalog.log(flights) == []


def test_publish_makes_table_and_namespace(lake, flights):
    lake.publish([1])
    assert lake.catalog.tables() == [flights]


def test_dropping_a_staged_table_leaves_nothing(lake):
    run = lake.run()
    run.open()
    run.write([1], "batch-7")
    run.stage([2])
    dropped = run.drop()
    assert dropped.branch
    assert dropped.files >= 2
    assert dropped.bytes > 0
    assert lake.files() == set()
    assert lake.catalog.branches() == []
    assert lake.catalog.tables() == []
    with pytest.raises(BranchNotFoundError):
        lake.catalog.staging(run.branch, run.table)


@SEEN
@pytest.mark.glue
def test_not_even_metadata_or_a_namespace_stays(lake):
    run = lake.run()
    run.open()
    run.stage([2])
    run.drop()
    assert lake.where.names() == set()
    assert lake.plain.list_namespaces() == []


def test_a_dropped_table_can_be_loaded_again_by_the_same_run(lake):
    run = lake.run()
    for _ in range(2):
        run.open()
        run.stage([2])
        run.drop()
    run.open()
    run.stage([3])
    run.finish()
    assert lake.ids() == [3]


@pytest.mark.glue
def test_of_two_first_loads_the_second_rebases_its_files(lake, flights):
    one, two = lake.run("one"), lake.run("two")
    for run, ids in ((one, [1]), (two, [2])):
        run.open()
        run.stage(ids)
        run.seal()
    assert one.now.location != two.now.location
    (first,) = lake.catalog.publish([one.audited()])
    with pytest.raises(HeadMovedError) as moved:
        lake.catalog.publish([two.audited()])
    assert (moved.value.expected, moved.value.found) == (None, first.id)
    assert lake.ids() == [1]
    staging = two.rebase()
    assert staging.expected == first.id
    assert staging.location == one.now.location
    assert staging.staged
    assert two.batch_ids() == [2]
    two.finish()
    assert lake.ids() == [1, 2]
    assert lake.catalog.tables() == [flights]
    assert lake.catalog.branches() == []
    assert lake.catalog.verify(flights) == []


def _lose_the_first_load(lake):
    one, two = lake.run("one"), lake.run("two")
    for run, ids in ((one, [1]), (two, [2])):
        run.open()
        run.stage(ids)
    one.finish()
    return one, two


def test_a_rebased_first_load_can_be_dropped_without_a_trace(lake):
    _, two = _lose_the_first_load(lake)
    kept = {f for f in lake.files() if two.now.location.rsplit("/", 1)[1] not in f}
    two.rebase()
    dropped = two.drop()
    assert dropped.branch
    assert lake.files() == kept
    assert lake.ids() == [1]


def test_a_late_drop_after_a_rebased_first_load_touches_no_published_file(lake):
    _, two = _lose_the_first_load(lake)
    two.rebase()
    two.finish()
    before = lake.files()
    assert two.drop().files == 0
    assert lake.files() == before
    assert lake.ids() == [1, 2]


def test_a_lost_first_load_can_be_dropped_without_a_rebase(lake):
    _, two = _lose_the_first_load(lake)
    two.drop()
    assert not [f for f in lake.files() if two.now.location.rsplit("/", 1)[1] in f]
    assert lake.ids() == [1]


def test_a_first_load_of_another_shape_is_not_rebased(lake, make_schema):
    text_ids = Schema(
        NestedField(1, "id", StringType(), required=False),
        NestedField(2, "carrier", StringType(), required=False),
    )
    more = make_schema(NestedField(3, "origin", StringType(), required=False))
    losers = [(lake.run("types"), text_ids, "type"), (lake.run("more"), more, "origin")]
    for run, shape, _ in losers:
        run.open(shape)
    lake.publish([1])
    for run, _, reason in losers:
        with pytest.raises(RebaseRefusedError, match=reason):
            run.rebase()
        run.drop()
    assert lake.ids() == [1]
    assert lake.catalog.branches() == []


def test_a_first_load_partitioned_otherwise_is_not_rebased(lake):
    loser = lake.run()
    loser.open(partitioning=(("id", "bucket[4]"),))
    lake.publish([1])
    with pytest.raises(RebaseRefusedError, match="partitioned"):
        loser.rebase()


def test_open_branch_again_returns_the_staged_table_even_when_another_was_published(lake):
    run = lake.run()
    first = run.open()
    lake.publish([1])
    assert run.open().location == first.location
    assert run.now.expected is None


def test_awkward_names(lake):
    # A quoted % is "ambiguous" to the web server of Iceberg's own REST server.
    percent = "" if lake.kind == "rest" else " 100%"
    table = TableName.parse(f"Çà et là.2013 «flights» #1?{percent}")
    lake.publish([1], table)
    run = lake.run("v1.0_a-b", table)
    run.open()
    run.stage([2])
    run.finish()
    assert lake.ids(table) == [1, 2]
    assert lake.catalog.tables() == [table]


@pytest.mark.glue
@pytest.mark.exactly("glue")
def test_nested_namespaces_are_refused_where_there_are_none(lake):
    with pytest.raises(UnsupportedError, match="nested"):
        lake.publish([1], TableName.parse("lake.bronze.nyc.flights"))
    assert lake.catalog.tables() == []


def test_nested_namespaces(lake):
    table = TableName.parse("lake.bronze.nyc.flights")
    lake.publish([1], table)
    assert lake.catalog.tables() == [table]
    assert lake.ids(table) == [1]


def test_required_columns_and_deep_types_survive(lake):
    fees = MapType(-1, StringType(), -1, LongType(), value_required=True)
    wanted = Schema(
        NestedField(-1, "id", LongType(), required=True),
        NestedField(-1, "carrier", StringType(), required=False),
        NestedField(
            -1,
            "legs",
            ListType(
                -1,
                StructType(NestedField(-1, "via", StringType(), required=True)),
                element_required=True,
            ),
            required=False,
        ),
        NestedField(-1, "fees", fees, required=False),
    )
    staging = lake.run().open(wanted)
    assert staging.schema.find_field("id").required
    assert not staging.schema.find_field("legs").field_type.element_required
    assert not staging.schema.find_field("fees").field_type.value_required
    ids = [staging.schema.find_field(name).field_id for name in ("id", "carrier", "legs", "fees")]
    assert len(set(ids)) == 4
