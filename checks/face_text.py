"""The report's face in a terminal: plain text, no colour, one check a line."""

from __future__ import annotations

from collections.abc import Iterator

from checks.report import CheckResult, Outcome, Report
from checks.showing import duration, ordered, rows, visible
from checks.story import ENDINGS, OUTCOMES, Story, shown_ending, verdict

_BOOKS = ("read", "staged", "quarantined", "deduplicated", "discarded", "published")
_BY_KEY = ("inserted", "updated", "unchanged", "deleted")


def text_of(report: Report | None, story: Story | None) -> str:
    """The whole report as text that ends with a line break."""
    lines = [*(_run(story, report) if story else ()), *_audit(report, story)]
    return visible("\n".join(lines)) + "\n"


def _run(story: Story, report: Report | None) -> Iterator[str]:
    name, symbol, meaning = ENDINGS.get(shown_ending(story, report), (story.ending, "?", ""))
    yield f"{symbol} {name}: {story.table} (run {story.run_id})"
    yield f"  {story.reason or meaning}"
    for member in story.members:
        yield f"  {member.shown}: {member.table} ({member.moved}) [{member.run_id}]"
        yield f"      {member.counted}{f'; {member.reason}' if member.reason else ''}"
    if not story.members:
        yield from _what_consumers_see(story)
    told = [k for k in _BOOKS if k in story.rows] + [k for k in _BY_KEY if story.rows.get(k)]
    books = ", ".join(f"{story.rows[k]:,} {k}" for k in told)
    if books:
        yield f"  rows           {books}"
    if story.aside:
        yield f"  set aside      {story.aside.shown}, because of"
        yield from (f"      {rows(count)}: {title}" for title, count in story.aside.checks)
    yield f"  took           {duration(story.seconds)}"
    yield from (f"  warning: {w}" for w in story.warnings)
    if story.how_to_decide:
        yield f"  {story.how_to_decide}"
    for waiver in story.waivers:
        yield f"  waiver {waiver.shown} [{waiver.run_id}]"
        yield from (f"      for {check}" for check in waiver.checks)


def _what_consumers_see(story: Story) -> Iterator[str]:
    yield f"  consumers saw  {_seen(story.before)}"
    yield f"  and see now    {'the same' if story.unchanged else _seen(story.after)}"


def _seen(seen: tuple[int | None, int | None]) -> str:
    snapshot, count = seen
    return "nothing" if snapshot is None else f"snapshot {snapshot}, {rows(count)}"


def _audit(report: Report | None, story: Story | None) -> Iterator[str]:
    yield verdict(report, story)
    if report is None:
        return
    if report.snapshot_id is not None:
        yield f"  audited snapshot {report.snapshot_id}"
    yield from (f"  error: {e}" for e in report.errors)
    for result in ordered(report):
        yield from _check(result)


def _check(result: CheckResult) -> Iterator[str]:
    word, symbol = OUTCOMES[result.outcome]
    yield f"  {symbol} {word:<13} {result.title} [{result.relation}]"
    if result.outcome is Outcome.PASSED:
        return
    yield f"      expected {result.expected}"
    if result.measured:
        yield f"      measured {result.measured}"
    if result.message:
        yield f"      {result.message}"
    for row in result.sample:
        cells = ", ".join(f"{k}={'null' if v is None else v}" for k, v in row.items())
        yield f"      row: {' '.join(cells.split())}"
