"""Registers every command with the app."""

from wap.cli import run

__all__ = ["run"]
