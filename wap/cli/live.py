"""What a person sees of runs: live steps while they go, and the verdict at the end."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.status import Status
from rich.table import Table
from rich.text import Text

from wap.model import Ending, Held, Quarantined, RunResult, StepState, Waiver
from wap.watched import Watched

_LABELS = {
    "resolve": "plan what is new",
    "open_branch": "open the branch",
    "stage": "extract and stage",
    "reconcile": "reconcile rows",
    "audit": "audit the branch",
    "quarantine": "set rows aside",
    "hold": "hold for a person",
    "seal": "seal the evidence",
    "publish": "publish",
    "check_group": "ask the catalog for one step",
    "publish_group": "publish together",
    "close_group": "sum up",
    "rebase": "rebase on moved main",
    "restage": "stage again on moved main",
    "enlist": "queue for the table",
    "drop_branch": "roll back",
    "record_lineage": "record lineage",
    "close": "close",
}
_VERDICTS = {
    Ending.PUBLISHED: ("✔ PUBLISHED", "bold green"),
    Ending.REJECTED: ("✘ REJECTED", "bold red"),
    Ending.ROLLED_BACK: ("↩ ROLLED BACK", "bold yellow"),
    Ending.HELD: ("‖ HELD", "bold magenta"),
}
_MB = 1_000_000


class LiveRuns:
    """Shows runs while they go: redrawn in place on a terminal, a line a step elsewhere."""

    def __init__(self, console: Console) -> None:
        """Write to ``console`` (stderr, so that stdout stays clean for results)."""
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=False)
        self._told: set[tuple[str, int]] = set()
        self._greeted: set[str] = set()
        self._troubles: set[tuple[str, str]] = set()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()

    def changed(self, runs: Sequence[Watched]) -> None:
        """There is news of the runs."""
        if self._console.is_terminal:
            self._live.update(Group(*(_picture(run) for run in runs)))
        else:
            for run in runs:
                self._tell(run)

    def _tell(self, run: Watched) -> None:
        name = run.request.pipeline
        if run.progress is None:
            return
        if run.progress.summary and name not in self._greeted:
            self._greeted.add(name)
            self._console.print(Text(f"{name}: {_heading(run)}"))
        if run.trouble and (name, run.trouble) not in self._troubles:
            self._troubles.add((name, run.trouble))
            self._console.print(Text(f"{name}: tried again: {run.trouble}"))
        for number, step in enumerate(run.progress.steps):
            if step.seconds is not None and (name, number) not in self._told:
                self._told.add((name, number))
                mark = "failed" if step.failed else "done"
                label = _label(step)
                self._console.print(Text(f"{name}: {label} {mark} in {step.seconds:.2f} s"))


class Counted:
    """Says how far a command is: a line that is redrawn on a terminal, a line each elsewhere."""

    def __init__(self, console: Console, what: str) -> None:
        self._console = console
        self._what = what
        self._status = Status(what, console=console)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._status.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._status.stop()

    def told(self, name: str, done: int, of: int) -> None:
        """One more is done."""
        line = Text(f"{self._what} {done} of {of}: {name}")
        if self._console.is_terminal:
            self._status.update(line)
        else:
            self._console.print(line)


def _heading(run: Watched) -> str:
    progress = run.progress
    if progress is None:
        return "waiting for a worker"
    table = f"→ {progress.table}" if progress.table else ""
    resumed = "taken up where it was left" if run.resumed else ""
    return "   ".join(part for part in (table, progress.summary, resumed) if part)


def _picture(run: Watched) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for justify in ("left", "left", "right", "left"):
        grid.add_column(justify=justify)
    for step in run.progress.steps if run.progress else ():
        grid.add_row(*_row(run, step))
    title = Text.assemble((run.request.pipeline, "bold"), "   ", (_heading(run), "dim"))
    if run.cancelling and run.result is None:
        title.append("   cancelling: rolling back …", style="yellow")
    trouble = [Text(f"tried again: {run.trouble}", "yellow")] if run.trouble else []
    return Group(title, grid, *trouble)


def _row(run: Watched, step: StepState) -> tuple[RenderableType, ...]:
    label = Text(_label(step))
    if step.seconds is None:
        elapsed = (datetime.now(UTC) - step.started_at).total_seconds()
        return Spinner("dots"), label, Text(f"{max(elapsed, 0):.1f} s"), Text(_numbers(run))
    mark = Text("✘", "red") if step.failed else Text("✔", "green")
    return mark, label, Text(f"{step.seconds:.2f} s"), Text("")


def _label(step: StepState) -> str:
    said = _LABELS.get(step.name, step.name)
    return f"{step.member}: {said}" if step.member else said


def _numbers(run: Watched) -> str:
    numbers = run.numbers
    parts = []
    if "rows" in numbers:
        parts.append(f"{numbers['rows']:,} rows")
    if numbers.get("bytes_read"):
        total = run.progress.bytes if run.progress else None
        of = f" of {total / _MB:,.1f}" if total else ""
        parts.append(f"{numbers['bytes_read'] / _MB:,.1f}{of} MB read")
    if numbers.get("bytes_written"):
        parts.append(f"{numbers['bytes_written'] / _MB:,.1f} MB written")
    return " · ".join(parts)


def print_result(console: Console, result: RunResult, root: Path) -> None:
    """The verdict and what a person needs next."""
    if result.members:
        print_group(console, result, root)
        return
    console.print(Text.assemble(_verdict(result), "   ", (result.table or result.pipeline, "bold")))
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    grid.add_row("run", Text(result.run_id))
    if result.reason:
        grid.add_row("reason", Text(result.reason))
    if result.table:
        # Without a table the run ended before main was looked at.
        grid.add_row("snapshot", Text(_move(result)))
    if result.table and not result.nothing_new:
        grid.add_row("rows", Text(_rows(result)))
        grid.add_row("checks", Text(_checks(result)))
    if result.report:
        grid.add_row("report", Text(str(_shown(root / result.report))))
    for label, said in _beside(result):
        grid.add_row(label, said)
    grid.add_row("took", Text(f"{result.seconds:.2f} s"))
    grid.add_row("next", Text(_next(result, root)))
    console.print(grid)


def _verdict(result: RunResult) -> tuple[str, str]:
    text, style = _VERDICTS[result.ending]
    return ("✔ NOTHING NEW TO PUBLISH" if result.nothing_new else text), style


def print_group(console: Console, result: RunResult, root: Path) -> None:
    """The verdict on all tables of a group, and what became of each."""
    idle = sum(one.nothing_new for one in result.members)
    told = f"   {len(result.members) - idle} tables, {idle} more had nothing new" if idle else ""
    verdict = _verdict(result)
    console.print(Text.assemble(verdict, "   ", (f"group {result.pipeline}", "bold"), told))
    tables = Table.grid(padding=(0, 2))
    for one in result.members:
        tables.add_row(
            Text(one.table or one.pipeline, "bold"),
            Text("nothing new" if one.nothing_new else f"{_checks(one)}"),
            Text(_move(one)),
            Text("" if one.nothing_new else _rows(one)),
        )
        # A group's own reason stands below, once.
        tables.add_row(Text(""), Text(one.run_id, "dim"))
    console.print(tables)
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim")
    grid.add_column()
    grid.add_row("run", Text(result.run_id))
    if result.reason:
        grid.add_row("reason", Text(result.reason))
    if result.report:
        grid.add_row("report", Text(str(_shown(root / result.report))))
    for one in (result, *result.members):
        for warning in one.warnings:
            said = f"{one.table}: {warning}" if one.table else warning
            grid.add_row("warning", Text(said, "yellow"))
    for left in result.incomplete:
        grid.add_row("left behind", Text(left, "bold red"))
    grid.add_row("took", Text(f"{result.seconds:.2f} s"))
    grid.add_row("next", Text(_next(result, root)))
    console.print(grid)


def _beside(result: RunResult) -> Iterator[tuple[str, Text]]:
    """What else a person must know, each with its name."""
    if result.quarantine:
        yield "set aside", Text(aside_line(result.quarantine), "yellow")
    if result.held:
        yield "until", Text(f"{result.held.until:%Y-%m-%d %H:%M %Z}, then it is rejected")
    if result.waiver:
        yield "waived", Text(waiver_line(result.waiver), "magenta")
    for warning in result.warnings:
        yield "warning", Text(warning, "yellow")
    for left in result.incomplete:
        yield "left behind", Text(left, "bold red")


def _move(result: RunResult) -> str:
    before = result.snapshot.before or "none"
    if result.snapshot.after == result.snapshot.before:
        return f"{before} (main has not moved)"
    return f"{before} → {result.snapshot.after}"


def _rows(result: RunResult) -> str:
    rows = result.rows
    parts = [
        ("read", rows.read), ("staged", rows.staged), ("inserted", rows.inserted),
        ("updated", rows.updated), ("unchanged", rows.unchanged), ("deleted", rows.deleted),
        ("quarantined", rows.quarantined),
        ("deduplicated", rows.deduplicated), ("discarded", rows.discarded),
        ("published", rows.published),
    ]  # fmt: skip
    always = {"read", "staged", "quarantined", "published"}
    return " · ".join(f"{name} {count:,}" for name, count in parts if count or name in always)


def _checks(result: RunResult) -> str:
    counts = result.checks.model_dump()
    said = [f"{count} {name.replace('_', ' ')}" for name, count in counts.items() if count]
    return ", ".join(said) or "none was evaluated"


def aside_line(quarantine: Quarantined) -> str:
    """How many rows lie where, and because of which checks."""
    checks = "; ".join(f"{check.title}: {check.rows:,}" for check in quarantine.checks)
    return f"{quarantine.rows:,} rows in {quarantine.table} ({checks})"


def waiver_line(waiver: Waiver) -> str:
    """Who gave it, until when, why and for which checks."""
    until = f"{waiver.until:%Y-%m-%d %H:%M %Z}"
    checks = ", ".join(sorted(waiver.checks))
    return f"published under a waiver by {waiver.person} until {until}: {waiver.reason} ({checks})"


def _next(result: RunResult, root: Path) -> str:
    project = "" if root == Path.cwd() else f" --project {_shown(root)}"
    if result.incomplete:
        return f"look at what was left behind: wap branches{project}"
    if result.held:
        run = f'{result.run_id} --reason "…"{project}'
        return f"read the report, then decide: wap approve {run}   or: wap reject {run}"
    if result.ending is Ending.REJECTED:
        return "open the report: it shows each failed check with sample rows; then run again"
    if result.ending is Ending.ROLLED_BACK:
        return "mend what the reason names, then run again; nothing of this run is left"
    table = next((one.table for one in result.members), result.table)
    return f'wap query "from {table} limit 5"{project}'


def _shown(path: Path) -> Path:
    """The path as a person would type it from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def result_json(result: RunResult) -> dict[str, object]:
    """The documented JSON of one run, or of a group's (docs/json.md)."""
    if result.members:
        return _group_json(result)
    return {
        "run_id": result.run_id,
        "pipeline": result.pipeline,
        "table": result.table,
        "ending": result.ending.value,
        "nothing_new": result.nothing_new,
        "reason": result.reason,
        "rows": result.rows.model_dump(),
        "snapshot": result.snapshot.model_dump(),
        "checks": result.checks.model_dump(),
        "report": result.report,
        "held": _held_json(result.held) if result.held else None,
        "waiver": result.waiver.model_dump(mode="json") if result.waiver else None,
        "quarantine": result.quarantine.model_dump() if result.quarantine else None,
        "warnings": list(result.warnings),
        "incomplete": list(result.incomplete),
        "seconds": round(result.seconds, 3),
    }


def _group_json(result: RunResult) -> dict[str, object]:
    return {
        "run_id": result.run_id,
        "group": result.pipeline,
        "ending": result.ending.value,
        "nothing_new": result.nothing_new,
        "reason": result.reason,
        "report": result.report,
        "members": [result_json(one) for one in result.members],
        "warnings": list(result.warnings),
        "incomplete": list(result.incomplete),
        "seconds": round(result.seconds, 3),
    }


def _held_json(held: Held) -> dict[str, object]:
    return held.model_dump(mode="json", include={"report_digest", "checks", "since", "until"})


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False)
    print(text)  # noqa: T201 - stdout is the product here


def plain(value: object) -> object:
    """A value as JSON has it: times in ISO 8601, bytes in hex, no number where it is not finite."""
    match value:
        case dict():
            return {str(k): plain(v) for k, v in value.items()}
        case list() | tuple():
            return [plain(v) for v in value]
        case float() if not math.isfinite(value):
            return None
        case datetime() | date() | time():
            return value.isoformat()
        case bytes():
            return value.hex()
    return value if isinstance(value, bool | int | float | str | None) else str(value)
