"""Finding a run's report in the project."""

from __future__ import annotations

from pathlib import Path

from wap.errors import RunNotFoundError
from wap.homes import open_home
from wap.membership import member_of, owner_of
from wap.project import Project


def find_report(project: Project, run: str) -> Path:
    """The folder of a run's report: by run id, or the latest of a pipeline.

    With ``[runs] location`` it is brought from there when it is not on this machine.

    Raises:
        RunNotFoundError: there is none; the hint names the latest.
        StoreUnavailableError: the location does not answer.
    """
    reports, home = project.reports, open_home(project)
    here = {p.parent.name for p in reports.glob("*/report.json")}
    every = sorted({*here, *home.reports()})
    exact = [name for name in every if name == run]
    latest = sorted((name for name in every if _pipeline_of(name) == run), key=_when)
    if exact or latest:
        found = (exact or latest)[-1]
        home.fetch_report(found, reports)
        return reports / found
    recent = ", ".join(every[-3:]) or "none yet"
    raise RunNotFoundError(f"no report of {run!r}", where=str(reports), hint=f"latest: {recent}")


def _pipeline_of(run_id: str) -> str:
    """A run id is pipeline-date-time-suffix; a member's has its pipeline behind its group's run."""
    return member_of(run_id) or run_id.rsplit("-", 3)[0]


def _when(run_id: str) -> str:
    return "-".join(owner_of(run_id).rsplit("-", 3)[1:])
