"""How DuckDB reads Iceberg columns: types as SQL, and the map from field id to name and type."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.schema import Schema
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
    StringType,
    StructType,
    TimestampNanoType,
    TimestampType,
    TimestamptzNanoType,
    TimestamptzType,
    TimeType,
    UUIDType,
)
from sqlglot import exp

from wap.errors import RelationError

_PRIMITIVES: dict[type[IcebergType], str] = {
    BinaryType: "BLOB",
    BooleanType: "BOOLEAN",
    DateType: "DATE",
    DoubleType: "DOUBLE",
    FixedType: "BLOB",
    FloatType: "FLOAT",
    IntegerType: "INTEGER",
    LongType: "BIGINT",
    StringType: "VARCHAR",
    TimeType: "TIME",
    TimestampNanoType: "TIMESTAMP_NS",
    TimestampType: "TIMESTAMP",
    TimestamptzNanoType: "TIMESTAMPTZ_NS",
    TimestamptzType: "TIMESTAMP WITH TIME ZONE",
    UUIDType: "UUID",
}


def quoted(name: str) -> str:
    """A name as a DuckDB identifier."""
    return exp.to_identifier(name, quoted=True).sql("duckdb")


def literal(text: str) -> str:
    """A text as a DuckDB string literal."""
    return exp.Literal.string(text).sql("duckdb")


def duckdb_type(kind: IcebergType) -> str:
    """The DuckDB type that holds every value of an Iceberg type, as SQL.

    Raises:
        RelationError: DuckDB has none (geometry, unknown), or a struct's names clash in it.
    """
    match kind:
        case DecimalType():
            return f"DECIMAL({kind.precision}, {kind.scale})"
        case ListType():
            return f"{duckdb_type(kind.element_type)}[]"
        case MapType():
            return f"MAP({duckdb_type(kind.key_type)}, {duckdb_type(kind.value_type)})"
        case StructType():
            check_names(kind.fields, "a struct")
            members = (f"{quoted(f.name)} {duckdb_type(f.field_type)}" for f in kind.fields)
            return f"STRUCT({', '.join(members)})"
        case _ if type(kind) in _PRIMITIVES:
            return _PRIMITIVES[type(kind)]
        case _:
            raise RelationError(
                f"type {kind} cannot be read here",
                hint="leave the column out of the table, or store it as string or binary",
            )


def columns_by_id(schema: Schema) -> str:
    """The argument ``schema`` of ``read_parquet``: columns by field id, nested ones too.

    A file written before a rename, a widening or a new column is then read as Iceberg says.

    Raises:
        RelationError: as :func:`duckdb_type`; or a column has a default, which needs format v3.
    """
    check_names(schema.fields, "the table")
    return _map_of(schema.fields)


def check_names(fields: Sequence[NestedField], where: str) -> None:
    """Refuse names that DuckDB, which ignores case, cannot tell apart.

    Raises:
        RelationError: two names differ in case only, or one is empty.
    """
    seen: dict[str, str] = {}
    for field in fields:
        other = seen.setdefault(field.name.casefold(), field.name)
        if other is not field.name or not field.name:
            raise RelationError(
                f"column {field.name!r} of {where} is empty or differs from {other!r} in case only",
                hint="rename one of them; SQL cannot tell them apart",
            )


def _map_of(fields: Sequence[NestedField]) -> str:
    return "MAP {" + ", ".join(f"{f.field_id}: {_entry(f)}" for f in fields) + "}"


def _entry(field: NestedField) -> str:
    if field.initial_default is not None:
        raise RelationError(
            f"column {field.name!r} has an initial default", hint="use Iceberg format version 2"
        )
    children = _children(field.field_type)
    return (
        f"{{'name': {literal(field.name)}, 'type': {literal(duckdb_type(field.field_type))}, "
        f"'default_value': NULL, 'children': {_map_of(children) if children else 'NULL'}}}"
    )


def _children(kind: IcebergType) -> Sequence[NestedField]:
    match kind:
        case StructType():
            return kind.fields
        case ListType():
            return (kind.element_field,)
        case MapType():
            return (kind.key_field, kind.value_field)
        case _:
            return ()
