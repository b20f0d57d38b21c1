"""The command line: one Typer app, its exit codes, and the way it leaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from catalog.errors import CatalogError
from checks.errors import ChecksError, ContractError
from wap.errors import ConfigError, QueryError, RunNotFoundError, WapError
from wap.model import ExitCode
from wap.project import Project, load_project

#: A line of a file or pipe is not broken where a terminal's would be.
WIDE = 10_000


def _console(*, stderr: bool) -> Console:
    made = Console(stderr=stderr, highlight=False)
    return made if made.is_terminal else Console(stderr=stderr, highlight=False, width=WIDE)


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


def run_app() -> None:
    """Run the ``wap`` command and leave."""
    from wap.cli import commands  # noqa: F401, PLC0415 - registers the commands

    _leave(app)


def run_one() -> None:
    """Run ``run_workflow.py`` and leave."""
    from wap.cli.run import run  # noqa: PLC0415 - one command only

    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(help=run.__doc__)(run)
    _leave(single)


def _leave(door: Callable[..., object]) -> None:
    """Call the door and leave with its exit code.

    The Temporal SDK can abort an interpreter that is finishing while its threads still run
    (sdk-python issue 300), so after flushing we leave without finishing it.
    """
    code = _call(door)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _call(door: Callable[..., object]) -> int:
    try:
        door()
    except SystemExit as exc:
        return exc.code if isinstance(exc.code, int) else int(bool(exc.code))
    except (ConfigError, ContractError, QueryError, RunNotFoundError) as exc:
        complain(exc)
        return ExitCode.USAGE
    except (WapError, CatalogError, ChecksError) as exc:
        complain(exc)
        return ExitCode.ROLLED_BACK
    except KeyboardInterrupt:
        return 130
    except Exception:  # noqa: BLE001 - a bug of ours must not look like exit code 1, «rejected»
        messages.print_exception()
        return ExitCode.ROLLED_BACK
    return 0


def complain(exc: Exception) -> None:
    """Say an error on stderr: what, where, hint."""
    messages.print(Text.assemble(("error: ", "bold red"), str(exc)))
