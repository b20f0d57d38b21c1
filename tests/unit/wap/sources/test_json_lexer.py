"""The lexers of JSON: nothing is lost or made up, wherever the buffer ends."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wap.sources.blocks import Block, cut_blocks
from wap.sources.json_lexer import ElementLexer, cut_lines

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)
OBJECTS = st.lists(st.dictionaries(st.text(max_size=3), VALUES, max_size=3), max_size=8)


def told(found: list[Block]) -> list[Any]:
    return [json.loads(line) for b in found for line in b.data.to_pybytes().split(b"\n") if line]


@given(
    OBJECTS,
    st.integers(1, 80),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.sampled_from(["array", "row"]),
)
def test_elements(
    objects: list[dict[str, Any]], size: int, indent: int | None, ascii_only: bool, form: str
):
    if form == "array":
        text = json.dumps(objects, indent=indent, ensure_ascii=ascii_only)
    else:
        text = "\n".join(json.dumps(o, indent=indent, ensure_ascii=ascii_only) for o in objects)
    found = list(cut_blocks(io.BytesIO(text.encode()), ElementLexer(), "in.json", size=size))
    assert told(found) == objects
    assert not any(block.malformed for block in found)
    assert sum(block.records for block in found) == len(objects)
    for block in found:
        assert block.lines is not None
        starts = text.split("\n")
        assert all("{" in starts[line - 1] for line in block.lines)


@given(OBJECTS, st.integers(1, 80), st.integers(0, 200))
def test_an_array_that_was_cut_off_is_seen(objects: list[dict[str, Any]], size: int, at: int):
    text = json.dumps(objects).encode()
    cut = text[: min(at, len(text) - 1)]
    found = list(cut_blocks(io.BytesIO(cut), ElementLexer(), "in.json", size=size))
    assert bool(cut.strip()) == any(block.malformed for block in found)


@given(OBJECTS, st.integers(1, 80), st.booleans())
def test_lines(objects: list[dict[str, Any]], size: int, final: bool):
    text = "\n".join(json.dumps(o) for o in objects) + "\n" * final
    found = list(cut_blocks(io.BytesIO(text.encode()), cut_lines, "in.ndjson", size=size))
    assert told(found) == objects
    assert sum(block.records for block in found) == len(objects)


@given(
    st.lists(st.sampled_from(['{"a": 1}', " ", "", "null", "[]", " {}", "x"]), max_size=12),
    st.integers(1, 40),
)
def test_what_is_no_object_is_set_apart_with_its_line(lines: list[str], size: int):
    text = "\n".join(lines).encode()
    found = list(cut_blocks(io.BytesIO(text), cut_lines, "in.ndjson", size=size))
    objects = [i for i, line in enumerate(lines, 1) if line.strip().startswith("{")]
    others = [i for i, line in enumerate(lines, 1) if line.strip() and i not in objects]
    assert sum(block.records for block in found) == len(objects)
    assert [bad.line for block in found for bad in block.malformed] == others
