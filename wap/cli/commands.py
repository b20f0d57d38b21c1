"""Every command: importing them registers them with the app."""

from wap.cli import keep, new, pipelines, run, serve, show
from wap.cli.app import app

__all__ = ["app", "keep", "new", "pipelines", "run", "serve", "show"]
