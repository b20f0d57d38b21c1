"""Partition values of whole columns: each Iceberg transform, vectorised where Arrow can.

pyiceberg's own column transforms need its Rust core; its transforms of single values do not, and
are used (once per distinct value) for what is left.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.transforms import (
    BucketTransform,
    DayTransform,
    HourTransform,
    IdentityTransform,
    TimeTransform,
    Transform,
    TruncateTransform,
    VoidTransform,
    YearTransform,
)
from pyiceberg.types import IcebergType

_MICROS_PER_HOUR = 3_600_000_000
_EPOCH_YEAR = 1970
_MONTHS = 12


def partition_values(  # noqa: PLR0911 - a transform a line
    transform: Transform[Any, Any], kind: IcebergType, column: pa.Array
) -> pa.Array:
    """A column's partition values as Iceberg keeps them (dates as days, times as microseconds)."""
    if isinstance(transform, VoidTransform):
        return pa.nulls(len(column), pa.int32())
    if isinstance(transform, TimeTransform):
        return pc.cast(_time_units(transform, column), pa.int32())
    plain = _plain(column)
    if isinstance(transform, IdentityTransform):
        return plain
    if pa.types.is_integer(plain.type):
        if isinstance(transform, BucketTransform):
            return _buckets(plain, transform.num_buckets)
        if isinstance(transform, TruncateTransform):
            return _truncated(plain, transform.width)
    if isinstance(transform, TruncateTransform) and pa.types.is_string(plain.type):
        return pc.utf8_slice_codeunits(plain, 0, transform.width)
    return _by_value(transform, kind, plain)


def _time_units(transform: TimeTransform[Any], column: pa.Array) -> pa.Array:
    """Years, months, days or hours since 1970."""
    if isinstance(transform, HourTransform):
        return _floor_divided(_plain(column), _MICROS_PER_HOUR)
    if isinstance(transform, DayTransform):
        return pc.cast(pc.cast(column, pa.date32(), safe=False), pa.int32())
    years = pc.subtract(pc.year(column), _EPOCH_YEAR)
    if isinstance(transform, YearTransform):
        return years
    return pc.add(pc.multiply(years, _MONTHS), pc.subtract(pc.month(column), 1))


def _plain(column: pa.Array) -> pa.Array:
    """The values as Iceberg keeps them: numbers for dates and times, bytes for a uuid."""
    if isinstance(column, pa.ExtensionArray):
        return column.storage
    if pa.types.is_date(column.type):
        return pc.cast(column, pa.int32())
    if pa.types.is_timestamp(column.type) or pa.types.is_time(column.type):
        return pc.cast(column, pa.int64())
    return column


def _floor_divided(column: pa.Array, by: int) -> pa.Array:
    values = np.asarray(column.fill_null(0)) // by
    return pa.array(values, mask=np.asarray(column.is_null()))


def _truncated(column: pa.Array, width: int) -> pa.Array:
    """Down to a multiple of the width; at the type's end it wraps around, as Java's does."""
    values = np.asarray(column.fill_null(0))
    return pa.array(values - values % values.dtype.type(width), mask=np.asarray(column.is_null()))


def _by_value(transform: Transform[Any, Any], kind: IcebergType, plain: pa.Array) -> pa.Array:
    encoded = plain.dictionary_encode()
    function = transform.transform(kind)
    values = pa.array([function(v) for v in encoded.dictionary.to_pylist()])
    if not len(values):
        return pa.nulls(len(plain), values.type)
    return values.take(encoded.indices)


def _buckets(column: pa.Array, count: int) -> pa.Array:
    """Bucket of each whole number: murmur3 (x86, 32 bits, seed 0) of its eight bytes."""
    values = np.asarray(column.fill_null(0)).astype(np.int64).view(np.uint64)
    low = (values & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    high = (values >> np.uint64(32)).astype(np.uint32)
    mixed = _mixed(_mixed(np.zeros(len(values), np.uint32), low), high)
    mixed ^= np.uint32(8)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    buckets = (mixed & np.uint32(0x7FFFFFFF)).astype(np.int32) % np.int32(count)
    return pa.array(buckets, mask=np.asarray(column.is_null()))


def _mixed(state: npt.NDArray[np.uint32], block: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    block = _rotated(block * np.uint32(0xCC9E2D51), 15) * np.uint32(0x1B873593)
    return _rotated(state ^ block, 13) * np.uint32(5) + np.uint32(0xE6546B64)


def _rotated(values: npt.NDArray[np.uint32], by: int) -> npt.NDArray[np.uint32]:
    return (values << np.uint32(by)) | (values >> np.uint32(32 - by))
