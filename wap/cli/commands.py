"""Registers every command with the app."""

from wap.cli import keep, new, run, show

__all__ = ["keep", "new", "run", "show"]
