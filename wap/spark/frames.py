"""An extract whose rows Spark reads itself, by a connector of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from wap.errors import ConfigError, SourceChangedError
from wap.sources.base import Counts, Split, SqlStream


@dataclass
class FrameExtract:
    """See :class:`wap.sources.base.Extract`; only the engine ``spark`` can read it.

    Attributes:
        where: the source, for messages.
        slices: partitions of the frame, each read by a task.
        open_frame: given a session, how many rows the source counts now, and the frame.
        errors: says the source's errors as such, while the frame is read.
    """

    where: str
    schema: pa.Schema
    slices: int
    open_frame: Callable[[Any], tuple[int, Any]]
    errors: Callable[[], AbstractContextManager[None]]
    counts: Counts = field(default_factory=Counts)
    sql: SqlStream | None = None
    _given: int = 0

    @property
    def split(self) -> Split | None:
        """See the port: our readers have no part in it."""
        return None

    def frame(self, session: Any) -> Any:
        """The rows, once; the source counts them first."""
        self.counts.read, frame = self.open_frame(session)
        return frame

    def book(self, rows: int) -> None:
        """Take in the rows that a task was given."""
        self._given += rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        """See the port.

        Raises:
            ConfigError: always; nothing but Spark reads these rows.
        """
        raise ConfigError("this source is read by Spark", where=self.where, hint="engine: spark")

    def finish(self) -> Counts:
        """See the port.

        Raises:
            SourceChangedError: Spark was given another number of rows than the source counted.
        """
        if self._given != self.counts.read:
            raise SourceChangedError(
                f"the source counted {self.counts.read} rows, and {self._given} were read",
                where=self.where,
                hint="rows were written meanwhile; run again, or read by a cursor that only grows",
            )
        return self.counts
