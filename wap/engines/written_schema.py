"""The Arrow schema that data files are written in: Iceberg's types with field ids."""

from __future__ import annotations

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType, ListType, MapType, StructType

from wap.types import arrow_type

FIELD_ID = b"PARQUET:field_id"


def written_schema(schema: Schema) -> pa.Schema:
    """Columns in the schema's order, each (and each nested field) with its field id.

    Nested fields are nullable in the file; that required ones hold no null is checked before.

    Raises:
        ConfigError: a type of Iceberg v3 that is not written here.
    """
    return pa.schema(
        [_field(f.name, f.field_type, f.field_id, required=f.required) for f in schema.fields]
    )


def field_id(field: pa.Field) -> int | None:
    """A field's id; None where the file has none."""
    text = (field.metadata or {}).get(FIELD_ID)
    return None if text is None else int(text)


def _field(name: str, kind: IcebergType, number: int, *, required: bool) -> pa.Field:
    metadata = {FIELD_ID: str(number).encode()}
    return pa.field(name, _type(kind), nullable=not required, metadata=metadata)


def _type(kind: IcebergType) -> pa.DataType:
    if isinstance(kind, ListType):
        element = _field("element", kind.element_type, kind.element_id, required=False)
        return pa.list_(element)
    if isinstance(kind, MapType):
        key = _field("key", kind.key_type, kind.key_id, required=True)
        value = _field("value", kind.value_type, kind.value_id, required=False)
        return pa.map_(key, value)
    if isinstance(kind, StructType):
        return pa.struct(
            [_field(f.name, f.field_type, f.field_id, required=False) for f in kind.fields]
        )
    return arrow_type(kind)
