"""Routes of runs and their reports: read, never changed."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Path, Query
from fastapi.responses import HTMLResponse

from wap.api.access import may_read
from wap.api.ports import Opened, Page, Shelves
from wap.api.problems import RESPONSES
from wap.model import RunFacts
from wap.versions import MAX_NAME, NAME

_ID = f"^{NAME.pattern}$"
RunId = Annotated[str, Path(pattern=_ID, max_length=255)]

router = APIRouter(
    prefix="/runs", tags=["runs"], dependencies=[Depends(may_read)], responses=RESPONSES
)


@router.get("")
def list_runs(
    shelves: Opened,
    pipeline: Annotated[str | None, Query(pattern=_ID, max_length=MAX_NAME)] = None,
    before: Annotated[str | None, Query(pattern=_ID, max_length=255)] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Page[RunFacts]:
    """Runs with their facts, newest first; one that goes on has `ended_at` null."""
    found = shelves.ledger.runs(pipeline=pipeline, before=before, limit=limit + 1)
    more = len(found) > limit
    return Page(items=list(found[:limit]), next=found[limit - 1].run_id if more else None)


@router.get("/{run_id}")
def read_run(run_id: RunId, shelves: Opened) -> RunFacts:
    """Everything the ledger knows of a run."""
    found = shelves.ledger.run(run_id)
    if found is None:
        raise HTTPException(404, f"there is no run {run_id!r}")
    return found


@router.get("/{run_id}/report")
def read_report(run_id: RunId, shelves: Opened) -> dict[str, Any]:
    """The run's `report.json` (docs/reports.md)."""
    report: dict[str, Any] = json.loads(_file(shelves, run_id, "report.json"))
    return report


@router.get("/{run_id}/report.html", response_class=HTMLResponse)
def read_page(run_id: RunId, shelves: Opened) -> HTMLResponse:
    """The run's `report.html`."""
    return HTMLResponse(_file(shelves, run_id, "report.html"))


def _file(shelves: Shelves, run_id: str, name: str) -> bytes:
    """A report's file; the id has no separator in it, so this stays among the reports."""
    path = shelves.reports / run_id / name
    if not path.is_file():
        raise HTTPException(404, f"there is no report of run {run_id!r}")
    return path.read_bytes()
