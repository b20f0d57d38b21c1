"""A run that lost the race meets the new main through the door, and its input is read once."""

import json
import os
import signal

import pytest

from tests.e2e.conftest import Shop
from tests.e2e.test_groups import CUSTOMERS, KNOWN
from tests.e2e.test_keyed import CONTRACT, PIPELINE

CASES = {
    "merge": (
        "{mode: merge, keys: [id], delete: {column: op, values: [D]}}",
        ("2,r,2,2026-01-02,U", "4,r,4,2026-01-02,U"),
        ("2,l,9,2026-01-03,U", "4,,,,D", "5,l,5,2026-01-03,U"),
        [(1, "1.00", "a"), (2, "9.00", "l"), (3, "3.00", "a"), (5, "5.00", "l")],
    ),
    "history": (
        "{mode: history, keys: [id], order_by: placed, recorded: true}",
        ("2,r,2,2026-01-02,", "4,r,4,2026-01-02,"),
        ("2,l,9,2026-01-03,",),
        [(1, "1.00", "a"), (2, "2.00", "a"), (2, "2.00", "r"), (2, "9.00", "l"),
         (3, "3.00", "a"), (4, "4.00", "r")],
    ),
}  # fmt: skip


def declare(shop, write):
    shop.write("pipelines/orders.yml", PIPELINE.format(write=write))
    shop.write("contracts/orders.yml", CONTRACT)


def beside(shop: Shop) -> Shop:
    """The same table from a project of another place, with a server of its own."""
    other = Shop(shop.root.parent / "beside")
    place = shop.root
    other.write(
        "wap.toml",
        f'[project]\nname = "shop"\n[catalog]\nuri = "sqlite:///{place}/.wap/catalog.db"\n'
        f'warehouse = "file://{place}/warehouse"\n',
    )
    return other


def deliver(shop, name, rows, *, op):
    head = "id,customer,amount,placed,op"
    lines = [head, *rows] if op else [line.rpartition(",")[0] for line in (head, *rows)]
    return shop.write(f"{name}.csv", "\n".join(lines) + "\n")


@pytest.fixture
def rival(shop):
    other = beside(shop)
    yield other
    server = other.server()
    if server is not None and server.pid is not None:
        os.kill(server.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "boundary"),
    [
        ("history", "restage:before"),
        ("merge", "restage:after"),
    ],
)
def test_a_run_that_lost_the_race_reads_its_input_once(shop, rival, mode, boundary):
    write, theirs, ours, expected = CASES[mode]
    op = mode == "merge"
    for one in (shop, rival):
        declare(one, write)
    first = [f"{n},a,{n},2026-01-01,U" for n in (1, 2, 3)]
    shop.result("orders", "--source", str(deliver(shop, "first", first, op=op)))
    late, faster = deliver(shop, "late", ours, op=op), deliver(shop, "faster", theirs, op=op)
    killed = shop.run("orders", "--source", str(late), WAP_DRILL="publish:before")
    assert killed.returncode == -signal.SIGKILL
    assert rival.result("orders", "--source", str(faster))["ending"] == "published"
    # Whoever reads it again finds another file, and says so.
    late.write_text("id,customer\n")
    killed = shop.run("orders", "--source", str(late), WAP_DRILL=boundary)
    assert killed.returncode == -signal.SIGKILL
    result = shop.result("orders", "--source", str(late))
    assert result["ending"] == "published"
    assert result["rows"]["read"] == len(ours)
    shown = shop.query(
        "select id, amount, customer from shop.orders"
        f" {'where recorded_to is null' if mode == 'history' else ''} order by id, amount, customer"
    )
    assert [tuple(row.values()) for row in shown] == expected
    assert json.loads(shop.wap("verify", "--json").stdout)["ok"] is True
    assert list((shop.root / ".wap" / "runs").glob("*")) == []


GROUP = '[groups.both]\npipelines = ["customers", "orders"]\ncontracts = ["contracts/known.yml"]\n'


def declare_group(shop: Shop) -> None:
    declare(shop, "{mode: merge, keys: [id]}")
    shop.write("wap.toml", (shop.root / "wap.toml").read_text() + GROUP)
    shop.write("pipelines/customers.yml", CUSTOMERS)
    shop.write("contracts/known.yml", KNOWN)
    rows = "dataset: wap/shop/customers\ncolumns: []\nchecks:\n  - row_count:\n"
    shop.write("contracts/customers.yml", rows)


def deliver_both(shop: Shop, customer: str, *ids: int) -> None:
    shop.write(f"data/customers-{customer}.csv", f"name\n{customer}\n")
    rows = [f"{n},{customer},{n},2026-01-01" for n in ids]
    lines = ["id,customer,amount,placed", *rows]
    shop.write(f"data/orders-{customer}.csv", "\n".join(lines) + "\n")


@pytest.mark.slow
def test_a_group_that_lost_the_race_reads_its_inputs_once(shop, rival):
    for one in (shop, rival):
        declare_group(one)
    deliver_both(shop, "a", 1, 2, 3)
    shop.result("--group", "both")
    deliver_both(shop, "l", 2, 5)
    deliver_both(rival, "r", 2, 4)
    killed = shop.run("--group", "both", WAP_DRILL="publish_group:before")
    assert killed.returncode == -signal.SIGKILL
    assert rival.result("--group", "both")["ending"] == "published"
    for path in (shop.root / "data").iterdir():
        path.unlink()
    killed = shop.run("--group", "both", WAP_DRILL="restage:after")
    assert killed.returncode == -signal.SIGKILL
    result = shop.result("--group", "both")
    assert [m["rows"]["published"] for m in result["members"]] == [1, 2]
    shown = shop.query("select id, customer from shop.orders order by id")
    expected = [(1, "a"), (2, "l"), (3, "a"), (4, "r"), (5, "l")]
    assert [tuple(row.values()) for row in shown] == expected
    assert json.loads(shop.wap("verify", "--json").stdout)["ok"] is True
    assert list((shop.root / ".wap" / "runs").glob("*")) == []
