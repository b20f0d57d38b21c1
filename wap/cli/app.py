"""What every command shares: the Typer app, its options, and how an error is said."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from wap.project import Project, load_project

#: A line of a file or pipe is not broken where a terminal's would be.
WIDE = 10_000


def _console(*, stderr: bool) -> Console:
    """A console that shows every text as it is: the name of somebody's column is no markup."""
    made = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = WIDE
    return made


console = _console(stderr=False)
messages = _console(stderr=True)

ProjectOption = Annotated[
    Path,
    typer.Option(
        "--project", "-p", envvar="WAP_PROJECT", help="The project's folder (it holds wap.toml)."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]

app = typer.Typer(
    name="wap",
    help="Write, audit, publish: data that nobody has checked never reaches a reader.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def open_project(folder: Path) -> Project:
    """The project with the environment's settings on top of its file's."""
    return load_project(folder, os.environ)


def complain(exc: Exception) -> None:
    """Say an error on stderr: what, where, hint."""
    messages.print(Text.assemble(("error: ", "bold red"), str(exc)))
