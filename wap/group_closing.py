"""The end of a group's run: one page that tells of all its tables and leads to theirs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from checks.masking import difference
from checks.render import MemberStory, Story, write_report
from wap.homes import RunHome
from wap.model import RunResult
from wap.project import Project
from wap.steps import RunRef


def close_summary(
    run: RunRef, members: Sequence[RunRef], home: RunHome, project: Project, result: RunResult
) -> RunResult:
    """Write the summary and remove the group's own folder; with nothing new there is no page.

    Args:
        run: the group's.
        members: those of its tables; their folders are still there.
        home: where the folders are.
        project: where the page goes.
        result: what the group came to.
    """
    folder = home.folder(run.run_id)
    if not result.nothing_new:
        hidden = [_masked(home, member) for member in members]
        steps = tuple((step.name, step.seconds) for step in folder.steps())
        story = _story(run, result, frozenset().union(*hidden), steps)
        told = tuple(map(_member, members, result.members, hidden))
        story = story.model_copy(update={"members": told})
        page = write_report(project.reports / run.run_id, None, story)
        home.keep_report(page.parent)
        result = result.model_copy(update={"report": str(page.relative_to(project.root))})
    folder.remove()
    return result


def _masked(home: RunHome, member: RunRef) -> frozenset[str]:
    """The columns whose values may not be shown."""
    folder = home.folder(member.run_id)
    if not folder.has_plan(member.round):
        return frozenset()
    return folder.plan(member.round).pipeline.masked


def _story(
    run: RunRef, result: RunResult, masked: frozenset[str], steps: tuple[tuple[str, float], ...]
) -> Story:
    return Story(
        pipeline=run.request.pipeline,
        run_id=run.run_id,
        table=f"group {run.request.pipeline}",
        ending=result.ending.value,
        reason=difference(result.reason, masked),
        rows=result.rows.model_dump(),
        steps=steps,
        started_at=datetime.now(UTC) - timedelta(seconds=result.seconds),
        seconds=result.seconds,
        warnings=(*result.warnings, *result.incomplete),
    )


def _member(run: RunRef, result: RunResult, masked: frozenset[str]) -> MemberStory:
    return MemberStory(
        run_id=run.run_id,
        table=result.table or result.pipeline,
        ending="nothing_new" if result.nothing_new else result.ending.value,
        reason=difference(result.reason, masked),
        rows=result.rows.model_dump(),
        checks=result.checks.model_dump(),
        before=result.snapshot.before,
        after=result.snapshot.after,
        has_page=bool(result.table) and not result.nothing_new,
    )
