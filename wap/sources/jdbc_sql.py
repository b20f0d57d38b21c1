"""What a database is asked: every statement is built by sqlglot, in the database's own SQL."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cached_property
from typing import Any

import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from wap.errors import ConfigError
from wap.source_sections import JdbcSource as Spec

#: sqlglot's names of what JDBC's URLs begin with; what is not here is asked in plain SQL.
_DIALECTS = {
    "postgresql": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "oracle": "oracle",
    "sqlserver": "tsql",
    "sqlite": "sqlite",
    "redshift": "redshift",
    "snowflake": "snowflake",
    "clickhouse": "clickhouse",
}
_ROWS = "wap_rows"


@dataclass(frozen=True)
class Sql:
    """The statements of one source.

    Attributes:
        spec: the pipeline's ``source`` section.
    """

    spec: Spec

    @cached_property
    def dialect(self) -> str:
        """The database's SQL, as sqlglot calls it."""
        found = re.match(r"jdbc:(\w+):", self.spec.url)
        return _DIALECTS.get(found[1].lower() if found else "", "")

    @cached_property
    def _from(self) -> exp.Expression:
        """The table, or the query as one.

        Raises:
            ConfigError: it is not one table, or not one SELECT.
        """
        text = self.spec.table or self.spec.query or ""
        try:
            if self.spec.table is not None:
                return self._table(text)
            parsed = sqlglot.parse(text, read=self.dialect)
        except SqlglotError as exc:
            raise self._unreadable(text) from exc
        if len(parsed) != 1 or not isinstance(parsed[0], exp.Query):
            raise self._unreadable(text)
        return parsed[0].subquery(_ROWS)

    def _table(self, text: str) -> exp.Table:
        found = exp.to_table(text, dialect=self.dialect)
        if not isinstance(found.this, exp.Identifier):  # a function
            raise self._unreadable(text)
        return found

    def _unreadable(self, text: str) -> ConfigError:
        key = "table" if self.spec.table is not None else "query"
        return ConfigError(
            f"source.{key} is not one {'table' if key == 'table' else 'SELECT'}: {text[:80]!r}",
            where=self.spec.location,
            hint="write table: schema.name, or query: SELECT … FROM …",
        )

    def rows(self, where: str = "") -> str:
        """All columns of the rows that match."""
        return self._text(exp.select("*"), where)

    def count(self, where: str) -> str:
        """How many rows match, as ``n``."""
        return self._text(exp.select(exp.Count(this=exp.Star()).as_("n")), where)

    def bounds(self, column: str, where: str) -> str:
        """Rows, rows with a value, and least and greatest value as text: ``n, c, lo, hi``."""
        at = self.column(column)
        chosen = [
            exp.Count(this=exp.Star()).as_("n"),
            exp.Count(this=at.copy()).as_("c"),
            exp.cast(exp.Min(this=at.copy()), "varchar").as_("lo"),
            exp.cast(exp.Max(this=at.copy()), "varchar").as_("hi"),
        ]
        return self._text(exp.select(*chosen), where)

    def _text(self, select: exp.Select, where: str) -> str:
        text = select.from_(self._from.copy()).sql(self.dialect)
        return f"{text} WHERE {where}" if where else text

    def column(self, name: str) -> exp.Expression:
        """A column, quoted."""
        return exp.column(exp.to_identifier(name, quoted=True))

    def above(self, column: str, after: str | None, kind: pa.DataType) -> str:
        """That a row is new, or has no value that could tell."""
        if after is None:
            return ""
        at = self.column(column)
        new = exp.GT(this=at, expression=literal(after, kind))
        return exp.or_(new, at.copy().is_(exp.null())).sql(self.dialect)

    def between(
        self, column: str, kind: pa.DataType, *, after: str | None = None,
        upto: str | None = None, start: str | None = None, end: str | None = None,
    ) -> str:  # fmt: skip
        """That a value is above ``after``, at most ``upto``, at least ``start``, below ``end``."""
        at = self.column(column)
        said = ((exp.GT, after), (exp.LTE, upto), (exp.GTE, start), (exp.LT, end))
        parts = [
            made(this=at.copy(), expression=literal(text, kind))
            for made, text in said
            if text is not None
        ]
        return exp.and_(*parts).sql(self.dialect)

    def slices(self, column: str, kind: pa.DataType, cuts: list[str]) -> list[str]:
        """Conditions that together hold for every row, each for other ones; nulls go first."""
        if not cuts:
            return []
        at = self.column(column)
        first = exp.or_(
            exp.LT(this=at, expression=literal(cuts[0], kind)), at.copy().is_(exp.null())
        ).sql(self.dialect)
        ends: list[str | None] = [*cuts[1:], None]
        rest = [
            self.between(column, kind, start=one, end=other)
            for one, other in zip(cuts, ends, strict=True)
        ]
        return [first, *rest]


def literal(text: str, kind: pa.DataType) -> exp.Expression:
    """A value of a column's type, from the text that stands for it."""
    if pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return exp.Literal.number(str(Decimal(text)))
    if pa.types.is_date(kind):
        return exp.cast(exp.Literal.string(text), "date")
    if pa.types.is_timestamp(kind):
        return exp.cast(exp.Literal.string(text), "timestamptz" if kind.tz else "timestamp")
    return exp.Literal.string(text)


def is_ordered(kind: pa.DataType) -> bool:
    """Whether a column's values are told exactly by a text, and stand in one order."""
    return bool(is_divisible(kind) or pa.types.is_string(kind))


def is_divisible(kind: pa.DataType) -> bool:
    """Whether the values between two of a column's can be cut into equal parts."""
    exact = pa.types.is_integer(kind) or pa.types.is_decimal(kind)
    return bool(exact or pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def cuts(low: str, high: str, count: int, kind: pa.DataType) -> list[str]:
    """The values at which ``[low, high]`` is cut into so many parts; fewer where it is too short.

    Raises:
        ValueError: a bound is no value of the column's type.
    """
    start, end = _value(low, kind), _value(high, kind)
    found = (start + (end - start) * i / count for i in range(1, count))
    return list(dict.fromkeys(_spoken(start, end, found, kind)))


def _value(text: str, kind: pa.DataType) -> Any:
    if pa.types.is_date(kind):
        return datetime.fromisoformat(text)
    if pa.types.is_timestamp(kind):
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=at.tzinfo or UTC) if kind.tz else at
    try:
        return Decimal(text)
    except ArithmeticError as exc:
        raise ValueError(text) from exc


def _spoken(start: Any, end: Any, found: Iterator[Any], kind: pa.DataType) -> Iterator[str]:
    for value in found:
        if isinstance(value, datetime):
            day: date = value.date()
            cut = day.isoformat() if pa.types.is_date(kind) else value.isoformat(" ")
        else:
            cut = str(value.to_integral_value()) if pa.types.is_integer(kind) else f"{value:f}"
        if start < _value(cut, kind) <= end:
            yield cut
