"""The schema that JSON records say they have, put together from many."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa


@dataclass
class Merge:
    """Columns in the order in which they were first seen, each with a type all values fit."""

    types: dict[str, pa.DataType] = field(default_factory=dict)

    def add(self, schema: pa.Schema) -> None:
        """Take more records' schema into account.

        Where a key holds values of different kinds the first kind counts: reading will name
        the lines that hold another.
        """
        for column in schema:
            have = self.types.get(column.name, pa.null())
            both = merged(have, spoken(column.type))
            self.types[column.name] = have if both is None else both

    def schema(self) -> pa.Schema:
        """All columns."""
        return pa.schema(list(self.types.items()))


def spoken(kind: pa.DataType) -> pa.DataType:
    """A type as JSON has it: what Arrow takes for a time is a text to begin with."""
    if pa.types.is_temporal(kind):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(spoken(kind.value_type))
    if pa.types.is_struct(kind):
        # An object without keys says nothing about what it may hold.
        fields = [(f.name, spoken(f.type)) for f in _fields(kind)]
        return pa.struct(fields) if fields else pa.null()
    return kind


def is_spoken(kind: pa.DataType) -> bool:
    """Whether JSON can be read into the type."""
    if pa.types.is_list(kind):
        return is_spoken(kind.value_type)
    if pa.types.is_struct(kind):
        return all(is_spoken(f.type) for f in _fields(kind))
    return not (pa.types.is_map(kind) or pa.types.is_union(kind))


def merged(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """The type that values of both fit; None: there is none."""
    if one == other or pa.types.is_null(other):
        return one
    if pa.types.is_null(one):
        return other
    if {one, other} == {pa.int64(), pa.float64()}:
        return pa.float64()
    if pa.types.is_list(one) and pa.types.is_list(other):
        inner = merged(one.value_type, other.value_type)
        return None if inner is None else pa.list_(inner)
    if pa.types.is_struct(one) and pa.types.is_struct(other):
        return _merged_structs(one, other)
    return None


def _merged_structs(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    types = {f.name: f.type for f in _fields(one)}
    for extra in _fields(other):
        both = merged(types.get(extra.name, pa.null()), extra.type)
        if both is None:
            return None
        types[extra.name] = both
    return pa.struct(list(types.items()))


def _fields(kind: pa.DataType) -> list[pa.Field]:
    return [kind.field(i) for i in range(kind.num_fields)]
