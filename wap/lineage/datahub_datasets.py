"""DataHub metadata of the two datasets of a run: what was read and what is published."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import datahub.metadata.schema_classes as m
from datahub.emitter import mce_builder as build
from datahub.emitter.mcp import MetadataChangeProposalWrapper
from datahub.specific.dataset import DatasetPatchBuilder

from wap.lineage.datahub_names import Names, shown
from wap.model import ColumnFact, RunFacts
from wap.pipeline import QUARANTINE

#: The first word of an Iceberg type's text, and what DataHub calls such a type.
_TYPES: dict[str, type[Any]] = {
    "boolean": m.BooleanTypeClass,
    "int": m.NumberTypeClass,
    "long": m.NumberTypeClass,
    "float": m.NumberTypeClass,
    "double": m.NumberTypeClass,
    "decimal": m.NumberTypeClass,
    "date": m.DateTypeClass,
    "time": m.TimeTypeClass,
    "timestamp": m.TimeTypeClass,
    "timestamptz": m.TimeTypeClass,
    "timestamp_ns": m.TimeTypeClass,
    "timestamptz_ns": m.TimeTypeClass,
    "fixed": m.BytesTypeClass,
    "binary": m.BytesTypeClass,
    "list": m.ArrayTypeClass,
    "map": m.MapTypeClass,
    "struct": m.RecordTypeClass,
}


def source(names: Names, facts: RunFacts) -> Iterator[MetadataChangeProposalWrapper]:
    """The input, as the run met it."""
    urn = names.source(facts)
    aspects: list[Any] = [
        m.StatusClass(removed=False),
        m.DatasetPropertiesClass(
            name=shown(facts.source_location), customProperties={"wap.kind": facts.source_kind}
        ),
    ]
    if facts.source_columns:
        aspects.append(_schema(urn, shown(facts.source_location), facts.source_columns))
    yield from MetadataChangeProposalWrapper.construct_many(urn, aspects)


def table(names: Names, facts: RunFacts) -> Iterator[Any]:
    """The table as this run published it; never that of a run that published nothing.

    Properties, owners and lineage are patches: other sources of metadata keep what they wrote.
    """
    urn, result = names.table(facts), facts.result
    aspects: list[Any] = [m.StatusClass(removed=False)]
    if facts.columns:
        aspects.append(_schema(urn, result.table, facts.columns))
    aspects.append(_operation(facts))
    yield from MetadataChangeProposalWrapper.construct_many(urn, aspects)
    patch = DatasetPatchBuilder(urn)
    for key, value in _properties(facts).items():
        patch.add_custom_property(key, value)
    for owner in owners(facts):
        patch.add_owner(owner)
    kind = m.DatasetLineageTypeClass.COPY
    patch.add_upstream_lineage(m.UpstreamClass(dataset=names.source(facts), type=kind))
    for column in column_lineage(names, facts):
        patch.add_fine_grained_lineage(column)
    yield from patch.build()


def aside(names: Names, facts: RunFacts, columns: Sequence[ColumnFact]) -> Iterator[Any]:
    """The quarantine table as this run published it, beside the table itself.

    Args:
        columns: its own.
    """
    urn, name = names.aside(facts), f"{facts.result.table}{QUARANTINE}"
    aspects: list[Any] = [m.StatusClass(removed=False), _schema(urn, name, columns)]
    yield from MetadataChangeProposalWrapper.construct_many(urn, aspects)
    patch = DatasetPatchBuilder(urn)
    patch.add_custom_property("wap.run", facts.run_id)
    patch.add_custom_property("wap.pipeline", facts.result.pipeline)
    for owner in owners(facts):
        patch.add_owner(owner)
    if names.source(facts) != urn:  # a replay reads it itself
        kind = m.DatasetLineageTypeClass.COPY
        patch.add_upstream_lineage(m.UpstreamClass(dataset=names.source(facts), type=kind))
        for column in column_lineage(names, facts, urn, columns):
            patch.add_fine_grained_lineage(column)
    yield from patch.build()


def column_lineage(
    names: Names,
    facts: RunFacts,
    downstream: str | None = None,
    columns: Sequence[ColumnFact] | None = None,
) -> list[m.FineGrainedLineageClass]:
    """Which input column each table column comes from; a run keeps the names.

    Args:
        downstream, columns: another table than the published one, and its columns.
    """
    upstream, downstream = names.source(facts), downstream or names.table(facts)
    known = {c.name for c in facts.source_columns}
    return [
        m.FineGrainedLineageClass(
            upstreamType=m.FineGrainedLineageUpstreamTypeClass.FIELD_SET,
            downstreamType=m.FineGrainedLineageDownstreamTypeClass.FIELD,
            upstreams=[build.make_schema_field_urn(upstream, c.name)],
            downstreams=[build.make_schema_field_urn(downstream, c.name)],
            confidenceScore=1.0,
        )
        for c in (facts.columns if columns is None else columns)
        if c.name in known
    ]


def owners(facts: RunFacts) -> list[m.OwnerClass]:
    """Who answers for the data: an address is a person, anything else a group."""
    return [
        m.OwnerClass(
            owner=build.make_user_urn(o) if "@" in o else build.make_group_urn(o),
            type=m.OwnershipTypeClass.DATAOWNER,
        )
        for o in facts.owners
    ]


def _properties(facts: RunFacts) -> dict[str, str]:
    """What the last publish said of itself, under keys of ours."""
    known = {
        "run": facts.run_id,
        "pipeline": facts.result.pipeline,
        "snapshot": facts.result.snapshot.after,
        "contract": facts.contract_digest,
        "report": facts.report_digest,
        "location": facts.location,
        "contact": facts.contact,
    }
    return {f"wap.{key}": str(value) for key, value in known.items() if value is not None}


def _operation(facts: RunFacts) -> m.OperationClass:
    at = build.make_ts_millis(facts.ended_at or facts.started_at)
    result, insert = facts.result, facts.write_mode == "append"
    snapshots = {"before": result.snapshot.before, "after": result.snapshot.after}
    return m.OperationClass(
        timestampMillis=at,
        lastUpdatedTimestamp=at,
        operationType=m.OperationTypeClass.INSERT if insert else m.OperationTypeClass.CUSTOM,
        customOperationType=None if insert else facts.write_mode.upper(),
        numAffectedRows=result.rows.published,
        customProperties={
            "wap.run": facts.run_id,
            **{f"wap.snapshot.{k}": str(v) for k, v in snapshots.items() if v is not None},
        },
    )


def _schema(urn: str, name: str, columns: Sequence[ColumnFact]) -> m.SchemaMetadataClass:
    text = "\n".join(f"{c.name}: {c.type}" for c in columns)
    return m.SchemaMetadataClass(
        schemaName=name,
        platform=urn.removeprefix("urn:li:dataset:(").partition(",")[0],
        version=0,
        hash=hashlib.sha256(text.encode()).hexdigest(),
        platformSchema=m.OtherSchemaClass(rawSchema=text),
        fields=[_field(c) for c in columns],
    )


def _field(column: ColumnFact) -> m.SchemaFieldClass:
    # The plain name as path (DataHub's v1), since lineage of columns is shown for those only.
    first = column.type.partition("<")[0].partition("(")[0].partition("[")[0].strip()
    return m.SchemaFieldClass(
        fieldPath=column.name,
        type=m.SchemaFieldDataTypeClass(type=_TYPES.get(first, m.StringTypeClass)()),
        nativeDataType=column.type,
        nullable=True,
        globalTags=tags(column.tags),
    )


def tags(names: Iterable[str]) -> m.GlobalTagsClass | None:
    """Tags of a column; None when there are none."""
    found = [m.TagAssociationClass(tag=build.make_tag_urn(n)) for n in names]
    return m.GlobalTagsClass(tags=found) if found else None
