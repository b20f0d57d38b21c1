"""What one file's rows suggest about the table they come from: keys, nulls, values, ranges."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from wap.field_map import quoted
from wap.sniffing import Sniffed

#: A column with so few values, each so often, is taken for a closed set of them.
_FEW_VALUES = 12
_OFTEN = 20
_LONGEST_VALUE = 40
_LARGEST_KEY = 3
#: Columns tried as parts of a key; the more distinct values, the better the chance.
_KEY_CANDIDATES = 12
_FEW_ROWS = 50_000
_IDENTIFIES = re.compile(r"(^|[_ .-])(?i:id|key|code|uuid|guid|number|no|num|nr)$|[a-z]I[Dd]$")
_NUMBERS = ("int", "long", "float", "double", "decimal")
_PERSONAL = re.compile(
    r"e?-?mail|phone|mobile|fax|ssn|social.?security|iban|passport|birth|surname"
    r"|(first|last|full|middle|maiden).?name|street|address|postcode|zip.?code|tax.?id",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the file.

    Attributes:
        kind: its Iceberg type as text.
        nulls: rows without a value.
        distinct: how many values, approximately.
        least: smallest value of a number, None elsewhere.
        values: all its values, where it is a small closed set of texts.
        personal: its name suggests data about a person.
    """

    name: str
    kind: str
    nulls: int
    distinct: int
    least: float | None = None
    values: tuple[str, ...] = ()
    personal: bool = False

    @property
    def is_number(self) -> bool:
        """Whether its values can be out of a range."""
        return self.kind.startswith(_NUMBERS)

    @property
    def is_nested(self) -> bool:
        """Whether it holds lists, maps or structs."""
        return self.kind.startswith(("list<", "map<", "struct<"))


@dataclass(frozen=True, slots=True)
class Profile:
    """All columns, and the columns that identify a row (() when none were found)."""

    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rows: int
    whole: bool


def profile(sniffed: Sniffed) -> Profile:
    """Look at every column once, and for a key."""
    columns = tuple(_columns(sniffed))
    return Profile(columns, _key(sniffed, columns), sniffed.rows, sniffed.whole)


def _columns(sniffed: Sniffed) -> list[Column]:
    asked = []
    for name, kind in sniffed.columns.items():
        column = quoted(name)
        least = f"min({column})::DOUBLE" if kind.startswith(_NUMBERS) else "NULL"
        asked += [f"count({column})", f"approx_count_distinct({column})", least]
    row = sniffed.connection.sql(
        f"SELECT {', '.join(asked)} FROM data"  # noqa: S608 - identifiers are quoted
    ).fetchall()[0]
    found = []
    for index, (name, kind) in enumerate(sniffed.columns.items()):
        values, distinct, least = row[3 * index : 3 * index + 3]
        personal = _PERSONAL.search(name) is not None
        few = kind == "string" and not personal and 0 < distinct <= _FEW_VALUES * 2
        found.append(
            Column(
                name=name,
                kind=kind,
                nulls=sniffed.rows - values,
                distinct=distinct,
                least=least,
                values=_closed_set(sniffed, name, values) if few else (),
                personal=personal,
            )
        )
    return found


def _closed_set(sniffed: Sniffed, name: str, rows: int) -> tuple[str, ...]:
    column = quoted(name)
    found = sniffed.connection.sql(
        f"SELECT DISTINCT {column} AS value FROM data "  # noqa: S608 - identifiers are quoted
        f"WHERE value IS NOT NULL ORDER BY value LIMIT {_FEW_VALUES + 1}"
    ).fetchall()
    values = tuple(row[0] for row in found)
    closed = len(values) <= _FEW_VALUES and rows >= _OFTEN * len(values)
    return values if closed and all(len(v) <= _LONGEST_VALUE for v in values) else ()


def _key(sniffed: Sniffed, columns: Sequence[Column]) -> tuple[str, ...]:
    """The most likely key: the smallest set of columns in which no two rows are the same."""
    if sniffed.rows < 2:  # noqa: PLR2004 - one row is unique in every column
        return ()
    able = sorted((c for c in columns if _may_be_key(c)), key=lambda c: (_rank(c), -c.distinct))
    names = {c.name for c in able[:_KEY_CANDIDATES]}
    candidates = [c for c in columns if c.name in names]
    # Most sets are no keys, which few rows show already.
    sniffed.connection.execute(f"CREATE OR REPLACE TEMP TABLE few AS FROM data LIMIT {_FEW_ROWS}")
    for size in range(1, _LARGEST_KEY + 1):
        for key in sorted(combinations(candidates, size), key=lambda k: sum(map(_rank, k))):
            named = tuple(c.name for c in key)
            if (
                _enough_values(key, sniffed.rows)
                and _is_unique(sniffed, "few", named)
                and _is_unique(sniffed, "data", named)
            ):
                return named
    return ()


def _rank(column: Column) -> int:
    """How unlikely a column is to be part of a key; numbers mostly measure something."""
    if _IDENTIFIES.search(column.name):
        return 0
    return 2 if column.is_number else 1


def _enough_values(key: Sequence[Column], rows: int) -> bool:
    """Whether there are enough combinations to go round; an estimate may be a third too low."""
    return math.prod(1.5 * column.distinct for column in key) >= rows


def _may_be_key(column: Column) -> bool:
    measured = column.kind.startswith(("float", "double"))
    return not (column.nulls or column.is_nested or measured) and column.distinct > 1


def _is_unique(sniffed: Sniffed, table: str, key: Sequence[str]) -> bool:
    columns = ", ".join(quoted(name) for name in key)
    found = sniffed.connection.sql(
        f"SELECT 1 FROM {table} GROUP BY {columns} HAVING count(*) > 1 LIMIT 1"  # noqa: S608 - quoted
    ).fetchall()
    return not found
