"""``wap approve`` and ``wap reject``: what a person says of a held run, and the run to its end."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from wap.cli.app import JsonOption, ProjectOption, app, console, messages, open_project
from wap.cli.live import LiveRuns, print_json, print_result, result_json
from wap.model import Ending, ExitCode, Held, Refusal, RunResult, Waiver
from wap.project import Project
from wap.versions import make_change

RunArgument = Annotated[str, typer.Argument(help="A held run's id; `wap status` shows it.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept with the decision.")]
AuthorOption = Annotated[
    str | None, typer.Option("--author", help="Who decides; by default the user's name.")
]


@app.command()
def approve(
    run: RunArgument,
    reason: ReasonOption,
    project: ProjectOption = Path(),
    check: Annotated[
        list[str] | None,
        typer.Option("--check", help="A check that is waived; by default all that failed."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", help="When the waiver expires (ISO 8601); in 30 days by default."),
    ] = None,
    report: Annotated[
        str | None,
        typer.Option("--report", help="Only if it is held by the report of this digest."),
    ] = None,
    author: AuthorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Publish a held run although its audit failed: the waiver says who answers for it."""
    from wap.deciding import find_held, refuse_overtaken, waiver_of  # noqa: PLC0415 - heavy
    from wap.holding import until_of  # noqa: PLC0415 - see the package's docstring
    from wap.ports import open_ports  # noqa: PLC0415 - see above

    opened, at = open_project(project), datetime.now(UTC)
    said, expiry = make_change(author or getpass.getuser(), reason), until_of(until, at)
    with open_ports(opened) as ports:
        held = find_held(ports.ledger, run)
        refuse_overtaken(opened, ports.catalog, run, held)
    waiver = waiver_of(
        run, held, said, checks=check or (), report=report, at=at, until=expiry
    )  # fmt: skip
    result = _told(opened, held, waiver, as_json)
    raise typer.Exit(result.exit_code)


@app.command()
def reject(
    run: RunArgument,
    reason: ReasonOption,
    project: ProjectOption = Path(),
    author: AuthorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Reject a held run: its branch and its files are removed, main stays as it is."""
    from wap.deciding import find_held, refusal_of  # noqa: PLC0415 - heavy
    from wap.ledger import open_ledger  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    said = make_change(author or getpass.getuser(), reason)
    ledger = open_ledger(opened.ledger.url)
    try:
        ledger.migrate()
        held = find_held(ledger, run)
    finally:
        ledger.close()
    result = _told(opened, held, refusal_of(run, held, said), as_json)
    # It ended as it was told to.
    done = result.ending is Ending.REJECTED and result.exit_code is ExitCode.REJECTED
    raise typer.Exit(0 if done else result.exit_code)


def _told(project: Project, held: Held, said: Waiver | Refusal, as_json: bool) -> RunResult:
    from wap.doors import decide  # noqa: PLC0415 - see the package's docstring

    with LiveRuns(messages) as live:
        watched = decide(
            project, held, said, changed=live.changed, server_found=lambda _: None
        )  # fmt: skip
    result = watched.result
    if result is None:
        msg = "a run that was followed to its end has a result"
        raise RuntimeError(msg)
    if as_json:
        print_json(result_json(result))
    else:
        print_result(console, result, project.root)
    return result
