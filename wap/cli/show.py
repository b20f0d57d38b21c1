"""Commands that look: status, report, branches, diff, query. None changes anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from checks.showing import visible
from wap.cli.app import JsonOption, ProjectOption, app, console, open_project
from wap.cli.live import print_json, waiver_line
from wap.errors import RunNotFoundError

if TYPE_CHECKING:
    from wap.quarantine.pending import Pending

#: So many reasons why rows wait are told in a line.
_REASONS = 3


@app.command()
def status(
    pipeline: Annotated[str | None, typer.Argument(help="Only this pipeline's runs.")] = None,
    project: ProjectOption = Path(),
    limit: Annotated[int, typer.Option(help="How many runs.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """The latest runs, and how fresh each published table is."""
    from wap.ports import open_ports  # noqa: PLC0415 - see above
    from wap.status import overview  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    with open_ports(opened) as ports:
        seen = overview(opened, ports.catalog, ports.ledger, pipeline, limit)
    if as_json:
        print_json(seen.model_dump(mode="json"))
        return
    tables = grid_of("table", "snapshot", "rows", "published", "freshness")
    for t in seen.tables:
        style = "red" if t.late else ""
        when = f"{t.published_at:%Y-%m-%d %H:%M}" if t.published_at else "never"
        tables.add_row(
            t.table, str(t.snapshot or "-"), f"{t.rows:,}", when, Text(t.freshness, style)
        )
    console.print(tables)
    for t in seen.tables:
        for waiver in t.waivers:
            console.print(Text(f"{t.table} {waiver_line(waiver)}", "magenta"))
        if t.waiting is not None:
            console.print(Text(pending_line(t.table, t.waiting), "yellow"))
    runs = grid_of("run", "ending", "published", "seconds")
    for column in runs.columns:
        column.no_wrap = True  # the run's id is copied into `wap report`: the reason gives way
    runs.add_column("reason")
    for facts in seen.runs:
        r = facts.result
        ending = r.ending.value if facts.ended_at or r.held else "running"
        reason = Text(r.reason.partition("\n")[0], no_wrap=True, overflow="ellipsis")
        runs.add_row(r.run_id, ending, f"{r.rows.published:,}", f"{r.seconds:.1f}", reason)
    console.print(runs)


def pending_line(table: str, waiting: Pending) -> str:
    """How many rows of a table wait in quarantine, and why."""
    told = [f"{r.reason}: {r.rows:,}" for r in waiting.reasons[:_REASONS]]
    more = len(waiting.reasons) - _REASONS
    told += [f"{more:,} more reasons"] if more > 0 else []
    verb = "row waits" if waiting.rows == 1 else "rows wait"
    return f"{table}: {waiting.rows:,} {verb} in {waiting.table} ({'; '.join(told)})"


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="A run id, or a pipeline for its latest run.")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """The report of a run."""
    from checks.render import render_text  # noqa: PLC0415 - see the package's docstring
    from wap.reports import find_report  # noqa: PLC0415 - see above

    opened = open_project(project)
    found = find_report(opened, run)
    if as_json:
        print((found / "report.json").read_text())  # noqa: T201 - stdout is the product here
        return
    console.print(render_text(found), markup=False, highlight=False)
    console.print(f"page: {found / 'report.html'}", markup=False)


@app.command()
def branches(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """The staging branches there are: runs that go on, or what a killed one left."""
    from wap.ports import open_ports  # noqa: PLC0415 - see the package's docstring

    with open_ports(open_project(project)) as ports:
        found = ports.catalog.branches()
    if as_json:
        print_json([_branch_json(b) for b in found])
        return
    grid = grid_of("branch", "table", "head", "base", "main", "since")
    for b in found:
        since = f"{b.created_at:%Y-%m-%d %H:%M}" if b.created_at else "-"
        grid.add_row(
            str(b.branch), str(b.table), str(b.head), str(b.base or "new table"),
            str(b.main or "-"), since,
        )  # fmt: skip
    console.print(grid if found else "no staging branch: nothing runs, nothing was left")


def _branch_json(branch: Any) -> dict[str, object]:
    return {
        "branch": str(branch.branch),
        "table": str(branch.table),
        "head": branch.head,
        "base": branch.base,
        "main": branch.main,
        "created_at": branch.created_at.isoformat() if branch.created_at else None,
    }


@app.command()
def diff(
    branch: Annotated[str, typer.Argument(help="A staging branch (see `wap branches`).")],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """What a branch would change: rows, schema, and figures of every column."""
    from wap.cli.differences import picture  # noqa: PLC0415 - see the package's docstring
    from wap.diff import diff as compare  # noqa: PLC0415 - see above
    from wap.ports import open_ports  # noqa: PLC0415 - see above

    opened = open_project(project)
    with open_ports(opened) as ports:
        states = [b for b in ports.catalog.branches() if branch in (str(b.branch), b.branch.run_id)]
        if not states:
            raise RunNotFoundError(
                f"no staging branch {branch!r}", hint="`wap branches` lists them"
            )
        found = [
            compare(
                ports.catalog,
                b.branch,
                b.table,
                temp_directory=opened.state / "tmp",
                masked=opened.masked(str(b.table)),
            )
            for b in states
        ]
    if as_json:
        print_json([d.model_dump(mode="json") for d in found])
        return
    for one in found:
        console.print(picture(one))


@app.command()
def query(
    sql: Annotated[
        str, typer.Argument(help='One SELECT, e.g. "select count(*) from nyc.flights".')
    ],
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
    limit: Annotated[int, typer.Option(help="Rows shown at most; 0 for all.")] = 100,
) -> None:
    """Query the published snapshots; it can read nothing else and write nothing."""
    from wap.ports import open_ports  # noqa: PLC0415 - see above
    from wap.query import query as ask  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    with open_ports(opened) as ports:
        table = ask(
            ports.catalog, sql, limit=limit + 1 if limit else None,
            temp_directory=opened.state / "tmp",
        )  # fmt: skip
    more = bool(limit) and table.num_rows > limit
    table = table.slice(0, limit) if more else table
    if as_json:
        print_json(table.to_pylist())
        return
    grid = grid_of(*map(visible, table.column_names))
    for row in table.to_pylist():
        grid.add_row(*map(_cell, row.values()))
    console.print(grid)
    if more:
        console.print(f"only the first {limit} rows are shown (--limit 0 shows all)", style="dim")


def _cell(value: object) -> Text:
    # Written out here already, so that the column is as wide as what is shown.
    return Text("null", "dim") if value is None else Text(visible(str(value)))


def grid_of(*titles: str) -> Table:
    """A table without lines, its titles dim."""
    grid = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2))
    for title in titles:
        grid.add_column(title, overflow="fold")
    return grid
