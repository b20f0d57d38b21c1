"""The doors on the command line; each imports what it needs when it is called."""

from __future__ import annotations


def main() -> None:
    """The ``wap`` command."""
    from wap.cli.entry import run_app  # noqa: PLC0415 - Typer is only needed here

    run_app()


def run_workflow() -> None:
    """``python run_workflow.py``: the same as ``wap run``."""
    from wap.cli.entry import run_one  # noqa: PLC0415 - see above

    run_one()
