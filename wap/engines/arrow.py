"""The engine ``arrow``: batches to rolling Parquet files on this machine, in bounded memory."""

from __future__ import annotations

import os
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.expressions import BooleanExpression

from catalog.base import Scan, Staging
from catalog.batches import KEPT_PREFIX
from catalog.s3 import UPLOADS
from catalog.s3_objects import PART_BYTES
from catalog.storage import (
    abort_uploads,
    delete_empty_folder,
    delete_files,
    is_s3,
    list_files,
    path_of,
    without,
)
from wap.engines.base import AGAIN, Engine, Find, Keep, Merged, Progress, Written, refuse_cancelled
from wap.engines.carried import kept_rows
from wap.engines.copy import Copy
from wap.engines.data_files import DataFiles
from wap.engines.fitting import Fitting
from wap.engines.met import Meeting, beside, meeting, streaming
from wap.engines.writing import MAX_OPEN, Limits, PartitionedWriting, PlainWriting, Writing
from wap.errors import EngineError, SourceError
from wap.keyed.rule import Rule
from wap.remote_files import failure_of
from wap.sources.base import Extract, SqlStream

#: Bytes of Arrow data and buffers together; the interpreter and its libraries come on top.
MEMORY_BUDGET = 400 << 20
#: Size on storage from which the next data file is begun.
TARGET_FILE_BYTES = 128 << 20

_MAX_THREADS = 4
#: A row group waits, one is encoded per thread, and the source works ahead by about as much.
_SHARES = 8
_REPORT_SECONDS = 0.5
#: Of the budget, where DuckDB joins what is written: one part in so many, the others are DuckDB's.
_WRITERS_PART = 4


class ArrowEngine(Engine):
    """Writes with pyarrow on several threads, or lets DuckDB write where that is the same.

    A failed attempt leaves its files where :meth:`clear` finds them.
    """

    name = "arrow"

    def __init__(
        self,
        memory_budget: int = MEMORY_BUDGET,
        target_file_bytes: int = TARGET_FILE_BYTES,
        *,
        temp_directory: Path | None = None,
        copy: bool = True,
    ) -> None:
        """An engine.

        Args:
            memory_budget: bytes.
            target_file_bytes: bytes.
            temp_directory: where DuckDB may spill; by default the system's.
            copy: let DuckDB write where it can; both ways give equal tables.
        """
        self._threads = max(1, min(_MAX_THREADS, os.cpu_count() or 1))
        self._budget = memory_budget
        group = _group(memory_budget, self._threads)
        self._limits = Limits(group, target_file_bytes, self._threads)
        self._temp = temp_directory or Path(tempfile.gettempdir())
        self._copy = copy

    def clear(self, staging: Staging, keep: Keep = tuple, *, of: str = "") -> None:
        """See the port."""
        location = staging.data_location
        try:
            abort_uploads(staging.io, f"{location}/{of}")
            found = [f for f in list_files(staging.io, location) if _is_named(f.path, of)]
            # Only now: what a later round writes is not among the files that were found.
            kept = {path_of(staging.io, path) for path in keep()}
            delete_files(staging.io, location, without(found, kept))
            delete_empty_folder(staging.io, location)
        except OSError as exc:
            raise EngineError(
                f"an earlier attempt's files cannot be deleted: {exc}", where=location
            ) from exc

    def write(
        self,
        extract: Extract,
        staging: Staging,
        *,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Written:
        """See the port."""
        prefix = _fresh("batch")
        copy = Copy.possible(extract, staging, prefix) if self._copy else None
        if copy is not None:
            return self._write_by_copy(copy, self._temp, report, cancelled)
        fit = Fitting(staging.schema)
        batches = (fit(batch) for batch in extract.batches())

        def tell(writing: Writing) -> None:
            report(Progress(writing.rows, extract.counts.bytes, writing.bytes))

        return self._stream(batches, DataFiles.of(staging, prefix), tell, cancelled)

    def carry(
        self, scan: Scan, drop: BooleanExpression, staging: Staging,
        *, again: str = "", cancelled: Callable[[], bool],
    ) -> Written:  # fmt: skip
        """See the port."""
        batches = kept_rows(scan, drop, staging.schema)
        files = DataFiles.of(staging, _fresh(_kept(again)))
        return self._stream(batches, files, lambda _: None, cancelled)

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
        aside = beside(staging, rule, folder)
        return self.write(extract, aside, report=report, cancelled=cancelled)

    def merge(
        self, given: Written, staging: Staging, rule: Rule, find: Find | None, temp: Path,
        *, again: str = "", without: Scan | None = None, cancelled: Callable[[], bool],
    ) -> Merged:  # fmt: skip
        """See the port."""
        with meeting(
            given.files, staging, rule, find,
            memory=self._budget, temp=temp, threads=self._threads, cancelled=cancelled,
            without=without,
        ) as met:  # fmt: skip
            return self._write_met(met, staging, again, cancelled)

    def _write_met(
        self, met: Meeting, staging: Staging, again: str, cancelled: Callable[[], bool]
    ) -> Merged:
        def written(query: str, kind: str) -> Written:
            return self.write_query(met.con, query, staging, _fresh(kind), cancelled=cancelled)

        added = written(met.verdict.added, again or "batch")
        kept = [written(met.kept(part), _kept(again)) for part in met.groups(self._limits.file)]
        files = [file for part in kept for file in part.files]
        return Merged(added, Written(files), met.removed, met.became)

    def write_query(
        self, con: Any, query: str, staging: Staging, prefix: str,
        *, cancelled: Callable[[], bool],
    ) -> Written:  # fmt: skip
        """See the port."""
        copy = Copy.of_query(SqlStream(con, query), staging, prefix) if self._copy else None
        try:
            if copy is not None:
                return self._write_by_copy(copy, None, lambda _: None, cancelled)
            fit = Fitting(staging.schema)
            own = self._budget // _WRITERS_PART
            with streaming(con, query, self._budget - own) as reader:
                files = DataFiles.of(staging, prefix)
                return self._stream(map(fit, reader), files, lambda _: None, cancelled, own)
        # A reader of Arrow's tells of DuckDB's errors as OSError.
        except (SourceError, duckdb.Error, OSError, pa.ArrowException) as exc:
            failure = failure_of(con)
            if failure is not None:
                raise failure from exc
            raise EngineError(
                f"the rows cannot be written: {str(exc).splitlines()[0]}", where=str(staging.table)
            ) from exc

    def _limits_of(self, files: DataFiles, budget: int) -> Limits:
        """The limits; on S3 the parts that uploads hold in memory come out of the budget too."""
        if not is_s3(files.io, files.location):
            part = replace(self._limits, group=_group(budget, self._threads))
            return self._limits if budget == self._budget else part
        most = min(MAX_OPEN, max(self._threads, budget // 4 // PART_BYTES))
        files_open = self._threads if files.spec.is_unpartitioned() else most
        left = budget - (files_open + UPLOADS) * PART_BYTES
        return replace(self._limits, group=_group(left, self._threads), open=most)

    def _stream(
        self,
        batches: Iterator[pa.RecordBatch],
        files: DataFiles,
        tell: Callable[[Writing], None],
        cancelled: Callable[[], bool],
        budget: int | None = None,
    ) -> Written:
        limits = self._limits_of(files, budget or self._budget)
        kind = PlainWriting if files.spec.is_unpartitioned() else PartitionedWriting
        told = 0.0
        with kind(files, limits) as writing:
            for batch in batches:
                writing.add(batch)
                if time.monotonic() - told >= _REPORT_SECONDS:
                    refuse_cancelled(cancelled)
                    told = time.monotonic()
                    tell(writing)
            written = Written(writing.finish())
            tell(writing)
        # The audit comes next, and wants the room.
        pa.default_memory_pool().release_unused()
        return written

    def _write_by_copy(
        self,
        copy: Copy,
        temp: Path | None,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Written:
        def beat(share: float) -> None:
            refuse_cancelled(cancelled)
            report(copy.progress(share))

        copy.run(
            memory=self._budget,
            temp=temp,
            threads=self._threads,
            file_bytes=self._limits.file,
            beat=beat,
        )
        written = Written(list(copy.files(DataFiles.of(copy.staging, copy.prefix))))
        report(Progress(written.rows, copy.sql.bytes, written.bytes))
        return written


def _group(budget: int, threads: int) -> int:
    """Bytes of one row group, of which several are in memory at once."""
    return max(1 << 20, budget // (_SHARES + 2 * (threads - 2)))


def _is_named(path: str, of: str) -> bool:
    """Whether :meth:`ArrowEngine.clear` is about a file of that name."""
    name = path.rsplit("/", 1)[-1]
    return name.startswith(of) if of else not name.removeprefix(KEPT_PREFIX).startswith(AGAIN)


def _fresh(kind: str) -> str:
    """How the names of one call's files begin; no other call's do."""
    return f"{kind}-{uuid.uuid4().hex[:8]}"


def _kept(again: str) -> str:
    """How the names of files begin that carry rows over."""
    return f"{KEPT_PREFIX}{again}" if again else "kept"
