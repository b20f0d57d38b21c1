"""Types: texts, Arrow and back, and what Iceberg cannot hold."""

from __future__ import annotations

import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyiceberg.types import (
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    StringType,
    TimestampType,
)

from wap.errors import ConfigError
from wap.type_texts import TypeTextError, parse_type, type_text
from wap.types import all_null, column_texts, from_arrow, iceberg_schema, to_arrow
from wap.widening import Shape, grown, reads_as, widens

WHOLE = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - a timestamp without a zone is meant
PLAIN = [
    *("binary", "boolean", "date", "double", "float", "int", "long", "string", "time"),
    *("timestamp", "timestamptz", "uuid"),
]


def nested() -> st.SearchStrategy[str]:
    plain = st.one_of(
        st.sampled_from(PLAIN),
        st.integers(1, 64).map(lambda n: f"fixed[{n}]"),
        st.tuples(st.integers(1, 38), st.integers(0, 38))
        .filter(lambda pair: pair[1] <= pair[0])
        .map(lambda pair: f"decimal({pair[0]}, {pair[1]})"),
    )
    names = st.text(min_size=1, max_size=8).filter(lambda n: n.strip() == n and n.isprintable())

    def struct(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        fields = st.dictionaries(names, inner, min_size=1, max_size=3)
        quoted = '"{}": {}'.format
        return fields.map(
            lambda d: (
                "struct<" + ", ".join(quoted(n.replace('"', '""'), t) for n, t in d.items()) + ">"
            )
        )

    return st.recursive(
        plain,
        lambda inner: st.one_of(
            inner.map(lambda t: f"list<{t}>"),
            st.tuples(st.sampled_from(PLAIN), inner).map(lambda kv: f"map<{kv[0]}, {kv[1]}>"),
            struct(inner),
        ),
        max_leaves=6,
    )


@given(nested())
def test_a_text_is_read_back_from_the_type_it_names(text: str) -> None:
    kind = parse_type(text)
    assert type_text(parse_type(type_text(kind))) == type_text(kind)


@given(nested())
def test_a_type_survives_the_way_through_arrow(text: str) -> None:
    schema = iceberg_schema({"c": text})
    assert column_texts(from_arrow(to_arrow(schema))) == column_texts(schema)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("int", IntegerType()),
        (" LONG ", LongType()),
        ("decimal(12,2)", DecimalType(12, 2)),
        ("decimal( 38 , 38 )", DecimalType(38, 38)),
    ],
)
def test_texts_are_read_as_people_write_them(text: str, expected: IcebergType) -> None:
    assert parse_type(text) == expected


def test_elements_and_map_values_are_optional() -> None:
    kind = parse_type("map<string, list<int>>")
    assert isinstance(kind, MapType)
    assert not kind.value_required
    assert isinstance(kind.value_type, ListType)
    assert not kind.value_type.element_required


def test_odd_field_names_are_quoted() -> None:
    kind = parse_type('struct<"a, b: c": int, größe: long, "say ""hi""": string>')
    assert [f.name for f in kind.fields] == ["a, b: c", "größe", 'say "hi"']  # type: ignore[attr-defined]
    assert type_text(kind) == 'struct<"a, b: c": int, größe: long, "say ""hi""": string>'


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("strng", "did you mean string?"),
        ("bigint", "did you mean long?"),
        ("VARCHAR", "did you mean string?"),
        ("timestamptz_ns", "Iceberg v2 keeps microseconds; write timestamptz"),
        ("list<bool>", "did you mean boolean?"),
    ],
)
def test_an_unknown_type_is_answered_with_the_nearest(text: str, hint: str) -> None:
    with pytest.raises(TypeTextError) as caught:
        parse_type(text)
    assert caught.value.hint == hint


@pytest.mark.parametrize(
    "text",
    [
        *("", "list", "list<>", "list<int", "list<int>>", "map<int>", "struct<>", "struct<a int>"),
        *("struct<a: int, a: long>", "decimal", "decimal(39, 2)", "decimal(2, 3)", "decimal(x, 1)"),
        *("decimal(0, 0)", "fixed[0]", "fixed[x]", "int int", "struct<: int>", 'struct<"a: int>'),
        "list<" * 60 + "int" + ">" * 60,
    ],
)
def test_a_text_that_is_no_type_is_refused(text: str) -> None:
    with pytest.raises(TypeTextError):
        parse_type(text)


def test_field_ids_are_unique_throughout() -> None:
    schema = iceberg_schema(
        {"a": "list<struct<x: int, y: list<string>>>", "b": "map<string, struct<x: int>>"}, ["a"]
    )
    ids = list(schema._lazy_id_to_field)
    assert len(ids) == len(set(ids)) == 9
    assert schema.find_field("a").required
    assert not schema.find_field("b").required


def test_a_required_column_must_be_there() -> None:
    with pytest.raises(ConfigError, match="required columns that are not there: b"):
        iceberg_schema({"a": "int"}, ["b"])


@pytest.mark.parametrize(
    ("arrow", "text"),
    [
        (pa.uint8(), "int"),
        (pa.uint16(), "int"),
        (pa.uint32(), "long"),
        (pa.uint64(), "decimal(20, 0)"),
        (pa.float16(), "float"),
        (pa.string_view(), "string"),
        (pa.large_string(), "string"),
        (pa.binary_view(), "binary"),
        (pa.dictionary(pa.int8(), pa.large_string()), "string"),
        (pa.run_end_encoded(pa.int32(), pa.int64()), "long"),
        (pa.timestamp("ns"), "timestamp"),
        (pa.timestamp("s", tz="Europe/Berlin"), "timestamptz"),
        (pa.time32("s"), "time"),
        (pa.date64(), "date"),
        (pa.decimal128(5, -2), "decimal(7, 0)"),
        (pa.decimal256(38, 4), "decimal(38, 4)"),
        (pa.list_(pa.int8(), 3), "list<int>"),
        (pa.large_list(pa.string()), "list<string>"),
        (pa.struct([("a b", pa.null())]), "struct<a b: string>"),
        (pa.map_(pa.string(), pa.uint32()), "map<string, long>"),
        (pa.uuid(), "uuid"),
        (pa.json_(), "string"),
        (pa.null(), "string"),
    ],
)
def test_every_arrow_type_finds_one_that_loses_nothing(arrow: pa.DataType, text: str) -> None:
    assert column_texts(from_arrow(pa.schema([("c", arrow)]))) == {"c": text}


@pytest.mark.parametrize(
    "arrow",
    [
        pa.duration("s"),
        pa.month_day_nano_interval(),
        pa.decimal256(39, 2),
        pa.decimal128(38, -1),
        pa.dense_union([pa.field("a", pa.int8())]),
        pa.struct([("inner", pa.duration("us"))]),
    ],
)
def test_what_iceberg_cannot_hold_names_the_column(arrow: pa.DataType) -> None:
    with pytest.raises(ConfigError, match="'odd name"):
        from_arrow(pa.schema([("odd name", arrow)]))


def test_columns_without_a_value_are_named() -> None:
    schema = pa.schema([("a", pa.null()), ("b", pa.int8())])
    assert all_null(schema) == ("a",)


def test_arrow_types_are_the_small_ones_in_utc() -> None:
    arrow = to_arrow(
        iceberg_schema({"s": "string", "t": "timestamptz", "l": "list<binary>"}, ["s"])
    )
    assert arrow.field("s") == pa.field("s", pa.string(), nullable=False)
    assert arrow.field("t").type == pa.timestamp("us", tz="UTC")
    assert arrow.field("l").type.value_type == pa.binary()


def test_nanoseconds_are_not_lost_in_a_safe_cast() -> None:
    values = pa.array([WHOLE], pa.timestamp("ns"))
    odd = pa.array([1], pa.int64()).cast(pa.timestamp("ns"))
    wanted = to_arrow(from_arrow(pa.schema([("t", values.type)]))).field("t").type
    assert values.cast(wanted, safe=True).to_pylist() == [WHOLE]
    with pytest.raises(pa.ArrowInvalid, match="would lose data"):
        odd.cast(wanted, safe=True)


@pytest.mark.parametrize(
    ("have", "wanted", "can"),
    [
        ("int", "long", True),
        ("float", "double", True),
        ("decimal(9, 2)", "decimal(12, 2)", True),
        ("struct<a: int>", "struct<a: long, b: string>", True),
        ("list<int>", "list<long>", True),
        ("long", "int", False),
        ("int", "string", False),
        ("decimal(9, 2)", "decimal(12, 3)", False),
        ("decimal(12, 2)", "decimal(9, 2)", False),
        ("struct<a: int, b: string>", "struct<a: int>", False),
        ("timestamp", "timestamptz", False),
    ],
)
def test_types_widen_as_iceberg_allows(have: str, wanted: str, can: bool) -> None:
    assert widens(parse_type(have), parse_type(wanted)) is can


def test_a_guessed_width_widens_nothing() -> None:
    assert grown(IntegerType(), LongType()) == LongType()
    assert grown(IntegerType(), LongType(), guessed=True) == IntegerType()
    assert grown(TimestampType(), StringType()) == TimestampType()


@pytest.mark.parametrize(
    ("found", "wanted", "guessed", "shape", "fits"),
    [
        ("int", "long", False, Shape(), True),
        ("long", "int", False, Shape(), False),
        ("long", "int", True, Shape(), True),
        ("string", "int", True, Shape(), True),
        ("string", "int", False, Shape(), False),
        ("list<int>", "string", True, Shape(), True),
        ("list<int>", "int", True, Shape(), False),
        ("struct<a: int, b: int>", "struct<a: int>", True, Shape(), False),
        ("struct<a: int, b: int>", "struct<a: int>", True, Shape(may_drop=True), True),
        ("struct<a: int>", "struct<a: int, b: int>", True, Shape(), True),
        ("struct<a: int>", "struct<a: int, b: int>", False, Shape(), False),
        ("struct<a: int>", "struct<a: int, b: int>", False, Shape(may_lack=True), True),
        ("list<struct<x: long>>", "list<struct<x: int>>", False, Shape(), False),
        ("map<string, int>", "map<string, long>", False, Shape(), True),
    ],
)
def test_what_reads_as_what(
    found: str, wanted: str, guessed: bool, shape: Shape, fits: bool
) -> None:
    assert reads_as(parse_type(found), parse_type(wanted), guessed=guessed, shape=shape) is fits


def test_a_double_is_not_a_decimal() -> None:
    assert not reads_as(DoubleType(), DecimalType(12, 2), guessed=False)


def test_a_dotted_name_beside_a_struct_is_refused() -> None:
    schema = pa.schema([("a.b", pa.int8()), ("a", pa.struct([("b", pa.int8())]))])
    with pytest.raises(ConfigError, match=r"a\.b"):
        from_arrow(schema)
    assert column_texts(from_arrow(pa.schema([("a.b", pa.int8())]))) == {"a.b": "int"}
