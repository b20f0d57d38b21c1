"""What is shown of runs: trouble once, an early end without figures it does not have."""

import io
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from wap.cli.live import LiveRuns, print_result, result_json
from wap.model import (
    CheckCounts,
    Ending,
    FailedCheck,
    Held,
    Progress,
    RunRequest,
    RunResult,
    StepState,
    Waiver,
)
from wap.watched import Watched

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


AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
HELD = Held(
    workflow_id="w",
    request=REQUEST,
    report_digest="r",
    checks=(FailedCheck(name="c.yml:id", title="id is filled in", measured="2 rows"),),
    since=AT,
    until=AT.replace(day=5),
)


def test_a_held_run_says_how_it_is_decided_and_until_when(console):
    result = RunResult(
        run_id="orders-1", pipeline="orders", table="shop.orders", ending=Ending.HELD, held=HELD
    )
    print_result(console, result, Path())
    shown = console.file.getvalue()
    assert "HELD" in shown.splitlines()[0]
    for said in ("2026-01-05 03:04 UTC", "wap approve orders-1", "wap reject orders-1"):
        assert said in shown


def test_what_is_published_under_a_waiver_says_who_answers_for_it(console):
    waiver = Waiver(
        run_id="orders-1", report_digest="r", checks=HELD.names, person="ann", reason="why not",
        at=AT, until=HELD.until,
    )  # fmt: skip
    result = RunResult(
        run_id="orders-1", pipeline="orders", table="shop.orders", ending=Ending.PUBLISHED,
        waiver=waiver,
    )  # fmt: skip
    print_result(console, result, Path())
    shown = console.file.getvalue()
    for said in ("PUBLISHED", "ann", "why not", "c.yml:id", "2026-01-05 03:04 UTC"):
        assert said in shown


def told(name: str, **how: Any) -> RunResult:
    return RunResult(
        run_id=f"nyc-1.{name}", pipeline=name, table=f"nyc.{name}", ending=Ending.REJECTED, **how
    )


def test_a_group_is_told_by_its_tables_in_one_verdict(console):
    members = (
        told("planes", checks=CheckCounts(passed=3), reason="the group was rejected: …"),
        told("flights", checks=CheckCounts(passed=2, failed=1), warnings=("no lineage",)),
    )
    result = RunResult(
        run_id="nyc-1", pipeline="nyc", table="", ending=Ending.REJECTED, members=members,
        reason="nyc.flights: no such plane", report="reports/nyc-1/report.html",
    )  # fmt: skip
    print_result(console, result, Path())
    shown = console.file.getvalue()
    assert shown.count("REJECTED") == 1
    assert "group nyc" in shown.splitlines()[0]
    for said in (
        "nyc.planes", "3 passed", "nyc.flights", "2 passed, 1 failed", "nyc-1.flights",
        "nyc.flights: no such plane", "nyc.flights: no lineage", "reports/nyc-1/report.html",
    ):  # fmt: skip
        assert said in shown
    document = result_json(result)
    assert (document["group"], document["ending"]) == ("nyc", "rejected")
    assert document["members"] == [result_json(one) for one in members]


def test_steps_of_a_group_name_their_table(console):
    steps = tuple(
        StepState(name="stage", started_at=AT, seconds=1, member=m) for m in ("planes", "flights")
    )
    watched = Watched(REQUEST, progress=Progress(run_id="nyc-1", steps=steps))
    with LiveRuns(console) as live:
        live.changed([watched])
    assert console.file.getvalue().splitlines() == [
        "orders: planes: extract and stage done in 1.00 s",
        "orders: flights: extract and stage done in 1.00 s",
    ]
