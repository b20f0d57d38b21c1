"""Parquet files as one DuckDB query, where its casts are exact, so that it may write them too."""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from sqlglot import exp

from wap.errors import SourceError
from wap.sources.base import SqlStream
from wap.sources.interval import Bounds, quoted
from wap.sources.listing import InputFile
from wap.sources.parquet_types import sql_cast


@dataclass(frozen=True)
class ParquetQuery:
    """The rows of local files as SQL, and their count from the footers.

    Attributes:
        stream: for the engine; the connection is closed with the extract.
        rows: rows in the footers of all files.
        outside: the query that counts the rows outside the interval; "" without one.
    """

    stream: SqlStream
    rows: int
    outside: str = ""

    def counts(self) -> tuple[int, int]:
        """Rows in the files' footers, and rows outside the interval, counted apart.

        Raises:
            SourceError: they cannot be counted.
        """
        if not self.outside:
            return self.rows, 0
        try:
            row = self.stream.connection.cursor().execute(self.outside).fetchone()
        except duckdb.Error as exc:
            raise SourceError(f"the rows cannot be counted: {exc}") from exc
        return self.rows, int(row[0])


def parquet_query(
    files: list[InputFile], schema: pa.Schema, bounds: Bounds | None
) -> ParquetQuery | None:
    """The query, or None where a cast could lose something, or DuckDB reads names otherwise."""
    folded = {name.casefold() for name in schema.names}
    if not all(f.is_local for f in files) or len(folded) < len(schema.names):
        return None
    rows = 0
    casts: dict[str, str] = {}
    for file in files:
        try:
            footer = pq.read_metadata(file.location)
        except (pa.ArrowException, OSError):
            return None  # the reader says what is wrong with it
        rows += footer.num_rows
        found = footer.schema.to_arrow_schema()
        # DuckDB does not tell A and a apart.
        if len({name.casefold() for name in found.names}) < len(found.names):
            return None
        for column in schema:
            if column.name not in found.names:
                return None
            cast = sql_cast(found.field(column.name).type, column.type)
            if cast is None:
                return None
            casts[column.name] = cast
    return _query(files, casts, rows, bounds)


def _query(
    files: list[InputFile],
    casts: dict[str, str],
    rows: int,
    bounds: Bounds | None,
) -> ParquetQuery:
    paths = ", ".join(exp.Literal.string(f.location).sql("duckdb") for f in files)
    table = f"read_parquet([{paths}], union_by_name = true, hive_partitioning = false)"
    columns = ", ".join(f"CAST({quoted(n)} AS {kind}) AS {quoted(n)}" for n, kind in casts.items())
    query, outside = f"SELECT {columns} FROM {table}", ""  # noqa: S608 - quoted by sqlglot
    if bounds is not None:
        condition = bounds.condition(casts[bounds.column])
        query = f"SELECT * FROM ({query}) WHERE {condition}"  # noqa: S608 - as above
        outside = (
            f"SELECT count(*) FROM {table} "  # noqa: S608 - as above
            f"WHERE NOT coalesce({condition}, false)"
        )
    connection = duckdb.connect(":memory:")
    connection.execute("SET TimeZone = 'UTC'")
    size = sum(file.size for file in files)
    return ParquetQuery(SqlStream(connection, query, rows, size), rows, outside)
