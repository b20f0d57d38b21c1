"""Which published files may hold a batch's keys, told by partitions and column bounds alone."""

from __future__ import annotations

from typing import Any

from pyiceberg.expressions import (
    AlwaysTrue,
    And,
    BooleanExpression,
    GreaterThanOrEqual,
    In,
    LessThanOrEqual,
    Reference,
)
from pyiceberg.expressions.literals import literal
from pyiceberg.types import (
    DateType,
    DecimalType,
    IcebergType,
    IntegerType,
    LongType,
    StringType,
    TimestampType,
    TimestamptzType,
)

from wap.keyed.names import Names

#: So many different values of a key are looked for one by one, which buckets need; more as a range.
_FEW = 200
_INT_MAX = 2**31 - 1

#: A key's value as Iceberg compares it. Floats are left out: of a NaN there are no bounds.
_AS_STORED: dict[type[IcebergType], str] = {
    DateType: "({} - DATE '1970-01-01')",
    DecimalType: "{}",
    IntegerType: "{}",
    LongType: "{}",
    StringType: "{}",
    TimestampType: "epoch_us({})",
    TimestamptzType: "epoch_us({})",
}


def may_hold(con: Any, relation: str, names: Names, keys: tuple[str, ...]) -> BooleanExpression:
    """A row filter that every row with one of the relation's keys matches.

    Args:
        con: a DuckDB connection.
        relation: a view in it that holds keys, none of them null, under our names.
    """
    condition: BooleanExpression = AlwaysTrue()
    for key in keys:
        condition = And(condition, _of_key(con, relation, names, key))
    return condition


def _of_key(con: Any, relation: str, names: Names, key: str) -> BooleanExpression:
    kind = names.schema.find_field(key).field_type
    form = _AS_STORED.get(type(kind))
    if form is None:
        return AlwaysTrue()
    value = form.format(names.of(key))
    few = con.execute(f"SELECT DISTINCT {value} FROM {relation} LIMIT {_FEW + 1}").fetchall()
    if not few:
        return AlwaysTrue()
    found = [row[0] for row in few]
    # A published int may just be widened, and a set of ints takes no larger ones.
    small = not isinstance(kind, LongType) or all(abs(v) <= _INT_MAX for v in found)
    if len(found) <= _FEW and small:
        return In(term=Reference(key), values={literal(v) for v in found})
    low, high = con.execute(f"SELECT min({value}), max({value}) FROM {relation}").fetchone()
    return And(
        GreaterThanOrEqual(term=Reference(key), value=literal(low)),
        LessThanOrEqual(term=Reference(key), value=literal(high)),
    )
