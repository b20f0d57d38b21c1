"""Schemas of Iceberg and Arrow, and the ways between them; the texts live in type_texts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import count

import pyarrow as pa
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    PrimitiveType,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from wap.errors import ConfigError
from wap.type_texts import (
    MAX_PRECISION,
    TypeTextError,
    optional_struct,
    parse_type,
    type_text,
)

__all__ = [
    "TypeTextError",
    "all_null",
    "arrow_type",
    "column_texts",
    "from_arrow",
    "iceberg_schema",
    "parse_type",
    "schema_of",
    "to_arrow",
    "type_text",
]


def column_texts(schema: Schema) -> dict[str, str]:
    """Columns by name, each with its type's text."""
    return {f.name: type_text(f.field_type) for f in schema.fields}


def iceberg_schema(columns: Mapping[str, str], required: Collection[str] = ()) -> Schema:
    """A schema with fresh field ids from type texts by column name.

    Raises:
        ConfigError: a text is not a type; a required column is not among the columns.
    """
    ids = count(1)
    fields = []
    for name, text in columns.items():
        try:
            kind = parse_type(text, ids)
        except TypeTextError as exc:
            raise ConfigError(f"column {name!r}: {exc.what}", hint=exc.hint) from exc
        fields.append(NestedField(next(ids), name, kind, required=name in required))
    if missing := sorted(set(required) - set(columns)):
        raise ConfigError(f"required columns that are not there: {', '.join(missing)}")
    return schema_of(fields)


def schema_of(fields: Collection[NestedField]) -> Schema:
    """A schema of these fields with all ids assigned anew.

    Raises:
        ConfigError: a column ``a.b`` beside a struct ``a`` with a field ``b``: Iceberg finds
            fields by dotted names and cannot tell the two apart.
    """
    numbered = (f.model_copy(update={"field_id": n}) for n, f in enumerate(fields, start=-1000))
    try:
        return assign_fresh_schema_ids(Schema(*numbered))
    except ValueError as exc:
        raise ConfigError(
            f"these columns are no schema: {exc}", hint="rename or leave out one of the two"
        ) from exc


def from_arrow(schema: pa.Schema, required: Collection[str] = ()) -> Schema:
    """The Iceberg schema that holds an Arrow schema's values without loss.

    Unsigned integers become the next larger type, dictionaries their values' type, a column
    that is null throughout a string. Nanoseconds become microseconds: whoever casts must refuse
    a value whose nanoseconds are not zero (``safe=True`` does).

    Raises:
        ConfigError: a type that Iceberg v2 cannot hold, naming the column.
    """
    ids = count(1)
    fields = []
    for field in schema:
        kind = _from_arrow(field.type, ids, field.name)
        fields.append(NestedField(next(ids), field.name, kind, required=field.name in required))
    return schema_of(fields)


def all_null(schema: pa.Schema) -> tuple[str, ...]:
    """Columns without a single value, taken as string for want of better."""
    return tuple(field.name for field in schema if pa.types.is_null(field.type))


def to_arrow(schema: Schema) -> pa.Schema:
    """The Arrow schema of an Iceberg schema: microseconds, UTC, the small variants."""
    return pa.schema(
        [pa.field(f.name, arrow_type(f.field_type), not f.required) for f in schema.fields]
    )


def arrow_type(kind: IcebergType) -> pa.DataType:
    """The Arrow type of one Iceberg type.

    Raises:
        ConfigError: a type of Iceberg v3 that is not written here.
    """
    if isinstance(kind, ListType):
        return pa.list_(
            pa.field("element", arrow_type(kind.element_type), not kind.element_required)
        )
    if isinstance(kind, MapType):
        value = pa.field("value", arrow_type(kind.value_type), not kind.value_required)
        return pa.map_(pa.field("key", arrow_type(kind.key_type), nullable=False), value)
    if isinstance(kind, StructType):
        return pa.struct(
            [pa.field(f.name, arrow_type(f.field_type), not f.required) for f in kind.fields]
        )
    if isinstance(kind, DecimalType):
        return pa.decimal128(kind.precision, kind.scale)
    if isinstance(kind, FixedType):
        return pa.binary(len(kind))
    for known, arrow in _ARROW:
        if isinstance(kind, known):
            return arrow
    raise ConfigError(f"the type {kind} cannot be written", hint="the table is Iceberg v3; use v2")


_ARROW: tuple[tuple[type[PrimitiveType], pa.DataType], ...] = (
    (BinaryType, pa.binary()),
    (BooleanType, pa.bool_()),
    (DateType, pa.date32()),
    (DoubleType, pa.float64()),
    (FloatType, pa.float32()),
    (IntegerType, pa.int32()),
    (LongType, pa.int64()),
    (StringType, pa.string()),
    (TimeType, pa.time64("us")),
    (TimestamptzType, pa.timestamp("us", tz="UTC")),
    (TimestampType, pa.timestamp("us")),
    (UUIDType, pa.uuid()),
)


def _is_uuid(kind: pa.DataType) -> bool:
    return isinstance(kind, pa.BaseExtensionType) and kind.extension_name == "arrow.uuid"


_FROM_ARROW: tuple[tuple[Callable[[pa.DataType], bool], Callable[[], PrimitiveType]], ...] = (
    (pa.types.is_boolean, BooleanType),
    (pa.types.is_int64, LongType),
    (pa.types.is_uint32, LongType),
    (pa.types.is_uint64, lambda: DecimalType(20, 0)),
    (pa.types.is_integer, IntegerType),
    (pa.types.is_float64, DoubleType),
    (pa.types.is_floating, FloatType),
    (pa.types.is_string, StringType),
    (pa.types.is_large_string, StringType),
    (pa.types.is_string_view, StringType),
    (pa.types.is_null, StringType),
    (pa.types.is_binary, BinaryType),
    (pa.types.is_large_binary, BinaryType),
    (pa.types.is_binary_view, BinaryType),
    (pa.types.is_date, DateType),
    (pa.types.is_time, TimeType),
    (_is_uuid, UUIDType),
)


def _from_arrow(kind: pa.DataType, ids: Iterator[int], column: str) -> IcebergType:
    kind = _values_type(kind)
    if pa.types.is_nested(kind):
        return _nested_from_arrow(kind, ids, column)
    for test, iceberg in _FROM_ARROW:
        if test(kind):
            return iceberg()
    return _parametric_from_arrow(kind, column)


def _values_type(kind: pa.DataType) -> pa.DataType:
    """What an encoding or an extension type holds; a uuid is one to Iceberg too."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _values_type(kind.value_type)
    if isinstance(kind, pa.BaseExtensionType) and not _is_uuid(kind):
        return _values_type(kind.storage_type)
    return kind


def _parametric_from_arrow(kind: pa.DataType, column: str) -> IcebergType:
    if pa.types.is_timestamp(kind):
        return TimestampType() if kind.tz is None else TimestamptzType()
    if pa.types.is_fixed_size_binary(kind):
        return FixedType(kind.byte_width)
    if pa.types.is_decimal(kind):
        return _decimal(kind.precision, kind.scale, column)
    raise _unmapped(column, kind)


def _nested_from_arrow(kind: pa.DataType, ids: Iterator[int], column: str) -> IcebergType:
    if pa.types.is_map(kind):
        key = _from_arrow(kind.key_type, ids, column)
        value = _from_arrow(kind.item_type, ids, column)
        return MapType(next(ids), key, next(ids), value, value_required=False)
    if pa.types.is_struct(kind):
        fields = (kind.field(i) for i in range(kind.num_fields))
        inner = [(f.name, _from_arrow(f.type, ids, f"{column}.{f.name}")) for f in fields]
        return optional_struct(inner, ids)
    if pa.types.is_union(kind):
        raise _unmapped(column, kind)
    element = _from_arrow(kind.value_type, ids, column)
    return ListType(next(ids), element, element_required=False)


def _decimal(precision: int, scale: int, column: str) -> DecimalType:
    if scale < 0:  # 12e3 kept as 12 with scale -3: Iceberg counts the zeros as digits
        precision, scale = precision - scale, 0
    if precision > MAX_PRECISION:
        raise ConfigError(
            f"column {column!r} is decimal({precision}, {scale}); Iceberg holds 38 digits",
            hint="declare a smaller decimal, or string",
        )
    return DecimalType(precision, scale)


def _unmapped(column: str, kind: pa.DataType) -> ConfigError:
    return ConfigError(
        f"column {column!r} has a type that Iceberg v2 does not have: {kind}",
        hint="declare another type for it under schema: columns:",
    )
