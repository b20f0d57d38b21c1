"""Registers every command with the app."""

from wap.cli import keep, run, show

__all__ = ["keep", "run", "show"]
