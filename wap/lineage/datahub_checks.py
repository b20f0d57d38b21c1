"""DataHub metadata of an audit: one assertion a check with its result, and an incident."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import datahub.metadata.schema_classes as m
from datahub.emitter import mce_builder as build
from datahub.emitter.mcp import MetadataChangeProposalWrapper

from wap.lineage.datahub_names import Names, platform_of
from wap.lineage.datahub_runs import ACTOR
from wap.model import CheckFact, Ending, RunFacts

#: Outcomes as DataHub says them. A warning did fail; that it does not block is in the result.
_RESULTS = {
    "passed": m.AssertionResultTypeClass.SUCCESS,
    "failed": m.AssertionResultTypeClass.FAILURE,
    "warned": m.AssertionResultTypeClass.FAILURE,
    "not_evaluated": m.AssertionResultTypeClass.ERROR,
}


def assertions(names: Names, facts: RunFacts) -> Iterator[MetadataChangeProposalWrapper]:
    """Every check of the audit, and what became of it in this run."""
    for check in facts.checks:
        aspects: list[Any] = [
            _definition(names, facts, check),
            m.DataPlatformInstanceClass(platform=build.make_data_platform_urn(platform_of(check))),
            _result(names, facts, check),
        ]
        yield from MetadataChangeProposalWrapper.construct_many(names.check(facts, check), aspects)


def incident(names: Names, facts: RunFacts) -> Iterator[MetadataChangeProposalWrapper]:
    """That a batch was rejected; nothing for any other ending."""
    if facts.result.ending is not Ending.REJECTED:
        return
    stamp = m.AuditStampClass(
        time=build.make_ts_millis(facts.ended_at or facts.started_at), actor=ACTOR
    )
    info = m.IncidentInfoClass(
        type=m.IncidentTypeClass.CUSTOM,
        customType="WAP_REJECTED",
        entities=[names.table(facts)],
        title=f"{facts.result.table}: a batch was rejected",
        description=f"{facts.result.reason}\n\nRun {facts.run_id}; consumers still see the last"
        " published snapshot.",
        status=m.IncidentStatusClass(state=m.IncidentStateClass.ACTIVE, lastUpdated=stamp),
        source=m.IncidentSourceClass(type=m.IncidentSourceTypeClass.MANUAL),
        created=stamp,
    )
    yield MetadataChangeProposalWrapper(entityUrn=names.incident(facts), aspect=info)


def _definition(names: Names, facts: RunFacts, check: CheckFact) -> m.AssertionInfoClass:
    table = names.table(facts)
    return m.AssertionInfoClass(
        type=m.AssertionTypeClass.CUSTOM,
        customAssertion=m.CustomAssertionInfoClass(
            type=f"{platform_of(check)}.{check.kind}",
            entity=table,
            field=build.make_schema_field_urn(table, check.column) if check.column else None,
            logic=check.expected,
        ),
        source=m.AssertionSourceClass(type=m.AssertionSourceTypeClass.EXTERNAL),
        description=check.title,
        customProperties={"wap.check": check.name, "wap.blocking": str(check.blocking).lower()},
    )


def _result(names: Names, facts: RunFacts, check: CheckFact) -> m.AssertionRunEventClass:
    return m.AssertionRunEventClass(
        timestampMillis=build.make_ts_millis(facts.ended_at or facts.started_at),
        runId=facts.run_id,
        asserteeUrn=names.table(facts),
        assertionUrn=names.check(facts, check),
        status=m.AssertionRunStatusClass.COMPLETE,
        result=m.AssertionResultClass(
            type=_RESULTS[check.outcome],
            unexpectedCount=check.failing_rows,
            actualAggValue=check.value,
            nativeResults={
                "outcome": check.outcome,
                "blocking": str(check.blocking).lower(),
                "expected": check.expected,
                "measured": check.measured,
            },
        ),
    )
