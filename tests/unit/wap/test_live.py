"""What is shown of runs: trouble once, an early end without figures it does not have."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from wap.cli.live import LiveRuns, print_result
from wap.client import Watched
from wap.model import Ending, Progress, RunRequest, RunResult

REQUEST = RunRequest(project="p", pipeline="orders")


@pytest.fixture
def console():
    return Console(file=io.StringIO(), markup=False, width=200)


def test_why_a_step_is_tried_again_is_told_once(console):
    watched = Watched(REQUEST, progress=Progress(run_id="orders-1"), trouble="[x] is locked")
    with LiveRuns(console) as live:
        for _ in range(3):
            live.changed([watched])
    assert console.file.getvalue() == "orders: tried again: [x] is locked\n"


def test_run_that_ended_before_it_looked_at_main_claims_nothing_of_it(console):
    result = RunResult(
        run_id="orders-1", pipeline="orders", table="", ending=Ending.ROLLED_BACK, reason="no file"
    )
    print_result(console, result, Path())
    shown = console.file.getvalue()
    assert "orders" in shown.splitlines()[0]
    assert "snapshot" not in shown
    assert "main has not moved" not in shown
