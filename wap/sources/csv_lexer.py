"""Where records of delimited text begin and end (RFC 4180), apart from any parser.

A newline inside quotes ends no record, and an unclosed quote must not swallow the rows behind it.
Text whose quotes all stand where they belong is checked by a handful of vector operations; any
other block is walked record by record.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from wap.sources.blocks import Block, Bytes, Cut, Malformed, as_bytes

_NEWLINE, _RETURN = 10, 13
#: Searched piece by piece, so that masks stay in the processor's cache.
_PIECE = 1 << 18

UNCLOSED = "a quote is opened and never closed where a field ends"
LONE_RETURN = "a carriage return without a line feed"


@dataclass(frozen=True)
class CsvLexer:
    """Cuts delimited text into records.

    Attributes:
        delimiter: one ASCII character.
        quote: one ASCII character, or empty.
        blank_is_record: a blank line is a null (in a file of one column), not nothing.
    """

    delimiter: str
    quote: str
    blank_is_record: bool = False

    def __call__(self, buffer: pa.Buffer, line: int, is_last: bool) -> Cut:
        """See :data:`wap.sources.blocks.Lexer`."""
        text = as_bytes(buffer)
        if not len(text):
            return Cut([], 0, 0)
        cut = self._quick(buffer, text, line)
        if cut is None or (is_last and cut.end < len(text)):
            return self._walk(buffer, line, is_last)
        return cut

    def _quick(self, buffer: pa.Buffer, text: Bytes, line: int) -> Cut | None:
        """Cut text whose quotes are all in place; None: it must be walked."""
        if _has_lone_return(text):
            return None
        marks = _positions(text, self._special)
        if self.quote:
            is_quote = text[marks] == ord(self.quote)
            # Only whether the number of quotes so far is even counts, so it may wrap around.
            is_inside = np.cumsum(is_quote, dtype=np.uint8) & 1
            outside = np.flatnonzero(~is_quote & (is_inside == 0))
        else:
            is_quote = np.zeros(len(marks), bool)
            outside = np.arange(len(marks))
        if not len(outside):
            return None
        end = int(marks[outside[-1]]) + 1
        quotes = marks[: outside[-1]][is_quote[: outside[-1]]]
        if len(quotes) and not self._in_place(text, quotes):
            return None
        ends = marks[outside]
        records = len(ends) - (0 if self.blank_is_record else _blank_lines(text, ends))
        lines = int(outside[-1]) + 1 - len(quotes)
        return Cut([Block(buffer.slice(0, end), line, records)], end, lines)

    @cached_property
    def _special(self) -> tuple[int, ...]:
        return (_NEWLINE, ord(self.quote)) if self.quote else (_NEWLINE,)

    def _in_place(self, text: Bytes, quotes: Bytes) -> bool:
        """Whether every quote opens a field at its start, closes it at its end, or is doubled."""
        delimiter = ord(self.delimiter)
        opens, closes = quotes[0::2], quotes[1::2]
        before = text[opens - 1] if opens[0] else np.append(np.uint8(_NEWLINE), text[opens[1:] - 1])
        doubled = np.zeros(len(opens), bool)
        doubled[1:] = opens[1:] == closes[:-1] + 1
        after = text[closes + 1]
        redoubled = np.zeros(len(closes), bool)
        redoubled[:-1] = doubled[1:]
        starts = (before == delimiter) | (before == _NEWLINE) | doubled
        stops = (after == delimiter) | (after == _NEWLINE) | (after == _RETURN) | redoubled
        return bool(starts.all() and stops.all())

    def _walk(self, buffer: pa.Buffer, line: int, is_last: bool) -> Cut:
        """Cut record by record, and set apart what is none."""
        text = buffer.to_pybytes()
        blocks: list[Block] = []
        at = start = 0
        first, lines, records = line, line, 0
        while at < len(text):
            match = self._record.match(text, at)
            if match is not None:
                is_blank = match.end() - at == len(match["end"])
                records += not is_blank or self.blank_is_record
                at, lines = match.end(), lines + text.count(b"\n", at, match.end())
                continue
            stop, reason = self._stop(text, at)
            if stop is None:
                if not is_last:
                    break
                stop = len(text)
            count = text.count(b"\n", at, stop)
            bad = Malformed(lines, count, text[at:stop].decode(errors="replace"), reason)
            blocks.append(Block(buffer.slice(start, at - start), first, records, (bad,)))
            at = start = stop
            lines += count
            first, records = lines, 0
        if at > start:
            blocks.append(Block(buffer.slice(start, at - start), first, records))
        return Cut(blocks, at, lines - line)

    def _stop(self, text: bytes, at: int) -> tuple[int | None, str]:
        """Behind the line on which a record goes wrong (None: not in sight), and why."""
        good = self._fields.match(text, at)
        wrong = good.end() if good else at
        if text[wrong : wrong + 1] == b"\r":
            reason = LONE_RETURN
        else:
            reason = UNCLOSED
            closing = self._quoted.match(text, wrong)
            if closing is None:
                return None, reason
            wrong = closing.end()
        stop = text.find(b"\n", wrong)
        return (None if stop < 0 else stop + 1), reason

    def records(self, data: bytes) -> Iterator[tuple[int, int]]:
        """Start and end of each record of a block; blank lines that are none are left out."""
        at = 0
        while match := self._record.match(data, at):
            if match.end() - at != len(match["end"]) or self.blank_is_record:
                yield at, match.end()
            at = match.end()

    @cached_property
    def _field(self) -> bytes:
        delimiter = re.escape(self.delimiter.encode())
        if not self.quote:
            return b"[^" + delimiter + rb"\r\n]*+"
        quote = re.escape(self.quote.encode())
        quoted = quote + b"[^" + quote + b"]*+(?:" + quote * 2 + b"[^" + quote + b"]*+)*+" + quote
        ended = b"(?=[" + delimiter + rb"\r\n])"
        bare = b"(?!" + quote + b")[^" + delimiter + rb"\r\n]*+"
        return b"(?>" + quoted + ended + b"|" + bare + b")"

    @cached_property
    def _record(self) -> re.Pattern[bytes]:
        delimiter = re.escape(self.delimiter.encode())
        fields = self._field + b"(?:" + delimiter + self._field + b")*+"
        return re.compile(fields + rb"(?P<end>\r?\n)")

    @cached_property
    def _fields(self) -> re.Pattern[bytes]:
        """The good fields at a record's start, each with the delimiter behind it, and one more."""
        delimiter = re.escape(self.delimiter.encode())
        return re.compile(b"(?:" + self._field + delimiter + b")*+(?:" + self._field + b")?")

    @cached_property
    def _quoted(self) -> re.Pattern[bytes]:
        """A quoted text from its opening quote to the quote that closes it."""
        quote = re.escape(self.quote.encode())
        inner = b"[^" + quote + b"]*+(?:" + quote * 2 + b"[^" + quote + b"]*+)*+"
        return re.compile(quote + inner + quote)


def _positions(text: Bytes, wanted: tuple[int, ...]) -> Bytes:
    """Where any of the wanted bytes stand, in order."""
    found = []
    any_of, one_of = np.empty(_PIECE, bool), np.empty(_PIECE, bool)
    for start in range(0, len(text), _PIECE):
        piece = text[start : start + _PIECE]
        mask = np.equal(piece, wanted[0], out=any_of[: len(piece)])
        for byte in wanted[1:]:
            mask |= np.equal(piece, byte, out=one_of[: len(piece)])
        places = np.flatnonzero(mask)
        places += start
        found.append(places)
    return np.concatenate(found)


def _has_lone_return(text: Bytes) -> bool:
    pieces = (text[start : start + _PIECE] for start in range(0, len(text), _PIECE))
    if not any((piece == _RETURN).any() for piece in pieces):
        return False
    returns = _positions(text, (_RETURN,))
    return bool((text[np.minimum(returns + 1, len(text) - 1)] != _NEWLINE).any())


def _blank_lines(text: Bytes, ends: Bytes) -> int:
    """How many of the lines that end at ``ends`` hold nothing."""
    lengths = np.diff(ends, prepend=-1)
    empty = int(np.count_nonzero(lengths == 1))
    short = ends[lengths == 2]  # noqa: PLR2004 - a carriage return and the newline
    return empty + int(np.count_nonzero(text[short - 1] == _RETURN))
