"""Types guessed from text: only what every value says without loss, so 007 stays a text."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from wap.sources.fit import text_to

#: A double keeps 15 digits whatever they are.
_EXACT_DIGITS = 15
_TOO_EXACT = r"\d(\.?\d){15,}"
_LEADING_ZERO = r"^[+-]?0\d"
_BOOLEAN = r"(?i)^(true|false)$"
_NANOSECONDS = r"\.\d{7,}"
#: So many values rule most types out before all values are looked at.
_FIRST = 64

_BOOL, _LONG, _DOUBLE, _DATE = pa.bool_(), pa.int64(), pa.float64(), pa.date32()
_LOCAL, _ZONED, _TIME = pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.time64("us")
_TEXT = pa.string()

_NARROWEST_FIRST = (_BOOL, _LONG, _DOUBLE, _DATE, _LOCAL, _ZONED, _TIME, _TEXT)
#: Every value of the one is a value of the other; what is not here widens to text.
_WIDER = {_LONG: _DOUBLE, _DATE: _LOCAL}


@dataclass
class Guess:
    """The narrowest type that all values of a column fit, of those looked at so far."""

    kind: pa.DataType | None = None
    largest: int = 0

    def look(self, text: pa.Array) -> None:
        """Take more values into account."""
        text = text.drop_null()
        if not len(text):
            return
        if self.kind is None:
            candidates = (k for k in _NARROWEST_FIRST if self._fits(text[:_FIRST], k))
            self.kind = next(k for k in candidates if self._fits(text, k))
        while not self._fits(text, self.kind):
            self.kind = self._wider(self.kind)

    def type(self) -> pa.DataType:
        """The type; null where there was no value."""
        return pa.null() if self.kind is None else self.kind

    def _wider(self, kind: pa.DataType) -> pa.DataType:
        wider = _WIDER.get(kind, _TEXT)
        if wider == _DOUBLE and self.largest >= 10**_EXACT_DIGITS:
            return _TEXT
        return wider

    def _fits(self, text: pa.Array, kind: pa.DataType) -> bool:
        try:
            if kind == _BOOL:
                return bool(pc.all(pc.match_substring_regex(text, _BOOLEAN)).as_py())
            if kind == _LONG:
                return self._is_long(text)
            if kind == _DOUBLE:
                return _is_double(text)
            if pa.types.is_timestamp(kind):
                return _is_timestamp(text, kind)
            text_to(text, kind)
        except pa.ArrowInvalid:
            return False
        return True

    def _is_long(self, text: pa.Array) -> bool:
        """Whether the numbers, written out, are the texts again: +5 and 007 are not."""
        numbers = pc.cast(text, _LONG)
        if not pc.cast(numbers, text.type).equals(text):
            return False
        ends = pc.min_max(numbers).as_py()
        self.largest = max(self.largest, abs(ends["min"]), abs(ends["max"]))
        return True


def _is_double(text: pa.Array) -> bool:
    zero = pc.and_not(pc.starts_with(text, "0"), pc.starts_with(text, "0."))
    odd = text.filter(pc.or_(zero, _signed(text)))
    if pc.any(pc.match_substring_regex(odd, _LEADING_ZERO), min_count=0).as_py():
        return False
    long = text.filter(pc.greater(pc.binary_length(text), _EXACT_DIGITS))
    if pc.any(pc.match_substring_regex(long, _TOO_EXACT), min_count=0).as_py():
        return False
    text_to(text, _DOUBLE)
    return True


def _signed(text: pa.Array) -> pa.Array:
    return pc.or_(pc.starts_with(text, "-"), pc.starts_with(text, "+"))


def _is_timestamp(text: pa.Array, kind: pa.DataType) -> bool:
    """Nanoseconds are a timestamp too, though not one that fits: that is said at the value."""
    try:
        text_to(text, kind)
    except pa.ArrowInvalid:
        if not pc.any(pc.match_substring_regex(text, _NANOSECONDS)).as_py():
            return False
        text_to(text, pa.timestamp("ns", kind.tz))
    return True
