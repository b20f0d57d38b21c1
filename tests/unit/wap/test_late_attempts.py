"""An attempt that goes on although another has taken its place keeps nothing of what it found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.wap.test_guard_steps import Port, opened
from wap.attempt import Attempt, working_on
from wap.errors import RunNotFoundError
from wap.homes import LAST_STEPS
from wap.steps import RunRef


@pytest.fixture
def shop(tmp_path):
    with opened(tmp_path) as made:
        yield made


@contextmanager
def attempt(shop, run: RunRef, step: str, number: int) -> Iterator[None]:
    """What the interceptor does around an attempt."""
    if number > 1:
        shop.steps.home.begin(run.run_id, step, number)
    with working_on(Attempt(step, number)):
        yield


def documents(shop, run):
    folder = shop.root / ".wap" / "runs" / run.run_id
    return {p.name: p.read_text() for p in folder.glob("*.json") if "attempt" not in p.name}


def overtaken(shop, run, step, name):
    """The first attempt at a step is stopped before it keeps anything; a second goes through."""
    found = {}

    def meanwhile(*args: Any, **more: Any) -> Any:
        answer = getattr(shop.steps.catalog, name)(*args, **more)
        if not found:
            found["before"] = None
            with attempt(shop, run, step, 2):
                getattr(shop.steps, step)(run)
            found["before"] = documents(shop, run)
        return answer

    late = replace(shop.steps, catalog=Port(shop.steps.catalog, name, meanwhile))
    with attempt(shop, run, step, 1), pytest.raises(RunNotFoundError, match="another attempt"):
        getattr(late, step)(run)
    assert documents(shop, run) == found["before"]


def test_the_plan_is_that_of_the_attempt_that_went_on(shop):
    """An input came between their looks: the rows that are staged must be those of the cursor."""
    run = shop.run("r1")
    looked = shop.steps.catalog.published
    plans = []

    def meanwhile(table):
        if not plans:
            plans.append(None)
            shop.orders("2.csv", 7)
            with attempt(shop, run, "resolve", 2):
                shop.steps.resolve(run)
            plans[0] = shop.folder(run).plan(0)
            (shop.root / "data" / "2.csv").unlink()
        return looked(table)

    late = replace(shop.steps, catalog=Port(shop.steps.catalog, "published", meanwhile))
    with attempt(shop, run, "resolve", 1), pytest.raises(RunNotFoundError, match="another attempt"):
        late.resolve(run)
    assert shop.folder(run).plan(0) == plans[0]


def test_a_plan_is_fixed_once(shop):
    run = shop.run("r1")
    shop.steps.resolve(run)
    folder = shop.folder(run)
    first = folder.plan(0)
    folder.pin(0, first.model_copy(update={"before": 7}))
    assert folder.plan(0) == first


@pytest.mark.parametrize(
    ("step", "name"), [("stage", "staging"), ("reconcile", "scan"), ("audit", "batch")]
)
def test_books_and_report_are_those_of_the_attempt_that_went_on(shop, step, name):
    run = shop.run("r1")
    for before in ("resolve", "open_branch", "stage", "reconcile"):
        if before == step:
            break
        getattr(shop.steps, before)(run)
    overtaken(shop, run, step, name)


def test_an_attempt_that_follows_one_that_died_goes_on(shop):
    run = shop.staged("r1")
    with attempt(shop, run, "reconcile", 3):
        shop.steps.reconcile(run)
    with attempt(shop, run, "audit", 1):
        assert shop.steps.audit(run).passed


@pytest.mark.parametrize("step", LAST_STEPS)
def test_behind_the_last_step_no_folder_comes_back(shop, step):
    run = shop.run("r1")
    shop.steps.home.begin(run.run_id, step, 2)
    assert shop.steps.home.runs() == []
