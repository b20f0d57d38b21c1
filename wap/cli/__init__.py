"""The doors on the command line; each imports what it needs when it is called."""

from __future__ import annotations

import signal


def main() -> None:
    """The ``wap`` command."""
    _end_when_interrupted()
    from wap.cli.entry import run_app  # noqa: PLC0415 - Typer is only needed here

    run_app()


def run_workflow() -> None:
    """``python run_workflow.py``: the same as ``wap run``."""
    _end_when_interrupted()
    from wap.cli.entry import run_one  # noqa: PLC0415 - see above

    run_one()


def _end_when_interrupted() -> None:
    """While modules are imported there is nothing to undo, so Ctrl-C ends us without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
