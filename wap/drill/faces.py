"""A drill for people who were not there: as Markdown for a ticket, and as a page in HTML."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from jinja2 import Template

from checks.errors import ReportError
from checks.face_html import pages_of
from checks.face_markdown import escaped, table, titled
from checks.render import put_file
from wap.drill.model import Boundary, CrashDrill, Drill, GateDrill, Spoiled
from wap.errors import ConfigError

_MARKS = {"caught": "✓", "warned": "!", "missed": "✕"}


def write_face(path: Path, drill: Drill, at: datetime) -> None:
    """Write a drill as its file's name says, in one move.

    Args:
        path: ends in ``.html`` or ``.md``.
        drill: what it came to.
        at: when it was begun.

    Raises:
        ConfigError: it ends in something else.
        ReportError: it cannot be written.
    """
    face = face_of(path)
    text = html_of(drill, at) if face == ".html" else markdown_of(drill, at)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        put_file(path, text.encode("utf-8", "backslashreplace"))
    except OSError as exc:
        raise ReportError(
            f"the drill's report cannot be written: {exc.strerror}", where=str(path)
        ) from exc


def face_of(path: Path) -> str:
    """``.html`` or ``.md``.

    Raises:
        ConfigError: neither.
    """
    if path.suffix not in (".html", ".md"):
        raise ConfigError(
            "a drill's report is HTML or Markdown", where=str(path), hint="name it ….html or ….md"
        )
    return path.suffix


def verdict(drill: Drill) -> str:
    """What it came to, in one line."""
    if drill.crash is not None:
        wrong, kills = sum(not b.ok for b in drill.crash.boundaries), len(drill.crash.boundaries)
        if wrong:
            return f"{wrong} of {kills} kills did not end as they must"
        return f"All {kills} kills ended as they must"
    if drill.gate is None:
        return "Nothing was drilled"
    missed, warned = drill.gate.count("missed"), drill.gate.count("warned")
    return f"{missed} of {len(drill.gate.spoilings)} spoilings missed, {warned} only warned of"


def left_over(one: Boundary) -> str:
    """What a run left behind, in words."""
    found = ((one.branches, "branches"), (one.files, "files"), (one.folders, "folders"))
    return ", ".join(f"{number} {what}" for number, what in found if number) or "nothing"


def times(one: Boundary) -> str:
    """How often it is published, in words."""
    return {0: "not at all", 1: "once"}.get(one.published, f"{one.published} times")


def rows_shown(one: Boundary) -> str:
    """The rows that main shows, and those that were set aside."""
    return f"{one.rows:,}" + (f" + {one.aside:,} aside" if one.aside else "")


def said_of(one: Spoiled) -> str:
    """Who noticed a spoiling, or which check would."""
    said = ", ".join(one.caught or one.warned)
    return f"{said or 'nobody noticed'}; would catch it: {one.hint}" if one.hint else said


# --- Markdown -----------------------------------------------------------------------------------


def markdown_of(drill: Drill, at: datetime) -> str:
    """The whole drill as Markdown."""
    head = [
        f"# {'✓' if drill.ok else '✕'} Drill of {escaped(drill.table)}",
        "",
        f"{escaped(verdict(drill))}.",
        "",
    ]
    facts = [("pipeline", drill.pipeline), ("drilled", f"{at:%Y-%m-%d %H:%M:%S %Z}")]
    crash, gate = drill.crash, drill.gate
    return "\n".join([
        *head, *table(("", ""), [*facts, *_facts(drill)]),
        *(_kills(crash) if crash is not None else ()),
        *(_spoilings(gate) if gate is not None else ()),
    ]) + "\n"  # fmt: skip


def _facts(drill: Drill) -> Iterator[tuple[str, str]]:
    if drill.crash is not None:
        yield "rows a run", f"{drill.crash.rows:,}"
        yield "undisturbed", f"{drill.crash.seconds:.1f} s"
        yield "a silent worker is missed after", f"{drill.crash.heartbeat_seconds:g} s"
    if drill.gate is not None:
        yield "run whose batch was spoiled", drill.gate.run_id
        yield "rows of it", f"{drill.gate.rows:,}"
        yield "checks", f"{drill.gate.checks}"


def _kills(crash: CrashDrill) -> Iterator[str]:
    head = ("", "run", "killed", "ending", "published", "rows", "left over", "seconds", "wrong")
    lines = [
        ("✓" if b.ok else "✕", b.scenario, f"{b.when} {b.step}", b.ending, times(b),
         rows_shown(b), left_over(b), f"{b.seconds:.1f}", b.said)
        for b in crash.boundaries
    ]  # fmt: skip
    yield from titled("Kills", head, lines)
    yield from titled("Notes", ("note",), [(note,) for note in crash.notes])


def _spoilings(gate: GateDrill) -> Iterator[str]:
    head = ("", "spoiling", "column", "rows", "what the gate says")
    lines = [
        (_MARKS[s.verdict], s.name, s.column or "", f"{s.rows:,}", said_of(s))
        for s in gate.spoilings
    ]
    yield from titled("Spoilings", head, lines)
    yield from titled("Checks that fail on the batch as it is", ("check",), _each(gate.failing))
    yield from titled("Checks that caught nothing", ("check",), _each(gate.idle))
    yield from titled("Notes", ("note",), _each(gate.notes))


def _each(texts: tuple[str, ...]) -> list[tuple[str]]:
    return [(text,) for text in texts]


# --- HTML ---------------------------------------------------------------------------------------


def html_of(drill: Drill, at: datetime) -> str:
    """The whole drill as one page; every value is escaped by the template engine."""
    return _template().render(
        drill=drill, at=at, verdict=verdict(drill), facts=list(_facts(drill)), marks=_MARKS
    )


@functools.cache
def _template() -> Template:
    pages = pages_of("wap.drill", "checks")
    pages.filters.update(left=left_over, times=times, shown=rows_shown, said=said_of)
    return pages.get_template("drill.html.j2")
