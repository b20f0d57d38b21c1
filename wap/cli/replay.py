"""``wap replay``: rows that wait in quarantine, through a run like any other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from wap.cli.app import JsonOption, ProjectOption, app, open_project
from wap.errors import ConfigError
from wap.model import Replay, RunRequest


@app.command()
def replay(
    table: Annotated[str, typer.Argument(help="The table that they are of, namespace.table.")],
    project: ProjectOption = Path(),
    run: Annotated[str | None, typer.Option("--run", help="Only what this run set aside.")] = None,
    where: Annotated[
        list[str] | None,
        typer.Option("--where", help="Only rows with this value, column=value; all must hold."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option("--file", help="Corrected rows (csv, json, Parquet), named by wap_row."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Stage, audit and publish rows that wait in quarantine; what still breaks a check stays."""
    from wap.cli.run import do_runs  # noqa: PLC0415 - see the package's docstring
    from wap.compaction import pipeline_of  # noqa: PLC0415 - see above

    opened = open_project(project)
    if file is not None and not file.is_file():
        raise ConfigError("there is no such file", where=str(file), hint="give its path by --file")
    request = RunRequest(
        project=opened.id,
        pipeline=pipeline_of(opened, table),
        heartbeat_seconds=opened.temporal.heartbeat_seconds,
        replay=Replay(
            run=run,
            where=tuple(_pair(text) for text in where or ()),
            file=str(file.absolute()) if file is not None else None,
        ),
    )
    do_runs(opened, [request], as_json=as_json)


def _pair(text: str) -> tuple[str, str]:
    column, sign, value = text.partition("=")
    if not sign or not column:
        raise ConfigError(
            f"{text!r} names no column and value", where="--where", hint="write carrier=AA"
        )
    return column, value
