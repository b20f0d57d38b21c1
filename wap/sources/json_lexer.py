"""Where records of JSON text begin and end: one a line, or the elements of an array."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from wap.sources.blocks import Block, Cut, Malformed, as_bytes

_SPACE = re.compile(r"[ \t\r\n]*")
_DECODER = json.JSONDecoder()
_NEWLINE, _BRACE = ord("\n"), ord("{")
_NO_BREAKS = str.maketrans("\r\n", "  ")
#: An error so far before the buffer's end is one; nearer, the value may only be cut off.
_CUT_OFF = 64


NO_OBJECT = "the line does not hold an object"


def cut_lines(buffer: pa.Buffer, line: int, is_last: bool) -> Cut:  # noqa: ARG001 - a Lexer
    """One object a line; lines of white space are no record.

    What does not start like an object never reaches the parser, which takes ``null`` for a row.
    """
    text = as_bytes(buffer)
    ends = np.flatnonzero(text == _NEWLINE)
    if not len(ends):
        return Cut([], 0, 0)
    starts = np.append(0, ends[:-1] + 1)
    blocks: list[Block] = []
    first = blank = 0
    for i in np.flatnonzero(text[starts] != _BRACE):
        content = text[starts[i] : ends[i]].tobytes().strip()
        if content.startswith(b"{"):
            continue
        if not content:
            blank += 1
            continue
        bad = Malformed(line + int(i), 1, content.decode(errors="replace"), NO_OBJECT)
        data = buffer.slice(int(starts[first]), int(starts[i] - starts[first]))
        blocks.append(Block(data, line + first, int(i) - first - blank, (bad,)))
        first, blank = int(i) + 1, 0
    end = int(ends[-1]) + 1
    if first < len(ends):
        data = buffer.slice(int(starts[first]), end - int(starts[first]))
        blocks.append(Block(data, line + first, len(ends) - first - blank))
    return Cut(blocks, end, len(ends))


@dataclass
class ElementLexer:
    """The elements of an array, or objects one after the other without one around them.

    Each becomes a line of its own; a line break inside a value can only be white space. What
    breaks off cannot be taken up again: the rest is malformed as a whole.
    """

    state: str = "start"

    def __call__(self, buffer: pa.Buffer, line: int, is_last: bool) -> Cut:
        """See :data:`wap.sources.blocks.Lexer`."""
        raw = buffer.to_pybytes()
        text = (raw if is_last else raw[: _whole_characters(raw)]).decode(errors="surrogateescape")
        records: list[str] = []
        lines: list[int] = []
        at, counted, here, problem = 0, 0, line, ""
        while not problem:
            start, problem = self._next(text, at)
            here, counted = here + text.count("\n", counted, start), start
            if problem or start == len(text):
                at = start
                break
            end, problem = self._value(text, start, is_last=is_last)
            if end is None:
                at = start
                break
            if text[start] != "{":
                problem = "an element is not an object"
                break
            records.append(text[start:end].translate(_NO_BREAKS))
            lines.append(here)
            at, self.state = end, "bare" if self.state == "bare" else "after"
        if is_last and not problem and self.state in ("open", "after", "comma"):
            problem = "the array is not closed"
        return self._cut(text, len(text) if problem else at, line, here, records, lines, problem)

    def _cut(
        self, text: str, at: int, line: int, here: int, records: list[str], lines: list[int],
        problem: str,
    ) -> Cut:  # fmt: skip
        data = "".join(f"{record}\n" for record in records).encode(errors="surrogateescape")
        bad = (Malformed(here, 1, "", problem),) if problem else ()
        blocks = [Block(pa.py_buffer(data), line, len(records), bad, lines)]
        end = len(text[:at].encode(errors="surrogateescape"))
        return Cut(blocks if records or bad else [], end, text.count("\n", 0, at))

    def _next(self, text: str, at: int) -> tuple[int, str]:
        """Where the next value starts (the text's end: not in sight), and what is wrong there."""
        at = _behind_space(text, at)
        if self.state == "start" and at < len(text):
            self.state = "open" if text[at] == "[" else "bare"
            at = _behind_space(text, at + (self.state == "open"))
        if self.state in ("open", "after") and text[at : at + 1] == "]":
            self.state = "ended"
            at = _behind_space(text, at + 1)
        elif self.state == "after" and text[at : at + 1] == ",":
            self.state = "comma"
            at = _behind_space(text, at + 1)
        if at < len(text) and self.state == "after":
            return at, "a comma is missing between two elements"
        if at < len(text) and self.state == "ended":
            return at, "there is text behind the array"
        return at, ""

    def _value(self, text: str, start: int, *, is_last: bool) -> tuple[int | None, str]:
        """The end of the value that starts there; None: it breaks, or is only cut off."""
        try:
            _, end = _DECODER.raw_decode(text, start)
        except json.JSONDecodeError as exc:
            is_open = "Unterminated" in exc.msg or exc.pos >= len(text) - _CUT_OFF
            return None, "" if is_open and not is_last else f"the text is not JSON: {exc.msg}"
        # A number at the buffer's end may go on behind it.
        return (end, "") if end < len(text) or is_last else (None, "")


def _behind_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _whole_characters(raw: bytes) -> int:
    """How many bytes hold whole characters: the last one may be cut in two."""
    for back in range(1, min(4, len(raw)) + 1):
        byte = raw[-back]
        if byte >= 0xC0:  # noqa: PLR2004 - the first byte of a character of several
            return len(raw) - back
        if byte < 0x80:  # noqa: PLR2004 - a character of one byte
            break
    return len(raw)
