"""``wap serve``: the REST API."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from wap.cli.app import ProjectOption, app, console
from wap.errors import NotInstalledError
from wap.project import load_project


@app.command()
def serve(
    project: ProjectOption = Path(),
    host: Annotated[str | None, typer.Option(help="By default 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="By default 8686; 0 takes a free one.")] = None,
    open_reads: Annotated[
        bool, typer.Option("--open-reads", help="Whoever reaches the address may read.")
    ] = False,
) -> None:
    """Serve the REST API: pipelines in tables, runs and reports."""
    try:
        from wap.api.server import serve as run  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as exc:
        raise NotInstalledError(
            f"the API needs {exc.name}", hint="pip install 'wap-lakehouse[api]'"
        ) from exc
    given = {"api.host": host, "api.port": port, "api.open_reads": "true" if open_reads else None}
    flags = {key: str(value) for key, value in given.items() if value is not None}
    run(load_project(project, os.environ, flags), lambda url: console.print(f"serving {url}"))
