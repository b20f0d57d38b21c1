"""``wap run`` and ``run_workflow.py``: run pipelines side by side, show them, say the verdicts."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from wap.cli.app import JsonOption, ProjectOption, app, console, messages, open_project
from wap.cli.live import LiveRuns, print_json, print_result, result_json
from wap.declared import check_interval, declared
from wap.errors import ConfigError
from wap.groups import request_of
from wap.model import ExitCode, RunRequest
from wap.paths import is_url, without_password
from wap.project import Project
from wap.runtime import Server


@app.command()
def run(
    pipelines: Annotated[
        list[str] | None, typer.Argument(help="Pipelines to run, side by side.")
    ] = None,
    project: ProjectOption = Path(),
    every: Annotated[bool, typer.Option("--all", help="Every pipeline of the project.")] = False,
    group: Annotated[
        str | None,
        typer.Option(help="A group of wap.toml: its tables are published together, all or none."),
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
    as_json: JsonOption = False,
) -> None:
    """Stage, audit and publish: main moves to exactly what was audited, or nothing changes."""
    opened = open_project(project)
    if group is not None:
        if pipelines or every or source or start or end:
            raise ConfigError(
                "--group goes with no pipeline, --all, --source, --start or --end",
                hint="its pipelines are those of [groups] in wap.toml, each reads its own source",
            )
        requests = [request_of(opened, group)]
    else:
        requests = requests_of(opened, pipelines or [], every, source or [], start, end)
    do_runs(opened, requests, as_json=as_json)


def do_runs(opened: Project, requests: list[RunRequest], *, as_json: bool) -> NoReturn:
    """Run them side by side, show them, say the verdicts, and leave with the gravest.

    Raises:
        typer.Exit: always, with the exit code.
    """
    from wap.doors import run_requests  # noqa: PLC0415 - see the package's docstring

    with LiveRuns(messages) as live:
        watched = run_requests(
            opened, requests, changed=live.changed, server_found=lambda s: _tell_server(s, as_json)
        )
    results = [one.result for one in watched if one.result is not None]
    if as_json:
        documents = [result_json(r) for r in results]
        print_json(documents[0] if len(requests) == 1 else documents)
    else:
        for result in results:
            print_result(console, result, opened.root)
    raise typer.Exit(max((r.exit_code for r in results), key=_severity, default=ExitCode.USAGE))


def _severity(code: ExitCode) -> int:
    """Of several runs the gravest ending is the exit code."""
    order = [
        ExitCode.PUBLISHED, ExitCode.HELD, ExitCode.REJECTED, ExitCode.USAGE,
        ExitCode.ROLLED_BACK, ExitCode.INCOMPLETE,
    ]  # fmt: skip
    return order.index(code)


def requests_of(
    project: Project,
    names: list[str],
    every: bool,
    source: list[str],
    start: str | None,
    end: str | None,
) -> list[RunRequest]:
    """What a door asks for, proved before anything is started.

    Raises:
        ConfigError: options that do not go together, or a declaration that is not valid.
    """
    if every == bool(names):
        known = ", ".join(project.pipelines()) or "none yet: `wap init` makes one"
        raise ConfigError("name the pipelines to run, or give --all", hint=f"there are: {known}")
    chosen = project.pipelines() if every else list(dict.fromkeys(names))
    if source and len(chosen) != 1:
        raise ConfigError("--source goes with one pipeline", hint="run them one by one")
    if (start is None) != (end is None):
        raise ConfigError("a data interval has two ends", hint="give both --start and --end")
    requests = [
        RunRequest(
            project=project.id,
            pipeline=name,
            inputs=tuple(_input(project, s) for s in source),
            interval=(start, end) if start is not None and end is not None else None,
            heartbeat_seconds=project.temporal.heartbeat_seconds,
        )
        for name in chosen
    ]
    for request in requests:
        # Before anything is started: a mistake in any file costs nothing but this message.
        check_interval(declared(project, request.pipeline).pipeline, request)
    return requests


def _input(project: Project, path: str) -> str:
    """A path given at the door means what it means where the door was opened.

    Raises:
        ConfigError: no file is there; or a URL with a secret in it, which Temporal would keep
            for good.
    """
    if not is_url(path):
        absolute = Path(path).absolute()
        # Workers of a given server may see files that this machine does not.
        local = project.temporal.address is None
        if local and not (absolute.exists() or glob.glob(str(absolute), recursive=True)):  # noqa: PTH207 - a pattern as the source reads it
            raise ConfigError(
                "no file is there", where=f"--source {path}", hint="paths start at this folder"
            )
        return str(absolute)
    if without_password(path) != path:
        raise ConfigError(
            "the URL may hold a secret, and what is given here is kept in Temporal's history",
            where=f"--source {without_password(path)}",
            hint="leave password and query out and let the environment hold the credentials, "
            "or write the URL in the pipeline's source: path",
        )
    return path


def _tell_server(server: Server, as_json: bool) -> None:
    if server.ui and not as_json:
        messages.print(f"Temporal {server.address}, its pages: {server.ui}", style="dim")
