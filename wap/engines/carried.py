"""Rows of published files, brought into a candidate's columns by field id."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pyiceberg.expressions import BooleanExpression
from pyiceberg.expressions.visitors import bind
from pyiceberg.io.pyarrow import expression_to_pyarrow
from pyiceberg.schema import Schema

from catalog.base import Scan
from wap.engines.written_schema import field_id, written_schema
from wap.errors import EngineError

_BATCH_ROWS = 1 << 16


def kept_rows(scan: Scan, drop: BooleanExpression, schema: Schema) -> Iterator[pa.RecordBatch]:
    """The rows of a scan that do not match ``drop``, in a schema's columns.

    Raises:
        EngineError: a file cannot be read, or ``drop`` names a column that is not there.
    """
    target = written_schema(schema)
    try:
        matching = expression_to_pyarrow(bind(schema, drop, case_sensitive=True))
    except (ValueError, TypeError) as exc:
        raise EngineError(f"the row filter does not fit the table: {exc}") from exc
    # A null does not match, so its row stays.
    keep = pc.invert(pc.coalesce(matching, pc.scalar(False)))
    for file in scan.files:
        try:
            with scan.io.new_input(file.file_path).open() as raw:
                yield from _kept(raw, target, keep)
        except (OSError, pa.ArrowException) as exc:
            raise EngineError(
                f"a published file cannot be read: {exc}", where=file.file_path
            ) from exc


def _kept(raw: object, target: pa.Schema, keep: pc.Expression) -> Iterator[pa.RecordBatch]:
    # Read without reading ahead, which is not bounded.
    with pq.ParquetFile(raw, pre_buffer=False) as parquet:
        found = parquet.schema_arrow
        for batch in parquet.iter_batches(_BATCH_ROWS, use_threads=False):
            table = pa.Table.from_batches([_projected(batch, found, target)])
            yield from table.filter(keep).to_batches()


def _projected(batch: pa.RecordBatch, found: pa.Schema, target: pa.Schema) -> pa.RecordBatch:
    places = {field_id(f): i for i, f in enumerate(found)}
    arrays = []
    for field in target:
        place = places.get(field_id(field))
        if place is None:
            arrays.append(pa.nulls(len(batch), field.type))
        else:
            arrays.append(project(batch.column(place), found.field(place), field))
    return pa.record_batch(arrays, schema=target)


def project(array: pa.Array, have: pa.Field, want: pa.Field) -> pa.Array:
    """A column as it is wanted: nested fields by id, types widened, lacking fields null."""
    kind = want.type
    if pa.types.is_struct(kind):
        inner = {field_id(have.type.field(i)): i for i in range(have.type.num_fields)}
        parts = []
        for i in range(kind.num_fields):
            part = kind.field(i)
            place = inner.get(field_id(part))
            parts.append(
                pa.nulls(len(array), part.type)
                if place is None
                else project(pc.struct_field(array, [place]), have.type.field(place), part)
            )
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=array.is_null())
    if pa.types.is_list(kind) and pa.types.is_nested(kind.value_type):
        values = project(array.values, have.type.value_field, kind.value_field)
        return pa.ListArray.from_arrays(array.offsets, values, type=kind, mask=array.is_null())
    if isinstance(kind, pa.BaseExtensionType) and array.type != kind:
        return pa.ExtensionArray.from_storage(kind, pc.cast(array, kind.storage_type))
    return array if array.type == kind else pc.cast(array, kind)
