"""The report's face in HTML: one page that needs nothing beside itself, and no script."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined, Template
from markupsafe import Markup

from checks import showing
from checks.report import CheckResult, Outcome, Report
from checks.story import ENDINGS, OUTCOMES, Story, shown_ending, verdict

#: Where a row that was read can go; together they are the rows read.
PARTS = ("staged", "quarantined", "deduplicated", "discarded", "unchanged", "deleted")
#: These are told of by runs that write by key, and only there worth a word.
BY_KEY = ("unchanged", "deleted")
#: Width of the page's bars, in their own units.
WIDTH = 1000.0


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of a bar."""

    name: str
    start: float
    width: float
    text: str


def html_of(report: Report | None, story: Story) -> str:
    """The whole report as one HTML page; every value is escaped by the template engine."""
    shown = shown_ending(story, report)
    name, symbol, meaning = ENDINGS.get(shown, (shown, "?", ""))
    results = showing.ordered(report)
    return _template().render(
        story=story,
        report=report,
        ending=name,
        symbol=symbol,
        meaning=meaning,
        verdict=verdict(report, story),
        tone=shown if shown in ENDINGS else "held",
        outcomes=[(*OUTCOMES[o], o.value, report.count(o)) for o in OUTCOMES] if report else [],
        open=[r for r in results if r.outcome is not Outcome.PASSED],
        passed=[r for r in results if r.outcome is Outcome.PASSED],
        books=_books(story.rows),
        others={k: v for k, v in story.rows.items() if k not in (*PARTS, "read") and v},
        balanced=story.rows.get("read", 0) == sum(story.rows.get(p, 0) for p in PARTS),
        steps=_steps(story.steps),
        width=WIDTH,
    )


def _books(rows: dict[str, int]) -> Sequence[Span]:
    total = sum(max(rows.get(part, 0), 0) for part in PARTS)
    spans, start = [], 0.0
    for part in PARTS:
        if part in BY_KEY and not rows.get(part):
            continue
        width = rows.get(part, 0) * WIDTH / total if total else 0.0
        spans.append(Span(part, start, width, f"{rows.get(part, 0):,}"))
        start += width
    return spans


def _steps(steps: Sequence[tuple[str, float]]) -> Sequence[Span]:
    total = sum(seconds for _, seconds in steps) or 1.0
    spans, start = [], 0.0
    for name, seconds in steps:
        width = seconds * WIDTH / total
        # The thinnest step is still seen, and the last one does not leave the bar.
        shown = min(max(width, 3.0), WIDTH)
        spans.append(Span(name, min(start, WIDTH - shown), shown, showing.duration(seconds)))
        start += width
    return spans


def _bar(result: CheckResult) -> float | None:
    """Width of the failing part of a check's bar; a single row is still seen."""
    share = showing.failing_share(result)
    if share is None or (share == 0 and result.outcome is not Outcome.PASSED):
        return None
    return max(share * WIDTH / 100, 6.0) if share else 0.0


def _finalize(value: Any) -> Any:
    if isinstance(value, Markup) or not isinstance(value, str):
        return value
    return showing.visible(value)


def pages_of(*packages: str) -> Environment:
    """Templates of pages, by packages with a folder ``templates``; every value is escaped."""
    return Environment(
        loader=ChoiceLoader([PackageLoader(package, "templates") for package in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@functools.cache
def _template() -> Template:
    environment = pages_of("checks")
    environment.filters.update(
        duration=showing.duration, size=showing.size, rows=showing.rows, bar=_bar,
        share=showing.failing_share, words=lambda outcome: OUTCOMES[outcome],
    )  # fmt: skip
    return environment.get_template("report.html.j2")
