"""Batches into rolling data files, on several threads, with a bounded number of rows in memory."""

from __future__ import annotations

import queue
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import pyarrow as pa
from pyiceberg.manifest import DataFile

from wap.engines.data_files import DataFiles, OpenFile
from wap.engines.partitions import Key, record, split

#: A row group holds so many rows at most; fewer where rows are wide.
GROUP_ROWS = 1 << 20
#: So many files are open at most.
MAX_OPEN = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is held back and how large things get, in bytes.

    Attributes:
        group: of Arrow data in one row group.
        file: of one data file on storage, from which the next one is begun.
        threads: row groups encoded at the same time.
        open: files open at the same time; the one unused for longest is finished first.
    """

    group: int
    file: int
    threads: int
    open: int = MAX_OPEN


@dataclass
class _Pending:
    """Rows that wait to become a row group."""

    batches: list[pa.RecordBatch] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.batches.append(batch)
        self.rows += len(batch)
        # What a slice refers to counts, not what the buffers behind it hold.
        self.bytes += batch.nbytes

    def take(self) -> pa.Table:
        table = pa.Table.from_batches(self.batches)
        self.batches, self.rows, self.bytes = [], 0, 0
        return table


class _Lane:
    """A sequence of files, one open at a time."""

    def __init__(self, files: DataFiles, limits: Limits, key: Key = ()) -> None:
        self._files, self._limits, self._key = files, limits, key
        self._open: OpenFile | None = None
        self.done: list[DataFile] = []
        self.bytes = 0

    @property
    def is_open(self) -> bool:
        return self._open is not None

    def write(self, table: pa.Table) -> None:
        if self._open is None:
            self._open = self._files.begin(record(self._key))
        before = self._open.bytes
        self._open.write(table)
        self.bytes += self._open.bytes - before
        if self._open.bytes >= self._limits.file:
            self.close()

    def close(self) -> None:
        if self._open is not None:
            open_file, self._open = self._open, None
            done = open_file.close()
            self.bytes += done.file_size_in_bytes - open_file.bytes
            self.done.append(done)

    def abandon(self) -> None:
        if self._open is not None:
            self._open.abandon()


class Writing(ABC):
    """Writes one stream of batches; used as a context manager, files are lost without finish."""

    def __init__(self, files: DataFiles, limits: Limits) -> None:
        self._files, self._limits = files, limits
        self._pool = ThreadPoolExecutor(limits.threads, "wap-write")
        self._lanes: dict[Key, _Lane] = {}
        self.rows = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
        if kind is not None:
            for lane in self._all():
                lane.abandon()

    def _all(self) -> Iterable[_Lane]:
        return self._lanes.values()

    @property
    def bytes(self) -> int:
        """Bytes written so far."""
        return sum(lane.bytes for lane in self._all())

    @abstractmethod
    def add(self, batch: pa.RecordBatch) -> None:
        """Take a batch in the table's columns.

        Raises:
            EngineError: the storage refuses what was written.
        """

    @abstractmethod
    def finish(self) -> list[DataFile]:
        """Write what is left and finish all files, in the order of their names."""

    def _finished(self) -> list[DataFile]:
        list(self._pool.map(_Lane.close, self._all()))
        return [file for lane in self._all() for file in lane.done]


class PlainWriting(Writing):
    """Without partitions: row groups go to whichever file is free."""

    def __init__(self, files: DataFiles, limits: Limits) -> None:
        super().__init__(files, limits)
        self._pending = _Pending()
        self._writing: deque[Future[None]] = deque()
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        for number in range(limits.threads):
            lane = _Lane(files, limits)
            self._lanes[(number,)] = lane
            self._free.put(lane)

    def add(self, batch: pa.RecordBatch) -> None:
        """See :class:`Writing`."""
        while len(batch):
            part = batch.slice(0, GROUP_ROWS - self._pending.rows)
            batch = batch.slice(len(part))
            self._pending.add(part)
            self.rows += len(part)
            if self._pending.rows >= GROUP_ROWS or self._pending.bytes >= self._limits.group:
                self._flush()

    def _flush(self) -> None:
        while len(self._writing) >= self._limits.threads:
            self._writing.popleft().result()
        self._writing.append(self._pool.submit(self._write, self._pending.take()))

    def _write(self, table: pa.Table) -> None:
        lane = self._free.get()
        try:
            lane.write(table)
        finally:
            self._free.put(lane)

    def finish(self) -> list[DataFile]:
        """See :class:`Writing`."""
        if self._pending.rows:
            self._flush()
        while self._writing:
            self._writing.popleft().result()
        return self._finished()


class PartitionedWriting(Writing):
    """By partition: rows are held back until a partition's are worth a row group."""

    def __init__(self, files: DataFiles, limits: Limits) -> None:
        super().__init__(files, limits)
        self._pending: dict[Key, _Pending] = {}
        self._held = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """See :class:`Writing`."""
        self.rows += len(batch)
        for key, rows in split(batch, self._files.spec, self._files.schema):
            pending = self._pending.setdefault(key, _Pending())
            pending.add(rows)
            self._held += rows.nbytes
        if self._held >= self._limits.group * self._limits.threads:
            self._flush(self._held // 2)

    def _flush(self, leave: int) -> None:
        """Write the largest partitions, until so many bytes are left."""
        largest = sorted(self._pending, key=lambda key: -self._pending[key].bytes)
        chosen: list[Key] = []
        for key in largest:
            if self._held <= leave:
                break
            self._held -= self._pending[key].bytes
            chosen.append(key)
        for start in range(0, len(chosen), self._limits.open):
            self._write(chosen[start : start + self._limits.open])

    def _lane(self, key: Key) -> _Lane:
        return _Lane(self._files, self._limits, key)

    def _write(self, keys: list[Key]) -> None:
        for key in keys:
            # Used last, so the last to be closed.
            lane = self._lanes.pop(key) if key in self._lanes else self._lane(key)
            self._lanes[key] = lane
        open_lanes = [lane for lane in self._all() if lane.is_open]
        spare = len(open_lanes) + sum(not self._lanes[k].is_open for k in keys) - self._limits.open
        for lane in open_lanes[: max(spare, 0)]:
            lane.close()
        tables = [self._pending.pop(key).take() for key in keys]
        list(self._pool.map(_Lane.write, (self._lanes[k] for k in keys), tables))

    def finish(self) -> list[DataFile]:
        """See :class:`Writing`."""
        self._flush(0)
        return self._finished()
