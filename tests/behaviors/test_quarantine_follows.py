"""A batch that was divided meets another main, and its source is not read a second time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from catalog.refs import Branch
from tests.behaviors.quarantined import ASIDE, ORDERS, Hook, Shop, drive
from tests.behaviors.test_quarantine import AMOUNT, GOOD, Dead, Dying, is_clean, once
from tests.behaviors.test_quarantine_modes import HISTORY, MERGE, VERSIONS, load
from tests.e2e.places import open_place
from wap.errors import RunNotFoundError
from wap.model import Ending, RunRequest, RunResult
from wap.quarantine.divided import divided
from wap.steps import RunRef

LATEST = f"{MERGE}, order_by: placed"
WHERE = "mode: replace, where: \"placed = '2026-01-02'\""
SEEN = "select id, mail, amount::double from shop.orders order by 1, 2, 3"


@dataclass(frozen=True)
class Case:
    """How a table is written, what two runs of it bring, and which rows of the late one wait.

    What is published and what waits is told by the same runs, one after the other.
    """

    write: str
    rival: tuple[str, ...]
    late: tuple[str, ...]
    waits: int
    contract: str | None = None


LATE = (
    "2,x,-1.00,2026-01-02",
    "3,y,3.50,2026-01-02",
    "5,e,5.00,2026-01-02",
    "6,f,-6.00,2026-01-02",
)
NEW = (
    "12,x,-1.00,2026-01-02",
    "13,y,3.50,2026-01-02",
    "5,e,5.00,2026-01-02",
    "6,f,-6.00,2026-01-02",
)
CASES = {
    "merge": Case(MERGE, ("2,r,2.50,2026-01-02", "4,r,4.50,2026-01-02"), LATE, 2),
    # A row that comes late by now is not looked at, though it is broken; another comes to light.
    "late": Case(LATEST, ("2,r,9.00,2026-01-03", "8,r,8.00,2026-01-03"), LATE, 1),
    "both": Case(MERGE, ("2,r,2.50,2026-01-02", "9,r,-9.00,2026-01-02"), LATE, 2),
    "append": Case("mode: append, keys: [id], deduplicate: true",
                   ("6,r,6.00,2026-01-02", "3,r,3.00,2026-01-02"), LATE, 0),
    "history": Case(HISTORY, ("2,r,2.50,2026-01-03", "5,r,5.50,2026-01-02"), LATE, 2, VERSIONS),
    "replace": Case(WHERE, ("7,r,7.00,2026-01-02", "8,r,8.00,2026-01-03"), NEW, 2),
    "replace both": Case(WHERE, ("7,r,7.00,2026-01-02", "9,r,-8.00,2026-01-03"), NEW, 2),
}  # fmt: skip


#: Cases and deaths that are looked at by default; with ``--boundaries=all`` every one.
SOME = ("late", "history", "replace")
#: In restage: what is called, of which table, in which case.
ROUNDS = [
    (name, call, table, when)
    for name, call, table in (
        ("merge", "restage_on", ORDERS),
        ("replace both", "restage_on", ORDERS),
        ("replace both", "rebase", ASIDE),
        ("replace both", "batch", ASIDE),
    )
    for when in ("before", "after")
]
SOME_ROUNDS = [
    ("merge", "restage_on", ORDERS, "after"),
    ("replace both", "rebase", ASIDE, "before"),
    ("replace both", "batch", ASIDE, "after"),
]
#: In the second division: the table whose change is put in the place of another.
DIVISIONS = [(table, when) for table in (ASIDE, ORDERS) for when in ("before", "after")]
SOME_DIVISIONS = [(ASIDE, "after")]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    every = metafunc.config.getoption("--boundaries", default="some") == "all"
    if "any_case" in metafunc.fixturenames:
        names = tuple(CASES) if every else SOME
        metafunc.parametrize("any_case", [CASES[n] for n in names], ids=names)
    if "two_case" in metafunc.fixturenames:
        names = ("late", "replace both") if every else ("replace both",)
        metafunc.parametrize("two_case", [CASES[n] for n in names], ids=names)
    if "death" in metafunc.fixturenames:
        metafunc.parametrize("death", ROUNDS if every else SOME_ROUNDS, ids=_id)
    if "division" in metafunc.fixturenames:
        metafunc.parametrize("division", DIVISIONS if every else SOME_DIVISIONS, ids=_id)


def _id(parts: tuple[Any, ...]) -> str:
    return "-".join(str(part) for part in parts)


def opened(root: Path, case: Case, **more: Any) -> Shop:
    if case.contract is not None:
        more["contract"] = case.contract
    shop = Shop(root, write=case.write, **{"limits": "max_percent: 60", **more})
    load(shop, 1, *GOOD)
    return shop


def late_run(shop: Shop, case: Case) -> RunRef:
    shop.rows("2", *case.late)
    inputs = (str(shop.root / "data/orders-2.csv"),)
    return RunRef(run_id="run-2", request=RunRequest(project="p", pipeline="orders", inputs=inputs))


def rival(shop: Shop, case: Case) -> Callable[[], None]:
    """Another run is faster, and the late one's input is gone since."""

    def publishes() -> None:
        assert load(shop, 3, *case.rival).ending is Ending.PUBLISHED
        (shop.root / "data/orders-2.csv").unlink()

    return publishes


def overtaken(shop: Shop, case: Case, hook: Hook | None = None) -> tuple[RunResult, list[str]]:
    """The late run, which is overtaken right before its publish; and its steps."""
    faster, steps = once("publish", "before", rival(shop, case)), []

    def tell(name: str, at: str) -> None:
        faster(name, at)
        if at == "before":
            steps.append(name)
        if hook is not None:
            hook(name, at)

    with shop.steps() as done:
        return drive(done, late_run(shop, case), tell), steps


def shown(shop: Shop) -> tuple[list[Any], list[Any]]:
    waiting = list(shop.aside("mail, amount::double, wap_checks, wap_run"))
    return shop.see(SEEN), sorted(waiting, key=str)


def test_it_is_as_if_the_run_had_come_after_its_rival(tmp_path, any_case):
    case = any_case
    shop = opened(tmp_path / "shop", case)
    result, steps = overtaken(shop, case)
    assert result.ending is Ending.PUBLISHED
    assert steps.count("stage") == steps.count("resolve") == steps.count("restage") == 1
    rows = result.rows
    assert (rows.read, rows.quarantined, rows.balanced) == (4, case.waits, True)
    assert (result.quarantine.rows if result.quarantine else 0) == case.waits
    assert is_clean(shop)
    calm = opened(tmp_path / "calm", case)
    load(calm, 3, *case.rival)
    after = load(calm, 2, *case.late)
    assert rows == after.rows
    assert shop.see(SEEN) == calm.see(SEEN)
    if ASIDE in tables(calm):
        assert shown(shop) == shown(calm)
    assert tables(shop) == tables(calm)


def tables(shop: Shop) -> list[Any]:
    with shop.steps() as steps:
        return list(steps.catalog.tables())


def test_main_that_moves_again_is_met_again(tmp_path, two_case):
    case = two_case
    shop = opened(tmp_path / "shop", case)
    more: list[int] = []

    def again(name: str, at: str) -> None:
        if (name, at) == ("publish", "before") and len(more) < 2:
            number = 10 + len(more)
            more.append(number)
            load(shop, number, f"{number},m,1.00,2026-01-0{number - 7}")

    result, steps = overtaken(shop, case, again)
    assert result.ending is Ending.PUBLISHED
    assert steps.count("restage") >= 2
    assert steps.count("stage") == 1
    assert result.rows.balanced
    assert {10, 11} <= set(shop.ids())
    assert is_clean(shop)


def test_an_attempt_that_dies_is_done_by_the_next_one(tmp_path, death):
    name, call, table, when = death
    case = CASES[name]
    shop = opened(tmp_path / "shop", case)
    run = late_run(shop, case)
    faster = once("publish", "before", rival(shop, case))
    with shop.steps() as steps:

        def dies(step: str, at: str) -> None:
            faster(step, at)
            if (step, at) == ("restage", "before"):
                dying = Dying(steps.catalog, call, when, str(table))
                with pytest.raises(Dead):
                    replace(steps, catalog=dying).restage(run)
                assert dying.died

        result = drive(steps, run, dies)
    assert (result.ending, result.rows.quarantined) == (Ending.PUBLISHED, case.waits)
    assert result.rows.balanced
    assert len([r for r in shop.aside() if r[2] == "run-2"]) == case.waits
    assert is_clean(shop)


def test_a_second_division_that_dies_is_done_by_the_next_attempt(tmp_path, division):
    """On the quarantine table's branch lie the rows of a division that is undone."""
    table, when = division
    case = CASES["both"]
    shop = opened(tmp_path / "shop", case)
    run = late_run(shop, case)
    faster, divisions = once("publish", "before", rival(shop, case)), []
    with shop.steps() as steps:

        def dies(step: str, at: str) -> None:
            faster(step, at)
            if (step, at) == ("quarantine", "before"):
                divisions.append(step)
                if len(divisions) == 2:
                    audited = steps.audit(run)
                    dying = Dying(steps.catalog, "restage", when, str(table))
                    with pytest.raises(Dead):
                        replace(steps, catalog=dying).quarantine(run, audited)
                    assert dying.died

        result = drive(steps, run, dies)
    assert (result.ending, result.rows.quarantined) == (Ending.PUBLISHED, 2)
    assert sorted(shop.aside("wap_row, wap_run")) == [
        ("run-2-1", "run-2"), ("run-2-2", "run-2"), ("run-3-1", "run-3"),
    ]  # fmt: skip
    assert is_clean(shop)


def test_a_late_attempt_at_dividing_a_batch_that_is_whole_again_changes_nothing(tmp_path):
    case = CASES["merge"]
    shop = opened(tmp_path / "shop", case)
    run = late_run(shop, case)
    faster, frozen = once("publish", "before", rival(shop, case)), []
    with shop.steps() as steps:
        folder = steps.home.folder("run-2")

        def comes_late(step: str, at: str) -> None:
            faster(step, at)
            if (step, at) == ("quarantine", "before"):
                # It stands still where it has read the report, and goes on with that.
                audited = steps.audit(run)
                frozen.append((steps._divider(run, audited.head), folder.report()))
            if (step, at) == ("restage", "after"):
                # What an attempt after this one is at: its files are in no commit yet.
                files, books = set((shop.root / "warehouse").rglob("*.parquet")), folder.books(0)
                with pytest.raises(RunNotFoundError, match="was not divided"):
                    divided(*frozen[0])
                assert set((shop.root / "warehouse").rglob("*.parquet")) == files
                assert folder.books(0) == books

        result = drive(steps, run, comes_late)
    assert (result.ending, result.rows.quarantined) == (Ending.PUBLISHED, case.waits)
    assert is_clean(shop)


def test_a_run_that_is_undone_then_leaves_neither_table(tmp_path, two_case):
    case = two_case
    shop = opened(tmp_path / "shop", case)
    before = tables(shop)

    def dies(name: str, at: str) -> None:
        if (name, at) == ("reconcile", "before") and not (shop.root / "data/orders-2.csv").exists():
            raise Dead

    with pytest.raises(Dead):
        overtaken(shop, case, dies)
    with shop.steps() as steps:
        assert steps.drop_branch(late_run(shop, case)).published is None
        assert steps.catalog.branches() == []
    assert set(tables(shop)) - set(before) <= {ASIDE}
    assert is_clean(shop)


def test_what_was_set_aside_before_is_not_published_with_what_stands_now(tmp_path):
    """Nothing is set aside any more, and the rows on the other branch are nobody's."""
    case = replace(CASES["late"], rival=("2,r,9.00,2026-01-03", "6,r,6.00,2026-01-03"))
    shop = opened(tmp_path / "shop", case)
    seen: list[Any] = []

    def looks(name: str, at: str) -> None:
        if (name, at) == ("seal", "after") and seen == []:
            with shop.steps() as steps:
                seen.append(steps.catalog.staging(Branch.of_run("run-2"), ASIDE).staged)

    result, _ = overtaken(shop, case, looks)
    assert (result.ending, result.rows.quarantined, result.quarantine) == (
        Ending.PUBLISHED, 0, None,
    )  # fmt: skip
    assert seen == [True]
    assert (result.rows.discarded, result.rows.balanced) == (2, True)
    assert ASIDE not in tables(shop)
    assert is_clean(shop)


def test_a_batch_that_does_not_lie_there_any_more_is_planned_anew(tmp_path):
    case = CASES["merge"]
    shop = opened(tmp_path / "shop", case)
    run = late_run(shop, case)

    def stops(name: str, at: str) -> None:
        if (name, at) == ("publish", "before"):
            raise Dead

    with shop.steps() as steps:
        with pytest.raises(Dead):
            drive(steps, run, stops)
        load(shop, 3, *case.rival)
        for note in (shop.root / ".wap/runs/run-2/scratch").rglob("batch.json"):
            note.unlink()
        assert steps.rebase(run).restages
        assert steps.restage(run).redo == "the batch does not lie aside any more"
        steps.drop_branch(run)
        result = drive(steps, run.model_copy(update={"round": 1}))
    assert (result.ending, result.rows.quarantined) == (Ending.PUBLISHED, 2)
    assert shop.aside() == [(2, [AMOUNT], "run-2"), (6, [AMOUNT], "run-2")]
    assert is_clean(shop)


def test_where_one_branch_holds_both_tables(request, tmp_path):
    """One run in which nothing is set aside any more, and one that is divided anew."""
    folder = tmp_path / "shop"
    env = open_place(request, "nessie", folder).settings
    case = replace(CASES["late"], rival=("2,r,9.00,2026-01-03", "6,r,6.00,2026-01-03"))
    shop = opened(folder, case, env=env)
    assert overtaken(shop, case)[0].quarantine is None
    other = replace(case, late=("2,z,-1.00,2026-01-05", "8,z,8.00,2026-01-05"))
    shop.rows("4", *other.late)
    run = RunRef(
        run_id="run-4",
        request=RunRequest(
            project="p", pipeline="orders", inputs=(str(shop.root / "data/orders-4.csv"),)
        ),
    )

    def faster() -> None:
        load(shop, 5, "8,q,7.00,2026-01-04", "9,q,-9.00,2026-01-04")
        (shop.root / "data/orders-4.csv").unlink()

    with shop.steps() as steps:
        result = drive(steps, run, once("publish", "before", faster))
    assert (result.rows.updated, result.rows.quarantined) == (1, 1)
    assert sorted(shop.aside("id, wap_run")) == [(2, "run-4"), (9, "run-5")]
    assert shop.see("select mail from shop.orders where id in (2, 8) order by id") == [
        ("r",), ("z",),
    ]  # fmt: skip
    assert [(p.table, p.unsealed, p.notes) for p in shop.prove()] == [
        ("shop.orders", (), ()), ("shop.orders__quarantine", (), ()),
    ]  # fmt: skip
    with shop.steps() as steps:
        assert steps.catalog.branches() == []
