"""Clocks that are hours off: what is of a run is told by its name and by refs, not by its age."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

pytestmark = [pytest.mark.exactly("sqlite", "nessie")]
HOURS = 9 * 3600


def shift(lake, run, seconds: int) -> list[Path]:
    """Date the run's files as a writer does whose clock is off."""
    every = (p for p in Path(lake.where.url).rglob("*") if p.is_file())
    files = [p for p in every if run.branch.run_id in str(p)]
    then = time.time() + seconds
    for path in files:
        os.utime(path, (then, then))
    return files


@pytest.mark.parametrize("seconds", [-HOURS, HOURS])
def test_a_sweep_takes_no_file_of_a_live_run_however_it_is_dated(lake, seconds):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    files = shift(lake, run, seconds)
    assert files
    later = datetime.now(UTC) + timedelta(days=1)
    live = frozenset({run.branch.run_id})
    assert lake.catalog.sweep(run.table, before=later, live=lambda: live) == []
    assert all(path.exists() for path in files)
    run.finish()
    assert lake.ids() == [1, 2]


@pytest.mark.parametrize("seconds", [-HOURS, HOURS])
def test_a_drop_takes_all_of_a_run_and_nothing_else_however_its_files_are_dated(lake, seconds):
    first = lake.run()
    first.open()
    first.stage([1])
    first.finish()
    shift(lake, first, -seconds)
    before = lake.files()
    run = lake.run()
    run.open()
    run.stage([2])
    shift(lake, run, seconds)
    run.drop()
    assert lake.files() == before
    assert first.drop().files == 0
    assert lake.ids() == [1]
