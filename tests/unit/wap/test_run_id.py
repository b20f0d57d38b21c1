"""A run's name: two runs never share one, for they would share branch, files and plan."""

from datetime import UTC, datetime

import pytest

from catalog.refs import Branch
from wap.workflow import run_id_of

AT = datetime(2026, 1, 1, 12, 30, 59, tzinfo=UTC)
#: As Temporal makes them (UUIDv7): started in the same millisecond, so the first digits are alike.
ONE, OTHER = "01a1fe33-4a5b-7c21-9d3e-5f60718293a4", "01a1fe33-4a5b-7c21-9d3e-a4b5c6d7e8f9"


def test_runs_started_together_have_names_of_their_own():
    assert run_id_of("orders", ONE, AT) != run_id_of("orders", OTHER, AT)


def test_one_run_keeps_its_name():
    assert run_id_of("orders", ONE, AT) == "orders-20260101-123059-718293a4"


@pytest.mark.parametrize("pipeline", ["orders", "2024-orders", "été", "a.b c", "_"])
def test_every_pipelines_run_can_name_a_branch(pipeline):
    run_id = run_id_of(pipeline, ONE, AT)
    assert Branch.of_run(run_id).run_id == run_id
