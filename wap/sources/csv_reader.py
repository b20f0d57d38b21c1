"""Delimited text, read strictly: the header by name, every value into its type or refused."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from wap.errors import BatchRefusedError, ConfigError, SourceError
from wap.source_sections import FilesSource as Spec
from wap.sources.base import Reject
from wap.sources.blocks import BLOCK_BYTES, Block, cut_blocks, ordered
from wap.sources.csv_lexer import CsvLexer
from wap.sources.fit import UnfitError, check_precision, fit_column, has_infinity, shown, unfit
from wap.sources.infer import Guess
from wap.sources.listing import InputFile
from wap.sources.reading import Parsed, Progress, refuse_missing, same_columns
from wap.sources.streams import open_plain

#: Inferring looks at all of an input up to this size (bytes of text), and at so much of a larger.
INFERRED_BYTES = 32 << 20
_HEAD_BYTES = 1 << 20

#: What Arrow says of a record longer than the chunks it parses (1 MB).
_LONGER_THAN_A_CHUNK = "straddl"


@dataclass(frozen=True)
class CsvReader:
    """Reads csv and tsv.

    Attributes:
        spec: the pipeline's ``source`` section.
        threads: blocks parsed at the same time.
    """

    spec: Spec
    threads: int = 2

    @cached_property
    def delimiter(self) -> str:
        """Between two fields, one ASCII character.

        Raises:
            ConfigError: not such a one.
        """
        text = self.spec.delimiter or ("\t" if self.spec.format == "tsv" else ",")
        for name, mark in (("delimiter", text), ("quote", self.spec.quote)):
            if mark and (not mark.isascii() or mark in "\r\n\0"):
                raise ConfigError(
                    f"source: {name} is {mark!r}", hint="one ASCII character, not a line's end"
                )
        if text == self.spec.quote:
            raise ConfigError(f"source: delimiter and quote are both {text!r}")
        return text

    def header(self, file: InputFile) -> list[str]:
        """A file's column names; ``column0``, ``column1``, … where it has no header.

        Raises:
            SourceError: nothing but nothing in it.
            BatchRefusedError: a name that is empty or there twice, or a header that never ends.
        """
        lexer = CsvLexer(self.delimiter, self.spec.quote)
        with self._plain(file) as stream:
            blocks = cut_blocks(stream, lexer, file.path, size=_HEAD_BYTES)
            first = next((b for b in blocks if b.records or b.malformed), None)
        if first is None:
            raise SourceError(
                "the file holds no line", where=file.path, hint="not even a header; ask the sender"
            )
        data = first.data.to_pybytes()
        at = next(lexer.records(data), None)
        if at is None:
            raise BatchRefusedError(
                "the header cannot be read", differences=(first.malformed[0].reason,),
                where=f"{file.path}:{first.malformed[0].line}",
            )  # fmt: skip
        names = self._fields(data[slice(*at)], file.path)
        if not self.spec.header:
            return [f"column{i}" for i in range(len(names))]
        _check_names(names, file.path)
        return names

    def schema(self, files: list[InputFile]) -> pa.Schema:
        """Names from the headers, types from all of a small input or the head of a large one."""
        names = self.header(files[0])
        for other in files[1:]:
            same_columns(names, self.header(other), files[0].path, other.path)
        guesses = {name: Guess() for name in names}
        share = max(_HEAD_BYTES, INFERRED_BYTES // len(files))
        for file in files:
            self._guess(file, guesses, share)
        return pa.schema([pa.field(name, guess.type()) for name, guess in guesses.items()])

    def _guess(self, file: InputFile, guesses: dict[str, Guess], share: int) -> None:
        texts = pa.schema([(name, pa.string()) for name in self.header(file)])
        seen = 0
        for parsed in self._parsed(file, texts, lambda _: None, cut=share):
            for batch in parsed.batches:
                for name, guess in guesses.items():
                    guess.look(batch.column(name))
                seen += batch.nbytes
            if seen > share:
                return

    def read(self, file: InputFile, schema: pa.Schema, progress: Progress) -> Iterator[Parsed]:
        """See :class:`wap.sources.reading.Reader`."""
        return self._parsed(file, schema, progress)

    def _parsed(
        self, file: InputFile, schema: pa.Schema, progress: Progress, *, cut: int = BLOCK_BYTES
    ) -> Iterator[Parsed]:
        names = self.header(file)
        refuse_missing(schema.names, names, file.path)
        lexer = CsvLexer(self.delimiter, self.spec.quote, blank_is_record=len(names) == 1)
        parser = _Parser(file.path, names, schema, self.spec, lexer)
        with self._plain(file, progress) as stream:
            blocks = cut_blocks(stream, lexer, file.path, size=min(cut, BLOCK_BYTES))
            if self.spec.header:
                blocks = _without_header(blocks, lexer)
            yield from ordered(parser, blocks, threads=self.threads)

    def _plain(self, file: InputFile, progress: Progress = lambda _: None) -> Any:
        return open_plain(
            file,
            compression=self.spec.compression,
            encoding=self.spec.encoding,
            progress=progress,
        )

    def _fields(self, record: bytes, path: str) -> list[str]:
        try:
            text = record.decode()
        except UnicodeDecodeError as exc:
            raise SourceError(
                "the header is not UTF-8", where=path, hint="say source: {encoding: …}"
            ) from exc
        return split_fields(text, self.delimiter, self.spec.quote)


def split_fields(record: str, delimiter: str, quote: str) -> list[str]:
    """The fields of one record."""
    text = record.rstrip("\r\n")
    if not quote:
        return text.split(delimiter)
    return next(csv.reader([text], delimiter=delimiter, quotechar=quote, strict=True), [""])


def _check_names(names: list[str], path: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1 and name})
    problems = [f"the name {name!r} is there twice" for name in twice]
    problems += [f"column {i} has no name" for i, name in enumerate(names, 1) if not name.strip()]
    if problems:
        raise BatchRefusedError(
            "the header does not name every column once",
            differences=tuple(problems),
            where=f"{path}:1",
            hint="correct the header, or say header: false where there is none",
        )


def _without_header(blocks: Iterator[Block], lexer: CsvLexer) -> Iterator[Block]:
    """The blocks behind a file's first record."""
    for block in blocks:
        if not block.records:
            continue
        data = block.data.to_pybytes()
        _, end = next(lexer.records(data))
        lines = data.count(b"\n", 0, end)
        yield Block(block.data.slice(end), block.line + lines, block.records - 1, block.malformed)
        break
    yield from blocks


@dataclass(frozen=True)
class _Parser:
    """Parses blocks of one file; called on several threads at once."""

    path: str
    names: list[str]
    schema: pa.Schema
    spec: Spec
    lexer: CsvLexer
    wanted: list[str] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "wanted", self.schema.names)
        for column in self.schema:
            if pa.types.is_nested(column.type):
                raise ConfigError(
                    f"column {column.name!r}: text in columns cannot hold {column.type}",
                    hint="declare another type under schema: columns:",
                )

    def __call__(self, block: Block) -> Parsed:
        rejects = [
            Reject(self.path, bad.line + i, f"{bad.reason} (from line {bad.line})", text)
            for bad in block.malformed
            for i, text in enumerate(bad.text.split("\n")[: bad.lines])
        ]
        records = block.records + len(rejects)
        if not block.records:
            return Parsed([], records, rejects)
        invalid: list[Any] = []
        try:
            batches = self._quick(block, invalid)
        except pa.ArrowInvalid:
            invalid.clear()
            batches, misfits = self._patient(block, invalid)
        else:
            misfits = []
        if invalid or misfits:
            rejects += self._located(block, invalid, misfits)
            rejects.sort(key=lambda r: r.line or 0)
        parsed = Parsed(batches, records, rejects)
        if parsed.rows + len(rejects) != records:
            raise SourceError(
                f"the text holds {records} records, and {parsed.rows} were read and "
                f"{len(rejects)} refused",
                where=f"{self.path}:{block.line}",
                hint="this is a defect of the reader: please report it with the file's lines",
            )
        return parsed

    def _table(self, block: Block, types: dict[str, pa.DataType], invalid: list[Any], *,
               quoted_null: bool = False) -> pa.Table:  # fmt: skip
        try:
            return self._parsed(block, types, invalid, quoted_null, None)
        except pa.ArrowInvalid as exc:
            if _LONGER_THAN_A_CHUNK not in str(exc):
                raise
        # A row noted twice is refused once: it is known by its number.
        return self._parsed(block, types, invalid, quoted_null, block.data.size)

    def _parsed(self, block: Block, types: dict[str, pa.DataType], invalid: list[Any],
                quoted_null: bool, chunk_bytes: int | None) -> pa.Table:  # fmt: skip
        """Arrow parses chunk by chunk, which is quicker; no record may be longer than a chunk."""

        def note(row: Any) -> str:
            invalid.append(row)
            return "skip"

        return pa_csv.read_csv(
            pa.BufferReader(block.data),
            pa_csv.ReadOptions(use_threads=False, column_names=self.names, block_size=chunk_bytes),
            pa_csv.ParseOptions(
                delimiter=self.lexer.delimiter,
                quote_char=self.lexer.quote or False,
                newlines_in_values=bool(self.lexer.quote),
                ignore_empty_lines=not self.lexer.blank_is_record,
                invalid_row_handler=note,
            ),
            pa_csv.ConvertOptions(
                column_types=types,
                include_columns=list(types),
                null_values=self.spec.null,
                strings_can_be_null=True,
                quoted_strings_can_be_null=quoted_null,
            ),
        )

    def _quick(self, block: Block, invalid: list[Any]) -> list[pa.RecordBatch]:
        """The usual way: Arrow converts while it parses.

        Raises:
            ArrowInvalid: a value it does not take.
        """
        if any(c.type == pa.uuid() for c in self.schema):
            raise UnfitError("Arrow reads no uuid from text")
        table = self._table(block, {c.name: c.type for c in self.schema}, invalid)
        for column in table.columns:
            if pa.types.is_decimal(column.type):
                check_precision(column)
            elif pa.types.is_floating(column.type) and has_infinity(column):
                raise UnfitError("it may be too large")
        return list(table.to_batches())

    def _patient(
        self, block: Block, invalid: list[Any]
    ) -> tuple[list[pa.RecordBatch], list[tuple[int, str, str, str]]]:
        """Read bytes and convert column by column, noting what does not fit."""
        is_text = {c.name: pa.types.is_string(c.type) for c in self.schema}
        texts = {name: pa.binary() for name, text in is_text.items() if text}
        others = {name: pa.binary() for name, text in is_text.items() if not text}
        columns: dict[str, pa.ChunkedArray] = {}
        # A quoted empty text is a text; a quoted empty number can only be a null.
        for types, quoted_null in ((texts, False), (others, True)):
            if types:
                invalid.clear()
                table = self._table(block, types, invalid, quoted_null=quoted_null)
                columns.update(zip(table.column_names, table.columns, strict=True))
        arrays, misfits = [], []
        for column in self.schema:
            raw = columns[column.name].combine_chunks()
            array, bad = fit_column(raw, column.type)
            arrays.append(array)
            misfits += [(i, column.name, shown(raw[i]), unfit(column.type)) for i in bad]
        batch = pa.record_batch(arrays, names=self.schema.names)
        bad_rows = pa.array(sorted({m[0] for m in misfits}), pa.int64())
        if len(bad_rows):
            places = pa.array(range(len(batch)), pa.int64())
            batch = batch.filter(pc.invert(pc.is_in(places, bad_rows)))
        return [batch], misfits

    def _located(
        self, block: Block, invalid: list[Any], misfits: list[tuple[int, str, str, str]]
    ) -> list[Reject]:
        """Each refused record once, with the line it starts on."""
        data = block.data.to_pybytes()
        spans = list(self.lexer.records(data))
        skipped = {row.number - 1 for row in invalid}
        parsed = [i for i in range(len(spans)) if i not in skipped]
        why: dict[int, tuple[str | None, str]] = {}
        for row in invalid:
            reason = f"columns: {row.actual_columns}, where {row.expected_columns} are expected"
            why[row.number - 1] = (None, reason)
        for place, column, value, reason in misfits:
            why.setdefault(parsed[place], (column, f"{value!r} {reason}"))
        rejects, line, at = [], block.line, 0
        for number in sorted(why):
            start, end = spans[number]
            line, at = line + data.count(b"\n", at, start), start
            text = data[start:end].decode(errors="replace").rstrip("\r\n")
            rejects.append(Reject(self.path, line, why[number][1], text, why[number][0]))
        return rejects
