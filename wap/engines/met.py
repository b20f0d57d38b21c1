"""A batch laid aside on this machine, and its meeting with the published rows in DuckDB."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.types import NestedField

from catalog.base import Scan, Staging
from wap.engines.base import CANCELLED, Find, refuse_cancelled
from wap.engines.copy import beating
from wap.errors import EngineError
from wap.keyed.batch import Batch
from wap.keyed.columns import history_columns
from wap.keyed.history import versioned
from wap.keyed.left import left
from wap.keyed.merge import appended, merged
from wap.keyed.names import Names
from wap.keyed.published import Published, Verdict
from wap.keyed.rule import Became, Rule
from wap.relations import check_readable, connect
from wap.remote_files import failure_of

#: Four times as many took 445 MiB for 310 at the peak, on rows of 500 bytes.
_READ_ROWS = 1 << 14


@dataclass(frozen=True)
class Meeting:
    """A batch that has met the published rows; the queries of its verdict can be run.

    Attributes:
        twins: rows that are equal to one that was set aside before.
    """

    con: Any
    published: Published
    verdict: Verdict
    twins: int = 0

    def groups(self, target: int) -> Iterator[list[int]]:
        """The touched files in portions of ``target`` bytes; a larger one is alone."""
        return self.published.groups(self.verdict.touched, target)

    def kept(self, places: Sequence[int]) -> str:
        """The rows of some touched files that stay, as a query."""
        return self.verdict.kept(places)

    @property
    def removed(self) -> list[DataFile]:
        """The touched files."""
        return [self.published.files[i] for i in self.verdict.touched]

    @property
    def became(self) -> Became:
        """What became of the batch's rows, but for those that were set aside before."""
        became = Became(**self.verdict.counts)
        return replace(became, deduplicated=became.deduplicated + self.twins)


@contextmanager
def laid_aside(scratch: Path, named: str = "aside-", *, keep: bool = False) -> Iterator[Path]:
    """A folder of one attempt in the run's own, which goes with it even after a kill -9.

    Args:
        scratch: the run's.
        named: how the folder's name begins.
        keep: it stays, unless what is done with it fails.

    Raises:
        EngineError: it cannot be made.
    """
    try:
        scratch.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=named, dir=scratch))
    except OSError as exc:
        raise EngineError(f"no room for the batch: {exc}", where=str(scratch)) from exc
    done = False
    try:
        yield folder
        done = True
    finally:
        if not (keep and done):
            shutil.rmtree(folder, ignore_errors=True)


def beside(staging: Staging, rule: Rule, folder: Path) -> Staging:
    """Where the batch is written before it meets anything: its own columns, on this machine."""
    return replace(
        staging,
        schema=schema_aside(staging.schema, rule),
        spec=UNPARTITIONED_PARTITION_SPEC,
        location=f"file://{folder}",
        io=PyArrowFileIO(),
        properties={},
    )


def schema_aside(schema: Schema, rule: Rule) -> Schema:
    """The columns of a batch that lies aside.

    Nothing is required in it, for a row that deletes need hold no more than its key; what may not
    be null is looked at when the batch is met.
    """
    own = history_columns(rule)
    fields = [f.model_copy(update={"required": False}) for f in schema.fields if f.name not in own]
    if rule.marks is not None:
        number = schema.highest_field_id + 1
        fields.append(NestedField(number, rule.marks.column, rule.marks.kind, required=False))
    return Schema(*fields)


@contextmanager
def meeting(
    given: Sequence[DataFile],
    staging: Staging,
    rule: Rule,
    find: Find | None,
    *,
    memory: int,
    temp: Path,
    threads: int,
    cancelled: Callable[[], bool],
    without: Scan | None = None,
) -> Iterator[Meeting]:
    """Let a batch that lies aside meet the published rows; see :meth:`Engine.merge`."""
    where = str(staging.table)
    limit = f"{memory >> 20}MiB"
    con = connect(temp_directory=temp, memory_limit=limit, threads=threads)
    try:
        with beating(con, lambda _: refuse_cancelled(cancelled)):
            batch = Batch(con, Names(staging.schema), rule)
            query, twins = _query(con, given, staging, rule), 0
            if without is not None and without.files:
                query, twins = left(con, query, without, batch.names, rule, where)
            batch.load(query)
            published = Published.holding(batch, find, where)
            verdict = _verdict(batch, published, where)
        refuse_cancelled(cancelled)
        yield Meeting(con, published, verdict, twins)
    except duckdb.InterruptException as exc:
        raise EngineError(CANCELLED) from exc
    except duckdb.Error as exc:
        failure = failure_of(con)
        if failure is not None:
            raise failure from exc
        text = str(exc).splitlines()[0]
        full = "No space left" in text
        raise EngineError(
            "the disk is full" if full else f"the rows cannot be merged: {text}",
            where=str(temp) if full else where,
            hint="free some space, then run again" if full else "",
        ) from exc
    finally:
        con.close()


def _verdict(batch: Batch, published: Published, where: str) -> Verdict:
    match batch.rule.mode:
        case "append":
            return appended(batch, published)
        case "merge":
            return merged(batch, published, where)
        case "history":
            return versioned(batch, published, where)


def _query(con: Any, given: Sequence[DataFile], staging: Staging, rule: Rule) -> str:
    """The batch under our names, and ``m`` where its rows may delete."""
    scan = Scan(schema_aside(staging.schema, rule), given, PyArrowFileIO())
    paths = check_readable(con, scan, str(staging.table)) if given else []
    if rule.marks is None:
        return Names(staging.schema).read(paths, scan.rows)
    names = Names(Schema(*staging.schema.fields, scan.schema.fields[-1]))
    marker = names.of(rule.marks.column)
    return f"SELECT *, {marker} AS m FROM ({names.read(paths, scan.rows)})"  # noqa: S608 - names of ours


@contextmanager
def streaming(con: Any, query: str, memory: int) -> Iterator[pa.RecordBatchReader]:
    """A query's rows as batches, with so many bytes for DuckDB meanwhile."""
    before = con.execute("SELECT current_setting('memory_limit')").fetchone()[0]
    con.execute("SET memory_limit = ?", [f"{memory >> 20}MiB"])
    try:
        with con.sql(query).to_arrow_reader(_READ_ROWS) as reader:
            yield reader
    finally:
        con.execute("SET memory_limit = ?", [before])
