"""What a run set aside, or took from what waits, goes back with the table, in one commit."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from catalog.errors import HeadMovedError, UnsealedError
from catalog.refs import Back
from tests.behaviors.quarantined import ASIDE, CONTRACT, ORDERS, Shop, take_back
from tests.behaviors.test_quarantine import GOOD
from wap import evidence
from wap.cli.commands import app
from wap.errors import GroupRefusedError
from wap.model import Ending, Replay
from wap.past import Looking
from wap.ports import open_ports
from wap.project import load_project
from wap.quarantine.emptying import Emptied
from wap.reaudit import reaudit
from wap.rolling_back import Target, rollback_targets
from wap.worker import emptying_of

#: No check of the table would notice a row that is there twice.
LOOSE = CONTRACT.split("checks:\n- duplicate")[0]


@pytest.fixture
def shop(tmp_path) -> Shop:
    """Four orders are published, of two files; one below zero waits of each."""
    shop = Shop(tmp_path / "shop", contract=LOOSE, write="mode: append")
    shop.rows("1", *GOOD, "6,f,-6.00,2026-01-01")
    shop.run("run-1")
    shop.rows("2", "7,g,7.00,2026-01-01", "8,h,-8.00,2026-01-01")
    shop.run("run-2")
    return shop


def relaxed(shop: Shop) -> None:
    shop.contract = LOOSE.replace("valid_min: 0", "valid_min: -100")
    shop.declare()


def back(shop: Shop) -> list[Target]:
    with shop.steps() as steps:
        targets = rollback_targets(steps.catalog, str(ORDERS), None)
        take_back(steps, targets)
    return targets


def is_proved(shop: Shop) -> bool:
    """What main showed before it was taken back is kept, so files are not counted."""
    return all(proof.unsealed == () for proof in shop.prove())


def waits(shop: Shop) -> list[tuple]:
    return shop.see(
        "select id from shop.orders__quarantine where wap_replayed_run is null order by 1"
    )


def write_past_the_gate(shop: Shop) -> None:
    """Another program appends a row to the quarantine table."""
    with shop.steps() as steps:
        table = steps.catalog.iceberg.load_table(ASIDE.identifier)
        rows = table.scan().to_arrow()
        row = pa.Table.from_pylist([{**rows.to_pylist()[0], "wap_row": "theirs"}], rows.schema)
        table.append(row)


def test_rows_of_a_run_that_was_taken_back_wait_once_when_they_come_again(shop):
    back(shop)
    assert waits(shop) == [(6,)]
    shop.run("run-3")
    assert waits(shop) == [(6,), (8,)]
    relaxed(shop)
    shop.run("again-1", replay=Replay())
    assert shop.ids() == [1, 2, 3, 4, 6, 7, 8]
    assert is_proved(shop)


def test_rows_of_a_replay_that_was_taken_back_wait_again(shop):
    relaxed(shop)
    shop.run("again-1", replay=Replay())
    back(shop)
    assert waits(shop) == [(6,), (8,)]
    result = shop.run("again-2", replay=Replay())
    assert (result.ending, result.rows.published) == (Ending.PUBLISHED, 2)
    assert shop.ids() == [1, 2, 3, 4, 6, 7, 8]
    assert is_proved(shop)


def test_a_run_is_not_taken_back_in_the_quarantine_table_alone(shop):
    with (
        open_ports(load_project(shop.root, shop.env)) as ports,
        pytest.raises(GroupRefusedError, match=r"run-2 .* with shop\.orders") as caught,
    ):
        rollback_targets(ports.catalog, str(ASIDE), None)
    assert caught.value.hint == "wap rollback shop.orders"


def test_a_run_that_set_nothing_aside_leaves_what_waits(shop):
    shop.rows("3", "9,i,9.00,2026-01-01")
    shop.run("run-3")
    back(shop)
    assert (shop.ids(), waits(shop)) == ([1, 2, 3, 4, 7], [(6,), (8,)])


@pytest.fixture
def first(tmp_path) -> Shop:
    """Its quarantine table holds one row, the first ever, of the run that was published last."""
    shop = Shop(tmp_path / "shop", contract=LOOSE, write="mode: append")
    shop.rows("1", *GOOD)
    shop.run("run-1")
    shop.rows("2", "7,g,7.00,2026-01-01", "8,h,-8.00,2026-01-01")
    shop.run("run-2")
    return shop


def test_the_first_rows_that_were_set_aside_go_back_and_wait_once(first):
    assert [(t.table, t.to is None) for t in back(first)] == [(ORDERS, False), (ASIDE, True)]
    assert (first.ids(), waits(first)) == ([1, 2, 3, 4], [])
    assert is_proved(first)
    assert [proof.notes for proof in first.prove()] == [(), ()]
    first.run("run-3")
    assert (first.ids(), waits(first)) == ([1, 2, 3, 4, 7], [(8,)])
    relaxed(first)
    first.run("again-1", replay=Replay())
    assert first.ids() == [1, 2, 3, 4, 7, 8]
    assert is_proved(first)


def test_the_command_says_what_is_emptied_before_it_asks(first):
    said = CliRunner().invoke(app, ["rollback", str(ORDERS), "--project", str(first.root)], "n\n")
    assert said.exit_code == 1
    assert f"{ASIDE}: main " in said.stderr
    assert "→ no row: its first ones came with what goes back" in said.stderr
    assert waits(first) == [(8,)]


def test_behind_an_emptied_table_the_next_run_goes_back_to_no_row(first):
    back(first)
    first.run("run-3")
    assert [t.to is None for t in back(first)] == [False, False]
    assert (first.ids(), waits(first)) == ([1, 2, 3, 4], [])


def test_rows_of_runs_that_were_taken_back_do_not_come_back(first):
    back(first)
    with (
        open_ports(load_project(first.root, first.env)) as ports,
        pytest.raises(GroupRefusedError, match="emptied when run-2 was taken back"),
    ):
        rollback_targets(ports.catalog, str(ASIDE), None)


def test_the_empty_state_is_audited_and_its_audit_can_be_repeated(first):
    back(first)
    with first.steps() as steps:
        ((_, seal), _) = evidence.seals(steps.catalog, ASIDE)
        looking = Looking(steps.catalog, steps.auditor, steps.temp_directory)
        again = reaudit(looking, steps.ledger, seal.run_id)
    assert (again.equal, again.checks) == (True, 7)


def test_a_way_back_that_died_before_its_commit_is_gone_on_with(first):
    """Killed, it leaves a sealed branch; the next one ends it, and leaves none."""
    with first.steps() as steps:
        targets = rollback_targets(steps.catalog, str(ORDERS), None)
        emptied = [Emptied(t.table, t.expected, t.undone) for t in targets if t.to is None]
        dying = emptying_of(steps.project, steps.catalog).heads(emptied)
        (left,) = dying.__enter__()
        assert [b.branch for b in steps.catalog.branches()] == [left.branch]
        assert steps.catalog.scan(ASIDE, steps.catalog.published(ASIDE).snapshot.id).rows == 1
    back(first)
    assert waits(first) == []
    with first.steps() as steps:
        assert steps.catalog.branches() == []
        assert steps.home.runs() == []


def test_rows_that_came_meanwhile_are_not_taken_away(first):
    """Nothing has moved, and nothing is left, when another run sets rows aside at the same time."""
    with first.steps() as steps:
        table, aside = rollback_targets(steps.catalog, str(ORDERS), None)
        first.rows("3", "9,i,-9.00,2026-01-01", "10,j,1.00,2026-01-01")
        first.run("run-3")
        # Only the quarantine table is seen to have moved.
        now = steps.catalog.published(ORDERS).snapshot.id
        with pytest.raises(HeadMovedError):
            take_back(steps, [replace(table, expected=now), aside])
        assert steps.catalog.branches() == []
    assert (first.ids(), waits(first)) == ([1, 2, 3, 4, 7, 10], [(8,), (9,)])


def test_rows_that_came_between_audit_and_commit_are_not_taken_away(first):
    with first.steps() as steps:
        table, aside = rollback_targets(steps.catalog, str(ORDERS), None)
        emptied = [Emptied(aside.table, aside.expected, aside.undone)]
        with emptying_of(steps.project, steps.catalog).heads(emptied) as heads:
            first.rows("3", "9,i,-9.00,2026-01-01", "10,j,1.00,2026-01-01")
            first.run("run-3")
            now = steps.catalog.published(ORDERS).snapshot.id
            with pytest.raises(HeadMovedError):
                steps.catalog.roll_back([Back(ORDERS, table.to, now)], heads)
    assert (first.ids(), waits(first)) == ([1, 2, 3, 4, 7, 10], [(8,), (9,)])


def test_what_somebody_else_wrote_there_is_not_taken_away(first):
    write_past_the_gate(first)
    with (
        first.steps() as steps,
        pytest.raises(UnsealedError, match="tainted"),
    ):
        take_back(steps, rollback_targets(steps.catalog, str(ORDERS), None))
    assert (first.ids(), len(waits(first))) == ([1, 2, 3, 4, 7], 2)


def test_a_first_load_has_nothing_to_go_back_to_nor_have_its_rows(tmp_path):
    """Nobody has audited the empty table by its contracts: they may want rows."""
    shop = Shop(tmp_path / "shop", contract=LOOSE, write="mode: append")
    shop.rows("1", *GOOD, "6,f,-6.00,2026-01-01")
    shop.run("run-1")
    with (
        open_ports(load_project(shop.root, shop.env)) as ports,
        pytest.raises(UnsealedError, match="no earlier sealed snapshot"),
    ):
        rollback_targets(ports.catalog, str(ORDERS), None)
    assert (shop.ids(), waits(shop)) == ([1, 2, 3, 4], [(6,)])
