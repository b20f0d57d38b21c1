"""Where logs go: a file of the project's state, never the terminal that shows the run."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

_BYTES, _FILES = 2_000_000, 3


def log_to(state: Path) -> Path:
    """Send what Temporal's SDK and our steps say to ``<state>/wap.log``; returns its path.

    The SDK's native core would otherwise write to stdout, which belongs to results. Only loggers
    of ours and Temporal's are touched: Soda's verdict depends on the logging of its own.
    """
    state.mkdir(parents=True, exist_ok=True)
    path = state / "wap.log"
    handler = RotatingFileHandler(path, maxBytes=_BYTES, backupCount=_FILES, delay=True)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s"))
    for name in ("temporalio", "wap"):
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    forward = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    filters = TelemetryFilter(core_level="WARN", other_level="ERROR")
    logs = LoggingConfig(filter=filters, forwarding=forward)
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logs)))
    return path
