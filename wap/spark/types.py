"""Iceberg's types as Spark has them."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import (
    FixedType,
    IcebergType,
    ListType,
    MapType,
    StructType,
    TimeType,
    UUIDType,
)

from wap.errors import ConfigError
from wap.types import arrow_type


def spark_schema(schema: Schema) -> pa.Schema:
    """The Arrow schema of what Spark takes and gives for a table's columns; all may be null.

    Raises:
        ConfigError: see :func:`spark_arrow_type`.
    """
    return pa.schema(
        [pa.field(f.name, spark_arrow_type(f.field_type, f.name)) for f in schema.fields]
    )


def spark_arrow_type(kind: IcebergType, column: str) -> pa.DataType:
    """The Arrow type of Spark's own for an Iceberg type: a uuid is a text, fixed bytes are bytes.

    Raises:
        ConfigError: Iceberg cannot say it to Spark (a time of day).
    """
    match kind:
        case UUIDType():
            return pa.string()
        case FixedType():
            return pa.binary()
        case TimeType():
            raise ConfigError(
                f"column {column!r} is a time of day, which Iceberg does not have in Spark",
                hint="use engine: arrow for this table, or store it as a string or a timestamp",
            )
        case ListType():
            return pa.list_(pa.field("element", spark_arrow_type(kind.element_type, column)))
        case MapType():
            key = pa.field("key", spark_arrow_type(kind.key_type, column), nullable=False)
            return pa.map_(key, pa.field("value", spark_arrow_type(kind.value_type, column)))
        case StructType():
            fields = [(f.name, spark_arrow_type(f.field_type, column)) for f in kind.fields]
            return pa.struct([pa.field(name, inner) for name, inner in fields])
        case _:
            return arrow_type(kind)
