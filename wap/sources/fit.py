"""Strict conversion into a column's type: every value fits exactly, or is named.

Arrow's safe casts refuse most of what would lose something; this closes what they let through
(digits beyond a decimal's precision, times of day cut off a date, zones dropped, infinities).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

#: Zeros behind the sixth decimal of a second say nothing, so they may go.
_LONG_FRACTION = r"(\.\d{6})0+"
_UUID = r"^[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}$"
_TIME = r"^\d\d:\d\d(:\d\d(\.\d{1,9})?)?$"
_INFINITE = r"(?i)^\s*[+-]?inf(inity)?\s*$"
_SHOWN = 80

Convert = Callable[[pa.Array], pa.Array]


class UnfitError(pa.ArrowInvalid):  # type: ignore[misc]  # Arrow has no types
    """A value does not fit; caught where the row is looked for, never shown to people."""


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value that does not fit its column; ``row`` counts from 0 in what was converted."""

    row: int
    column: str
    value: str
    reason: str


@dataclass(slots=True)
class Fitted:
    """A batch in the types asked for, and what did not fit (null in the batch)."""

    batch: pa.RecordBatch
    misfits: list[Misfit] = field(default_factory=list)

    def good(self) -> pa.RecordBatch:
        """The rows in which every value fits."""
        bad = {m.row for m in self.misfits}
        if not bad:
            return self.batch
        return self.batch.filter(pa.array([i not in bad for i in range(len(self.batch))]))


def fit_batch(batch: pa.RecordBatch, schema: pa.Schema) -> Fitted:
    """Convert a batch's columns, by name, into a schema's."""
    arrays, misfits = [], []
    for column in schema:
        array, bad = fit_column(batch.column(column.name), column.type)
        arrays.append(array)
        source = batch.column(column.name)
        misfits += [Misfit(i, column.name, shown(source[i]), unfit(column.type)) for i in bad]
    return Fitted(pa.record_batch(arrays, schema=_nullable(schema)), misfits)


def fit_column(array: pa.Array, kind: pa.DataType) -> tuple[pa.Array, list[int]]:
    """A column in a type, and the places of what does not fit (null there)."""
    if array.type == kind:
        return array, []
    return _searched(array, kind, converter(array.type, kind))


def converter(have: pa.DataType, kind: pa.DataType) -> Convert:
    """How values of one type become another's; the function raises ArrowInvalid for a misfit."""
    if _is_text(have) and not _is_text(kind):
        return lambda array: text_to(array, kind)
    if pa.types.is_dictionary(have) or pa.types.is_run_end_encoded(have):
        inner = converter(have.value_type, kind)
        return lambda array: inner(pc.cast(array, have.value_type))
    return lambda array: _cast(array, kind)


def text_to(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """Parse text (string or bytes) into a type.

    Raises:
        ArrowInvalid: a text that is no such value, or one that would lose something.
    """
    text = pc.cast(array, pa.string())
    if _is_text(kind) or pa.types.is_fixed_size_binary(kind):
        return pc.cast(text, kind)
    text = pc.utf8_trim_whitespace(text)
    if kind == pa.uuid():
        return _uuids(text)
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        text = pc.replace_substring_regex(text, _LONG_FRACTION, r"\1")
    if pa.types.is_time(kind):
        return _times(text, kind)
    parsed = pc.cast(text, kind)
    if pa.types.is_decimal(kind):
        check_precision(parsed)
    elif pa.types.is_floating(kind) and has_infinity(parsed):
        infinite = text.filter(pc.is_inf(parsed))
        if not pc.all(pc.match_substring_regex(infinite, _INFINITE)).as_py():
            raise UnfitError("too large")
    return parsed


def check_precision(array: pa.Array | pa.ChunkedArray) -> None:
    """Refuse decimals with more digits than their type has (Arrow's parsers let them pass).

    Raises:
        UnfitError: there is one.
    """
    limit = Decimal(10) ** (array.type.precision - array.type.scale)
    ends = pc.min_max(array).as_py()
    if any(end is not None and abs(end) >= limit for end in ends.values()):
        raise UnfitError("too many digits")


def has_infinity(array: pa.Array | pa.ChunkedArray) -> bool:
    """Whether a column of floats holds an infinity."""
    return bool(pc.any(pc.is_inf(array)).as_py())


def unfit(kind: pa.DataType) -> str:
    """What is wrong with a value that is no such type, for people."""
    if pa.types.is_decimal(kind):
        return f"does not fit decimal({kind.precision}, {kind.scale})"
    if pa.types.is_timestamp(kind):
        zone = "with a zone" if kind.tz else "without a zone"
        return f"is not a timestamp {zone}, of microseconds at most"
    if _is_text(kind):
        return "is not UTF-8 text"
    if pa.types.is_fixed_size_binary(kind):
        return f"is not {kind.byte_width} bytes long"
    return f"does not fit {_PEOPLE.get(str(kind), str(kind))}"


_PEOPLE = {
    "int32": "int (32 bits)",
    "int64": "long (64 bits)",
    "float": "float",
    "double": "double",
    "bool": "boolean (true or false)",
    "date32[day]": "date (YYYY-MM-DD)",
    "time64[us]": "time (HH:MM:SS)",
    "extension<arrow.uuid>": "uuid",
}


def shown(value: pa.Scalar) -> str:
    """A value for people: short, and readable whatever it holds."""
    try:
        plain = value.as_py()
    except (ValueError, OverflowError):  # nanoseconds, or a year that Python does not know
        plain = str(value)
    if isinstance(plain, bytes):
        plain = plain.decode(errors="replace")
    text = plain if isinstance(plain, str) else str(plain)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
    )


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([f.with_nullable(True) for f in schema])


def _searched(array: pa.Array, kind: pa.DataType, convert: Convert) -> tuple[pa.Array, list[int]]:
    """Convert; where that fails halve, down to the values that do not fit."""
    try:
        return convert(array), []
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        if len(array) == 1:
            return pa.nulls(1, kind), [0] if array.null_count == 0 else []
    half = len(array) // 2
    left, left_bad = _searched(array[:half], kind, convert)
    right, right_bad = _searched(array[half:], kind, convert)
    return pa.concat_arrays([left, right]), [*left_bad, *(half + i for i in right_bad)]


def _cast(array: pa.Array, kind: pa.DataType) -> pa.Array:
    have = array.type
    if isinstance(have, pa.BaseExtensionType) and not isinstance(kind, pa.BaseExtensionType):
        return _cast(array.storage, kind)
    if kind == pa.uuid():
        return _uuids_of_bytes(array)
    if pa.types.is_timestamp(have):
        if pa.types.is_timestamp(kind) and (have.tz is None) != (kind.tz is None):
            raise UnfitError("a zone more or less")
        if not pa.types.is_timestamp(kind):
            return _both_ways(array, kind)
    if pa.types.is_floating(have) and pa.types.is_decimal(kind):
        return _both_ways(array, kind)
    converted = pc.cast(array, kind)
    if (
        pa.types.is_floating(kind)
        and has_infinity(converted)
        and not _same_infinities(array, converted)
    ):
        raise UnfitError("too large")
    return converted


def _both_ways(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """A cast that Arrow calls safe though it may lose something: it must come back the same."""
    converted = pc.cast(array, kind)
    if not pc.cast(converted, array.type).equals(array):
        raise UnfitError("it would lose something")
    return converted


def _same_infinities(before: pa.Array, after: pa.Array) -> bool:
    return bool(pa.types.is_floating(before.type) and pc.is_inf(before).equals(pc.is_inf(after)))


def _times(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """Arrow's cast knows no times of day, but it knows those of a certain day."""
    if not pc.all(pc.match_substring_regex(text, _TIME), min_count=0).as_py():
        raise UnfitError("no time")
    moments = pc.binary_join_element_wise("1970-01-01", text, "T")
    return pc.cast(pc.cast(moments, pa.timestamp(kind.unit)), kind)


def _uuids(text: pa.Array) -> pa.Array:
    if not pc.all(pc.match_substring_regex(text, _UUID), min_count=0).as_py():
        raise UnfitError("no uuid")
    digits = pc.replace_substring(text, "-", "")
    values = [None if t is None else bytes.fromhex(t) for t in digits.to_pylist()]
    return _uuids_of_bytes(pa.array(values, pa.binary(16)))


def _uuids_of_bytes(array: pa.Array) -> pa.Array:
    if _is_text(array.type) and not pa.types.is_fixed_size_binary(array.type):
        array = pc.cast(array, pa.binary(16))
    return pa.ExtensionArray.from_storage(pa.uuid(), array)
