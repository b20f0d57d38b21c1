"""The schema a run stages: what is declared, what is published and what the input holds, as one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from itertools import count

import pyarrow as pa
from pyiceberg.exceptions import ValidationError
from pyiceberg.expressions import parser
from pyiceberg.expressions.visitors import bind
from pyiceberg.schema import Schema
from pyiceberg.transforms import parse_transform
from pyiceberg.types import IcebergType, NestedField, PrimitiveType

from wap.complaints import suggestion
from wap.errors import BatchRefusedError, ConfigError
from wap.keyed.columns import with_own, without_marker, without_own
from wap.pipeline import Pipeline, split_transform
from wap.type_texts import parse_type, type_text
from wap.types import all_null, from_arrow, schema_of
from wap.widening import Shape, grown, reads_as, widens


def desired_schema(
    pipeline: Pipeline, inferred: pa.Schema, published: Schema | None
) -> tuple[Schema, tuple[str, ...]]:
    """The schema of the candidate, and the columns of it that the source is asked for.

    Declared types override inferred ones. ``on_change`` is about the table as it is published:
    for the first load the input's columns are the table's, whatever it says.

    Args:
        pipeline: what is declared.
        inferred: the input's schema, in the input's column order.
        published: the table's schema as consumers see it; None when there is no table.

    Raises:
        BatchRefusedError: the batch does not fit; one difference a line: ``+`` a column the
            table does not have, ``-`` one the input does not have, ``~`` another type.
        ConfigError: the pipeline names a column that does not exist, or asks for what Iceberg
            cannot do.
    """
    _refuse_lookalikes(inferred.names, pipeline)
    inferred = without_marker(pipeline, inferred, published)
    wanted = _Wanted(pipeline, inferred, without_own(pipeline, inferred, published))
    wanted.refuse_differences()
    schema = with_own(pipeline, schema_of(wanted.fields()), published)
    _check_named_columns(pipeline, schema)
    return schema, tuple(f.name for f in schema.fields if f.name in wanted.found)


class _Wanted:
    """The three sides of one question, and what follows from them."""

    def __init__(self, pipeline: Pipeline, inferred: pa.Schema, published: Schema | None) -> None:
        self.pipeline = pipeline
        self.policy = pipeline.columns.on_change
        self.where = f"pipelines/{pipeline.name}.yml"
        self.published = {f.name: f for f in published.fields} if published else {}
        self.is_new = published is None
        self.untyped = frozenset(all_null(inferred))
        ids = count(1)
        self.declared = {
            name: parse_type(text, ids) for name, text in pipeline.columns.columns.items()
        }
        self.found = self._found(inferred)
        self.required = frozenset(pipeline.columns.required)

    def _found(self, inferred: pa.Schema) -> dict[str, IcebergType]:
        """The input's types; one that is read into a declared primitive need not be Iceberg's."""
        types: dict[str, IcebergType] = {}
        for field in inferred:
            said = self.declared.get(field.name)
            if isinstance(said, PrimitiveType):
                types[field.name] = said
            elif self._is_asked_for(field.name):
                types[field.name] = from_arrow(pa.schema([field])).fields[0].field_type
        return types

    def _is_asked_for(self, name: str) -> bool:
        known = name in self.published or name in self.declared
        return known or self.is_new or self.policy != "ignore"

    def refuse_differences(self) -> None:
        """Raise when the batch does not fit the table."""
        differences = [*self._missing(), *self._extra(), *self._retyped()]
        if differences:
            is_one = len(differences) == 1
            raise BatchRefusedError(
                f"the input does not fit the table {self.pipeline.table}: "
                f"{len(differences)} difference{'' if is_one else 's'}",
                differences=tuple(differences),
                where=self.where,
                hint="if the table shall change: schema: {on_change: evolve}, or declare the types",
            )

    def _missing(self) -> Iterable[str]:
        for name, kind in self._known().items():
            if name in self.found:
                continue
            if self.policy == "strict":
                yield f"- {name}: {type_text(kind)} (missing in the input)"
            elif name in self.required or (
                name in self.published and self.published[name].required
            ):
                yield f"- {name}: {type_text(kind)} (missing in the input, and never null)"

    def _is_required_there(self, name: str) -> bool:
        return name in self.published and self.published[name].required

    def _extra(self) -> Iterable[str]:
        if self.policy != "strict" or self.is_new:
            return
        for name, kind in self.found.items():
            if name not in self._known():
                yield f"+ {name}: {type_text(kind)} (not in the table)"

    def _retyped(self) -> Iterable[str]:
        for name, field in self.published.items():
            if name not in self.declared and not self._fits(name, field.field_type):
                yield f"~ {name}: {type_text(field.field_type)} → {type_text(self.found[name])}"
        for name, kind in self.declared.items():
            # A declared type overrides the input's, but must not silently lose its fields.
            if not isinstance(kind, PrimitiveType) and not self._fits(name, kind, guessed=True):
                yield f"~ {name}: {type_text(kind)} → {type_text(self.found[name])}"

    def _fits(self, name: str, have: IcebergType, *, guessed: bool = False) -> bool:
        found = self.found.get(name)
        if found is None or name in self.untyped:
            return True
        if self.policy == "evolve" and name not in self.declared:
            have = grown(have, found)
        guessed = guessed or self.pipeline.source.is_text
        shape = Shape(may_drop=self.policy == "ignore", may_lack=self.policy != "strict")
        return reads_as(found, have, guessed=guessed, shape=shape)

    def _known(self) -> dict[str, IcebergType]:
        """Columns that the table has, or that the pipeline declares."""
        return {**{n: f.field_type for n, f in self.published.items()}, **self.declared}

    def fields(self) -> list[NestedField]:
        """The candidate's columns: the table's first, then declared ones, then the input's."""
        taken = (n for n in (*self.found, *self.declared) if self._takes(n))
        names = dict.fromkeys((*self.published, *taken))
        return [self._field(name) for name in names]

    def _takes(self, name: str) -> bool:
        return name in self.declared or self.is_new or self.policy == "evolve"

    def _field(self, name: str) -> NestedField:
        have = self.published.get(name)
        if have is None:
            kind = self.declared[name] if name in self.declared else self.found[name]
            return NestedField(0, name, kind, required=self._may_require(name))
        kind = have.field_type
        if name in self.declared:
            kind = self._widened(name, kind, self.declared[name])
        elif name in self.found and name not in self.untyped and self.policy == "evolve":
            kind = grown(kind, self.found[name], guessed=self.pipeline.source.is_text)
        if name in self.required and not have.required:
            raise self._too_late(name)
        return NestedField(0, name, kind, required=have.required, doc=have.doc)

    def _may_require(self, name: str) -> bool:
        if name in self.required and not self.is_new:
            raise self._too_late(name)
        return name in self.required

    def _widened(self, name: str, have: IcebergType, declared: IcebergType) -> IcebergType:
        if not widens(have, declared):
            raise ConfigError(
                f"column {name!r} is published as {type_text(have)} and declared as "
                f"{type_text(declared)}; Iceberg can only widen a type",
                where=self.where,
                hint=f"declare {type_text(have)}, or load into a new table",
            )
        return declared

    def _too_late(self, name: str) -> ConfigError:
        return ConfigError(
            f"column {name!r} cannot become required: the table is published without that",
            where=self.where,
            hint="guard it by a `missing` check in the contract instead",
        )


def _refuse_lookalikes(names: Collection[str], pipeline: Pipeline) -> None:
    """Columns that SQL cannot tell apart would be audited and queried one for the other."""
    folded = Counter(name.casefold() for name in names)
    alike = sorted(name for name in names if folded[name.casefold()] > 1)
    if alike:
        raise BatchRefusedError(
            f"columns whose names differ only in case, or not at all: {', '.join(alike)}",
            differences=tuple(f"+ {name} (its name is there already)" for name in alike),
            where=f"pipelines/{pipeline.name}.yml",
            hint="SQL does not tell them apart; rename one in the input",
        )


def _check_named_columns(pipeline: Pipeline, schema: Schema) -> None:
    """Every column that the pipeline names must be there, and fit what it is named for."""
    names = [f.name for f in schema.fields]
    where = f"pipelines/{pipeline.name}.yml"
    said = {
        "schema.required": pipeline.columns.required,
        "write.keys": pipeline.write.keys,
        "write.order_by": [pipeline.write.order_by] if pipeline.write.order_by else [],
        "write.interval": [pipeline.write.interval] if pipeline.write.interval else [],
        "partitioning": [split_transform(t)[0] for t in pipeline.partitioning],
        "tags": list(pipeline.tags),
    }
    for key, columns in said.items():
        for column in columns:
            if column not in names:
                raise ConfigError(
                    f"{key} names a column that the table does not have: {column!r}",
                    where=where,
                    hint=suggestion(column, names),
                )
    _refuse_lookalikes(names, pipeline)
    _check_transforms(pipeline, schema)
    _check_filter(pipeline, schema)


def _check_transforms(pipeline: Pipeline, schema: Schema) -> None:
    for text in pipeline.partitioning:
        column, transform = split_transform(text)
        kind = schema.find_field(column).field_type
        if not parse_transform(transform).can_transform(kind):
            raise ConfigError(
                f"partitioning: {text} is not possible, {column!r} is {type_text(kind)}",
                where=f"pipelines/{pipeline.name}.yml",
                hint="year, month, day and hour take dates and timestamps; bucket most types",
            )


def _check_filter(pipeline: Pipeline, schema: Schema) -> None:
    if pipeline.write.where is None:
        return
    try:
        bind(schema, parser.parse(pipeline.write.where), case_sensitive=True)
    except (ValueError, TypeError, ValidationError) as exc:
        raise ConfigError(
            f"write.where does not fit the table: {pipeline.write.where!r}: {exc}",
            where=f"pipelines/{pipeline.name}.yml",
            hint=f"columns: {', '.join(f.name for f in schema.fields)}",
        ) from exc
