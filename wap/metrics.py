"""Our figures among Temporal's own: runs, rows, bytes, checks and steps (docs/server.md)."""

from __future__ import annotations

from datetime import datetime

from temporalio.common import MetricMeter

from wap.model import Ending, RunResult

#: Upper bounds of the histograms, by name: from a short step to a run of hours.
BUCKETS = dict.fromkeys(
    ("wap_run_seconds", "wap_step_seconds"),
    (0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14400.0),
)


def run_ended(meter: MetricMeter, result: RunResult, bytes_written: int, at: datetime) -> None:
    """Count a run and what it moved.

    Args:
        meter: the workflow's, which counts nothing while a history is replayed.
        bytes_written: of data files, those of rejected runs too.
        at: the end of the run.
    """
    table = {"table": result.table or "none"}
    ending = {**table, "ending": "nothing_new" if result.nothing_new else result.ending.value}
    meter.create_counter("wap_runs", "Runs that ended").add(1, ending)
    seconds = meter.create_histogram_float("wap_run_seconds", "From start to end")
    seconds.record(result.seconds, ending)
    rows = meter.create_counter("wap_rows", "Rows by what became of them")
    for kind, count in result.rows.model_dump().items():
        if count:
            rows.add(count, {**table, "kind": kind})
    checks = meter.create_counter("wap_checks", "Checks by outcome")
    for outcome, count in result.checks.model_dump().items():
        if count:
            checks.add(count, {**table, "outcome": outcome})
    if bytes_written:
        written = meter.create_counter("wap_written_bytes", "Bytes of data files")
        written.add(bytes_written, table)
    if result.ending is Ending.PUBLISHED and not result.nothing_new:
        published(meter, result.table, at)


def published(meter: MetricMeter, table: str, at: datetime) -> None:
    """Tell when consumers last saw something new of a table."""
    gauge = meter.create_gauge_float("wap_last_publish_timestamp_seconds", "Unix time")
    gauge.set(at.timestamp(), {"table": table})


def step_ended(meter: MetricMeter, step: str, seconds: float, *, failed: bool) -> None:
    """Time an attempt of a step."""
    histogram = meter.create_histogram_float("wap_step_seconds", "One attempt of a step")
    histogram.record(seconds, {"step": step, "outcome": "failed" if failed else "done"})
