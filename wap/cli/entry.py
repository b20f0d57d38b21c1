"""The way in and out of the command line: which commands there are, and the exit codes."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable

import typer

from catalog.errors import CatalogConfigError, CatalogError, NotInstalledError
from checks.errors import ChecksError, ContractError
from wap.cli import commands
from wap.cli.app import complain, messages
from wap.cli.run import run
from wap.errors import (
    ConfigError,
    DecisionRefusedError,
    GroupRefusedError,
    NotRepeatableError,
    QueryError,
    RunNotFoundError,
    WapError,
)
from wap.model import ExitCode

_DENIED = "give this user write access to the project's folder: .wap, warehouse, reports, lineage"
_FULL = "free some space, then run again"
#: Nobody reads what we say any more: as a shell names a program that SIGPIPE ended.
UNREAD = 128 + signal.SIGPIPE

#: What a person can do when the system refuses the project's own files.
_HINTS = {
    errno.EACCES: (ExitCode.USAGE, _DENIED),
    errno.EPERM: (ExitCode.USAGE, _DENIED),
    errno.EROFS: (ExitCode.USAGE, _DENIED),
    errno.ENOSPC: (ExitCode.ROLLED_BACK, _FULL),
    errno.EDQUOT: (ExitCode.ROLLED_BACK, _FULL),
}


def run_app() -> None:
    """Run the ``wap`` command and leave."""
    _leave(commands.app)


def run_one() -> None:
    """Run ``run_workflow.py`` and leave."""
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    single.command(help=run.__doc__)(run)
    _leave(single)


def _leave(door: Callable[..., object]) -> None:
    """Call the door and leave with its exit code.

    The Temporal SDK can abort an interpreter that is finishing while its threads still run
    (sdk-python issue 300), so after flushing we leave without finishing it.
    """
    # A polite kill unwinds like Ctrl-C: before a run begins, what was started is stopped again.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    code = _call(door)
    for stream in (sys.stdout, sys.stderr):
        # Whoever read us has gone; the code is for who started us, and stands.
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    os._exit(code)


def _call(door: Callable[..., object]) -> int:
    try:
        door()
    except SystemExit as exc:
        return _told(exc)
    except (
        CatalogConfigError, ConfigError, ContractError, DecisionRefusedError, GroupRefusedError,
        NotInstalledError, NotRepeatableError,
        QueryError, RunNotFoundError,
    ) as exc:  # fmt: skip
        complain(exc)
        return ExitCode.USAGE
    except (WapError, CatalogError, ChecksError) as exc:
        complain(exc)
        return ExitCode.ROLLED_BACK
    except KeyboardInterrupt:
        return 130
    except Exception as exc:  # noqa: BLE001 - a bug of ours must not look like exit code 1, «rejected»
        return _unforeseen(exc)
    return 0


def _told(exc: SystemExit) -> int:
    """The code that a command left with, or typer for it."""
    if isinstance(exc.__context__, BrokenPipeError):
        return UNREAD  # typer says 1, which is «rejected»
    return exc.code if isinstance(exc.code, int) else int(bool(exc.code))


def _unforeseen(exc: Exception) -> int:
    """Say what the system refuses in a line; whatever else comes here is a bug of ours."""
    if not isinstance(exc, OSError) or exc.errno not in _HINTS:
        messages.print_exception()
        return ExitCode.ROLLED_BACK
    code, hint = _HINTS[exc.errno]
    said = (exc.strerror or str(exc)).lower()
    complain(WapError(said, where=str(exc.filename or ""), hint=hint))
    return code
