"""An attempt that goes on although another has taken its place keeps nothing of what it found."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import Context
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.unit.wap.test_guard_steps import PIPELINE, Port, opened
from wap.activities import Activities
from wap.attempt import Attempt, working_on
from wap.division import Division
from wap.errors import RunNotFoundError, SourceError
from wap.homes import LAST_STEPS
from wap.model import Ending, Quarantined, Rows, RunResult, StepFacts
from wap.runs import Books, Followed
from wap.steps import RunRef

NONE = Quarantined(table="shop.orders__quarantine", rows=0, checks=())
BOOKS = Books(rows=Rows(), files=0, bytes=0)


def facts(step: str) -> StepFacts:
    return StepFacts(name=step, started_at=datetime.now(UTC), seconds=0.1)


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


# --- what a run leaves on the machine of a late attempt -----------------------------------------


def set_aside(shop) -> None:
    """One row of the file cannot be read, and is kept with its reason."""
    (shop.root / "data" / "1.csv").write_text("id,note\n1,a\nx,b\n")
    text = PIPELINE.replace("format: csv", "format: csv, malformed: set_aside")
    (shop.root / "pipelines" / "orders.yml").write_text(text)


def late_at(shop, port: str, name: str, meanwhile: Any) -> Activities:
    """Steps whose attempt stands still behind a call of a port, until something else is done."""
    inner, done = getattr(shop.steps, port), []

    def stands_still(*args: Any, **more: Any) -> Any:
        answer = getattr(inner, name)(*args, **more)
        if not done:
            done.append(name)
            meanwhile()
        return answer

    return replace(shop.steps, **{port: Port(inner, name, stands_still)})


def kept_rejects(shop, run: RunRef) -> tuple[int, str]:
    path = shop.root / ".wap" / "runs" / run.run_id / "rejects.jsonl"
    return path.stat().st_ino, path.read_text()


def test_the_rows_set_aside_are_those_of_the_attempt_that_went_on(shop):
    set_aside(shop)
    run = shop.run("r1")
    shop.steps.resolve(run)
    shop.steps.open_branch(run)
    seen = []

    def goes_on() -> None:
        with attempt(shop, run, "stage", 2):
            shop.steps.stage(run)
        seen.append(kept_rejects(shop, run))

    late = late_at(shop, "engine", "write", goes_on)
    with attempt(shop, run, "stage", 1), pytest.raises(RunNotFoundError, match="another attempt"):
        late.stage(run)
    assert [kept_rejects(shop, run)] == seen
    assert json.loads(seen[0][1])["line"] == 3
    # Nothing of its own lies there either.
    assert [
        p.name for p in (shop.root / ".wap" / "runs" / "r1").iterdir() if p.name[0] == "."
    ] == []


def ended(shop, run: RunRef, *, staged: bool = True) -> None:
    """The run comes to its end, by other attempts."""

    def ends() -> None:
        if not staged:
            with attempt(shop, run, "stage", 2):
                shop.steps.stage(run)
        audited = shop.audited(run)
        shop.steps.seal(run, audited)
        shop.steps.publish(run, audited)
        told = {"run_id": run.run_id, "pipeline": "orders", "table": "shop.orders"}
        shop.steps.close(run, RunResult(**told, ending=Ending.PUBLISHED))

    # Not as the attempt that stands still.
    Context().run(ends)


@pytest.mark.parametrize(
    ("port", "name", "error"),
    [("catalog", "staging", SourceError), ("engine", "write", RunNotFoundError)],
)
def test_the_folder_of_a_run_that_has_ended_does_not_come_back_with_rows_set_aside(
    shop, port, name, error
):
    set_aside(shop)
    run = shop.run("r1")
    shop.steps.resolve(run)
    shop.steps.open_branch(run)
    kept = shop.root / ".wap" / "rejects" / "r1.jsonl"
    seen = []

    def goes_on() -> None:
        ended(shop, run, staged=False)
        seen.append((kept.stat().st_ino, kept.read_text()))

    late = late_at(shop, port, name, goes_on)
    with attempt(shop, run, "stage", 1), pytest.raises(error):
        late.stage(run)
    assert shop.steps.home.runs() == []
    assert [(kept.stat().st_ino, kept.read_text())] == seen


@pytest.mark.parametrize("step", ["stage", "seal", "audit"])
def test_a_late_attempts_facts_do_not_bring_the_folder_back(shop, step):
    run = shop.staged("r1")
    with attempt(shop, run, step, 1):
        shop.steps.record(run.run_id, facts(step))
        assert [s.name for s in shop.folder(run).steps()] == [step]
        ended(shop, run)
        shop.steps.record(run.run_id, facts(step))
    assert shop.steps.home.runs() == []


def test_before_there_is_a_plan_an_attempts_facts_are_noted(shop):
    run = shop.run("r1")
    for step in ("resolve", "unite", "check_group"):
        with attempt(shop, run, step, 1):
            shop.steps.record(run.run_id, facts(step))
    assert [s.name for s in shop.folder(run).steps()] == ["resolve", "unite", "check_group"]


NOTES = {
    "division": lambda folder: folder.save_division("t", Division(told=NONE)),
    "followed": lambda folder: folder.save_followed("t", Followed(books=BOOKS, written=0)),
    "evidence": lambda folder: folder.note_evidence("a/r1-abc.json"),
    "rejects": lambda folder: folder.rejects.write_text("x"),
}


@pytest.mark.parametrize("name", NOTES)
def test_no_document_of_a_late_attempt_brings_the_folder_back(shop, name):
    run = shop.staged("r1")
    ended(shop, run)
    # What it had begun before lies there: a batch aside, rows set aside.
    scratch = shop.folder(run).scratch / "aside-0-x"
    scratch.mkdir(parents=True)
    with attempt(shop, run, "quarantine", 1), pytest.raises(RunNotFoundError, match="or ended it"):
        NOTES[name](shop.folder(run))
    assert shop.steps.home.runs() == []


def test_what_a_damaged_folder_tells_of_its_run_stays(shop):
    """Whoever drops the run must know which unions took its batch."""
    run = shop.staged("r1")
    shop.folder(run).note_union("union-1")
    (shop.folder(run).path / "plan-0.json").unlink()
    with attempt(shop, run, "reconcile", 1), pytest.raises(RunNotFoundError):
        shop.folder(run).save_books(0, BOOKS)
    assert shop.folder(run).unions() == ("union-1",)


def test_a_late_union_takes_nothing_of_a_run_that_has_ended(shop):
    run = shop.staged("r1")
    ended(shop, run)
    with attempt(shop, run, "unite", 1), pytest.raises(RunNotFoundError, match="has ended"):
        shop.folder(run).note_union("union-1")
    assert shop.steps.home.runs() == []


@pytest.mark.parametrize("name", NOTES)
def test_nor_is_one_kept_in_the_place_of_a_later_attempts(shop, name):
    run = shop.staged("r1")
    before = documents(shop, run)
    shop.steps.home.begin("r1", "quarantine", 2)
    with attempt(shop, run, "quarantine", 1), pytest.raises(RunNotFoundError, match="has begun"):
        NOTES[name](shop.folder(run))
    assert documents(shop, run) == before
