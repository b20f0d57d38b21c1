"""JSON, read strictly: every key known, every value into its type or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.json as pa_json

from wap.errors import BatchRefusedError, ConfigError, SourceError
from wap.source_sections import FilesSource as Spec
from wap.sources.base import Reject
from wap.sources.blocks import BLOCK_BYTES, Block, cut_blocks, ordered
from wap.sources.fit import UnfitError, fit_column, shown, unfit
from wap.sources.infer import Guess
from wap.sources.json_lexer import ElementLexer, cut_lines
from wap.sources.json_types import Merge, is_spoken
from wap.sources.listing import InputFile
from wap.sources.reading import Parsed, Progress
from wap.sources.streams import open_plain

_REASON_LENGTH = 200


@dataclass(frozen=True)
class JsonReader:
    """Reads ``ndjson`` (a record a line) and ``json`` (an array, or objects in a row).

    Attributes:
        spec: the pipeline's ``source`` section.
        threads: blocks parsed at the same time.
    """

    spec: Spec
    threads: int = 2

    def schema(self, files: list[InputFile]) -> pa.Schema:
        """The union of all records' keys, from all of the input."""
        merge = Merge()
        for file in files:
            for looked in self._blocks(file, _look, lambda _: None):
                for schema in looked:
                    merge.add(schema)
        schema = merge.schema()
        if not schema.names:
            raise SourceError("the input holds no record", where=files[0].path)
        texts = [f.name for f in schema if pa.types.is_string(f.type)]
        guesses = self._guess(files[0], texts)
        return pa.schema([pa.field(f.name, guesses.get(f.name, f.type)) for f in schema])

    def _guess(self, file: InputFile, names: list[str]) -> dict[str, pa.DataType]:
        """What the texts of the first block say: dates and times have no kind of their own."""
        guesses = {name: Guess() for name in names}
        texts = pa.schema([(name, pa.string()) for name in names])
        if not names:
            return {}
        for parsed in self._blocks(file, RecordParser(file.path, texts), lambda _: None):
            for batch in parsed.batches:
                for name, guess in guesses.items():
                    guess.look(batch.column(name))
            break
        return {name: g.type() for name, g in guesses.items() if pa.types.is_temporal(g.type())}

    def read(self, file: InputFile, schema: pa.Schema, progress: Progress) -> Iterator[Parsed]:
        """See :class:`wap.sources.reading.Reader`."""
        return self._blocks(file, RecordParser(file.path, schema), progress)

    def _blocks(self, file: InputFile, work: Any, progress: Progress) -> Iterator[Any]:
        lexer = cut_lines if self.spec.format == "ndjson" else ElementLexer()
        with open_plain(
            file,
            compression=self.spec.compression,
            encoding=self.spec.encoding,
            progress=progress,
        ) as stream:
            blocks = cut_blocks(stream, lexer, file.path, size=BLOCK_BYTES)
            if self.spec.format == "json":
                blocks = _unbroken(blocks, file.path)
            yield from ordered(work, blocks, threads=self.threads)


def _unbroken(blocks: Iterator[Block], path: str) -> Iterator[Block]:
    """Nothing behind a broken array can be read, so no row of it can be set aside."""
    for block in blocks:
        for bad in block.malformed:
            raise BatchRefusedError(
                bad.reason,
                differences=(f"{path}, line {bad.line}: {bad.reason}",),
                where=f"{path}:{bad.line}",
                hint="correct the file; with one object a line and format: ndjson, single rows "
                "can be set aside",
            )
        yield block


def _lines(block: Block) -> list[tuple[int, bytes]]:
    """Each record of a block with its line in the file."""
    texts = block.data.to_pybytes().split(b"\n")[:-1]
    lines = block.lines or range(block.line, block.line + len(texts))
    return [(n, text) for n, text in zip(lines, texts, strict=True) if text.strip()]


def _parse(data: Any, schema: pa.Schema | None) -> pa.Table:
    """Parse records into a schema (None: whatever they say).

    Raises:
        ArrowInvalid: a record that is none, a value of another kind, an unknown key.
    """
    size = len(data)
    return pa_json.read_json(
        pa.BufferReader(data),
        pa_json.ReadOptions(use_threads=False, block_size=max(size, 1)),
        pa_json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="infer"),
    )


def _look(block: Block) -> list[pa.Schema]:
    """What one block's records say their schema is; records that are none are left out."""
    if not block.records:
        return []
    try:
        return [_parse(block.data, None).schema]
    except pa.ArrowInvalid:
        records = [text for _, text in _lines(block)]
        good, _ = _halved(records, partial(_parse, schema=None))
        return [table.schema for table in good]


def _halved(
    records: list[bytes], parse: Any, first: int = 0
) -> tuple[list[pa.Table], list[tuple[int, str]]]:
    """Parse; where that fails halve, down to the records that do not parse, and why."""
    try:
        table = parse(b"\n".join(records) + b"\n")
        if len(table) != len(records):
            raise UnfitError("more than one value on a line")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        if len(records) == 1:
            return [], [(first, str(exc))]
    else:
        return [table], []
    half = len(records) // 2
    left, left_bad = _halved(records[:half], parse, first)
    right, right_bad = _halved(records[half:], parse, first + half)
    return [*left, *right], [*left_bad, *right_bad]


class RecordParser:
    """Parses blocks of one input; called on several threads at once."""

    def __init__(self, path: str, schema: pa.Schema, *, closed: bool = False) -> None:
        """A parser.

        Args:
            path: what the input is called in messages.
            schema: the columns; those that a record lacks are null.
            closed: a key that is no column makes a record malformed, instead of being left out.

        Raises:
            ConfigError: JSON cannot say a column's type.
        """
        self.path = path
        self.schema = schema
        self.closed = closed
        for column in schema:
            if not is_spoken(column.type):
                raise ConfigError(
                    f"column {column.name!r}: JSON cannot be read into {column.type}",
                    hint="declare a struct or a list under schema: columns:",
                )
        # What JSON has no kind for is a text first.
        self.read_as = pa.schema(
            [(c.name, pa.string() if _is_told_in_text(c.type) else c.type) for c in schema]
        )

    def __call__(self, block: Block) -> Parsed:
        """A block's rows, and what is no row of the schema."""
        rejects = [Reject(self.path, bad.line, bad.reason, bad.text) for bad in block.malformed]
        parsed = self._records(block) if block.records else Parsed([], 0)
        return Parsed(parsed.batches, parsed.records + len(rejects), [*parsed.rejects, *rejects])

    def _records(self, block: Block) -> Parsed:
        try:
            table = self._table(block.data)
            if len(table) != block.records:
                raise UnfitError("not one record a line")
            arrays = [self._strict(table, c) for c in self.schema]
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            return self._patient(block)
        return Parsed(
            list(pa.Table.from_arrays(arrays, names=self.schema.names).to_batches()), block.records
        )

    def _table(self, data: Any) -> pa.Table:
        table = _parse(data, self.read_as)
        for column in self.read_as:
            if table.schema.field(column.name).type != column.type:
                raise UnfitError(f"{column.name} holds keys that are not in its struct")
        if self.closed and len(table.schema) > len(self.read_as):
            raise UnfitError("keys that are no columns")
        return table

    def _strict(self, table: pa.Table, column: pa.Field) -> pa.Array:
        array, bad = fit_column(table.column(column.name).combine_chunks(), column.type)
        if bad:
            raise UnfitError(column.name)
        return array

    def _patient(self, block: Block) -> Parsed:
        """Find the records that do not parse, then the values that do not fit."""
        records = _lines(block)
        tables, broken = _halved([text for _, text in records], self._table)
        why: dict[int, tuple[str | None, str]] = {
            i: (None, self._reason(records[i][1], reason)) for i, reason in broken
        }
        parsed = [i for i in range(len(records)) if i not in why]
        if not tables:
            return Parsed([], len(records), self._rejects(records, why))
        table = pa.concat_tables(tables)
        arrays = []
        for column in self.schema:
            raw = table.column(column.name).combine_chunks()
            array, bad = fit_column(raw, column.type)
            arrays.append(array)
            for i in bad:
                text = f"{shown(raw[i])!r} {unfit(column.type)}"
                why.setdefault(parsed[i], (column.name, text))
        keep = pa.array([i not in why for i in parsed])
        batch = pa.record_batch(arrays, names=self.schema.names).filter(keep)
        return Parsed([batch], len(records), self._rejects(records, why))

    def _rejects(
        self, records: list[tuple[int, bytes]], why: dict[int, tuple[str | None, str]]
    ) -> list[Reject]:
        return [
            Reject(
                self.path,
                records[i][0],
                why[i][1],
                records[i][1].decode(errors="replace"),
                why[i][0],
            )
            for i in sorted(why)
        ]

    def _reason(self, text: bytes, vendor: str) -> str:
        """Why one record does not parse, in words of JSON."""
        try:
            value = json.loads(text)
        except ValueError as exc:
            return f"the line is not JSON: {exc}"[:_REASON_LENGTH]
        if not isinstance(value, dict):
            return f"the line holds {type(value).__name__}, not an object"
        if self.closed and (unknown := sorted(value.keys() - set(self.read_as.names))):
            return f"unknown key {unknown[0]!r}"[:_REASON_LENGTH]
        for column in self.read_as:
            if value.get(column.name) is None:
                continue
            single = json.dumps({column.name: value[column.name]}).encode()
            try:
                fits = _parse(single, pa.schema([column])).schema.field(0).type == column.type
            except pa.ArrowInvalid:
                fits = False
            if not fits:
                shown_value = json.dumps(value[column.name], ensure_ascii=False)[:80]
                return f"{column.name}: {shown_value} {unfit(column.type)}"
        return vendor.splitlines()[0][:_REASON_LENGTH]


def _is_told_in_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_temporal(kind) or pa.types.is_fixed_size_binary(kind) or kind == pa.uuid()
    )
