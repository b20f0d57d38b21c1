"""Columns that a table has and its input does not, and the other way round: validity, marker."""

from __future__ import annotations

from typing import Protocol

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BooleanType,
    DateType,
    IcebergType,
    NestedField,
    PrimitiveType,
    TimestampType,
    TimestamptzType,
)

from wap.complaints import suggestion
from wap.errors import BatchRefusedError, ConfigError
from wap.pipeline import Pipeline
from wap.type_texts import type_text
from wap.types import schema_of

#: From when to when a version is valid, ``[from, to)``; null: it has no end yet.
VALID_FROM, VALID_TO = "valid_from", "valid_to"
#: Whether it is the version that has no end on either axis.
IS_CURRENT = "is_current"
#: From when to when the table said so.
RECORDED_FROM, RECORDED_TO = "recorded_from", "recorded_to"

_VALIDITY = (VALID_FROM, VALID_TO, IS_CURRENT)
_RECORDED = (RECORDED_FROM, RECORDED_TO)
_TIMES = (DateType, TimestampType, TimestamptzType)


class _Said(Protocol):
    """What a pipeline or a run's rule says about history."""

    @property
    def mode(self) -> str: ...

    @property
    def recorded(self) -> bool: ...

    @property
    def order_by(self) -> str | None: ...


def history_columns(said: _Said) -> tuple[str, ...]:
    """The columns of the table that a run writes itself, in their order; () but for history."""
    if said.mode != "history":
        return ()
    own = (*_VALIDITY, *(_RECORDED if said.recorded else ()))
    return tuple(name for name in own if name != said.order_by)


def without_marker(pipeline: Pipeline, inferred: pa.Schema, published: Schema | None) -> pa.Schema:
    """The input's columns without the one that marks deletes.

    Raises:
        BatchRefusedError: the input does not have it.
        ConfigError: the table has it.
    """
    marks, where = pipeline.write.delete, f"pipelines/{pipeline.name}.yml"
    if marks is None:
        return inferred
    if published is not None and marks.column in published.column_names:
        raise ConfigError(
            f"write.delete names a column of the table: {marks.column!r}",
            where=where,
            hint="what marks deletes is not stored; load into a new table, or rename it",
        )
    if marks.column not in inferred.names:
        raise BatchRefusedError(
            f"the input lacks the column that marks deletes: {marks.column!r}",
            differences=(f"- {marks.column}: it marks deletes (missing in the input)",),
            where=where,
            hint=suggestion(marks.column, inferred.names),
        )
    return inferred.remove(inferred.get_field_index(marks.column))


def without_own(pipeline: Pipeline, inferred: pa.Schema, published: Schema | None) -> Schema | None:
    """The published columns that come from the input.

    Raises:
        ConfigError: the input has a column that a run writes itself; or the published table
            lacks one, or has one too many.
    """
    own, where = history_columns(pipeline.write), f"pipelines/{pipeline.name}.yml"
    if taken := [name for name in own if name in inferred.names]:
        raise ConfigError(
            f"the input has a column that write mode history writes itself: {taken[0]!r}",
            where=where,
            hint="rename it in the input; when a version begins is said by write: {order_by: …}",
        )
    if published is None or not own:
        return published
    there = {f.name for f in published.fields}
    if (missing := [n for n in own if n not in there]) or (
        not pipeline.write.recorded and RECORDED_FROM in there
    ):
        raise ConfigError(
            f"the table is published without the column {missing[0]!r}"
            if missing
            else f"the table is published with {RECORDED_FROM!r}, and recorded is not asked for",
            where=where,
            hint="which time axes a table has is settled by its first load; load into a new table",
        )
    return Schema(*(f for f in published.fields if f.name not in own))


def with_own(pipeline: Pipeline, schema: Schema, published: Schema | None) -> Schema:
    """The schema with the columns that a run writes itself, in the published order.

    Raises:
        ConfigError: ``order_by`` names a column that does not say a time.
    """
    own = history_columns(pipeline.write)
    if not own:
        return schema
    fields = {f.name: f for f in schema.fields}
    for name in own:
        fields[name] = NestedField(0, name, _type_of(name, pipeline, schema), required=False)
    first = [f.name for f in published.fields] if published else []
    return schema_of([fields[name] for name in dict.fromkeys((*first, *fields))])


def _type_of(name: str, pipeline: Pipeline, schema: Schema) -> IcebergType:
    if name == IS_CURRENT:
        return BooleanType()
    axis = pipeline.write.order_by
    if name in _RECORDED or axis is None or axis not in schema.column_names:
        return TimestamptzType()
    kind = schema.find_field(axis).field_type
    if not isinstance(kind, PrimitiveType) or not isinstance(kind, _TIMES):
        raise ConfigError(
            f"write.order_by says from when a version is valid, but {axis!r} is {type_text(kind)}",
            where=f"pipelines/{pipeline.name}.yml",
            hint="history needs a date or a timestamp there; without order_by it is the run's time",
        )
    return kind
