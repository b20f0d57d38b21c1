"""The parser's count is held against the lexer's, block by block."""

from __future__ import annotations

import pyarrow as pa
import pytest

from wap.errors import SourceError
from wap.source_sections import FilesSource as Spec
from wap.sources.blocks import Block
from wap.sources.csv_lexer import CsvLexer
from wap.sources.csv_reader import _Parser

SPEC = Spec.model_validate({"kind": "files", "path": "in.csv", "format": "csv"})


@pytest.mark.parametrize("counted", [1, 3])
def test_a_parser_that_gives_other_rows_than_were_counted_is_found_out(counted: int):
    schema = pa.schema([("id", pa.int64())])
    parser = _Parser("in.csv", ["id", "name"], schema, SPEC, CsvLexer(",", '"'))
    data = pa.py_buffer(b"1,x\n2,y\n")
    assert parser(Block(data, 2, 2)).rows == 2
    with pytest.raises(SourceError, match=f"holds {counted} records, and 2 were read"):
        parser(Block(data, 2, counted))
