"""What runs in Spark's Python workers: our own reader on a portion, its rows and its books.

A row of Spark's input is the number of a task, which reads some portions. Their rows leave as
Arrow batches in the table's columns, with one column more: empty in every row but a portion's
last, which holds its books. So books and rows take the same way, and a task that is run twice
tells the same books twice.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import pyarrow as pa
from pydantic import BaseModel, ConfigDict
from pyiceberg.schema import Schema

from wap import errors
from wap.engines.fitting import Fitting
from wap.errors import BatchRefusedError, EngineError, WapError
from wap.sources.base import Counts, Part, Reject
from wap.sources.extract import LISTED_REJECTS

REJECT = "reject"


class PartBooks(BaseModel):
    """A portion's books, or why there are none.

    Attributes:
        part: its number.
        rows: that it gave.
        counts: the source's books, the first malformed rows among them.
        error: class name and fields of what ended it; None: it was read to its end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    part: int
    rows: int = 0
    counts: dict[str, Any] = {}
    error: dict[str, Any] | None = None

    def source_counts(self) -> Counts:
        """The counts as a source's."""
        rejects = [Reject(**r) for r in self.counts["rejects"]]
        return Counts(**{**self.counts, "rejects": rejects})


@dataclass(frozen=True)
class ReadParts:
    """Reads portions into a table's columns; given to Spark's ``mapInArrow``.

    Attributes:
        parts: all portions.
        tasks: the numbers of each task's portions.
        schema: the table's.
        sent: what Spark is given, the column of the books last.
    """

    parts: Sequence[Part]
    tasks: Sequence[Sequence[int]]
    schema: Schema
    sent: pa.Schema

    def __call__(self, numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of these tasks' portions, each portion's books behind them."""
        for number in _asked(numbers, self.tasks):
            yield from self._read(number)

    def _read(self, number: int) -> Iterator[pa.RecordBatch]:
        part, rows = self.parts[number], 0
        books = PartBooks(part=number)
        try:
            extract = part.open()
            fit = Fitting(self.schema)
            for batch in extract.batches():
                yield _sent(fit(batch), self.sent)
                rows += len(batch)
            counts = asdict(extract.finish())
            counts["rejects"] = counts["rejects"][:LISTED_REJECTS]
            books = PartBooks(part=number, rows=rows, counts=counts)
        except WapError as exc:
            # As a value: Spark would try a task that raised three times more, and then tell why
            # in forty lines of Java.
            books = PartBooks(part=number, error=_told(exc, part.name))
        yield _last(books, self.sent)


@dataclass(frozen=True)
class FitRows:
    """Brings rows that Spark read itself into a table's columns; given to ``mapInArrow``.

    Attributes:
        where: the source, for messages.
        schema: the table's.
        sent: what Spark is given, the column of the books last.
    """

    where: str
    schema: Schema
    sent: pa.Schema

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The rows of one of the frame's partitions, and its books behind them."""
        # Only there in a task.
        from pyspark import TaskContext  # noqa: PLC0415 - a large package, and an optional one

        number, rows = TaskContext.get().partitionId(), 0
        error = None
        try:
            fit = Fitting(self.schema)
            for batch in batches:
                yield _sent(fit(batch), self.sent)
                rows += len(batch)
        except WapError as exc:
            error = _told(exc, self.where)
        yield _last(PartBooks(part=number, rows=rows, error=error), self.sent)


def _sent(batch: pa.RecordBatch, sent: pa.Schema) -> pa.RecordBatch:
    types = sent.types[:-1]
    arrays = [spoken(column, kind) for column, kind in zip(batch.columns, types, strict=True)]
    return pa.record_batch([*arrays, pa.nulls(len(batch), pa.string())], schema=sent)


def _last(books: PartBooks, sent: pa.Schema) -> pa.RecordBatch:
    arrays = [pa.nulls(1, kind) for kind in sent.types[:-1]]
    return pa.record_batch([*arrays, pa.array([books.model_dump_json()])], schema=sent)


@dataclass(frozen=True)
class ReadRejects:
    """Reads portions again for the rows that were set aside; given to ``mapInArrow``."""

    parts: Sequence[Part]
    tasks: Sequence[Sequence[int]]

    def __call__(self, numbers: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The malformed rows as JSON lines, a few at a time."""
        for number in _asked(numbers, self.tasks):
            with io.StringIO() as lines:
                for _ in self.parts[number].open(lines).batches():
                    yield _drained(lines)
                yield _drained(lines)


def _asked(numbers: Iterable[pa.RecordBatch], tasks: Sequence[Sequence[int]]) -> Iterator[int]:
    """The portions of the tasks that Spark asks for."""
    for batch in numbers:
        for task in batch.column(0).to_pylist():
            yield from tasks[task]


def _drained(lines: io.StringIO) -> pa.RecordBatch:
    found = lines.getvalue().splitlines()
    lines.seek(0)
    lines.truncate()
    return pa.record_batch([pa.array(found, pa.string())], names=[REJECT])


def _told(exc: WapError, where: str) -> dict[str, Any]:
    told: dict[str, Any] = {"type": type(exc).__name__, "what": exc.what, "where": exc.where}
    told["hint"] = exc.hint
    if isinstance(exc, BatchRefusedError):
        told["where"] = exc.where or where
        told["differences"] = list(exc.differences)
    return told


def with_books(columns: pa.Schema) -> pa.Schema:
    """The columns and one more, whose name none of them has."""
    name = "books"
    while name in columns.names:
        name += "_"
    return columns.append(pa.field(name, pa.string()))


def spoken(array: pa.Array, kind: pa.DataType) -> pa.Array:
    """A column in the type that Spark has for it: a uuid as text, fixed bytes as bytes.

    Args:
        array: in the type that we write.
        kind: see :func:`wap.spark.types.spark_arrow_type`.
    """
    if array.type == kind:
        return array
    if isinstance(array, pa.ExtensionArray):
        texts = [None if v is None else str(UUID(bytes=v)) for v in array.storage.to_pylist()]
        return pa.array(texts, kind)
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        parts = [spoken(array.field(i), field.type) for i, field in enumerate(fields)]
        return pa.StructArray.from_arrays(parts, fields=fields, mask=array.is_null())
    if pa.types.is_map(kind):
        keys, items = spoken(array.keys, kind.key_type), spoken(array.items, kind.item_type)
        return pa.MapArray.from_arrays(array.offsets, keys, items, type=kind, mask=array.is_null())
    if pa.types.is_list(kind):
        values = spoken(array.values, kind.value_type)
        return pa.ListArray.from_arrays(array.offsets, values, type=kind, mask=array.is_null())
    return array.cast(kind)


def complete(lines: Iterable[str], count: int) -> list[PartBooks]:
    """The books of all portions, in order; told twice they must say the same.

    Args:
        lines: as the tasks told them.
        count: of the portions that were to be read.

    Raises:
        WapError: what ended a portion, as it was raised there.
        EngineError: a portion is missing, or was read twice and not to the same rows.
    """
    found: dict[int, PartBooks] = {}
    for line in lines:
        books = PartBooks.model_validate(json.loads(line))
        if found.setdefault(books.part, books) != books:
            raise EngineError(f"part {books.part} was read twice, and not to the same rows")
    ordered = [found[number] for number in sorted(found)]
    for books in ordered:
        if books.error is not None:
            raise _raised(books.error)
    if sorted(found) != list(range(count)):
        raise EngineError(
            f"Spark was given {count} parts to read and told of {len(found)}",
            hint="run again; if it stays so, please report it",
        )
    return ordered


def _raised(told: dict[str, Any]) -> WapError:
    told = dict(told)
    kind = getattr(errors, told.pop("type"))
    if "differences" in told:
        told["differences"] = tuple(told["differences"])
    error: WapError = kind(told.pop("what"), **told)
    return error
