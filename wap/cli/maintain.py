"""The commands that keep tables small: `wap maintain` and `wap compact`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from wap.cli.app import JsonOption, ProjectOption, app, console, messages, open_project
from wap.cli.live import print_json
from wap.cli.show import grid_of
from wap.model import ExitCode, RunRequest

if TYPE_CHECKING:
    from wap.maintenance import Upkeep

_COLORS = {"removed": "yellow", "failed": "red", "kept": "dim", "published": "green"}


@app.command()
def maintain(
    tables: Annotated[list[str] | None, typer.Argument(help="Tables; all by default.")] = None,
    project: ProjectOption = Path(),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only list what would be removed.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove what dead runs left, forget old snapshots, delete files that nothing needs."""
    from wap.maintenance import maintain as clear_up  # noqa: PLC0415 - see the package's docstring

    done = clear_up(open_project(project), tables or [], dry_run=dry_run)
    if as_json:
        print_json(done.model_dump(mode="json"))
    else:
        _show(done)
    raise typer.Exit(0 if done.ok else ExitCode.ROLLED_BACK)


@app.command()
def compact(
    tables: Annotated[list[str], typer.Argument(help="Tables, namespace.table.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Write a table's small files anew as larger ones, by a run that is audited like any other."""
    from wap.cli.run import do_runs  # noqa: PLC0415 - see the package's docstring
    from wap.compaction import pipeline_of  # noqa: PLC0415 - see above

    opened = open_project(project)
    requests = [
        RunRequest(
            project=opened.id,
            pipeline=pipeline_of(opened, table),
            compact=True,
            heartbeat_seconds=opened.temporal.heartbeat_seconds,
        )
        for table in dict.fromkeys(tables)
    ]
    do_runs(opened, requests, as_json=as_json)


def _show(done: Upkeep) -> None:
    if done.runs:
        runs = grid_of("run", "tables", "state", "", "data files", "bytes", "why")
        for r in done.runs:
            runs.add_row(
                r.run_id, ", ".join(r.tables), r.state.replace("_", " "),
                Text(r.action, _COLORS[r.action]), f"{r.files:,}", f"{r.bytes:,}",
                r.said.partition("\n")[0],
            )  # fmt: skip
        console.print(runs)
    grid = grid_of("table", "snapshots", "expired", "data", "manifests", "metadata", "bytes", "")
    for t in done.tables:
        grid.add_row(
            t.table, f"{t.snapshots:,}", f"{t.expired:,}", f"{t.data:,}", f"{t.manifests:,}",
            f"{t.metadata:,}", f"{t.bytes:,}", Text(t.error, "red"),
        )  # fmt: skip
    console.print(grid if done.tables else "nothing is published yet")
    if done.dry_run:
        messages.print("a dry run: nothing was removed")
