"""DataHub metadata of a run itself: pipeline, job, one execution and how it went."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import datahub.metadata.schema_classes as m
from datahub.emitter import mce_builder as build
from datahub.emitter.mcp import MetadataChangeProposalWrapper

from wap.lineage.datahub_datasets import column_lineage, owners
from wap.lineage.datahub_names import JOB, ORCHESTRATOR, Names
from wap.model import ColumnFact, Ending, RunFacts
from wap.quarantine.table import REPLAY

#: Who DataHub shall say wrote this.
ACTOR = "urn:li:corpuser:wap"


def platforms() -> Iterator[MetadataChangeProposalWrapper]:
    """Names of the platforms that DataHub does not know by itself."""
    for name, shown in ((ORCHESTRATOR, "Temporal"), ("soda", "Soda"), ("wap", "WAP")):
        info = m.DataPlatformInfoClass(
            name=name,
            type=m.PlatformTypeClass.OTHERS,
            datasetNameDelimiter=".",
            displayName=shown,
        )
        yield MetadataChangeProposalWrapper(
            entityUrn=build.make_data_platform_urn(name), aspect=info
        )


def pipeline(
    names: Names, facts: RunFacts, aside: Sequence[ColumnFact] = ()
) -> Iterator[MetadataChangeProposalWrapper]:
    """The pipeline and the one job it has.

    Args:
        aside: the columns of the quarantine table; () where there is none.
    """
    owned: list[Any] = [m.OwnershipClass(owners=owners(facts))] if facts.owners else []
    contact = {"wap.contact": facts.contact} if facts.contact else {}
    about = {"wap.definition": facts.pipeline_digest, "wap.write_mode": facts.write_mode, **contact}
    flow = m.DataFlowInfoClass(
        name=facts.result.pipeline,
        customProperties=about,
        description=f"Writes, audits and publishes {facts.result.table}.",
    )
    job = m.DataJobInfoClass(name=JOB, type="COMMAND", flowUrn=names.flow(facts))
    yield from MetadataChangeProposalWrapper.construct_many(names.flow(facts), [flow, *owned])
    # What a replay reads is not what the job reads.
    edges = [] if replays(facts) else [_edges(names, facts, aside)]
    yield from MetadataChangeProposalWrapper.construct_many(names.job(facts), [job, *edges, *owned])


def _edges(names: Names, facts: RunFacts, aside: Sequence[ColumnFact]) -> m.DataJobInputOutputClass:
    columns = column_lineage(names, facts)
    if aside:
        columns += column_lineage(names, facts, names.aside(facts), aside)
    return m.DataJobInputOutputClass(
        inputDatasets=[names.source(facts)],
        outputDatasets=[names.table(facts), *([names.aside(facts)] if aside else [])],
        fineGrainedLineages=columns,
    )


def run(names: Names, facts: RunFacts) -> Iterator[MetadataChangeProposalWrapper]:
    """The execution: when it started, what it read and published, how it ended."""
    started = build.make_ts_millis(facts.started_at)
    outputs = [names.table(facts)] if published(facts) else []
    if published(facts) and sets_aside(facts):
        outputs.append(names.aside(facts))
    aspects: list[Any] = [
        m.DataProcessInstancePropertiesClass(
            name=facts.run_id,
            created=m.AuditStampClass(time=started, actor=ACTOR),
            type=m.DataProcessTypeClass.BATCH_SCHEDULED,
            customProperties=_figures(facts),
        ),
        m.DataProcessInstanceRelationshipsClass(
            upstreamInstances=[], parentTemplate=names.job(facts)
        ),
        m.DataProcessInstanceInputClass(inputs=[names.source(facts)]),
        m.DataProcessInstanceOutputClass(outputs=outputs),
        m.DataProcessInstanceRunEventClass(
            timestampMillis=started, status=m.DataProcessRunStatusClass.STARTED
        ),
    ]
    if facts.ended_at is not None:
        aspects.append(_end(facts, started, build.make_ts_millis(facts.ended_at)))
    yield from MetadataChangeProposalWrapper.construct_many(names.run(facts), aspects)


def published(facts: RunFacts) -> bool:
    """Whether the run changed what consumers see."""
    return facts.result.ending is Ending.PUBLISHED and not facts.result.nothing_new


def replays(facts: RunFacts) -> bool:
    """Whether the run read rows that wait in quarantine."""
    return facts.source_kind == REPLAY


def sets_aside(facts: RunFacts) -> bool:
    """Whether the run changed the quarantine table: rows were set aside, or marked as replayed."""
    return facts.result.quarantine is not None or replays(facts)


def _end(facts: RunFacts, started: int, ended: int) -> m.DataProcessInstanceRunEventClass:
    kinds = m.RunResultTypeClass
    good = kinds.SKIPPED if facts.result.nothing_new else kinds.SUCCESS
    kind = good if facts.result.ending is Ending.PUBLISHED else kinds.FAILURE
    return m.DataProcessInstanceRunEventClass(
        timestampMillis=ended,
        status=m.DataProcessRunStatusClass.COMPLETE,
        result=m.DataProcessInstanceRunResultClass(
            type=kind, nativeResultType=facts.result.ending.value
        ),
        durationMillis=ended - started,
    )


def _figures(facts: RunFacts) -> dict[str, str]:
    result = facts.result
    figures: dict[str, object] = {
        "ending": result.ending.value,
        "reason": result.reason or None,
        "waiver": result.waiver.text if result.waiver else None,
        **{f"rows.{name}": count for name, count in result.rows.model_dump().items()},
        "snapshot.before": result.snapshot.before,
        "snapshot.after": result.snapshot.after,
        **{f"checks.{name}": count for name, count in result.checks.model_dump().items()},
        **{f"seconds.{step.name}": f"{step.seconds:.3f}" for step in facts.steps},
    }
    return {f"wap.{key}": str(value) for key, value in figures.items() if value is not None}
