"""One opened read of planned inputs: rows streamed, refusals handled, books kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Generic, Protocol, TypeVar

import pyarrow as pa

from wap.errors import BatchRefusedError, SourceChangedError, SourceError
from wap.sources.base import Counts, Part, Reject, Split, SqlStream
from wap.sources.interval import Bounds
from wap.sources.reading import Input, InputReader, Parsed

#: So many refused rows are kept in memory; all of them go to the file, where one was given.
KEPT_REJECTS = 1000
#: So many are listed when the run ends because of them.
LISTED_REJECTS = 20
_SHOWN_TEXT = 200


class Query(Protocol):
    """The same rows as SQL, where DuckDB can read them exactly."""

    @property
    def stream(self) -> SqlStream:
        """Where and what to ask."""

    def counts(self) -> tuple[int, int]:
        """Rows in the files' footers, and rows outside the interval."""


Some = TypeVar("Some", bound=Input)


@dataclass
class InputsExtract(Generic[Some]):
    """See :class:`wap.sources.base.Extract`."""

    reader: InputReader[Some]
    files: list[Some]
    schema: pa.Schema
    bounds: Bounds | None
    set_aside: bool
    rejects: IO[str] | None
    cancelled: Callable[[], bool]
    query: Query | None = None
    cut: Callable[[], Sequence[Part]] | None = None
    counts: Counts = field(default_factory=Counts)
    sql: SqlStream | None = field(init=False)
    _yielded: int = 0
    _streamed: bool = False
    _refused: list[Reject] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.sql = self.query.stream if self.query else None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See the port."""
        self._streamed = True
        for file in self.files:
            for parsed in self.reader.read(file, self.schema, self._consumed):
                if self.cancelled():
                    raise SourceError("reading was cancelled", where=file.path)
                self._book(parsed)
                for batch in parsed.batches:
                    kept = batch.filter(self.bounds.mask(batch)) if self.bounds else batch
                    self.counts.discarded += len(batch) - len(kept)
                    self._yielded += len(kept)
                    if len(kept):
                        yield kept
        self._refuse()

    @property
    def split(self) -> Split | None:
        """See the port."""
        return self if self.cut else None

    def parts(self) -> Sequence[Part]:
        """See :class:`wap.sources.base.Split`."""
        return self.cut() if self.cut else ()

    def book(self, counts: Counts, rows: int) -> None:
        """See :class:`wap.sources.base.Split`."""
        self._streamed = True
        self._yielded += rows
        self.counts.read += counts.read
        self.counts.rejected += counts.rejected
        self.counts.discarded += counts.discarded
        self.counts.bytes += counts.bytes
        room = KEPT_REJECTS - len(self.counts.rejects)
        self.counts.rejects += counts.rejects[:room]

    def finish(self) -> Counts:
        """See the port."""
        if not self._streamed and self.query is not None:
            self.counts.read, self.counts.discarded = self.query.counts()
            self.counts.bytes = self.query.stream.bytes
        for file in self.files:
            if file.now().key != file.key:
                raise SourceChangedError(
                    "the input changed while it was read", where=file.path, hint="run again"
                )
        if self._streamed:
            self._balance()
        return self.counts

    def _consumed(self, count: int) -> None:
        self.counts.bytes += count

    def _book(self, parsed: Parsed) -> None:
        self.counts.read += parsed.records
        self.counts.rejected += len(parsed.rejects)
        for reject in parsed.rejects:
            if len(self.counts.rejects) < KEPT_REJECTS:
                self.counts.rejects.append(reject)
            if self.rejects is not None:
                self.rejects.write(json.dumps(asdict(reject), ensure_ascii=False) + "\n")
        if not self.set_aside:
            self._refused += parsed.rejects
            if len(self._refused) >= LISTED_REJECTS:
                self._refuse()

    def _refuse(self) -> None:
        if not self._refused:
            return
        first, many = self._refused[0], len(self._refused) > 1
        rows = f"at least {len(self._refused)} rows" if many else "one row"
        raise BatchRefusedError(
            f"{rows} cannot be read into the columns' types",
            differences=tuple(_line(r) for r in self._refused[:LISTED_REJECTS]),
            where=f"{first.file}:{first.line}" if first.line else first.file,
            hint="correct the input; or declare other types under schema: columns:, or say "
            "source: {malformed: set_aside} to leave such rows out and count them",
        )

    def _balance(self) -> None:
        counts = self.counts
        if counts.read != self._yielded + counts.rejected + counts.discarded:
            raise SourceError(
                f"the books do not balance: {counts.read} records were counted, {self._yielded} "
                f"rows were read, {counts.rejected} refused, {counts.discarded} discarded",
                hint="read all batches before finishing; else this is a defect: please report it",
            )


def _line(reject: Reject) -> str:
    place = f"{reject.file}, line {reject.line}" if reject.line else reject.file
    column = f", column {reject.column}" if reject.column else ""
    text = "" if reject.column or not reject.text else f": {reject.text[:_SHOWN_TEXT]}"
    return f"{place}{column}: {reject.reason}{text}"


def open_rejects(path: Path | None, stack: ExitStack) -> IO[str] | None:
    """The file of refused rows, begun anew for every attempt."""
    if path is None:
        return None
    try:
        return stack.enter_context(path.open("w", encoding="utf-8"))
    except OSError as exc:
        raise SourceError(
            f"malformed rows cannot be kept: {exc.strerror}", where=path.name
        ) from exc
