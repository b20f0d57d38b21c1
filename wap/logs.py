"""Where logs go: a file of the project's state, never the terminal that shows the run."""

from __future__ import annotations

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from wap.errors import ConfigError
from wap.metrics import BUCKETS

_BYTES, _FILES = 2_000_000, 3


def log_to(state: Path, metrics: str | None = None) -> Path:
    """Send what Temporal's SDK and our steps say to ``<state>/wap.log``; returns its path.

    Args:
        state: the project's own folder.
        metrics: ``host:port`` of a page for Prometheus; a process that is soon over has none.

    The SDK's native core would otherwise write to stdout, which belongs to results. Only loggers
    of ours and Temporal's are touched: Soda's verdict depends on the logging of its own.

    Raises:
        ConfigError: nothing can listen at the metrics' address.
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
    page = None
    if metrics is not None:
        page = PrometheusConfig(
            metrics,
            counters_total_suffix=True,
            unit_suffix=True,
            durations_as_seconds=True,
            histogram_bucket_overrides=BUCKETS,
        )
    try:
        Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logs, metrics=page)))
    except (RuntimeError, ValueError) as exc:
        raise ConfigError(
            f"nothing can listen there: {exc}",
            where=f"[metrics] address = {metrics}",
            hint="is another worker there already?",
        ) from exc
    return path
