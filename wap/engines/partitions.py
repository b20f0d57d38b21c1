"""Rows split by partition; a null has a partition of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record

from wap.engines.transforms import partition_values
from wap.errors import EngineError

Key = tuple[object, ...]


def split(
    batch: pa.RecordBatch, spec: PartitionSpec, schema: Schema
) -> Iterator[tuple[Key, pa.RecordBatch]]:
    """Each partition of a batch with its rows, in their order.

    Raises:
        EngineError: the table is partitioned by a field inside a struct.
    """
    keys = []
    for part in spec.fields:
        source = schema.find_field(part.source_id)
        if source.name not in batch.schema.names or source not in schema.fields:
            name = schema.find_column_name(part.source_id)
            raise EngineError(
                f"the table is partitioned by a nested field: {name}",
                hint="partition by a column",
            )
        keys.append(partition_values(part.transform, source.field_type, batch.column(source.name)))
    names = [f"k{i}" for i in range(len(keys))]
    rows = pa.array(range(len(batch)), pa.int64())
    table = pa.table([*keys, rows], names=[*names, "row"])
    groups = table.group_by(names, use_threads=False).aggregate([("row", "list")])
    columns = [groups.column(name).to_pylist() for name in names]
    places = groups.column("row_list").combine_chunks()
    for i, key in enumerate(zip(*columns, strict=True)):
        yield key, batch.take(places[i].values)


def record(key: Key) -> Record:
    """A partition's key as Iceberg keeps it."""
    return Record(*key)
