"""Commands that keep a project running: up, down, doctor, rollback, rebuild-ledger."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from wap.cli.app import JsonOption, ProjectOption, app, console, messages, open_project
from wap.cli.live import print_json
from wap.errors import ConfigError
from wap.model import ExitCode

if TYPE_CHECKING:
    from wap.rolling_back import Target


@app.command()
def up(project: ProjectOption = Path()) -> None:
    """Keep the Temporal server and a warm worker running, so that a run costs no imports."""
    from wap import daemon, doors, runtime  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    started = daemon.up(opened)
    server = runtime.running(doors.folder_of(opened))
    pages = f"; its pages: {server.ui}" if server and server.ui else ""
    said = "a warm worker takes runs now" if started else "a warm worker was running already"
    console.print(f"{said}{pages}\nstop it with: wap down", markup=False)


@app.command()
def down(project: ProjectOption = Path()) -> None:
    """Stop what `wap up` keeps; a server that a killed run left behind goes too."""
    from wap import daemon  # noqa: PLC0415 - see the package's docstring

    stopped = daemon.down(open_project(project))
    console.print("stopped" if stopped else "nothing was running")


@app.command()
def doctor(
    project: ProjectOption = Path(),
    fix: Annotated[
        bool, typer.Option("--fix", help="Register what a given Temporal server lacks.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Prove the set-up with a probe write that main must not show."""
    from wap.doctor import examine  # noqa: PLC0415 - see the package's docstring

    findings = examine(open_project(project), fix=fix)
    if as_json:
        print_json([finding.model_dump() for finding in findings])
    else:
        grid = Table.grid(padding=(0, 2))
        for f in findings:
            grid.add_row(Text("✔", "green") if f.ok else Text("✘", "red"), f.name, Text(f.said))
        console.print(grid)
    raise typer.Exit(0 if all(f.ok for f in findings) else ExitCode.USAGE)


@app.command()
def rollback(
    table: Annotated[str | None, typer.Argument(help="namespace.table")] = None,
    to: Annotated[
        int | None, typer.Option(help="A sealed snapshot; the one before by default.")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="A group's run: all of its tables go back together.")
    ] = None,
    project: ProjectOption = Path(),
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Move main back to an earlier sealed snapshot; consumers see that one at once."""
    from wap.ports import open_ports  # noqa: PLC0415 - see above
    from wap.rolling_back import (  # noqa: PLC0415 - see above
        group_targets,
        roll_back,
        rollback_targets,
    )
    from wap.worker import emptying_of  # noqa: PLC0415 - see above

    if (table is None) == (group is None) or (group is not None and to is not None):
        raise ConfigError(
            "name the table to move back, or give --group",
            hint="wap rollback TABLE [--to SNAPSHOT], or: wap rollback --group RUN",
        )
    opened = open_project(project)
    with open_ports(opened) as ports:
        catalog = ports.catalog
        targets = (
            group_targets(catalog, group)
            if group is not None
            else rollback_targets(catalog, str(table), to)
        )
        for target in targets:
            messages.print(
                f"{target.table}: main {target.expected} → {_end_of(target)}", markup=False
            )
        if not yes:
            asked = "Consumers will see that snapshot at once. Go on?"
            typer.confirm(asked, abort=True, err=True)
        snapshots = roll_back(catalog, targets, emptying_of(opened, catalog))
    for snapshot in snapshots:
        console.print(f"main of {snapshot.table} is at {snapshot.id}", markup=False)


def _end_of(target: Target) -> str:
    if target.published_at is None:
        return "no row: its first ones came with what goes back"
    return f"{target.to} (published {target.published_at:%Y-%m-%d %H:%M} by {target.run_id})"


@app.command("rebuild-ledger")
def rebuild_ledger(project: ProjectOption = Path()) -> None:
    """Put the published runs back into the ledger, read from the catalog's seals; and held ones."""
    from wap.history import rebuild  # noqa: PLC0415 - see above
    from wap.homes import open_home  # noqa: PLC0415 - see above
    from wap.ports import open_ports  # noqa: PLC0415 - see above

    opened = open_project(project)
    with open_ports(opened) as ports:
        count = rebuild(ports.catalog, ports.ledger, open_home(opened))
    console.print(f"{count} runs were missing and are in the ledger again", markup=False)
