"""A run that lost the race meets the new main through the door, and its input is read once."""

import json
import os
import signal

import pytest

from tests.e2e.conftest import Shop
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
