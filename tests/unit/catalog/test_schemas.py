"""How schemas grow, when they fit, and what partition specs become."""

from __future__ import annotations

import pytest
from pyiceberg.schema import Schema
from pyiceberg.types import (
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
)

from catalog.errors import SchemaConflictError
from catalog.schemas import check_partitioning, fits, grown, new_schema, new_spec, same_spec


def column(
    name: str, kind: IcebergType, number: int = -1, *, required: bool = False
) -> NestedField:
    return NestedField(number, name, kind, required=required)


def current(*columns: NestedField) -> Schema:
    return new_schema(Schema(*columns), "ns.t")


def grow(have: Schema, *wanted: NestedField, known: list[Schema] | None = None) -> Schema:
    last = max(s.highest_field_id for s in [have, *(known or [])])
    return grown(have, [have, *(known or [])], last, Schema(*wanted), "ns.t")


def test_nothing_to_grow_is_the_same_schema():
    have = current(column("a", LongType()), column("b", StringType()))
    assert grow(have, column("b", StringType())) is have


def test_new_columns_come_last_with_new_ids():
    have = current(column("a", LongType()))
    after = grow(have, column("z", DateType()), column("a", LongType()))
    assert [(f.field_id, f.name) for f in after.fields] == [(1, "a"), (2, "z")]
    assert after.schema_id == 1


def test_ids_are_never_given_twice_even_after_a_drop():
    have = current(column("a", LongType()))
    assert grown(have, [have], 9, Schema(column("z", DateType())), "ns.t").highest_field_id == 10


def test_a_schema_of_another_run_for_the_same_columns_is_used_again():
    have = current(column("a", LongType()))
    other = grow(have, column("z", DateType()))
    assert grow(have, column("z", DateType()), known=[other]) is other
    assert grow(have, column("z", LongType()), known=[other]).schema_id == 2


@pytest.mark.parametrize(
    ("have", "want", "after"),
    [
        (IntegerType(), LongType(), LongType()),
        (LongType(), IntegerType(), LongType()),
        (FloatType(), DoubleType(), DoubleType()),
        (DecimalType(9, 2), DecimalType(12, 2), DecimalType(12, 2)),
        (DecimalType(12, 2), DecimalType(9, 2), DecimalType(12, 2)),
    ],
)
def test_types_widen_and_never_narrow(have, want, after):
    assert grow(current(column("a", have)), column("a", want)).find_field("a").field_type == after


@pytest.mark.parametrize(
    ("have", "want"),
    [
        (StringType(), LongType()),
        (LongType(), DoubleType()),
        (IntegerType(), FloatType()),
        (DecimalType(9, 2), DecimalType(12, 3)),
        (DecimalType(9, 2), DoubleType()),
        (DateType(), TimestampType()),
        (StringType(), StructType(column("x", LongType(), 5))),
        (ListType(5, LongType(), element_required=False), LongType()),
    ],
)
def test_what_types_cannot_become(have, want):
    with pytest.raises(SchemaConflictError, match="column a is"):
        grow(current(column("a", have)), column("a", want))


def test_structs_grow_inside():
    have = current(column("s", StructType(column("x", IntegerType(), 2))))
    wanted = StructType(column("x", LongType(), 8), column("y", StringType(), 9))
    inner = grow(have, column("s", wanted)).find_field("s").field_type
    assert [(f.field_id, f.name, str(f.field_type)) for f in inner.fields] == [
        (2, "x", "long"),
        (3, "y", "string"),
    ]


def test_lists_and_maps_grow_inside():
    have = current(
        column(
            "l", ListType(-1, StructType(column("x", IntegerType(), -2)), element_required=False)
        ),
        column("m", MapType(-3, StringType(), -4, FloatType(), value_required=False)),
    )
    after = grow(
        have,
        column("l", ListType(-1, StructType(column("y", DateType(), -2)), element_required=True)),
        column("m", MapType(-3, StringType(), -4, DoubleType(), value_required=True)),
    )
    assert [f.name for f in after.find_field("l").field_type.element_type.fields] == ["x", "y"]
    assert after.find_field("m").field_type.value_type == DoubleType()


def test_a_new_nested_column_gets_ids_all_through():
    have = current(column("a", LongType()))
    inner = StructType(column("x", LongType(), -1), column("y", LongType(), -1))
    wanted = column("s", ListType(-1, inner, element_required=True))
    after = grow(have, wanted)
    assert after.highest_field_id == 5
    assert not after.find_field("s").field_type.element_required


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (column("a", LongType(), required=True), "cannot become required"),
        (column("b", LongType(), required=True), "older rows lack it"),
        (column("A", LongType()), "only in case"),
    ],
)
def test_what_cannot_be_asked_for(wanted, reason):
    with pytest.raises(SchemaConflictError, match=reason):
        grow(current(column("a", LongType())), wanted)


def test_a_required_column_of_the_table_must_be_delivered():
    have = current(column("a", LongType(), required=True), column("b", LongType()))
    with pytest.raises(SchemaConflictError, match="required by the table"):
        grow(have, column("b", LongType()))


def test_a_table_needs_columns_with_distinct_names():
    with pytest.raises(SchemaConflictError, match="at least one"):
        new_schema(Schema(), "ns.t")
    with pytest.raises(SchemaConflictError, match="only in case"):
        new_schema(Schema(column("a", LongType()), column("A", LongType())), "ns.t")


def test_a_dot_in_a_new_name_can_clash_with_a_struct():
    have = current(column("a", StructType(column("b", LongType(), 2)), 1))
    with pytest.raises(SchemaConflictError, match="clash"):
        grow(have, column("a.b", LongType()))


def test_files_fit_only_by_name_type_and_id():
    mine = current(column("a", LongType()), column("b", StringType()))
    assert fits(mine, mine) is None
    more = grow(mine, column("c", DateType()))
    assert fits(mine, more) is None
    assert "not in the published table" in fits(more, mine)
    swapped = Schema(column("a", LongType(), 2), column("b", StringType(), 1))
    assert "field id" in fits(mine, swapped)
    typed = Schema(column("a", IntegerType(), 1), column("b", StringType(), 2))
    assert "type" in fits(mine, typed)
    strict = Schema(*mine.fields, column("c", DateType(), 3, required=True))
    assert "requires c" in fits(mine, strict)


SCHEMA = current(
    column("id", LongType()), column("ts", TimestampType()), column("ts_day", DateType())
)


def test_partition_fields_are_named_as_iceberg_does():
    spec = new_spec(SCHEMA, [("id", "bucket[16]"), ("ts", "hour"), ("id", "truncate[10]")], "ns.t")
    assert [(f.name, f.source_id, f.field_id) for f in spec.fields] == [
        ("id_bucket_16", 1, 1000),
        ("ts_hour", 2, 1001),
        ("id_trunc_10", 1, 1002),
    ]


def test_a_partition_field_does_not_take_a_columns_name():
    (field,) = new_spec(SCHEMA, [("ts", "day")], "ns.t").fields
    assert field.name == "ts_day_part"


@pytest.mark.parametrize(
    ("pair", "reason"),
    [
        (("nowhere", "day"), "no column"),
        (("ts", "weekly"), "no transform"),
        (("id", "bucket"), "no transform"),
        (("id", "day"), "cannot partition"),
    ],
)
def test_partitionings_that_cannot_be(pair, reason):
    with pytest.raises(SchemaConflictError, match=reason):
        new_spec(SCHEMA, [pair], "ns.t")


def test_a_tables_partitioning_is_kept():
    spec = new_spec(SCHEMA, [("ts", "day")], "ns.t")
    check_partitioning(SCHEMA, spec, [("ts", "day")], "ns.t")
    check_partitioning(SCHEMA, spec, [], "ns.t")
    with pytest.raises(SchemaConflictError, match="partitioned") as raised:
        check_partitioning(SCHEMA, spec, [("ts", "month")], "ns.t")
    assert "day(ts)" in raised.value.hint


def test_specs_are_the_same_by_source_and_transform():
    assert same_spec(new_spec(SCHEMA, [("ts", "day")], ""), new_spec(SCHEMA, [("ts", "day")], ""))
    assert not same_spec(new_spec(SCHEMA, [("ts", "day")], ""), new_spec(SCHEMA, [], ""))
