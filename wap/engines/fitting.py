"""A batch in the table's own columns: lacking ones null, nothing that does not fit."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.schema import Schema
from pyiceberg.types import IcebergType, ListType, MapType, StructType

from wap.engines.written_schema import written_schema
from wap.errors import BatchRefusedError
from wap.sources.fit import UnfitError, check_precision, fit_column, shown, unfit

#: So many values are listed when the run ends because of them.
_LISTED = 20


@dataclass
class Fitting:
    """Brings batches into the columns of a table.

    Attributes:
        schema: the table's.
        rows: rows seen so far, so that a row can be named.
    """

    schema: Schema
    rows: int = 0

    def __post_init__(self) -> None:
        self._target = written_schema(self.schema)

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch in the table's columns.

        Raises:
            BatchRefusedError: a value does not fit, or a required one is null.
        """
        arrays, problems = [], []
        for field, column in zip(self.schema.fields, self._target, strict=True):
            if column.name in batch.schema.names:
                array, bad = self._fitted(batch.column(column.name), column.type)
            else:
                array, bad = pa.nulls(len(batch), column.type), []
            problems += [
                self._problem(batch, column.name, row, unfit(column.type)) for row in bad[:_LISTED]
            ]
            row = None if bad else first_null(array, field.field_type, required=field.required)
            if row is not None:
                problems.append(self._problem(batch, column.name, row, "may not be null"))
            arrays.append(array)
        if problems:
            raise refused(problems)
        self.rows += len(batch)
        return pa.record_batch(arrays, schema=self._target)

    def _fitted(self, array: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
        array, bad = fit_column(array, kind)
        if pa.types.is_decimal(kind):
            try:
                check_precision(array)
            except UnfitError:
                limit = pa.scalar(10 ** (kind.precision - kind.scale))
                bad = pc.indices_nonzero(pc.greater_equal(pc.abs(array), limit)).to_pylist()
        return array, bad

    def _problem(self, batch: pa.RecordBatch, name: str, row: int, reason: str) -> str:
        value = shown(batch.column(name)[row]) if name in batch.schema.names else "None"
        return f"row {self.rows + row + 1}, column {name}: {value!r} {reason}"


def refused(problems: list[str]) -> BatchRefusedError:
    """The error that lists what does not fit."""
    return BatchRefusedError(
        "the batch does not fit the table",
        differences=tuple(problems[:_LISTED]),
        hint="correct the input, or declare another type under schema: columns:",
    )


def first_null(array: pa.Array, kind: IcebergType, *, required: bool) -> int | None:
    """The row of the first null where none may be, in a column or inside of it; None: none."""
    if required and array.null_count:
        return int(pc.index(pc.is_null(array), value=True).as_py())
    if isinstance(kind, StructType):
        # Where a struct itself is null its fields are not there at all.
        there = array.filter(array.is_valid()) if array.null_count else array
        rows = pc.indices_nonzero(array.is_valid())
        for i, inner in enumerate(kind.fields):
            values = pc.struct_field(there, [i])
            row = first_null(values, inner.field_type, required=inner.required)
            if row is not None:
                return int(rows[row].as_py())
    elif isinstance(kind, ListType):
        row = first_null(pc.list_flatten(array), kind.element_type, required=kind.element_required)
        if row is not None:
            return int(pc.list_parent_indices(array)[row].as_py())
    elif isinstance(kind, MapType) and kind.value_required:
        for row, value in enumerate(array):
            if value.is_valid and any(v is None for _, v in value.as_py()):
                return row
    return None
