"""The engine ``spark``: our readers in Spark's tasks, Iceberg's own writer, and no commit."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol

from pyiceberg.expressions import BooleanExpression
from pyiceberg.schema import Schema

from catalog.base import Scan, Staging
from catalog.storage import list_files
from wap.engines.arrow import ArrowEngine
from wap.engines.base import Engine, Find, Keep, Merged, Progress, Written
from wap.errors import EngineError
from wap.keyed.rule import Rule
from wap.sources.base import Extract, Part, Split
from wap.spark.frames import FrameExtract
from wap.spark.scratch import Scratch, scratch, session_conf
from wap.spark.session import Spark, functions_of, interruptible, translated
from wap.spark.tasks import (
    REJECT,
    FitRows,
    PartBooks,
    ReadParts,
    ReadRejects,
    complete,
    with_books,
)
from wap.spark.types import spark_schema

#: Input of one task, in stored bytes: small files share a task, so that their rows share a file.
TASK_BYTES = 64 << 20
_BEAT_SECONDS = 1.0


class SparkEngine(Engine):
    """Writes with Spark what can be read in portions; what cannot is written by ``arrow``.

    Rows of replaced files that stay are carried over by ``arrow`` too, and so is all that is
    written by key: this process's DuckDB joins it, in its own budget.
    """

    name = "spark"

    def __init__(self, spark: Spark, arrow: ArrowEngine) -> None:
        """An engine.

        Args:
            spark: started when there is something to write.
            arrow: for what only this process can read.
        """
        self._spark = spark
        self._arrow = arrow

    def clear(self, staging: Staging, keep: Keep = tuple, *, of: str = "") -> None:
        """See the port."""
        self._arrow.clear(staging, keep, of=of)

    def write_query(
        self, con: Any, query: str, staging: Staging, prefix: str,
        *, cancelled: Callable[[], bool],
    ) -> Written:  # fmt: skip
        """See the port."""
        return self._arrow.write_query(con, query, staging, prefix, cancelled=cancelled)

    def carry(
        self, scan: Scan, drop: BooleanExpression, staging: Staging,
        *, again: str = "", cancelled: Callable[[], bool],
    ) -> Written:  # fmt: skip
        """See the port."""
        return self._arrow.carry(scan, drop, staging, again=again, cancelled=cancelled)

    def lay_aside(
        self,
        extract: Extract,
        staging: Staging,
        rule: Rule,
        folder: Path,
        *,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Written:
        """See the port."""
        return self._arrow.lay_aside(
            extract, staging, rule, folder, report=report, cancelled=cancelled
        )

    def merge(
        self, given: Written, staging: Staging, rule: Rule, find: Find | None, temp: Path,
        *, again: str = "", without: Scan | None = None, cancelled: Callable[[], bool],
    ) -> Merged:  # fmt: skip
        """See the port."""
        return self._arrow.merge(
            given, staging, rule, find, temp, again=again, without=without, cancelled=cancelled
        )

    def write(
        self,
        extract: Extract,
        staging: Staging,
        *,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Written:
        """See the port.

        Raises:
            ConfigError: a column's type is none of Spark's.
            NotInstalledError, EngineUnavailableError: see :meth:`wap.spark.session.Spark.session`.
        """
        rows = _rows_of(extract)
        if rows is None:
            return self._arrow.write(extract, staging, report=report, cancelled=cancelled)
        sent = with_books(spark_schema(staging.schema))
        with (
            self._spark.session(session_conf(staging.io)) as session,
            scratch(session, staging.io, staging.data_location) as tables,
            _translated(extract, staging),
        ):
            writing = _Writing(session, tables, staging, report, cancelled)
            written = writing.run(rows, sent)
        report(Progress(written.rows, extract.counts.bytes, written.bytes))
        return written


class _Rows(Protocol):
    """Where the rows of a write come from."""

    @property
    def count(self) -> int:
        """How many parts must tell their books."""

    def frame(self, session: Any, schema: Schema, sent: Any, shape: Any) -> Any:
        """The rows in the table's columns, the books in one more."""

    def book(self, session: Any, books: Sequence[PartBooks]) -> None:
        """Take in the parts' books."""


def _rows_of(extract: Extract) -> _Rows | None:
    """How Spark gets an extract's rows; None: it cannot."""
    if isinstance(extract, FrameExtract):
        return _FrameRows(extract)
    return _PartRows(extract.split) if extract.split is not None else None


class _PartRows:
    """Rows that our own readers read in Spark's tasks."""

    def __init__(self, split: Split) -> None:
        self.split = split
        self.parts = tuple(split.parts())
        self.count = len(self.parts)

    def frame(self, session: Any, schema: Schema, sent: Any, shape: Any) -> Any:
        tasks = list(_tasks(self.parts, range(self.count)))
        task = ReadParts(self.parts, tasks, schema, sent)
        return _task_rows(session, tasks).mapInArrow(task, shape)

    def book(self, session: Any, books: Sequence[PartBooks]) -> None:
        for one in books:
            self.split.book(one.source_counts(), one.rows)
        self._keep_rejects(session, [one.part for one in books if one.counts["rejected"]])

    def _keep_rejects(self, session: Any, numbers: Sequence[int]) -> None:
        """Write all malformed rows to their file: those portions are read a second time."""
        if self.split.rejects is None or not numbers:
            return
        tasks = [[number] for number in numbers]
        read = ReadRejects(self.parts, tasks)
        frame = _task_rows(session, tasks).mapInArrow(read, f"{REJECT} string")
        for row in frame.toLocalIterator():
            self.split.rejects.write(row[0] + "\n")


class _FrameRows:
    """Rows that Spark reads itself."""

    def __init__(self, extract: FrameExtract) -> None:
        self.extract = extract
        self.count = extract.slices

    def frame(self, session: Any, schema: Schema, sent: Any, shape: Any) -> Any:
        task = FitRows(self.extract.where, schema, sent)
        return self.extract.frame(session).mapInArrow(task, shape)

    def book(self, session: Any, books: Sequence[PartBooks]) -> None:
        del session
        for one in books:
            self.extract.book(one.rows)


class _Writing:
    """One write: rows, files and books."""

    def __init__(
        self, session: Any, tables: Scratch, staging: Staging,
        report: Callable[[Progress], None], cancelled: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.session, self.tables, self.staging = session, tables, staging
        self.report, self.cancelled = report, cancelled

    def run(self, rows: _Rows, sent: Any) -> Written:
        # A large package, and an optional one.
        from pyspark.sql.types import StringType, StructField, StructType  # noqa: PLC0415

        functions, observation = functions_of(self.session)
        table = self.tables.to_write(self.staging)
        columns = self.session.table(table).schema.fields
        fields = [StructField(c.name, c.dataType, nullable=True) for c in columns]
        shape = StructType([*fields, StructField(sent.names[-1], StringType())])
        told = observation(f"books-{uuid.uuid4().hex}")
        books = functions.col(sent.names[-1])
        frame = rows.frame(self.session, self.staging.schema, sent, shape)
        observed = frame.observe(told, functions.collect_list(books).alias("books"))
        with self._interruptible():
            observed.where(books.isNull()).drop(books).writeTo(table).append()
            found = observed_or_read(told.get, frame, books)
            rows.book(self.session, complete(found, rows.count))
        return Written(self.tables.written(table, self.staging))

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Tells progress while Spark works, and interrupts it when the run is cancelled.

        Raises:
            EngineError: it was.
        """
        stop, heard = threading.Event(), threading.Event()

        def beat(interrupt: Callable[[], None]) -> None:
            while not stop.wait(_BEAT_SECONDS):
                if self.cancelled():
                    heard.set()
                    interrupt()
                else:
                    self.report(Progress(0, 0, self._bytes()))

        with interruptible(self.session) as interrupt:
            thread = threading.Thread(target=beat, args=[interrupt], name="wap-spark", daemon=True)
            thread.start()
            try:
                yield
            except Exception as exc:
                if not heard.is_set():
                    raise
                raise EngineError("writing was cancelled") from exc
            finally:
                stop.set()
                thread.join()
        if heard.is_set():
            raise EngineError("writing was cancelled")

    def _bytes(self) -> int:
        try:
            found = list_files(self.staging.io, self.staging.data_location)
        except OSError:
            return 0  # only for the eye
        return sum(file.size for file in found if file.path.endswith(".parquet"))


def observed_or_read(observed: Mapping[str, Any], rows: Any, books: Any) -> Sequence[str]:
    """The books that were observed while the rows were written.

    A Spark Connect server waits a tenth of a second for what was observed, then answers without
    (``Observation.getOrEmpty``): on a busy one the input is read once more, for its books alone.
    A database may give other rows then; that shows when the table is counted.
    """
    if "books" in observed:
        found: Sequence[str] = observed["books"]
        return found
    return [row[0] for row in rows.where(books.isNotNull()).select(books).collect()]


def _translated(extract: Extract, staging: Staging) -> AbstractContextManager[None]:
    if isinstance(extract, FrameExtract):
        return extract.errors()
    return translated(str(staging.table))


def _task_rows(session: Any, tasks: Sequence[Sequence[int]]) -> Any:
    """A row a task, each in a partition of its own."""
    return session.range(0, len(tasks), 1, max(len(tasks), 1))


def _tasks(parts: Sequence[Part], numbers: Sequence[int]) -> Iterator[list[int]]:
    """Portions in a row, together about as large as a task is to be."""
    own: list[int] = []
    size = 0
    for number in numbers:
        if own and size + parts[number].bytes > TASK_BYTES:
            yield own
            own, size = [], 0
        own.append(number)
        size += parts[number].bytes
    if own:
        yield own
