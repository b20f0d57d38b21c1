"""A Spark session as an audit's connection, asked in DuckDB's SQL: a contract means one thing.

A contract's own SQL (expression, query, filter) is DuckDB's wherever it is run; so is ours. sqlglot
translates it for Spark; what it cannot translate for sure is refused, which closes the gate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import duckdb
from sqlglot import ErrorLevel, exp, parse
from sqlglot.errors import SqlglotError

#: Keys of a contract that hold SQL a person wrote.
_SQL = ("expression", "query", "keys_query", "rows_tested_query", "filter")


class SparkRefusalError(Exception):
    """Spark does not run a query; the message is its first line."""


#: What a query may end in that the engine does not run.
REFUSALS = (duckdb.Error, SparkRefusalError)


def spark_quoted(name: str) -> str:
    """A name as an identifier of Spark's."""
    return exp.to_identifier(name, quoted=True).sql("spark")


def to_spark(sql: str) -> str:
    """One statement or expression of DuckDB's SQL in Spark's.

    Raises:
        SparkRefusalError: it is not SQL, more than one statement, or has no translation.
    """
    try:
        statements = parse(sql, dialect="duckdb")
        if len(statements) != 1 or statements[0] is None:
            raise SparkRefusalError(f"not one statement: {sql[:200]}")
        return str(statements[0].sql("spark", unsupported_level=ErrorLevel.RAISE))
    except SqlglotError as exc:
        line = str(exc).partition("\n")[0]
        raise SparkRefusalError(f"Parser Error: no translation for Spark: {line}") from exc


def translated(data: Mapping[str, Any]) -> dict[str, Any]:
    """A contract with the SQL that a person wrote in Spark's words.

    Raises:
        SparkRefusalError: see :func:`to_spark`.
    """
    return {key: _part(key, value) for key, value in data.items()}


def _part(key: str, value: Any) -> Any:
    if key == "attributes":
        return value
    if key in _SQL and isinstance(value, str):
        return to_spark(value)
    if isinstance(value, Mapping):
        return translated(value)
    return [_part("", item) for item in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, slots=True)
class SparkConnection:
    """What an audit asks of Spark, in the manner of a DuckDB connection.

    Attributes:
        session: a Spark session of this audit's own; its time zone is UTC.
        lost: how Spark itself went away, if it did: that is no verdict on any check.
    """

    session: Any
    lost: list[str] = field(default_factory=list)

    def execute(self, sql: str) -> SparkCursor:
        """Run one statement of DuckDB's SQL.

        Raises:
            SparkRefusalError: it cannot be translated, or Spark does not run it.
        """
        cursor = self.cursor()
        cursor.execute(to_spark(sql))
        return cursor

    def cursor(self) -> SparkCursor:
        """A cursor that takes Spark's own SQL: Soda's way."""
        return SparkCursor(self.session, self.lost)

    def commit(self) -> None:
        """Nothing: an audit changes nothing."""


class SparkCursor:
    """One query and its rows. Times come with their zone, whatever this process's zone is."""

    rowcount = -1

    def __init__(self, session: Any, lost: list[str]) -> None:
        self._session, self._lost = session, lost
        self._rows: list[tuple[Any, ...]] = []
        self.description: Sequence[tuple[str, str]] = ()

    def execute(self, sql: str) -> None:
        """Run a query of Spark's SQL.

        Raises:
            SparkRefusalError: Spark does not run it.
        """
        try:
            frame = self._session.sql(sql)
            found = frame.schema.fields
            table = frame.toArrow()
        except Exception as exc:
            if is_gone(exc):
                self._lost.append(_said(exc))
            elif type(exc).__module__.partition(".")[0] not in ("pyspark", "py4j", "grpc"):
                raise
            raise SparkRefusalError(_said(exc)) from exc
        self.description = tuple((f.name, f.dataType.simpleString()) for f in found)
        # By place: two columns of a query may have one name.
        columns = [column.to_pylist() for column in table.columns]
        self._rows = list(zip(*columns, strict=True))

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows that are left."""
        rows, self._rows = self._rows, []
        return rows

    def fetchmany(self, size: int) -> list[tuple[Any, ...]]:
        """The next rows, so many at most."""
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    def fetchone(self) -> tuple[Any, ...] | None:
        """The next row; None behind the last."""
        return self._rows.pop(0) if self._rows else None

    def close(self) -> None:
        """Nothing is held open."""


def is_gone(exc: Exception) -> bool:
    """Whether it is Spark itself that does not answer, not a query that it does not run."""
    text = str(exc)
    return (
        isinstance(exc, ConnectionError)
        or type(exc).__name__ in _GONE
        or any(sign in text for sign in _SIGNS)
    )


_GONE = frozenset(
    {"Py4JNetworkError", "RetriesExceeded", "_InactiveRpcError", "_MultiThreadedRendezvous"}
)
_SIGNS = ("UNAVAILABLE", "stopped SparkContext", "SparkContext was shut down")


def _said(exc: Exception) -> str:
    """What Spark complains about, in one line; before a row was read, in DuckDB's word for it."""
    java = getattr(exc, "java_exception", None)
    text = str(java.toString()) if java is not None else str(exc)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    kind = type(exc).__name__
    said = (lines[0] if lines else kind)[:500]
    if kind in ("ParseException", "AnalysisException"):
        return f"Binder Error: {said}"
    return f"{kind}: {said}"
