"""Rows of a DuckDB query as an extract, for an engine that lets them meet the published ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from wap.sources.base import Counts, Split, SqlStream

_ROWS = 1 << 14


class Queried:
    """The rows of a query, once; they are counted as they are read."""

    def __init__(self, con: Any, query: str, schema: pa.Schema) -> None:
        """Nothing is read yet.

        Args:
            con: a connection of the caller's.
            query: in the schema's columns, and in their order.
        """
        self._con, self._query = con, query
        self.schema = schema
        self.counts = Counts()
        self.sql: SqlStream | None = None  # an engine must not set up the caller's connection
        self.split: Split | None = None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows."""
        with self._con.sql(self._query).to_arrow_reader(_ROWS) as reader:
            for batch in reader:
                self.counts.read += len(batch)
                yield batch

    def finish(self) -> Counts:
        """How many were read."""
        return self.counts
