"""``wap init``: a working project from one file, and what its contract does not guard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel
from rich.text import Text

from wap.cli.app import app, console


@app.command()
def init(
    file: Annotated[Path, typer.Argument(help="csv, tsv, json, ndjson or parquet.")],
    project: Annotated[Path, typer.Option("--project", "-p", help="The folder to make.")] = Path(),
    table: Annotated[
        str | None, typer.Option(help="namespace.table; raw.<file> by default.")
    ] = None,
) -> None:
    """Make a project with one pipeline from a data file: schema inferred, contract proposed."""
    from wap.init import init_project  # noqa: PLC0415 - heavy, and only this command needs it

    made = init_project(project, file, table)
    for path in made.written:
        console.print(Text.assemble(("wrote  ", "green"), str(path)))
    for path in made.kept:
        console.print(Text.assemble(("kept   ", "dim"), f"{path} (was there already)"))
    key = ", ".join(made.key) or "none was found"
    console.print(Text(f"{made.rows:,} rows were looked at; key: {key}"))
    gaps = Text("\n".join(f"• {line}" for line in made.not_guarded))
    console.print(
        Panel(
            gaps,
            title="the proposed contract does NOT guard",
            border_style="bold yellow",
            expand=False,
        )
    )
    console.print(Text(f"next: read the contract, then  {made.first_run}"))
