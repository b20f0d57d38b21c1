"""The report's face in Markdown, for tickets and pull requests."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from checks.report import CheckResult, Outcome, Report
from checks.showing import duration, ordered, passing_note, rows, size, visible
from checks.story import ENDINGS, OUTCOMES, Seen, Story, shown_ending, verdict

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&!$@])")
_LIST_START = re.compile(r"^(\s*)([-+]|\d+[.)])(?=\s)")


def escaped(text: object) -> str:
    """Text that Markdown shows as it is, on one line."""
    line = " ".join(visible(str(text)).split())
    return _LIST_START.sub(r"\1\\\2", _SPECIAL.sub(r"\\\1", line))


def markdown_of(report: Report | None, story: Story) -> str:
    """The whole report as Markdown."""
    parts = [*_head(report, story), *_checks(report), *_evidence(report, story)]
    return "\n".join(parts) + "\n"


def _head(report: Report | None, story: Story) -> Iterator[str]:
    name, symbol, meaning = ENDINGS.get(shown_ending(story, report), (story.ending, "?", ""))
    yield f"# {symbol} {escaped(name)}: {escaped(story.table)}"
    yield ""
    yield escaped(story.reason or meaning)
    yield ""
    if story.how_to_decide:
        yield escaped(story.how_to_decide)
        yield ""
    yield verdict(report, story)
    yield ""
    yield from _members(story) if story.members else _facts(report, story)
    yield from titled("Rows", ("", "rows"), [(k, f"{v:,}") for k, v in story.rows.items()])
    if story.aside:
        told = [(title, f"{count:,}") for title, count in story.aside.checks]
        yield from titled(f"Set aside: {story.aside.shown}", ("check", "rows that break it"), told)
    yield from titled("Warnings", ("warning",), [(w,) for w in story.warnings])
    yield from titled(
        "Published under a waiver",
        ("run", "failed checks", "by", "given", "until", "reason"),
        [
            (w.run_id, ", ".join(w.checks), w.person, _minute(w.at), _minute(w.until), w.reason)
            for w in story.waivers
        ],
    )


def _members(story: Story) -> Iterator[str]:
    facts = [
        ("group", story.pipeline),
        ("run", story.run_id),
        ("started", f"{story.started_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("took", duration(story.seconds)),
    ]
    yield from table(("", ""), facts)
    lines = [(m.table, m.shown, m.moved, m.counted, m.reason, m.run_id) for m in story.members]
    yield from titled("Tables", ("table", "ending", "main", "checks", "reason", "run"), lines)


def _facts(report: Report | None, story: Story) -> Iterator[str]:
    facts = [
        ("pipeline", story.pipeline_shown),
        ("run", story.run_id),
        ("started", f"{story.started_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("took", duration(story.seconds)),
        ("owners", ", ".join(story.owners) or "none named"),
        ("contact", story.contact or "none named"),
        ("audited snapshot", report.snapshot_id if report and report.snapshot_id else "none"),
        ("consumers saw before", _seen(story.before)),
        ("consumers see after", "the same" if story.unchanged else _seen(story.after)),
    ]
    yield from table(("", ""), facts)


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M %Z}"


def _seen(seen: Seen) -> str:
    if seen.snapshot_id is None:
        return "nothing: the table was not published"
    return f"snapshot {seen.snapshot_id}, {rows(seen.rows)}"


def _checks(report: Report | None) -> Iterator[str]:
    results = ordered(report)
    yield from titled("Errors", ("error",), [(e,) for e in report.errors] if report else ())
    lines = [
        (
            " ".join(OUTCOMES[r.outcome][::-1]),
            f"{r.title}{' (warns only)' if passing_note(r) else ''}",
            r.relation,
            r.expected,
            r.measured or r.message,
        )
        for r in results
    ]
    yield from titled("Checks", ("outcome", "check", "relation", "expected", "measured"), lines)
    for result in results:
        if result.sample and result.outcome is not Outcome.PASSED:
            yield from _sample(result)


def _sample(result: CheckResult) -> Iterator[str]:
    columns = tuple(result.sample[0])
    values = [["null" if row.get(c) is None else row[c] for c in columns] for row in result.sample]
    yield from titled(f"Rows that fail: {result.title}", columns, values, level=3)


def _evidence(report: Report | None, story: Story) -> Iterator[str]:
    if report:
        refs = [(c.path, c.digest) for c in report.contracts]
        yield from titled("Contracts", ("file", "sha256"), refs)
        yield from ("", f"Report digest: `{report.digest}`")
    yield from titled("Inputs", ("file", "size"), [(p, size(b)) for p, b in story.inputs])
    kept = [(f, n if n is not None else "", r) for f, n, r in story.rejects]
    yield from titled("Rows kept aside", ("file", "line", "reason"), kept)
    yield from titled("Steps", ("step", "took"), [(n, duration(s)) for n, s in story.steps])


def titled(
    title: str, head: Sequence[str], lines: Iterable[Sequence[object]], *, level: int = 2
) -> Iterator[str]:
    """The lines of a table below a title; none where the table would be empty."""
    found = list(lines)
    if found:
        yield from ("", f"{'#' * level} {escaped(title)}", "")
        yield from table(head, found)


def table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a table; every cell is escaped."""
    yield f"| {' | '.join(map(escaped, head))} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(map(escaped, line))} |" for line in lines)
