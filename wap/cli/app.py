"""What every command shares: the Typer app, its options, and how an error is said."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text
from typing_extensions import override

from checks.showing import visible
from wap.project import Project, load_project

#: A line of a file or pipe is not broken where a terminal's would be.
WIDE = 10_000


class PlainConsole(Console):
    """Whatever somebody's data holds is shown: it gives the terminal no commands."""

    @override
    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            if segment.control:  # rich's own
                yield segment
            else:
                yield Segment(visible(segment.text), segment.style)


def _console(*, stderr: bool) -> Console:
    """A console that shows every text as it is: the name of somebody's column is no markup."""
    made = PlainConsole(stderr=stderr, highlight=False, markup=False, emoji=False)
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
