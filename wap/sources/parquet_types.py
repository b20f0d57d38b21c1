"""Types of Parquet files: the plain variant of each, the wider of two, and exact casts in SQL."""

from __future__ import annotations

import pyarrow as pa

_INTEGERS = (pa.int8(), pa.int16(), pa.int32(), pa.int64())
_SIGNED = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}
_SQL = {
    pa.bool_(): "BOOLEAN",
    pa.int32(): "INTEGER",
    pa.int64(): "BIGINT",
    pa.float32(): "FLOAT",
    pa.float64(): "DOUBLE",
    pa.string(): "VARCHAR",
    pa.date32(): "DATE",
    pa.timestamp("us"): "TIMESTAMP",
    pa.timestamp("us", "UTC"): "TIMESTAMPTZ",
}


def plain(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911 - a family a line
    """The variant that other parts of the product know: small offsets, no views, no dictionary."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if kind in _SIGNED:
        return _SIGNED[kind]
    if kind == pa.uint64():
        return pa.decimal128(20, 0)
    if pa.types.is_map(kind):
        return pa.map_(plain(kind.key_type), plain(kind.item_type))
    if pa.types.is_nested(kind) and hasattr(kind, "value_type"):
        return pa.list_(plain(kind.value_type))
    if pa.types.is_struct(kind):
        fields = (kind.field(i) for i in range(kind.num_fields))
        return pa.struct([pa.field(f.name, plain(f.type)) for f in fields])
    return kind


def promoted(  # noqa: PLR0911 - a family a line
    one: pa.DataType, other: pa.DataType
) -> pa.DataType | None:
    """The type that holds values of both exactly; None: there is none."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if one in _INTEGERS and other in _INTEGERS:
        return max(one, other, key=_INTEGERS.index)
    if {one, other} == {pa.float32(), pa.float64()}:
        return pa.float64()
    if pa.types.is_decimal(one) and pa.types.is_decimal(other) and one.scale == other.scale:
        return max(one, other, key=lambda kind: kind.precision)
    if pa.types.is_timestamp(one) and pa.types.is_timestamp(other):
        if (one.tz is None) != (other.tz is None):
            return None
        units = ("s", "ms", "us", "ns")
        return pa.timestamp(max(one.unit, other.unit, key=units.index), one.tz and "UTC")
    return None


def sql_cast(have: pa.DataType, kind: pa.DataType) -> str | None:
    """The SQL type to cast to, where DuckDB's cast of every value is exact; else None."""
    plain_have = plain(have)
    if pa.types.is_decimal(kind):
        exact = pa.types.is_decimal(plain_have) and promoted(plain_have, kind) == kind
        return f"DECIMAL({kind.precision}, {kind.scale})" if exact else None
    if kind not in _SQL:
        return None
    if pa.types.is_timestamp(plain_have):
        zoned = pa.types.is_timestamp(kind) and (have.tz is None) == (kind.tz is None)
        return _SQL[kind] if zoned and have.unit in ("ms", "us") else None
    is_exact = plain_have == kind or promoted(plain_have, kind) == kind
    return _SQL[kind] if is_exact and not pa.types.is_null(plain_have) else None
