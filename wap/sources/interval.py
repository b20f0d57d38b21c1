"""The data interval: which rows lie in it, in Arrow and in SQL."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
from sqlglot import exp

from wap.errors import ConfigError
from wap.sources.base import Interval
from wap.sources.fit import text_to


@dataclass(frozen=True)
class Bounds:
    """An interval's bounds in its column's type."""

    column: str
    start: pa.Scalar
    end: pa.Scalar

    def mask(self, batch: pa.RecordBatch) -> pa.Array:
        """Which rows are in it; a null is not."""
        values = batch.column(self.column)
        inside = pc.and_(pc.greater_equal(values, self.start), pc.less(values, self.end))
        return pc.fill_null(inside, fill_value=False)

    def condition(self, sql_type: str) -> str:
        """The same in DuckDB's SQL; null for a null."""
        column = quoted(self.column)
        start, end = (
            f"CAST({exp.Literal.string(_literal(bound)).sql('duckdb')} AS {sql_type})"
            for bound in (self.start, self.end)
        )
        return f"{column} >= {start} AND {column} < {end}"


def quoted(name: str) -> str:
    """An SQL identifier, whatever is in it."""
    return exp.to_identifier(name, quoted=True).sql("duckdb")


def bounds_of(interval: Interval, schema: pa.Schema) -> Bounds:
    """The interval in the type of its column.

    Raises:
        ConfigError: no such column is read, or a bound is no value of its type.
    """
    if interval.column not in schema.names:
        raise ConfigError(
            f"the interval's column {interval.column!r} is not read",
            hint=f"columns: {', '.join(schema.names)}",
        )
    kind = schema.field(interval.column).type
    try:
        start, end = (_bound(text, kind) for text in (interval.start, interval.end))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError) as exc:
        raise ConfigError(
            f"[{interval.start}, {interval.end}) is no interval of {interval.column}, "
            f"which holds {kind}",
            hint="write bounds like the column's values, for example 2013-01-01",
        ) from exc
    return Bounds(interval.column, start, end)


def _bound(text: str, kind: pa.DataType) -> pa.Scalar:
    if not (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
        return text_to(pa.array([text]), kind)[0]
    moment = datetime.fromisoformat(text)
    if pa.types.is_date(kind):
        if (moment.hour, moment.minute, moment.second, moment.microsecond) != (0, 0, 0, 0):
            raise ValueError("a date has no time of day")
        return pa.scalar(moment.date(), kind)
    if kind.tz is None:
        if moment.tzinfo:
            raise ValueError("the column's values have no zone")
        return pa.scalar(moment, kind)
    return pa.scalar(moment if moment.tzinfo else moment.replace(tzinfo=UTC), kind)


def _literal(bound: pa.Scalar) -> str:
    return str(bound.as_py())
