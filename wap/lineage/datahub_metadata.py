"""All DataHub metadata of one run, in one list; the same facts give the same list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from wap.lineage import datahub_checks, datahub_datasets, datahub_runs
from wap.lineage.datahub_names import Names
from wap.model import ColumnFact, RunFacts


def metadata(names: Names, facts: RunFacts, aside: Sequence[ColumnFact] = ()) -> list[Any]:
    """Change proposals as DataHub's emitters and its file format take them.

    Args:
        aside: the columns of the quarantine table; () where there is none.
    """
    return list(_proposals(names, facts, aside))


def _proposals(names: Names, facts: RunFacts, aside: Sequence[ColumnFact]) -> Iterator[Any]:
    yield from datahub_runs.platforms()
    if not datahub_runs.replays(facts):
        yield from datahub_datasets.source(names, facts)
    if datahub_runs.published(facts):
        yield from datahub_datasets.table(names, facts)
        if datahub_runs.sets_aside(facts):
            yield from datahub_datasets.aside(names, facts, aside)
    yield from datahub_runs.pipeline(names, facts, aside)
    yield from datahub_runs.run(names, facts)
    yield from datahub_checks.assertions(names, facts)
    yield from datahub_checks.incident(names, facts)
