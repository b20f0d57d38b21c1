"""The port ``Source``: plan what is new, say its schema, and stream it as Arrow batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import IO, Any, Protocol

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, JsonValue

from wap.errors import SourceError


class Cursor(BaseModel):
    """How far a source was read; part of the published state, so small, versioned JSON.

    Attributes:
        kind: the source kind that wrote it.
        version: of the layout of ``state``.
        state: what the source needs to know what is new.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    version: int = 1
    state: dict[str, JsonValue]

    def refuse_other(self, kind: str, version: int) -> None:
        """Refuse to read on from what another kind of source, or a newer version, wrote.

        Raises:
            SourceError: it did.
        """
        if (self.kind, self.version) != (kind, version):
            raise SourceError(
                f"the published cursor is of kind {self.kind!r}, version {self.version}; "
                f"this version reads {kind!r}, version {version}",
                hint="use the version that wrote it; or load into a new table",
            )


class Interval(BaseModel):
    """A data interval ``[start, end)``; bounds are ISO 8601 text, compared in the column's type."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    start: str
    end: str


class Plan(BaseModel):
    """What one run will read, fixed before it starts, so that every attempt reads the same.

    Attributes:
        kind: the source kind.
        work: what to read, JSON (for files: path, size, modification or etag of each).
        digest: sha256 hex over kind, work and interval: the same input has the same digest.
        empty: nothing new to read.
        summary: one line for people: "1 file, 29.2 MB".
        bytes: size of the input where known, for progress.
        interval: only rows of it are read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str
    work: dict[str, JsonValue]
    digest: str
    empty: bool
    summary: str
    bytes: int | None = None
    interval: Interval | None = None


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that could not be read: kept aside, never silently lost."""

    file: str
    line: int | None
    reason: str
    text: str = ""
    column: str | None = None


@dataclass(slots=True)
class Counts:
    """The source's own books; complete once the stream is exhausted.

    Attributes:
        read: records the source held (malformed ones included), counted at the source.
        rejected: malformed rows left out because the pipeline says so.
        discarded: rows left out by a stated rule (outside the data interval).
        bytes: bytes of input consumed so far, for progress.
        rejects: the first of the malformed rows, with file, line and reason.
    """

    read: int = 0
    rejected: int = 0
    discarded: int = 0
    bytes: int = 0
    rejects: list[Reject] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class SqlStream:
    """Rows that DuckDB reads itself: a connection of our own and the query that yields them.

    An engine that can let DuckDB write the files too saves the hand-over of every batch.

    Attributes:
        rows, bytes: of the input, where known; for progress.
    """

    connection: Any
    query: str
    rows: int = 0
    bytes: int = 0


class Part(Protocol):
    """A portion of an extract that another process can read: it pickles, and holds no rows."""

    @property
    def name(self) -> str:
        """What it is a part of, for messages."""

    @property
    def bytes(self) -> int:
        """Of its input, where known."""

    def open(self, rejects: IO[str] | None = None) -> Extract:
        """Start reading it: the same rows, errors and line numbers as in the extract it is of.

        Args:
            rejects: where its malformed rows are written, as JSON lines.
        """


class Split(Protocol):
    """How other processes read an extract.

    Attributes:
        rejects: where malformed rows are kept, as JSON lines; None: nowhere.
    """

    rejects: IO[str] | None

    def parts(self) -> Sequence[Part]:
        """The extract's rows in portions, in their order."""

    def book(self, counts: Counts, rows: int) -> None:
        """Take in the books of a part that was read elsewhere, and gave so many rows."""


class Extract(Protocol):
    """One opened read: rows in ``schema``'s types and order, streamed, memory bounded.

    Attributes:
        schema: Arrow schema of the batches, exactly as asked for in :meth:`Source.open`.
        counts: the source's books.
        sql: the same rows as a query, where DuckDB is the reader; None elsewhere.
    """

    schema: pa.Schema
    counts: Counts
    sql: SqlStream | None

    @property
    def split(self) -> Split | None:
        """The same rows for other processes; None where only this one can read them."""

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, once.

        Raises:
            BatchRefusedError: a malformed row, or a value that does not fit (default), with
                file, line, column and value.
            SourceChangedError: an input is not what was planned.
            SourceError: it cannot be read.
        """

    def finish(self) -> Counts:
        """The books, once the rows were read through :meth:`batches` or :attr:`sql`.

        Raises:
            BatchRefusedError: as above, where the reader only tells at the end.
            SourceChangedError: an input changed while it was read.
        """


class Source(ABC):
    """A place rows come from. Built from a pipeline's ``source`` section; holds no state."""

    kind: str

    @abstractmethod
    def plan(
        self, since: Cursor | None, *, everything: bool, interval: Interval | None = None
    ) -> Plan:
        """Find what is to be read.

        Args:
            since: the published cursor; None when nothing was published.
            everything: the write mode replaces all rows: when anything is new, or changed or
                gone, plan all there is.
            interval: read only rows in it; already loaded input is read again for it.

        Raises:
            SourceError: no input at all, unreadable, or empty.
        """

    @abstractmethod
    def schema(self, plan: Plan) -> pa.Schema:
        """The schema of the planned input, inferred, in its own column order.

        Raises:
            BatchRefusedError: the inputs of one plan do not agree.
            SourceError: it cannot be read.
        """

    @abstractmethod
    def open(
        self, plan: Plan, schema: pa.Schema, *, cancelled: Callable[[], bool] = lambda: False
    ) -> AbstractContextManager[Extract]:
        """Start reading into ``schema``: columns by name; those it lacks are not read."""

    @abstractmethod
    def advance(self, since: Cursor | None, plan: Plan) -> Cursor:
        """The cursor once the plan is published over ``since``."""

    @abstractmethod
    def done(self, since: Cursor | None, plan: Plan) -> bool:
        """Whether any of the plan's work is in ``since`` already (another run was faster)."""

    @abstractmethod
    def outdated(self, since: Cursor | None, now: Cursor | None, plan: Plan) -> bool:
        """Whether others may have published what is newer than the rows the plan has read.

        Such rows must not take the place of theirs: they are read again. What :meth:`done` tells
        need not be told here.

        Args:
            since: the published cursor that the plan was made against.
            now: the published one.
            plan: its rows were read when it was made, and would be read again now.
        """
