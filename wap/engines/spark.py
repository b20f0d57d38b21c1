"""The engine ``spark``: our readers in Spark's tasks, Iceberg's own writer, and no commit."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pyiceberg.expressions import BooleanExpression

from catalog.base import Scan, Staging
from catalog.storage import list_files
from wap.engines.arrow import ArrowEngine
from wap.engines.base import Engine, Progress, Written
from wap.errors import EngineError
from wap.sources.base import Extract, Part, Split
from wap.spark.scratch import Scratch, scratch, session_conf
from wap.spark.session import Spark, functions_of, interruptible, translated
from wap.spark.tasks import REJECT, ReadParts, ReadRejects, complete, with_books
from wap.spark.types import spark_schema

#: Input of one task, in stored bytes: small files share a task, so that their rows share a file.
TASK_BYTES = 64 << 20
_BEAT_SECONDS = 1.0


class SparkEngine(Engine):
    """Writes with Spark what can be read in portions; what cannot is written by ``arrow``.

    Rows of replaced files that stay are carried over by ``arrow`` too.
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

    def clear(self, staging: Staging, keep: Collection[str] = ()) -> None:
        """See the port."""
        self._arrow.clear(staging, keep)

    def carry(
        self, scan: Scan, drop: BooleanExpression, staging: Staging,
        *, cancelled: Callable[[], bool],
    ) -> Written:  # fmt: skip
        """See the port."""
        return self._arrow.carry(scan, drop, staging, cancelled=cancelled)

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
        split = extract.split
        if split is None:
            return self._arrow.write(extract, staging, report=report, cancelled=cancelled)
        sent = with_books(spark_schema(staging.schema))
        with (
            self._spark.session(session_conf(staging.io)) as session,
            scratch(session, staging.io, staging.data_location) as tables,
            translated(str(staging.table)),
        ):
            writing = _Writing(session, tables, staging, split, report, cancelled)
            written = writing.run(sent)
        report(Progress(written.rows, extract.counts.bytes, written.bytes))
        return written


class _Writing:
    """One write: rows, files and books."""

    def __init__(
        self, session: Any, tables: Scratch, staging: Staging, split: Split,
        report: Callable[[Progress], None], cancelled: Callable[[], bool],
    ) -> None:  # fmt: skip
        self.session, self.tables, self.staging = session, tables, staging
        self.split, self.report, self.cancelled = split, report, cancelled
        self.parts = tuple(split.parts())

    def run(self, sent: Any) -> Written:
        # A large package, and an optional one.
        from pyspark.sql.types import StringType, StructField, StructType  # noqa: PLC0415

        functions, observation = functions_of(self.session)
        table = self.tables.to_write(self.staging)
        columns = self.session.table(table).schema.fields
        fields = [StructField(c.name, c.dataType, nullable=True) for c in columns]
        shape = StructType([*fields, StructField(sent.names[-1], StringType())])
        tasks = list(_tasks(self.parts, range(len(self.parts))))
        task = ReadParts(self.parts, tasks, self.staging.schema, sent)
        told = observation(f"books-{uuid.uuid4().hex}")
        books = functions.col(sent.names[-1])
        rows = self._tasks(tasks).mapInArrow(task, shape)
        observed = rows.observe(told, functions.collect_list(books).alias("books"))
        with self._interruptible():
            observed.where(books.isNull()).drop(books).writeTo(table).append()
            self._book(observed_or_read(told.get, rows, books))
        return Written(self.tables.written(table, self.staging))

    def _tasks(self, tasks: Sequence[Sequence[int]]) -> Any:
        """A row a task, each in a partition of its own."""
        return self.session.range(0, len(tasks), 1, max(len(tasks), 1))

    def _book(self, lines: Sequence[str]) -> None:
        books = complete(lines, len(self.parts))
        for one in books:
            self.split.book(one.source_counts(), one.rows)
        self._keep_rejects([one.part for one in books if one.counts["rejected"]])

    def _keep_rejects(self, numbers: Sequence[int]) -> None:
        """Write all malformed rows to their file: those portions are read a second time."""
        if self.split.rejects is None or not numbers:
            return
        tasks = [[number] for number in numbers]
        frame = self._tasks(tasks).mapInArrow(ReadRejects(self.parts, tasks), f"{REJECT} string")
        for row in frame.toLocalIterator():
            self.split.rejects.write(row[0] + "\n")

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
    """
    if "books" in observed:
        found: Sequence[str] = observed["books"]
        return found
    return [row[0] for row in rows.where(books.isNotNull()).select(books).collect()]


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
