"""Every command: importing them registers them with the app."""

from wap.cli import (
    access,
    aside,
    decide,
    drill,
    keep,
    maintain,
    new,
    pipelines,
    proof,
    replay,
    run,
    serve,
    show,
    workers,
)
from wap.cli.app import app

__all__ = [
    "access", "app", "aside", "decide", "drill", "keep", "maintain", "new", "pipelines", "proof",
    "replay", "run", "serve", "show", "workers",
]  # fmt: skip
