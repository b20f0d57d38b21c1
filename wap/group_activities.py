"""What the run of a group does as one, done."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from temporalio import activity

from catalog.errors import UnauditedError
from catalog.refs import AuditedHead
from checks.report import Report
from wap.activities import Activities
from wap.group_closing import close_summary
from wap.group_steps import GroupSteps, Ready
from wap.groups import check_able
from wap.model import RunResult, SnapshotMove, StepFacts
from wap.steps import RunRef

_step = activity.defn(no_thread_cancel_exception=True)


@dataclass(frozen=True)
class GroupActivities(Activities, GroupSteps):
    """The steps of a project's runs, those of groups among them."""

    def all(self) -> list[Callable[..., Any]]:
        """The steps, as a worker takes them."""
        return [*super().all(), *(getattr(self, name) for name in GroupSteps.__abstractmethods__)]

    def record(self, run_id: str, facts: StepFacts) -> None:
        """Note an attempt's facts in the run's folder, which the last step removes."""
        if facts.name != GroupSteps.close_group.__name__:
            super().record(run_id, facts)

    @_step
    def check_group(self, run: RunRef, members: list[RunRef]) -> None:
        tables = [self._pinned(member).pipeline.table_name for member in members]
        check_able(self.catalog, run.request.pipeline, tables)

    @_step
    def publish_group(self, run: RunRef, members: list[Ready]) -> list[SnapshotMove]:  # noqa: ARG002 - the first argument of every step
        heads = [self._heads(member.run, member.audited) for member in members]
        check_beside([own for own, *_ in heads], [self._report(member) for member in members])
        for member in members:
            self._refuse_done(member.run)
        every = [head for those in heads for head in those]
        published = dict(zip((h.table for h in every), self.catalog.publish(every), strict=True))
        return [
            SnapshotMove(before=own.expected, after=published[own.table].id) for own, *_ in heads
        ]

    @_step
    def close_group(self, run: RunRef, members: list[RunRef], result: RunResult) -> RunResult:
        return close_summary(run, members, self.home, self.project, result)

    def _report(self, member: Ready) -> Report:
        return self._folder(member.run.run_id).report(member.audited.report_digest)


def check_beside(heads: Sequence[AuditedHead], reports: Sequence[Report]) -> None:
    """What each audit saw of the tables beside it is what is published with it (law 2).

    Raises:
        UnauditedError: an audit looked at another snapshot of one of them.
    """
    published = {str(head.table): head.head for head in heads}
    for head, report in zip(heads, reports, strict=True):
        for table, seen in report.neighbours:
            if published.get(table, seen) != seen:
                raise UnauditedError(
                    f"its audit looked at snapshot {seen} of {table}, not at {published[table]}",
                    where=f"{head.table} on {head.branch}",
                    hint="nothing was published; run the group again",
                )
