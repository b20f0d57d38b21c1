"""The port ``Engine``: write an extract's rows as Iceberg data files, in bounded memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile

from catalog.base import Scan, Staging
from wap.errors import EngineError
from wap.keyed.rule import Became, Rule
from wap.sources.base import Extract


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a write is."""

    rows: int
    bytes_read: int
    bytes_written: int


@dataclass(frozen=True, slots=True)
class Written:
    """Data files that are on storage and in no snapshot yet."""

    files: Sequence[DataFile]

    @property
    def rows(self) -> int:
        """Rows in them, counted by the writer."""
        return sum(f.record_count for f in self.files)

    @property
    def bytes(self) -> int:
        """Their size on storage."""
        return sum(f.file_size_in_bytes for f in self.files)


@dataclass(frozen=True, slots=True)
class Merged:
    """What a batch that met the published rows by key comes to; in no snapshot yet.

    Attributes:
        added: new rows, and new images of published ones.
        kept: rows of ``removed`` that stay, those of history with another end among them.
        removed: published files that lose or change a row.
    """

    added: Written
    kept: Written
    removed: Sequence[DataFile]
    became: Became


#: Paths of data files, as a DataFile has them.
Keep = Callable[[], Collection[str]]

#: The published files that may hold rows of a filter.
Find = Callable[[BooleanExpression], Scan]

CANCELLED = "writing was cancelled"

#: How the names of files begin that a step writes after the batch was staged; those of files
#: that carry rows over have ``kept-`` before it.
AGAIN = "again-"


def refuse_cancelled(cancelled: Callable[[], bool]) -> None:
    """Break off when the run was told to stop.

    Raises:
        EngineError: it was.
    """
    if cancelled():
        raise EngineError(CANCELLED)


class Engine(ABC):
    """Writes data files under ``staging.data_location``; it commits nothing.

    Every call names its files anew: the thread of an attempt that is taken for dead may still be
    writing, and must never touch a file that a later attempt has committed.
    """

    name: str

    @abstractmethod
    def clear(self, staging: Staging, keep: Keep = tuple, *, of: str = "") -> None:
        """Delete what attempts of this run wrote (its data location only), but for ``keep``.

        Args:
            staging: whose data location.
            keep: asked for the data files that stay *after* the location was listed: a late
                attempt must not delete what its run's next round has written meanwhile.
            of: only files whose names begin so; without it all but those that begin with
                :data:`AGAIN`: a later step may have committed them by now.
        """

    @abstractmethod
    def write(
        self,
        extract: Extract,
        staging: Staging,
        *,
        report: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> Written:
        """Write all rows of the extract in the staging schema and spec.

        Raises:
            BatchRefusedError: a value does not fit its column.
            EngineError: the files cannot be written (disk full, no permission).
        """

    @abstractmethod
    def write_query(
        self, con: Any, query: str, staging: Staging, prefix: str,
        *, cancelled: Callable[[], bool],
    ) -> Written:  # fmt: skip
        """Write a DuckDB query's rows, which are in the staging's columns, within the budget.

        Args:
            con: a connection of the caller's.
            prefix: how the names of the files begin; no other call's may.

        Raises:
            EngineError: as :meth:`write`.
            CatalogUnavailableError: the storage of what the query reads does not answer.
        """

    @abstractmethod
    def carry(
        self, scan: Scan, drop: BooleanExpression, staging: Staging,
        *, again: str = "", cancelled: Callable[[], bool],
    ) -> Written:  # fmt: skip
        """Write the rows of ``scan`` that do *not* match ``drop`` (null does not match) anew.

        Args:
            again: how the names of the files begin, behind ``kept-``, when a step behind the
                staging writes them; it begins with :data:`AGAIN`.
        """

    @abstractmethod
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
        """Write all rows of the extract on this machine, where :meth:`merge` finds them.

        Args:
            extract: in the table's columns, and that of ``rule.marks``.
            folder: on this machine.

        Raises:
            BatchRefusedError, EngineError: as :meth:`write`.
        """

    @abstractmethod
    def merge(
        self, given: Written, staging: Staging, rule: Rule, find: Find | None, temp: Path,
        *, again: str = "", without: Scan | None = None, cancelled: Callable[[], bool],
    ) -> Merged:  # fmt: skip
        """Let a batch that lies aside meet the published rows by key, and write what changes.

        The cost is the batch's and that of the published files that hold one of its keys.

        Args:
            given: the batch, as :meth:`lay_aside` wrote it.
            find: of the published snapshot; None: nothing is published.
            temp: a folder on this machine, for what does not fit into memory; made if missing.
            again: see :meth:`carry`; the names of ``added`` begin with it.
            without: rows of the batch that were set aside before; rows equal to one of them are
                deduplicated.

        Raises:
            QuarantineError: a row that was set aside is none of the batch.
            BatchRefusedError: a key is null, there with different rows, or published more than
                once.
            EngineError: as :meth:`write`.
            RelationError: a published file is none that we can read.
            CatalogUnavailableError: the storage of one does not answer.
        """
