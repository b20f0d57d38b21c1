"""Rows that wait in quarantine are staged again: once, marked where they were, or left there."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.behaviors.quarantined import ASIDE, BATCH, CONTRACT, ORDERS, Shop, drive
from tests.behaviors.test_quarantine import (
    AMOUNT,
    GOOD,
    ID,
    MAIL,
    PLACED,
    Dead,
    Dying,
    Losing,
    is_clean,
    once,
)
from wap.errors import ConfigError, QuarantineError
from wap.model import Ending, Replay, RunRequest, RunResult
from wap.past import Looking
from wap.ports import open_ports
from wap.project import load_project
from wap.reaudit import reaudit
from wap.steps import RunRef
from wap.worker import auditor_of


@pytest.fixture
def shop(tmp_path) -> Shop:
    """Four orders are published; one without an id and two below zero wait."""
    shop = Shop(tmp_path / "shop")
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01", "6,f,-6.00,2026-01-01")
    shop.run("run-1")
    shop.rows("2", "7,g,7.00,2026-01-01", "8,h,-8.00,2026-01-01")
    shop.run("run-2")
    return shop


def relaxed(shop: Shop) -> None:
    """The contract is changed: credit notes are welcome from now on."""
    shop.contract = CONTRACT.replace("valid_min: 0", "valid_min: -7")
    shop.declare()


def replay(shop: Shop, run_id: str, hook: Any = None, **which: Any) -> RunResult:
    return shop.run(run_id, hook, replay=Replay(**which))


def where_they_went(shop: Shop) -> dict[str, str | None]:
    return dict(shop.aside("wap_row, wap_replayed_run"))


def corrected(shop: Shop, *lines: str, head: str = "wap_row,id,amount") -> str:
    path = shop.root / "corrected.csv"
    path.write_text("\n".join([head, *lines]) + "\n")
    return str(path)


def test_rows_that_are_valid_now_are_published_and_the_others_wait_on(shop):
    relaxed(shop)
    result = replay(shop, "again-1")
    rows = result.rows
    assert result.ending is Ending.PUBLISHED
    assert (rows.read, rows.staged, rows.quarantined, rows.published) == (3, 1, 2, 1)
    assert rows.balanced
    assert shop.ids() == [1, 2, 3, 4, 6, 7]
    assert where_they_went(shop) == {"run-1-1": None, "run-1-2": "again-1", "run-2-1": None}
    assert {(c.name, c.rows) for c in result.quarantine.checks} == {(AMOUNT, 1), (ID, 1)}
    assert shop.see("select count(wap_replayed_at) from shop.orders__quarantine") == [(1,)]
    assert is_clean(shop)


def test_a_replay_is_done_once(shop):
    relaxed(shop)
    replay(shop, "again-1", where=(("mail", "f"),))
    result = replay(shop, "again-2", where=(("mail", "f"),))
    assert (result.ending, result.nothing_new) == (Ending.PUBLISHED, True)
    assert shop.ids() == [1, 2, 3, 4, 6, 7]
    assert where_they_went(shop)["run-1-2"] == "again-1"
    assert is_clean(shop)


def test_when_no_row_is_valid_yet_nothing_changes(shop):
    before = shop.data_files()
    result = replay(shop, "again-1")
    assert result.ending is Ending.REJECTED
    assert "every row still breaks a check" in result.reason
    assert shop.data_files() == before
    assert is_clean(shop)


def test_only_what_was_asked_for_is_replayed(shop):
    shop.contract = CONTRACT.replace("valid_min: 0", "valid_min: -100")
    shop.declare()
    replay(shop, "again-1", run="run-2")
    assert where_they_went(shop) == {"run-1-1": None, "run-1-2": None, "run-2-1": "again-1"}
    replay(shop, "again-2", where=(("mail", "f"), ("placed", "2026-01-01")))
    assert where_they_went(shop) == {"run-1-1": None, "run-1-2": "again-2", "run-2-1": "again-1"}
    assert is_clean(shop)


def test_corrected_rows_take_the_place_of_those_that_wait(shop):
    file = corrected(shop, "run-1-1,5,5.25", "run-2-1,8,8.00")
    result = replay(shop, "again-1", file=file)
    assert (result.rows.read, result.rows.published, result.quarantine) == (2, 2, None)
    assert shop.see("select id, mail, amount::double from shop.orders where id in (5, 8)") == [
        (5, "e", 5.25), (8, "h", 8.0),
    ]  # fmt: skip
    # What was wrong with them stays told.
    assert shop.aside("wap_row, id, amount::double, wap_replayed_run") == [
        ("run-1-1", None, 5.0, "again-1"), ("run-1-2", 6, -6.0, None),
        ("run-2-1", 8, -8.0, "again-1"),
    ]  # fmt: skip
    assert is_clean(shop)


def test_a_corrected_row_that_is_wrong_still_waits_on(shop):
    result = replay(shop, "again-1", file=corrected(shop, "run-1-1,5,5.25", "run-2-1,8,-1.00"))
    assert (result.rows.read, result.rows.staged, result.rows.quarantined) == (2, 1, 1)
    assert where_they_went(shop) == {"run-1-1": "again-1", "run-1-2": None, "run-2-1": None}
    assert is_clean(shop)


@pytest.mark.parametrize(
    "lines",
    [
        ("run-1-1,5,1.00", "run-9-9,9,1.00"),
        ("run-1-1,5,1.00", "run-1-1,6,1.00"),
        ("run-1-1,x,1.00",),
    ],
)
def test_corrections_that_fit_no_row_are_rejected(shop, lines):
    run = RunRef(
        run_id="again-1",
        request=RunRequest(
            project="p", pipeline="orders", replay=Replay(file=corrected(shop, *lines))
        ),
    )
    with shop.steps() as steps:
        steps.resolve(run)
        steps.open_branch(run)
        assert steps.stage(run).refused is not None
        steps.drop_branch(run)
    assert set(where_they_went(shop).values()) == {None}
    assert is_clean(shop)


@pytest.mark.parametrize(
    ("which", "said"),
    [
        ({"where": (("colour", "red"),)}, "no column"),
        ({"file": "x.csv"}, "does not say which rows"),
        ({"file": "y.csv"}, "no column 'colour'"),
    ],
)
def test_a_request_that_fits_nothing_is_refused(shop, which, said):
    (shop.root / "x.csv").write_text("id\n1\n")
    (shop.root / "y.csv").write_text("wap_row,colour\nrun-1-1,red\n")
    if "file" in which:
        which = {"file": str(shop.root / which["file"])}
    with pytest.raises(ConfigError, match=said):
        replay(shop, "again-1", **which)


def test_a_table_without_quarantine_has_nothing_to_replay(tmp_path):
    shop = Shop(tmp_path / "shop")
    shop.rows("1", *GOOD)
    shop.run("run-1")
    with pytest.raises(ConfigError, match="ever set aside"):
        replay(shop, "again-1")


def test_loads_go_on_as_before_behind_a_replay(shop):
    relaxed(shop)
    replay(shop, "again-1", run="run-1", where=(("mail", "f"),))
    assert shop.run("run-3").nothing_new
    shop.rows("3", "9,i,9.00,2026-01-01", ",j,1.00,2026-01-01")
    shop.run("run-4")
    assert shop.ids() == [1, 2, 3, 4, 6, 7, 9]
    assert len(where_they_went(shop)) == 4
    assert is_clean(shop)


def test_a_replay_is_held_to_the_checks_of_rows_and_not_of_deliveries(shop):
    relaxed(shop)
    shop.batch = f"{BATCH}- row_count: {{threshold: {{must_be_greater_than: 5}}}}\n"
    shop.declare()
    lines = ("run-1-1,5,a,2026-01-01", "run-1-2,6,,2026-01-01", "run-2-1,8,a,1999-01-01")
    head = "wap_row,id,mail,placed"
    file = corrected(shop, *lines, head=head)
    result = replay(shop, "again-1", file=file)
    assert (result.rows.published, result.rows.quarantined) == (1, 2)
    assert {c.name for c in result.quarantine.checks} == {MAIL, PLACED, AMOUNT}
    project = load_project(shop.root, {})
    with open_ports(project) as ports:
        looking = Looking(ports.catalog, auditor_of(project), project.state / "tmp")
        assert reaudit(looking, ports.ledger, "again-1").equal
        assert reaudit(looking, ports.ledger, "run-1").equal


@pytest.mark.parametrize(
    ("table", "said"), [(ORDERS.name, "were taken and"), (ASIDE.name, "marked and")]
)
def test_a_row_that_an_engine_loses_is_missed(shop, table, said):
    shop.contract = CONTRACT.replace("valid_min: 0", "valid_min: -100")
    shop.declare()
    engine = Losing()
    engine.table = table
    request = RunRequest(
        project="p", pipeline="orders", replay=Replay(where=(("wap_run", "run-1"),))
    )
    with shop.steps() as steps, pytest.raises(QuarantineError, match=said):
        drive(replace(steps, engine=engine), RunRef(run_id="again-1", request=request))


# --- crashes and races --------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("step", "call", "table"),
    [
        ("stage", "stage", ASIDE),
        ("stage", "stage", ORDERS),
        ("quarantine", "restage", ASIDE),
        ("quarantine", "restage", ORDERS),
    ],
)
def test_a_step_that_dies_is_done_by_the_next_attempt(shop, step, call, table, when):
    relaxed(shop)
    request = RunRequest(project="p", pipeline="orders", replay=Replay())
    run = RunRef(run_id="again-1", request=request)
    with shop.steps() as steps:

        def dies(name: str, at: str) -> None:
            if (name, at) != (step, "before"):
                return
            dying = Dying(steps.catalog, call, when, str(table))
            arguments = [steps.audit(run)] if step == "quarantine" else []
            with pytest.raises(Dead):
                getattr(replace(steps, catalog=dying), step)(run, *arguments)
            assert dying.died

        result = drive(steps, run, dies)
    assert (result.rows.read, result.rows.staged, result.rows.quarantined) == (3, 1, 2)
    assert shop.ids() == [1, 2, 3, 4, 6, 7]
    assert where_they_went(shop) == {"run-1-1": None, "run-1-2": "again-1", "run-2-1": None}
    assert is_clean(shop)


def test_a_replay_that_is_undone_leaves_all_rows_waiting(shop):
    relaxed(shop)
    files = shop.data_files()
    request = RunRequest(project="p", pipeline="orders", replay=Replay())
    run = RunRef(run_id="again-1", request=request)

    def dies(name: str, at: str) -> None:
        if (name, at) == ("seal", "after"):
            raise Dead

    with shop.steps() as steps:
        with pytest.raises(Dead):
            drive(steps, run, dies)
        assert steps.drop_branch(run).published is None
    assert set(where_they_went(shop).values()) == {None}
    assert shop.data_files() == files
    assert is_clean(shop)


@pytest.mark.parametrize("other", ["replay", "load"])
def test_when_main_moves_a_replay_is_planned_anew(shop, other):
    relaxed(shop)

    def moves() -> None:
        if other == "replay":
            replay(shop, "again-2")
        else:
            shop.rows("3", "9,i,9.00,2026-01-01")
            shop.run("run-3")

    request = RunRequest(project="p", pipeline="orders", replay=Replay())
    with shop.steps() as steps:
        with pytest.raises(AssertionError, match="waits in quarantine now"):
            drive(
                steps, RunRef(run_id="again-1", request=request), once("publish", "before", moves)
            )
        # As the workflow does it: all is undone, and the next round begins.
        steps.drop_branch(RunRef(run_id="again-1", request=request))
        result = drive(steps, RunRef(run_id="again-1", request=request, round=1))
    went = where_they_went(shop)["run-1-2"]
    if other == "replay":
        assert (result.ending, went) == (Ending.REJECTED, "again-2")
        assert shop.ids() == [1, 2, 3, 4, 6, 7]
    else:
        assert (result.ending, went) == (Ending.PUBLISHED, "again-1")
        assert shop.ids() == [1, 2, 3, 4, 6, 7, 9]
    assert is_clean(shop)
