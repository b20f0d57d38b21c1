"""``wap drill``: does this pipeline survive a kill anywhere, and what would its contracts miss?"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from wap.cli.app import JsonOption, ProjectOption, app, console, messages, open_project
from wap.cli.live import Counted, print_json
from wap.cli.show import grid_of
from wap.errors import ConfigError

if TYPE_CHECKING:
    from wap.declared import Declared
    from wap.drill.model import Boundary, CrashDrill, Drill, GateDrill, Spoiled
    from wap.drill.scratch import Batch
    from wap.project import Project


@app.command()
def drill(
    target: Annotated[
        str | None, typer.Argument(help="A table, or the pipeline that loads it.")
    ] = None,
    project: ProjectOption = Path(),
    group: Annotated[
        str | None, typer.Option(help="Kill runs of this group of wap.toml instead.")
    ] = None,
    gate: Annotated[
        bool, typer.Option("--gate", help="Spoil a published batch instead of killing workers.")
    ] = False,
    boundary: Annotated[
        list[str] | None,
        typer.Option(help="Only there: STEP, STEP:before or STEP:after; may be repeated."),
    ] = None,
    spoiling: Annotated[
        list[str] | None, typer.Option(help="With --gate: only this one; may be repeated.")
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option("--source", help="Read these files in place of the pipeline's own source."),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Start of the data interval, inclusive (ISO 8601).")
    ] = None,
    end: Annotated[
        str | None, typer.Option(help="End of the data interval, exclusive (ISO 8601).")
    ] = None,
    heartbeat: Annotated[
        float | None, typer.Option(min=1, help="Seconds of silence after which a worker is dead.")
    ] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Leave the scratch project there, to look into it.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(help="Write it as a page, too: a file ….html or ….md.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Kill a worker at every boundary of a run of scratch tables; or see what the gate misses."""
    from wap.drill.faces import face_of, write_face  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    _refuse_two_targets(target, group, [gate or None, source, start, end])
    _refuse_mixed(gate, crash_only=[boundary, source, start, end, heartbeat, keep or None],
                  gate_only=[spoiling])  # fmt: skip
    began = datetime.now(UTC)
    if report is not None:
        face_of(report)
    if group is not None:
        found = _group(opened, group, boundary or [], heartbeat, keep=keep)
    elif gate:
        found = _gate(opened, _declared(opened, str(target)), spoiling or [])
    else:
        said = _declared(opened, str(target))
        batch = _batch(opened, said, source or [], start, end)
        found = _crash(opened, said, batch, boundary or [], heartbeat, keep=keep)
    if report is not None:
        write_face(report, found, began)
    if as_json:
        print_json({**found.model_dump(mode="json"), "ok": found.ok})
    else:
        _show(found)
    raise typer.Exit(0 if found.ok else 1)


def _refuse_two_targets(target: str | None, group: str | None, of_one: list[object]) -> None:
    if (target is None) == (group is None):
        raise ConfigError("name a table or pipeline, or a group by --group", hint="one of them")
    if group is not None and any(value is not None for value in of_one):
        raise ConfigError(
            "these options are of one pipeline",
            hint="--gate, --source, --start and --end go without --group: each of its pipelines "
            "reads its own source",
        )


def _refuse_mixed(gate: bool, *, crash_only: list[object], gate_only: list[object]) -> None:
    wrong = crash_only if gate else gate_only
    if any(value is not None for value in wrong):
        raise ConfigError(
            "these options are not of one drill",
            hint="--spoiling goes with --gate; --boundary, --source, --start, --end, --heartbeat "
            "and --keep go without",
        )


def _declared(project: Project, target: str) -> Declared:
    from wap.compaction import pipeline_of  # noqa: PLC0415 - see the package's docstring
    from wap.declared import declared  # noqa: PLC0415 - see above

    name = pipeline_of(project, target) if "." in target else target
    return declared(project, name)


def _batch(
    project: Project, said: Declared, source: list[str], start: str | None, end: str | None
) -> Batch:
    from wap.cli.run import requests_of  # noqa: PLC0415 - see the package's docstring
    from wap.drill.scratch import Batch  # noqa: PLC0415 - see above

    (request,) = requests_of(project, [said.pipeline.name], False, source, start, end)
    return Batch(request.inputs, request.interval)


def _crash(
    project: Project,
    said: Declared,
    batch: Batch,
    boundaries: list[str],
    heartbeat: float | None,
    *,
    keep: bool,
) -> Drill:
    from wap.drill.crashes import drill_crashes  # noqa: PLC0415 - see the package's docstring
    from wap.drill.model import Drill  # noqa: PLC0415 - see above

    with Counted(messages, "kill") as counted:
        crash = drill_crashes(
            project, said, batch, boundaries=boundaries, heartbeat_seconds=heartbeat, keep=keep,
            told=counted.told,
        )  # fmt: skip
    return Drill(pipeline=said.pipeline.name, table=str(said.table), crash=crash)


def _group(
    project: Project, group: str, boundaries: list[str], heartbeat: float | None, *, keep: bool
) -> Drill:
    from wap.drill.crashes import drill_group  # noqa: PLC0415 - see the package's docstring
    from wap.drill.model import Drill  # noqa: PLC0415 - see above

    with Counted(messages, "kill") as counted:
        crash = drill_group(
            project, group, boundaries=boundaries, heartbeat_seconds=heartbeat, keep=keep,
            told=counted.told,
        )  # fmt: skip
    return Drill(pipeline=group, table=f"group {group}", crash=crash)


def _gate(project: Project, said: Declared, spoilings: list[str]) -> Drill:
    from wap.cli.proof import looking_of  # noqa: PLC0415 - see the package's docstring
    from wap.drill.gate import drill_gate  # noqa: PLC0415 - see above
    from wap.drill.model import Drill  # noqa: PLC0415 - see above
    from wap.ports import open_ports  # noqa: PLC0415 - see above

    with open_ports(project) as ports, Counted(messages, "spoil") as counted:
        gate = drill_gate(
            looking_of(project, ports), said, wanted=spoilings,
            masked=project.masked(str(said.table)), told=counted.told,
        )  # fmt: skip
    return Drill(pipeline=said.pipeline.name, table=str(said.table), gate=gate)


# --- faces --------------------------------------------------------------------------------------


def _show(found: Drill) -> None:
    if found.crash is not None:
        _show_crash(found, found.crash)
    if found.gate is not None:
        _show_gate(found, found.gate)


def _show_crash(found: Drill, crash: CrashDrill) -> None:
    grid = grid_of("", "run", "killed", "ending", "published", "rows", "left over", "seconds", "")
    for one in crash.boundaries:
        grid.add_row(*_boundary(one))
    console.print(grid)
    wrong = sum(not b.ok for b in crash.boundaries)
    verdict = (
        "as it must be" if not wrong else f"{wrong} of {len(crash.boundaries)} not as it must be"
    )
    console.print(
        Text.assemble(
            (f"{'✔' if found.ok else '✘'} {verdict}", "bold green" if found.ok else "bold red"),
            f"   {found.table}: {len(crash.boundaries)} kills, {crash.rows:,} rows a run;"
            f" undisturbed {crash.seconds:.1f} s, a silent worker is missed after"
            f" {crash.heartbeat_seconds:g} s",
        )
    )
    for note in crash.notes:
        console.print(Text(note, "dim"))


def _boundary(one: Boundary) -> tuple[Text | str, ...]:
    from wap.drill.faces import left_over, rows_shown, times  # noqa: PLC0415 - see the package's docstring

    mark = Text("✔", "green") if one.ok else Text("✘", "red")
    return (
        mark, one.scenario, f"{one.when} {one.step}", one.ending, times(one), rows_shown(one),
        left_over(one), f"{one.seconds:.1f}", Text(one.said, "red"),
    )  # fmt: skip


def _show_gate(found: Drill, gate: GateDrill) -> None:
    grid = grid_of("", "spoiling", "column", "rows", "what the gate says")
    for one in gate.spoilings:
        grid.add_row(*_spoiled(one))
    console.print(grid)
    mark, style = ("✔", "bold green") if gate.ok else ("✘", "bold red")
    console.print(
        Text.assemble(
            (f"{mark} {gate.count('missed')} missed, {gate.count('warned')} only warned of", style),
            f"   {found.table}: {len(gate.spoilings)} spoilings of {gate.rows:,} rows,"
            f" {gate.checks} checks",
        )
    )
    for name in gate.failing:
        console.print(Text(f"fails on the batch as it is, so it catches nothing: {name}", "red"))
    for name in gate.idle:
        console.print(Text(f"caught nothing: {name}", "yellow"))
    for note in gate.notes:
        console.print(Text(note, "dim"))


def _spoiled(one: Spoiled) -> tuple[Text | str, ...]:
    marks = {"caught": ("✔", "green"), "warned": ("!", "yellow"), "missed": ("✘", "red")}
    said = "\n".join(one.caught or one.warned)
    if one.hint:
        said = f"{said or 'nobody noticed'}; would catch it: {one.hint}"
    return Text(*marks[one.verdict]), one.name, one.column or "", f"{one.rows:,}", Text(said)
