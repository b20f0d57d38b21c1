"""Blocks of whole records: the unit that readers cut text into, and parse on several threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wap.errors import BatchRefusedError
from wap.sources.streams import Readable

#: Text parsed at once: large enough that starting costs nothing, small enough for any budget.
BLOCK_BYTES = 8 << 20
#: A record may be so long at most; what is longer is a quote or bracket that is never closed.
MAX_RECORD_BYTES = 64 << 20

_T = TypeVar("_T")
_R = TypeVar("_R")

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Malformed:
    """A stretch of text that is no record: its first line and how many lines it takes."""

    line: int
    lines: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Block:
    """Whole records, one after the other, each ended by a newline.

    Attributes:
        data: the text, UTF-8 (unless the input lies about it).
        line: the line in the file on which the first record starts, from 1.
        records: how many there are, counted by whoever cut the text, not by the parser.
        malformed: what lay between records and is none.
        lines: the line of each record where that is not one record a line.
    """

    data: pa.Buffer
    line: int
    records: int
    malformed: tuple[Malformed, ...] = ()
    lines: Sequence[int] | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """What a lexer made of a buffer: blocks, and how far they reach."""

    blocks: list[Block]
    end: int
    lines: int


Lexer = Callable[[pa.Buffer, int, bool], Cut]


def cut_blocks(
    stream: Readable, lex: Lexer, path: str, *, size: int = BLOCK_BYTES
) -> Iterator[Block]:
    """Cut a stream into blocks, each read into a buffer of its own.

    Args:
        lex: given a buffer that starts with a record, the line of its start and whether the
            input ends with it, finds the whole records in it.

    Raises:
        BatchRefusedError: a record that is longer than any record can be.
    """
    rest: memoryview[Any] = memoryview(b"")
    line = 1
    while True:
        buffer = pa.allocate_buffer(len(rest) + size + 1)
        view = memoryview(buffer).cast("B")
        view[: len(rest)] = rest
        count = stream.readinto(view[len(rest) : len(rest) + size]) or 0
        length = len(rest) + count
        is_last = count < size
        if is_last and length and view[length - 1] != ord("\n"):
            view[length] = ord("\n")
            length += 1
        # The lexer hears of the end even when nothing is left: it may wait for more.
        cut = lex(buffer.slice(0, length), line, is_last)
        yield from cut.blocks
        if is_last:
            return
        line += cut.lines
        rest = view[cut.end : length]
        if len(rest) > MAX_RECORD_BYTES:
            raise BatchRefusedError(
                f"a record is longer than {MAX_RECORD_BYTES >> 20} MB",
                differences=(f"{path}, line {line}: a quote or bracket is never closed",),
                where=f"{path}:{line}",
                hint="look at that line",
            )


def as_bytes(buffer: pa.Buffer) -> Bytes:
    """A view of a buffer, for numpy."""
    return np.frombuffer(buffer, np.uint8)


def ordered(work: Callable[[_T], _R], items: Iterator[_T], *, threads: int) -> Iterator[_R]:
    """Results of ``work`` in the order of ``items``, worked at on threads, a few items ahead.

    Closing the iterator, or an error, drops what has not begun.
    """
    pool = ThreadPoolExecutor(threads, "wap-read")
    waiting: deque[Future[_R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
