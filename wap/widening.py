"""When values of one Iceberg type fit into another, and how a type grows to hold both."""

from __future__ import annotations

from dataclasses import dataclass

from pyiceberg.types import (
    DecimalType,
    DoubleType,
    FloatType,
    IcebergType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    PrimitiveType,
    StringType,
    StructType,
)

from wap.type_texts import type_text

_PROMOTIONS: frozenset[tuple[type[IcebergType], type[IcebergType]]] = frozenset(
    {(IntegerType, LongType), (FloatType, DoubleType)}
)


@dataclass(frozen=True, slots=True)
class Shape:
    """How far two structs may differ.

    Attributes:
        may_drop: fields of the input that the table does not have may be left out.
        may_lack: fields of the table that the input does not have may be null.
    """

    may_drop: bool = False
    may_lack: bool = False


STRICT = Shape()


def same(one: IcebergType, other: IcebergType) -> bool:
    """Whether two types are equal, field ids and optionality aside."""
    return type_text(one) == type_text(other)


def widens(have: IcebergType, wanted: IcebergType) -> bool:
    """Whether Iceberg can widen a published column to the wanted type, without a rewrite."""
    return _stretches(have, wanted) or same(grown(have, wanted), wanted)


def _stretches(have: IcebergType, wanted: IcebergType) -> bool:
    if isinstance(have, DecimalType) and isinstance(wanted, DecimalType):
        return have.scale == wanted.scale and have.precision <= wanted.precision
    return same(have, wanted) or (type(have), type(wanted)) in _PROMOTIONS


def grown(have: IcebergType, found: IcebergType, *, guessed: bool = False) -> IcebergType:
    """The published type, grown as far as Iceberg allows to hold what was found.

    Struct fields are added, primitives are widened; where neither is possible the published
    type stays, and :func:`reads_as` tells whether the values fit all the same.

    Args:
        have: the published type.
        found: the input's type.
        guessed: the input is text, and a number's width was guessed: do not widen for it.
    """
    if isinstance(have, StructType) and isinstance(found, StructType):
        return _grown_struct(have, found, guessed=guessed)
    if isinstance(have, ListType) and isinstance(found, ListType):
        element = grown(have.element_type, found.element_type, guessed=guessed)
        return ListType(have.element_id, element, element_required=have.element_required)
    if isinstance(have, MapType) and isinstance(found, MapType):
        value = grown(have.value_type, found.value_type, guessed=guessed)
        return MapType(
            have.key_id, have.key_type, have.value_id, value, value_required=have.value_required
        )
    return found if not guessed and _stretches(have, found) else have


def _grown_struct(have: StructType, found: StructType, *, guessed: bool) -> StructType:
    new = {f.name: f for f in found.fields}
    fields = []
    for field in have.fields:
        other = new.pop(field.name, None)
        kind = field.field_type
        if other is not None:
            kind = grown(kind, other.field_type, guessed=guessed)
        fields.append(NestedField(field.field_id, field.name, kind, required=field.required))
    fields += [NestedField(0, f.name, f.field_type, required=False) for f in new.values()]
    return StructType(*fields)


def reads_as(
    found: IcebergType, wanted: IcebergType, *, guessed: bool, shape: Shape = STRICT
) -> bool:
    """Whether an input column of one type can be read into a table's column of another.

    Args:
        found: the input's type.
        wanted: the table's type.
        guessed: the input is text, so its primitive types were guessed from some values: they
            are read strictly into the wanted type, and each value that does not fit is named
            with file and line. Only the shape (which fields, lists or not) counts here.
        shape: which struct fields one side may have and the other lack.
    """
    if isinstance(wanted, StructType) and isinstance(found, StructType):
        return _struct_reads_as(found, wanted, guessed=guessed, shape=shape)
    if isinstance(wanted, ListType) and isinstance(found, ListType):
        pairs = [(found.element_type, wanted.element_type)]
    elif isinstance(wanted, MapType) and isinstance(found, MapType):
        pairs = [(found.key_type, wanted.key_type), (found.value_type, wanted.value_type)]
    else:
        return _primitive_reads_as(found, wanted, guessed=guessed)
    return all(reads_as(f, w, guessed=guessed, shape=shape) for f, w in pairs)


def _struct_reads_as(found: StructType, wanted: StructType, *, guessed: bool, shape: Shape) -> bool:
    have = {f.name: f.field_type for f in wanted.fields}
    given = {f.name: f.field_type for f in found.fields}
    # Text that leaves a key out everywhere has not changed its shape: the key is optional.
    if (given.keys() - have.keys() and not shape.may_drop) or (
        have.keys() - given.keys() and not (shape.may_lack or guessed)
    ):
        return False
    both = given.keys() & have.keys()
    return all(reads_as(given[n], have[n], guessed=guessed, shape=shape) for n in both)


def _primitive_reads_as(found: IcebergType, wanted: IcebergType, *, guessed: bool) -> bool:
    if _stretches(found, wanted):
        return True
    if not guessed:
        return False
    # A text that may be anything, or anything kept as text; else two different shapes.
    is_text = isinstance(wanted, StringType) or isinstance(found, StringType)
    return is_text or (isinstance(found, PrimitiveType) and isinstance(wanted, PrimitiveType))
