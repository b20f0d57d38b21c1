"""Ways in which a batch is spoiled, each as SQL over the view of the rows as they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestampType,
    TimestamptzType,
)

from wap.field_map import duckdb_type, quoted

#: Where the rows as they were lie in the audit's connection; no namespace is called so.
PLACE = "__wap_drill"
_CLEAN = f"{PLACE}.batch"
#: The batch as it is.
AS_IT_IS = f"SELECT * FROM {_CLEAN}"
#: Every other row, the same ones each time the view is read.
_HALF = "hash(r) % 2 = 0"
_ALL = "true"
_NUMBERS = (IntegerType, LongType, FloatType, DoubleType, DecimalType)
_TIMES = (DateType, TimestampType, TimestamptzType)


@dataclass(frozen=True, slots=True)
class Spoiling:
    """One way to spoil a batch.

    Attributes:
        name: what people choose it by.
        column: what is spoiled; None: the batch as a whole.
        said: what is done, for people.
        sql: the spoiled rows.
        changed: counts the rows that are other than they were.
        hint: which check would catch it.
    """

    name: str
    column: str | None
    said: str
    sql: str
    changed: str
    hint: str


#: Names of all of them; of these two no rows are made where the table's schema refuses them.
LOST, RETYPED = "lost column", "changed type"
NAMES = (
    "nulls", "blanks", "spaces", "case", "cut off", "shifted", "negated", "stale", "future",
    "inverted", "swapped", "duplicates", "half lost", "empty", LOST, RETYPED,
)  # fmt: skip


def spoilings_of(schema: Schema, columns: Sequence[str], keys: Sequence[str]) -> list[Spoiling]:
    """All that make sense for a batch's rows; columns that are lost or retyped are not among them.

    Args:
        schema: the table's.
        columns: those that come from the source.
        keys: columns that identify a row.
    """
    fields = [f for f in schema.fields if f.name in columns]
    return [
        *_of_the_batch(keys),
        *(one for f in fields for one in _of_column(f)),
        *_swapped(fields),
    ]


def nulled(field: NestedField) -> Spoiling:
    """A column that is null throughout: what a lost one reads as where that is allowed."""
    return _replaced(
        field,
        LOST,
        "the column is gone, and reads as null",
        "NULL",
        _ALL,
        "schema: {on_change: strict}, or missing: on the column",
    )


def _of_the_batch(keys: Sequence[str]) -> Iterator[Spoiling]:
    key = f"[{', '.join(keys)}]" if keys else "[the columns that identify a row]"
    every = f"SELECT count(*) FROM {_CLEAN} AS r"
    yield Spoiling(
        "duplicates",
        None,
        "every row comes twice",
        f"{AS_IT_IS} UNION ALL {AS_IT_IS}",
        every,
        f"duplicate: {{columns: {key}}}",
    )
    yield Spoiling(
        "half lost",
        None,
        "half of the rows are gone",
        f"{AS_IT_IS} AS r WHERE NOT ({_HALF})",
        f"{every} WHERE {_HALF}",
        "row_count: with a threshold, on …__batch; or a metric that counts days or groups",
    )
    yield Spoiling(
        "empty",
        None,
        "no row comes",
        f"{AS_IT_IS} WHERE false",
        every,
        "row_count: on …__batch",
    )


def _of_column(field: NestedField) -> Iterator[Spoiling]:
    kind, column = field.field_type, f"r.{quoted(field.name)}"
    yield _replaced(
        field, "nulls", "half of the values are null", "NULL", _HALF, "missing: on the column"
    )
    if isinstance(kind, StringType):
        yield from _of_text(field, column)
    if isinstance(kind, _NUMBERS):
        yield from _of_number(field, column, kind)
    if isinstance(kind, _TIMES):
        yield from _of_time(field, column)
    if isinstance(kind, BooleanType):
        yield _replaced(
            field,
            "inverted",
            "half of the values say the contrary",
            f"NOT {column}",
            _HALF,
            "failed_rows: against another column; or aggregate: on its share",
        )


def _of_text(field: NestedField, column: str) -> Iterator[Spoiling]:
    pattern = "invalid: {valid_format: …} or valid_values"
    other = f"CASE WHEN {column} = upper({column}) THEN lower({column}) ELSE upper({column}) END"
    half = f"left({column}, greatest(1, length({column}) // 2))"
    yield _replaced(
        field,
        "blanks",
        "half of the texts are empty",
        "''",
        _HALF,
        "missing: {missing_values: ['']}, or invalid: {valid_min_length: 1}",
    )
    yield _replaced(
        field,
        "spaces",
        "half of the texts have a space before and after",
        f"' ' || {column} || ' '",
        _HALF,
        pattern,
    )
    yield _replaced(field, "case", "half of the texts are in the other case", other, _HALF, pattern)
    yield _replaced(
        field,
        "cut off",
        "half of the texts are cut off in the middle",
        half,
        _HALF,
        f"invalid: {{valid_min_length: …}}, or {pattern.removeprefix('invalid: ')}",
    )


def _of_number(field: NestedField, column: str, kind: IcebergType) -> Iterator[Spoiling]:
    # What does not fit the column's type stays as it was: the source could not deliver it either.
    tenfold = f"coalesce(try_cast(CAST({column} AS DOUBLE) * 10 AS {duckdb_type(kind)}), {column})"
    yield _replaced(
        field,
        "shifted",
        "all values are ten times as large",
        tenfold,
        _ALL,
        "aggregate: {function: avg, threshold: …}, or invalid: {valid_max: …}",
    )
    yield _replaced(
        field,
        "negated",
        "half of the values have the other sign",
        f"-{column}",
        _HALF,
        "invalid: {valid_min: 0}",
    )


def _of_time(field: NestedField, column: str) -> Iterator[Spoiling]:
    for name, sign, hint in (
        ("stale", "-", "freshness: {column: …}, or a metric on its least value, on …__batch"),
        ("future", "+", "failed_rows: {expression: the column > now()}"),
    ):
        said = "a year earlier" if sign == "-" else "a year later"
        moved = f"{column} {sign} INTERVAL 1 YEAR"
        yield _replaced(field, name, f"all values are {said}", moved, _ALL, hint)


def _swapped(fields: Sequence[NestedField]) -> Iterator[Spoiling]:
    """Neighbours of one type change places: a source that was built anew does so."""
    for one, other in pairwise(fields):
        if one.field_type != other.field_type or not one.field_type.is_primitive:
            continue
        a, b = f"r.{quoted(one.name)}", f"r.{quoted(other.name)}"
        yield Spoiling(
            "swapped",
            f"{one.name}, {other.name}",
            "the two columns have changed places",
            f"SELECT * REPLACE ({b} AS {quoted(one.name)}, {a} AS {quoted(other.name)})"
            f" FROM {_CLEAN} AS r",
            f"SELECT count(*) FROM {_CLEAN} AS r WHERE {a} IS DISTINCT FROM {b}",
            "invalid: {valid_min: …, valid_max: …} or valid_format on each; or failed_rows:",
        )


def _replaced(
    field: NestedField, name: str, said: str, value: str, where: str, hint: str
) -> Spoiling:
    """Every row, with another value of one column where the condition holds."""
    column, kind = quoted(field.name), duckdb_type(field.field_type)
    new = f"CAST({value} AS {kind})"
    return Spoiling(
        name,
        field.name,
        said,
        f"SELECT * REPLACE (CASE WHEN {where} THEN {new} ELSE r.{column} END AS {column})"
        f" FROM {_CLEAN} AS r",
        f"SELECT count(*) FROM {_CLEAN} AS r WHERE {where} AND {new} IS DISTINCT FROM r.{column}",
        hint,
    )
