"""Setting rows aside and replaying them where the catalog has a server of its own."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from tests.behaviors.quarantined import CONTRACT, ORDERS, Shop, take_back
from tests.behaviors.test_quarantine import GOOD, once
from tests.e2e.places import open_place
from wap.cli.commands import app
from wap.errors import ConfigError
from wap.model import Ending, Replay
from wap.rolling_back import rollback_targets


def opened(request: pytest.FixtureRequest, name: str, root: object) -> Shop:
    folder = root / "shop"  # type: ignore[operator]
    return Shop(folder, env=open_place(request, name, folder).settings)


@pytest.mark.parametrize("place", ["postgres", "nessie"])
def test_rows_are_set_aside_and_replayed_while_main_moves(request, tmp_path, place):
    shop = opened(request, place, tmp_path)
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01", "6,f,-6.00,2026-01-01")

    def other() -> None:
        shop.rows("2", "2,z,9.00,2026-01-01", "22,z,9.00,2026-01-01")
        shop.run("run-2", inputs=(str(shop.root / "data/orders-2.csv"),))

    inputs = (str(shop.root / "data/orders-1.csv"),)
    result = shop.run("run-1", once("publish", "before", other), inputs=inputs)
    assert (result.ending, result.rows.quarantined) == (Ending.PUBLISHED, 3)
    assert shop.ids() == [1, 2, 3, 4, 22]
    shop.contract = CONTRACT.replace("valid_min: 0", "valid_min: -7")
    shop.declare()
    again = shop.run("again-1", replay=Replay())
    assert (again.rows.published, again.rows.quarantined) == (1, 2)
    assert shop.ids() == [1, 2, 3, 4, 6, 22]
    assert sorted(shop.aside("mail, wap_replayed_run"), key=str) == [
        ("b", None), ("e", None), ("f", "again-1"),
    ]  # fmt: skip
    assert [(p.table, p.unsealed, p.notes) for p in shop.prove()] == [
        ("shop.orders", (), ()), ("shop.orders__quarantine", (), ()),
    ]  # fmt: skip
    with shop.steps() as steps:
        assert steps.catalog.branches() == []
        # Taken back, the replay is undone in both tables, and can be done again.
        take_back(steps, rollback_targets(steps.catalog, str(ORDERS), None))
    assert shop.ids() == [1, 2, 3, 4, 22]
    assert {run for (run,) in shop.aside("wap_replayed_run")} == {None}
    assert shop.run("again-2", replay=Replay()).rows.published == 1
    assert shop.ids() == [1, 2, 3, 4, 6, 22]


@pytest.mark.parametrize("place", ["postgres", "nessie"])
def test_a_broken_row_leaves_the_published_one_of_its_key(request, tmp_path, place):
    shop = opened(request, place, tmp_path)
    shop.write = "mode: merge, keys: [id], order_by: placed"
    shop.declare()
    shop.rows("1", *GOOD)
    shop.run("run-1")
    shop.rows("2", "2,x,-2.00,2026-01-02", "3,y,3.50,2026-01-02", "4,d,4.00,2026-01-01")
    result = shop.run("run-2", inputs=(str(shop.root / "data/orders-2.csv"),))
    assert (result.rows.updated, result.rows.unchanged, result.rows.quarantined) == (1, 1, 1)
    mails = "select mail from shop.orders order by id"
    assert shop.see(mails) == [("a",), ("b",), ("y",), ("d",)]
    shop.contract = CONTRACT.replace("valid_min: 0", "valid_min: -7")
    shop.declare()
    assert shop.run("again-1", replay=Replay()).rows.updated == 1
    assert shop.see(mails) == [("a",), ("x",), ("y",), ("d",)]
    assert [(p.table, p.unsealed, p.notes) for p in shop.prove()] == [
        ("shop.orders", (), ()), ("shop.orders__quarantine", (), ()),
    ]  # fmt: skip
    with shop.steps() as steps:
        assert steps.catalog.branches() == []


def test_a_server_that_makes_no_table_in_a_group_is_given_the_quarantine_table_first(
    request, tmp_path
):
    shop = opened(request, "rest", tmp_path)
    shop.rows("1", *GOOD, "6,f,-6.00,2026-01-01")
    with pytest.raises(ConfigError, match="cannot publish a new table in one commit") as caught:
        shop.run("run-1")
    assert caught.value.hint == "have it made first, once: wap quarantine shop.orders"
    command = ["quarantine", str(ORDERS), "--project", str(shop.root)]
    for said in ("without a row", "is there already"):
        done = CliRunner().invoke(app, command, env=shop.env)
        assert (done.exit_code, said in done.stdout) == (0, True), done.output
    assert shop.aside("wap_row") == []
    # A first load is published whole or not at all.
    first = shop.run("run-2")
    assert first.ending is Ending.REJECTED
    assert "first load" in first.reason
    shop.rows("1", *GOOD)
    assert shop.run("run-3").ending is Ending.PUBLISHED
    shop.rows("2", "7,g,7.00,2026-01-01", "8,h,-8.00,2026-01-01")
    assert shop.run("run-4").rows.quarantined == 1
    assert shop.aside("id, amount::double") == [(8, -8.0)]
    assert proved(shop)
    with shop.steps() as steps:
        take_back(steps, rollback_targets(steps.catalog, str(ORDERS), None))
        assert steps.catalog.branches() == []
        assert steps.home.runs() == []
    assert (shop.ids(), shop.see("select * from shop.orders__quarantine")) == ([1, 2, 3, 4], [])
    assert shop.run("run-5").rows.quarantined == 1
    assert proved(shop)


def proved(shop: Shop) -> bool:
    return [(p.table, p.unsealed, p.notes) for p in shop.prove()] == [
        ("shop.orders", (), ()), ("shop.orders__quarantine", (), ()),
    ]  # fmt: skip


@pytest.mark.parametrize("place", ["postgres", "nessie"])
def test_the_first_rows_that_were_set_aside_go_back_with_their_run(request, tmp_path, place):
    shop = opened(request, place, tmp_path)
    shop.rows("1", *GOOD)
    shop.run("run-1")
    shop.rows("2", "7,g,7.00,2026-01-01", "8,h,-8.00,2026-01-01")
    shop.run("run-2")
    with shop.steps() as steps:
        take_back(steps, rollback_targets(steps.catalog, str(ORDERS), None))
        assert steps.catalog.branches() == []
    assert (shop.ids(), shop.aside("id")) == ([1, 2, 3, 4], [])
    shop.run("run-3")
    assert (shop.ids(), shop.aside("id")) == ([1, 2, 3, 4, 7], [(8,)])
    assert proved(shop)
