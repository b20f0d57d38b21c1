"""``wap pipelines …``: the pipelines that are kept in the ledger's database, and files of them."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from wap.cli.app import JsonOption, ProjectOption, app, console, messages, open_project
from wap.cli.live import print_json
from wap.errors import ConfigError
from wap.project import Project
from wap.versions import Change, Version, VersionInfo, make_change

pipelines = typer.Typer(
    name="pipelines",
    help="The pipelines that are kept in the ledger's database.",
    no_args_is_help=True,
)
app.add_typer(pipelines)

NameArgument = Annotated[str, typer.Argument(help="A pipeline.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept with the version.")]
AuthorOption = Annotated[
    str | None, typer.Option("--author", help="Who; by default the user's name.")
]
ExpectOption = Annotated[
    int | None,
    typer.Option("--expect", min=0, help="Only if this is the latest version; 0: if it is new."),
]


@pipelines.command("list")
def list_(project: ProjectOption = Path(), as_json: JsonOption = False) -> None:
    """The latest version of every pipeline."""
    _show(open_project(project).registry.pipelines(), as_json)


@pipelines.command()
def history(
    name: NameArgument, project: ProjectOption = Path(), as_json: JsonOption = False
) -> None:
    """Every version of a pipeline, newest first: who changed it, when and why."""
    found = open_project(project).registry.history(name)
    if not found:
        raise _unknown(name)
    _show(found, as_json)


@pipelines.command()
def show(
    name: NameArgument,
    number: Annotated[int | None, typer.Option("--version", help="By default the latest.")] = None,
    project: ProjectOption = Path(),
    as_json: JsonOption = False,
) -> None:
    """A version with its texts."""
    found = _version(open_project(project), name, number)
    if as_json:
        print_json(found.model_dump(mode="json"))
        return
    console.print(
        f"# {found.shown}, by {found.author} at {found.at:%Y-%m-%d %H:%M}: {found.reason}"
    )
    for path, text in [
        (f"{name}.yml", found.pipeline),
        *((c.path, c.text) for c in found.contracts),
    ]:
        console.print(f"# {path}\n{text.rstrip()}\n")


@pipelines.command()
def diff(
    name: NameArgument,
    old: Annotated[int, typer.Argument(help="A version.")],
    new: Annotated[int | None, typer.Argument(help="By default the latest.")] = None,
    project: ProjectOption = Path(),
) -> None:
    """What changed between two versions."""
    from wap.exchange import difference  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    console.print(difference(_version(opened, name, old), _version(opened, name, new)), end="")


@pipelines.command()
def put(
    file: Annotated[Path, typer.Argument(help="A pipeline's file; its name is the pipeline's.")],
    reason: ReasonOption,
    author: AuthorOption = None,
    expect: ExpectOption = None,
    root: Annotated[
        Path | None, typer.Option(help="What contracts are relative to; by default the project.")
    ] = None,
    project: ProjectOption = Path(),
) -> None:
    """Store a file with its contracts as a new version, if it is valid and says something new."""
    from wap.exchange import prove_file  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    proved = prove_file(file, root or opened.root)
    seen = _seen(opened, proved.draft.name) if expect is None else expect or None
    made = opened.registry.put(proved, _change(author, reason), expected=seen)
    console.print(f"{made.shown}, by {made.author}: {made.reason}")
    _tell_unread(opened)


@pipelines.command()
def delete(
    name: NameArgument,
    reason: ReasonOption,
    author: AuthorOption = None,
    expect: ExpectOption = None,
    project: ProjectOption = Path(),
) -> None:
    """Store a version that says that the pipeline is gone; its history stays."""
    opened = open_project(project)
    seen = _seen(opened, name) if expect is None else expect or None
    made = opened.registry.delete(name, _change(author, reason), expected=seen)
    if made is None:
        raise _unknown(name)
    console.print(f"pipeline {name} is gone since version {made.version}: {made.reason}")


@pipelines.command("import")
def import_(
    reason: ReasonOption = "imported from files",
    author: AuthorOption = None,
    project: ProjectOption = Path(),
) -> None:
    """Store every file of the project's pipelines/ that says something new."""
    from wap.exchange import prove_files  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    change = _change(author, reason)
    for proved in prove_files(opened.root):  # all are proved before the first is stored
        seen = _seen(opened, proved.draft.name)
        made = opened.registry.put(proved, change, expected=seen)
        console.print(made.shown if made.version != seen else f"{made.shown}: no change")
    _tell_unread(opened)


@pipelines.command("export")
def export_(
    folder: Annotated[Path, typer.Argument(help="Gets pipelines/ and contracts/.")],
    names: Annotated[list[str] | None, typer.Argument(help="Pipelines; all by default.")] = None,
    project: ProjectOption = Path(),
) -> None:
    """Write the latest versions as files, byte for byte as they were stored."""
    from wap.exchange import export  # noqa: PLC0415 - see the package's docstring

    opened = open_project(project)
    chosen = names or opened.registry.names()
    for path in export([_version(opened, name, None) for name in chosen], folder.resolve()):
        console.print(str(path))


def _version(project: Project, name: str, number: int | None) -> Version:
    registry = project.registry
    found = registry.latest(name) if number is None else registry.version(name, number)
    if found is None:
        raise _unknown(name, number)
    return found


def _unknown(name: str, number: int | None = None) -> ConfigError:
    what = f"no pipeline {name!r}" if number is None else f"no version {number} of {name!r}"
    return ConfigError(
        f"the database holds {what}", hint="wap pipelines list, or wap pipelines history NAME"
    )


def _seen(project: Project, name: str) -> int | None:
    latest = project.registry.latest(name)
    return None if latest is None else latest.version


def _change(author: str | None, reason: str) -> Change:
    return make_change(author or getpass.getuser(), reason)


def _tell_unread(project: Project) -> None:
    if not project.reads_database:
        messages.print(
            'no run reads it yet: [pipelines] from is "files" in wap.toml', style="yellow"
        )


def _show(found: list[VersionInfo], as_json: bool) -> None:
    if as_json:
        print_json([info.model_dump(mode="json") for info in found])
        return
    grid = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2))
    for title in ("pipeline", "version", "table", "author", "at", "reason"):
        grid.add_column(title, overflow="fold")
    for info in found:
        grid.add_row(
            info.name, str(info.version), Text(info.table or "deleted"), info.author,
            f"{info.at:%Y-%m-%d %H:%M}", info.reason,
        )  # fmt: skip
    console.print(grid if found else "the database holds no pipeline")
