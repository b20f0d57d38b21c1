"""Commands of a given Temporal server: worker, deploy."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from wap.cli.app import JsonOption, ProjectOption, app, console, messages, open_project
from wap.cli.live import print_json
from wap.errors import ConfigError
from wap.model import Build
from wap.project import Project


@app.command()
def worker(
    project: ProjectOption = Path(),
    queues: Annotated[
        str, typer.Option(help="control (sagas and short steps), data (stage, audit), or both.")
    ] = "control,data",
) -> None:
    """Serve runs in the foreground until SIGTERM; then end, or hand over, what is at work."""
    from wap.logs import log_to  # noqa: PLC0415 - see the package's docstring
    from wap.serving import serve  # noqa: PLC0415 - see above

    opened = open_project(project)
    log_to(opened.state, opened.metrics.address)
    roles = [role.strip() for role in queues.split(",") if role.strip()]
    asyncio.run(serve(opened, roles, messages.print))


@app.command()
def deploy(
    build: Annotated[
        str | None, typer.Argument(help="Send new runs to this build; none: list them.")
    ] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """Which builds have workers, and which one takes new runs; those at work stay with theirs."""
    from wap import builds  # noqa: PLC0415 - see the package's docstring

    found = asyncio.run(_deploy(open_project(project), build))
    if as_json:
        print_json([one.model_dump() for one in found])
        return
    for one in found:
        mine = "   this program" if one.build == builds.own_build() else ""
        console.print(f"{one.state:<9} {one.build}{mine}")
    if not found:
        console.print("no worker of this deployment was ever there: wap worker")


async def _deploy(project: Project, build: str | None) -> list[Build]:
    from wap import builds, doors, runtime  # noqa: PLC0415 - see the package's docstring

    name, address = project.worker.deployment, project.temporal.address
    if name is None or address is None:
        raise ConfigError(
            "builds are told apart on a given server, in a named deployment",
            where="[temporal] address, [worker] deployment",
            hint="set both; docs/server.md, «Workers»",
        )
    client = await doors.connect(project, runtime.Server(address))
    if build is not None:
        await builds.make_current(client, name, build, only_first=False)
    return await builds.builds(client, name)
