"""``wap quarantine``: the quarantine table, made by itself."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from catalog.refs import TableName
from wap.cli.app import ProjectOption, app, console, open_project


@app.command()
def quarantine(
    table: Annotated[str, typer.Argument(help="The table whose rows it takes, namespace.table.")],
    project: ProjectOption = Path(),
) -> None:
    """Publish a table's quarantine table without a row; on Iceberg REST a run cannot make it."""
    from wap.compaction import pipeline_of  # noqa: PLC0415 - see the package's docstring
    from wap.ports import open_ports  # noqa: PLC0415 - see above
    from wap.quarantine.table import quarantine_of  # noqa: PLC0415 - see above
    from wap.worker import emptying_of  # noqa: PLC0415 - see above

    opened, name = open_project(project), TableName.parse(table)
    pipeline_of(opened, table)  # a table that nothing loads has no rows to set aside
    with open_ports(opened) as ports:
        made = emptying_of(opened, ports.catalog).make(name)
    said = "is there already" if made is None else f"is at {made.id}, without a row"
    console.print(f"main of {quarantine_of(name)} {said}", markup=False)
