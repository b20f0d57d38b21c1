"""Schemas and partition specs: a new table's, and how a table's schema grows into a wanted one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from pyiceberg.exceptions import ValidationError
from pyiceberg.partitioning import PARTITION_FIELD_ID_START, PartitionField, PartitionSpec
from pyiceberg.schema import Schema, assign_fresh_schema_ids
from pyiceberg.transforms import Transform, UnknownTransform, parse_transform
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
    StructType,
)

from catalog.errors import SchemaConflictError

_WIDENINGS = {(IntegerType, LongType), (FloatType, DoubleType)}
_GROW = "columns can be added and types widened; for anything else make a new table"


def new_schema(wanted: Schema, where: str) -> Schema:
    """A new table's schema: fresh field ids, and list elements and map values optional.

    Raises:
        SchemaConflictError: no column, or two names that are the same but for their case.
    """
    if not wanted.fields:
        raise SchemaConflictError("a table needs at least one column", where=where)
    _check_names(wanted.fields, where)
    try:
        return assign_fresh_schema_ids(Schema(*(_optional_inside(f) for f in wanted.fields)))
    except ValueError as exc:
        raise _clash(exc, where) from exc


def grown(
    current: Schema, known: Sequence[Schema], last_column_id: int, wanted: Schema, where: str
) -> Schema:
    """The table's current schema, grown to hold ``wanted``: the same object when it already does.

    Args:
        current: the table's current schema.
        known: every schema the table keeps; one that another run added for the same columns is
            used again.
        last_column_id: highest field id the table ever gave out.
        wanted: the columns asked for, by name.
        where: the table, for messages.

    Raises:
        SchemaConflictError: a type would have to narrow, or a required column is in the way.
    """
    _check_names(wanted.fields, where)
    ids = itertools.count(last_column_id + 1)
    fields = _Growth(where, lambda: next(ids)).fields(current.fields, wanted.fields, "")
    if fields == current.fields:
        return current
    for schema in known:
        if _spelled(schema.fields) == _spelled(fields) and _extends(schema, current):
            return schema
    schema_id = max(s.schema_id for s in known) + 1
    try:
        return Schema(
            *fields, schema_id=schema_id, identifier_field_ids=current.identifier_field_ids
        )
    except ValueError as exc:
        raise _clash(exc, where) from exc


def fits(staged: Schema, current: Schema) -> str | None:
    """Why files written in one table's schema cannot be read in another's; None when they can."""
    theirs = {f.name: f for f in current.fields}
    for field in staged.fields:
        other = theirs.pop(field.name, None)
        if other is None:
            return f"column {field.name} is not in the published table"
        if other.field_id != field.field_id or other.field_type != field.field_type:
            return f"column {field.name} has another type or field id in the published table"
    needed = [name for name, field in theirs.items() if field.required]
    return f"the published table requires {', '.join(needed)}" if needed else None


def new_spec(schema: Schema, partitioning: Iterable[tuple[str, str]], where: str) -> PartitionSpec:
    """The partition spec for pairs of column and transform.

    Raises:
        SchemaConflictError: an unknown column or transform, or one that cannot go together.
    """
    fields: list[PartitionField] = []
    for column, text in partitioning:
        transform = _transform(text, where)
        source = next((f for f in schema.fields if f.name == column), None)
        if source is None:
            what = f"no column {column!r} to partition by"
            hint = f"columns are: {', '.join(f.name for f in schema.fields)}"
            raise SchemaConflictError(what, where=where, hint=hint)
        if not transform.can_transform(source.field_type):
            what = f"{text} cannot partition {column!r}, a {source.field_type}"
            raise SchemaConflictError(what, where=where)
        fields.append(
            PartitionField(
                source_id=source.field_id,
                field_id=PARTITION_FIELD_ID_START + len(fields),
                transform=transform,
                name=_partition_name(column, transform, {f.name for f in schema.fields}),
            )
        )
    return PartitionSpec(*fields)


def check_partitioning(
    schema: Schema, spec: PartitionSpec, partitioning: Iterable[tuple[str, str]], where: str
) -> None:
    """Refuse a partitioning that is not the table's own; none given means: whatever it has.

    Raises:
        SchemaConflictError: it differs.
    """
    wanted = [(column, str(_transform(text, where))) for column, text in partitioning]
    own = spec.fields
    have = [(schema.find_column_name(f.source_id), str(f.transform)) for f in own]
    if wanted and wanted != have:
        shown = ", ".join(f"{t}({c})" for c, t in have) or "nothing"
        raise SchemaConflictError(
            "a run cannot change how a table is partitioned",
            where=where,
            hint=f"the table is partitioned by {shown}; declare that, or make a new table",
        )


def same_spec(one: PartitionSpec, other: PartitionSpec) -> bool:
    """Whether partition values of one spec mean the same in the other."""
    return [(f.source_id, str(f.transform)) for f in one.fields] == [
        (f.source_id, str(f.transform)) for f in other.fields
    ]


class _Growth:
    """One walk through a table's fields and the wanted ones, by name."""

    def __init__(self, where: str, new_id: Callable[[], int]) -> None:
        self._where = where
        self._new_id = new_id

    def fields(
        self, have: Iterable[NestedField], want: Iterable[NestedField], path: str
    ) -> tuple[NestedField, ...]:
        wanted = {f.name: f for f in want}
        known = {f.name.lower(): f.name for f in have}
        grown_fields = [self._kept(field, wanted.pop(field.name, None), path) for field in have]
        for field in wanted.values():
            twin = known.get(field.name.lower())
            if twin is not None:
                self._refuse(f"column {path}{field.name} differs from {path}{twin} only in case")
            grown_fields.append(self._added(field, path))
        return tuple(grown_fields)

    def _kept(self, have: NestedField, want: NestedField | None, path: str) -> NestedField:
        name = f"{path}{have.name}"
        if want is None:
            if have.required:
                self._refuse(f"column {name} is required by the table and missing here")
            return have
        if want.required and not have.required:
            self._refuse(f"column {name} cannot become required: the table may hold nulls")
        grown_type = self._type(have.field_type, want.field_type, name)
        return have if grown_type == have.field_type else _with_type(have, grown_type)

    def _added(self, field: NestedField, path: str) -> NestedField:
        if field.required:
            self._refuse(f"new column {path}{field.name} cannot be required: older rows lack it")
        struct = StructType(_optional_inside(field))
        fresh = assign_fresh_schema_ids(struct, self._new_id)
        (added,) = fresh.fields
        return added

    def _type(self, have: IcebergType, want: IcebergType, name: str) -> IcebergType:
        if isinstance(have, StructType) and isinstance(want, StructType):
            return StructType(*self.fields(have.fields, want.fields, f"{name}."))
        if isinstance(have, ListType) and isinstance(want, ListType):
            element = self._type(have.element_type, want.element_type, f"{name}.element")
            return ListType(have.element_id, element, have.element_required)
        if isinstance(have, MapType) and isinstance(want, MapType):
            value = self._type(have.value_type, want.value_type, f"{name}.value")
            key = self._type(have.key_type, want.key_type, f"{name}.key")
            return MapType(have.key_id, key, have.value_id, value, have.value_required)
        if isinstance(have, PrimitiveType) and isinstance(want, PrimitiveType):
            return self._wider(have, want, name)
        return self._refuse(f"column {name} is {have}, not {want}")

    def _wider(self, have: PrimitiveType, want: PrimitiveType, name: str) -> IcebergType:
        if _promotes(want, have):
            return have
        if _promotes(have, want):
            return want
        return self._refuse(f"column {name} is {have}, which cannot become {want}")

    def _refuse(self, what: str) -> IcebergType:
        raise SchemaConflictError(what, where=self._where, hint=_GROW)


def _clash(exc: ValueError, where: str) -> SchemaConflictError:
    hint = "rename the column; a dot in a name can clash with a field of a struct"
    return SchemaConflictError(f"the columns clash: {exc}", where=where, hint=hint)


def _promotes(old: PrimitiveType, new: PrimitiveType) -> bool:
    """Iceberg's widenings; pyiceberg's ``promote`` forgets to compare the scale of decimals."""
    if isinstance(old, DecimalType) and isinstance(new, DecimalType):
        return old.scale == new.scale and old.precision <= new.precision
    return old == new or (type(old), type(new)) in _WIDENINGS


def _optional_inside(field: NestedField) -> NestedField:
    return _with_type(field, _optional(field.field_type))


def _optional(kind: IcebergType) -> IcebergType:
    """The type with optional list elements and map values; DuckDB cannot write required ones."""
    if isinstance(kind, StructType):
        return StructType(*(_optional_inside(f) for f in kind.fields))
    if isinstance(kind, ListType):
        return ListType(kind.element_id, _optional(kind.element_type), element_required=False)
    if isinstance(kind, MapType):
        value = _optional(kind.value_type)
        key = _optional(kind.key_type)
        return MapType(kind.key_id, key, kind.value_id, value, value_required=False)
    return kind


def _with_type(field: NestedField, kind: IcebergType) -> NestedField:
    return NestedField(
        field_id=field.field_id,
        name=field.name,
        field_type=kind,
        required=field.required,
        doc=field.doc,
    )


def _check_names(fields: Iterable[NestedField], where: str) -> None:
    seen: dict[str, str] = {}
    for field in fields:
        twin = seen.setdefault(field.name.lower(), field.name)
        if twin is not field.name:
            what = f"columns {twin} and {field.name} differ only in case"
            hint = "engines take them for one; rename one of them"
            raise SchemaConflictError(what, where=where, hint=hint)
        if not field.name:
            raise SchemaConflictError("a column has no name", where=where)


def _spelled(fields: Iterable[NestedField]) -> list[tuple[str, str, bool]]:
    """Fields by name and type with every id left out, to find a schema of the same shape."""
    return [(f.name, _type_text(f.field_type), f.required) for f in fields]


def _type_text(kind: IcebergType) -> str:
    if isinstance(kind, StructType):
        return f"struct<{_spelled(kind.fields)}>"
    if isinstance(kind, ListType):
        return f"list<{_type_text(kind.element_type)},{kind.element_required}>"
    if isinstance(kind, MapType):
        inner = f"{_type_text(kind.key_type)},{_type_text(kind.value_type)}"
        return f"map<{inner},{kind.value_required}>"
    return str(kind)


def _extends(schema: Schema, current: Schema) -> bool:
    """Whether every field of ``current`` has the same id in ``schema``."""
    ids = current.field_ids
    return all(schema.find_column_name(i) == current.find_column_name(i) for i in ids)


def _transform(text: str, where: str) -> Transform[object, object]:
    hint = "known: identity, year, month, day, hour, bucket[N], truncate[W]"
    try:
        transform = parse_transform(text)
    except (ValueError, ValidationError) as exc:
        raise SchemaConflictError(f"{text!r} is no transform", where=where, hint=hint) from exc
    if isinstance(transform, UnknownTransform):
        raise SchemaConflictError(f"{text!r} is no transform", where=where, hint=hint)
    return transform


def _partition_name(column: str, transform: Transform[object, object], taken: set[str]) -> str:
    text = str(transform)
    if text == "identity":
        return column
    name = f"{column}_{text.replace('[', '_').rstrip(']').replace('truncate', 'trunc')}"
    while name in taken:
        name += "_part"
    return name
