"""What a run set aside, or took from what waits, goes back with the table, in one commit."""

from __future__ import annotations

import pytest

from tests.behaviors.quarantined import ASIDE, CONTRACT, ORDERS, Shop
from tests.behaviors.test_quarantine import GOOD
from wap.errors import GroupRefusedError
from wap.model import Ending, Replay
from wap.ports import open_ports
from wap.project import load_project
from wap.rolling_back import Target, roll_back, rollback_targets

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
    with open_ports(load_project(shop.root, shop.env)) as ports:
        targets = rollback_targets(ports.catalog, str(ORDERS), None)
        roll_back(ports.catalog, targets)
    return targets


def is_proved(shop: Shop) -> bool:
    """What main showed before it was taken back is kept, so files are not counted."""
    return all(proof.unsealed == () for proof in shop.prove())


def waits(shop: Shop) -> list[tuple]:
    return shop.see(
        "select id from shop.orders__quarantine where wap_replayed_run is null order by 1"
    )


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


def test_the_first_rows_that_were_set_aside_stay_and_that_is_said(tmp_path):
    shop = Shop(tmp_path / "shop", contract=LOOSE, write="mode: append")
    shop.rows("1", *GOOD)
    shop.run("run-1")
    shop.rows("2", "7,g,7.00,2026-01-01", "8,h,-8.00,2026-01-01")
    shop.run("run-2")
    assert [(t.table, t.left) for t in back(shop)] == [(ORDERS, ASIDE)]
    assert (shop.ids(), waits(shop)) == ([1, 2, 3, 4], [(8,)])
