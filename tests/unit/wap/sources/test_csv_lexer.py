"""The lexer against Python's csv module, which knows the grammar from elsewhere."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wap.errors import BatchRefusedError
from wap.sources import blocks
from wap.sources.blocks import Block, cut_blocks
from wap.sources.csv_lexer import LONE_RETURN, UNCLOSED, CsvLexer

LEXER = CsvLexer(",", '"')
CELLS = st.text(st.sampled_from('ab,"\n é'), max_size=6)
ROWS = st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=12)


def cut(data: bytes, size: int, lexer: CsvLexer = LEXER) -> list[Block]:
    return list(cut_blocks(io.BytesIO(data), lexer, "in.csv", size=size))


def written(rows: list[list[str]], end: str, *, quoting: int = csv.QUOTE_MINIMAL) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator=end, quoting=quoting).writerows(rows)
    return out.getvalue().encode()


@given(ROWS, st.sampled_from(["\n", "\r\n"]), st.integers(1, 60), st.booleans(), st.booleans())
def test_what_is_written_well_is_cut_where_it_was_joined(
    rows: list[list[str]], end: str, size: int, final: bool, all_quoted: bool
):
    data = written(rows, end, quoting=csv.QUOTE_ALL if all_quoted else csv.QUOTE_MINIMAL)
    if not final:
        data = data.removesuffix(end.encode())
    found = cut(data, size)
    assert sum(block.records for block in found) == len(rows)
    assert not any(block.malformed for block in found)
    joined = b"".join(block.data.to_pybytes() for block in found)
    assert joined in (data, data + b"\n")
    for block in found:
        assert len(list(LEXER.records(block.data.to_pybytes()))) == block.records


@given(ROWS, st.integers(1, 60))
def test_lines_are_counted_through(rows: list[list[str]], size: int):
    data = written(rows, "\n")
    line = 1
    for block in cut(data, size):
        assert block.line == line
        line += block.data.to_pybytes().count(b"\n")


@given(st.text(st.sampled_from('ab,"\n\r'), max_size=40), st.integers(1, 50))
def test_no_text_is_lost_whatever_it_is(text: str, size: int):
    data = text.encode()
    found = cut(data, size)
    whole = b"".join(
        block.data.to_pybytes() + b"".join(bad.text.encode() for bad in block.malformed)
        for block in found
    )
    blank = data.removesuffix(b"\n") if not found else data
    assert whole in (blank, blank + b"\n")


@given(st.text(st.sampled_from('ab,"\n'), max_size=40), st.integers(1, 50))
def test_where_the_cut_falls_changes_nothing(text: str, size: int):
    def told(found: list[Block]) -> tuple[int, list[tuple[int, int, str]]]:
        bad = [(m.line, m.lines, m.text) for block in found for m in block.malformed]
        return sum(block.records for block in found), bad

    assert told(cut(text.encode(), size)) == told(cut(text.encode(), 1000))


@pytest.mark.parametrize(
    ("text", "reason", "lines"),
    [
        ('1,"x\n2,"y"\n3,z\n', UNCLOSED, (1, 2)),
        ('1,"x"y\n', UNCLOSED, (1, 1)),
        ('1,x\n2,"y\n3,z\n', UNCLOSED, (2, 2)),
        ("1,x\ry\n2,z\n", LONE_RETURN, (1, 1)),
    ],
)
def test_what_is_no_record(text: str, reason: str, lines: tuple[int, int]):
    (bad,) = [m for block in cut(text.encode(), 1000) for m in block.malformed]
    assert (bad.reason, (bad.line, bad.lines)) == (reason, lines)


def test_a_quote_inside_of_a_field_is_a_quote():
    (block,) = cut(b'1,5" pipe\n2,6" pipe\n3,x\n', 1000)
    assert (block.records, block.malformed) == (3, ())


def test_without_a_quote_character_every_line_is_a_record():
    (block,) = cut(b'1,"x\n2,y"\n', 1000, CsvLexer(",", ""))
    assert block.records == 2


def test_a_record_that_never_ends_is_refused_before_memory_is_full(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(blocks, "MAX_RECORD_BYTES", 1000)
    with pytest.raises(BatchRefusedError, match="longer than") as caught:
        cut(b'1,x\n2,"' + b"y\n" * 2000, 100)
    assert caught.value.where == "in.csv:2"
