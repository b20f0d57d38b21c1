"""Finding a run's report in the project."""

from __future__ import annotations

from pathlib import Path

from wap.errors import RunNotFoundError
from wap.project import Project


def find_report(project: Project, run: str) -> Path:
    """The folder of a run's report: by run id, or the latest of a pipeline.

    Raises:
        RunNotFoundError: there is none; the hint names the latest.
    """
    reports = project.reports
    every = sorted(p.parent for p in reports.glob("*/report.json"))
    exact = [p for p in every if p.name == run]
    # A run id is pipeline-date-time-suffix, so names of one pipeline sort by time.
    latest = [p for p in every if p.name.rsplit("-", 3)[0] == run]
    if exact or latest:
        return (exact or latest)[-1]
    recent = ", ".join(p.name for p in every[-3:]) or "none yet"
    raise RunNotFoundError(f"no report of {run!r}", where=str(reports), hint=f"latest: {recent}")
