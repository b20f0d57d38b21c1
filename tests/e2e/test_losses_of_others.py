"""What lets unchecked rows through elsewhere, tried through the door; ``docs/proof.md`` says where.

The other half, which loses rows, is ``tests/behaviors/test_losses_of_others.py``.
"""

from __future__ import annotations

import signal

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from sqlalchemy.exc import OperationalError

NO_CHECKS = {
    "none at all": "dataset: wap/shop/orders\ncolumns: []\nchecks: []\n",
    "columns only": "dataset: wap/shop/orders\ncolumns: [{name: id}]\n",
    "no such check": "dataset: wap/shop/orders\ncolumns: []\nchecks: [{row_cuont: }]\n",
    "nothing but a comment": "# checks: [{row_count: }]\n",
}


def plain(shop):
    """The catalog as any other program opens it."""
    where = {
        "uri": f"sqlite:///{shop.root}/.wap/catalog.db",
        "warehouse": f"file://{shop.root}/warehouse",
    }
    try:
        return SqlCatalog("shop", **where)
    except OperationalError:
        # Pyiceberg looks for its tables, then makes them: the door was faster by a moment.
        return SqlCatalog("shop", **where)


def shown(shop) -> list[int] | None:
    """The ids that a default read of the table shows; None: no such table."""
    if not (shop.root / ".wap" / "catalog.db").exists():
        return None
    try:
        table = plain(shop).load_table("shop.orders")
    except (NoSuchNamespaceError, NoSuchTableError):
        return None
    return sorted(table.scan().to_arrow()["id"].to_pylist())


def watched(shop, *args: str) -> tuple[int, list[list[int] | None]]:
    """A run's exit code, and whatever another program has seen on main while it went on."""
    with shop.start(*args) as door:
        seen = []
        while door.poll() is None:
            seen.append(shown(shop))
        return door.returncode, [*seen, shown(shop)]


def test_publish_before_the_audit_result_is_read(shop):
    """The verdict was made, and whoever made it died before anybody heard of it."""
    shop.orders("orders-1.csv", range(10))
    shop.result("orders")
    shop.orders("orders-2.csv", range(5, 15))
    killed = shop.run("orders", WAP_DRILL="audit:after")
    assert killed.returncode == -signal.SIGKILL
    assert shown(shop) == list(range(10))
    code, seen = watched(shop, "orders")
    assert code == 1
    assert all(ids == list(range(10)) for ids in seen)


@pytest.mark.parametrize("contract", NO_CHECKS.values(), ids=NO_CHECKS)
def test_zero_checks_passing(shop, contract):
    """Nothing was checked, so nothing failed: that is no reason to publish."""
    shop.orders("orders-1.csv", range(10))
    shop.write("contracts/orders.yml", contract)
    done = shop.run("orders")
    assert done.returncode == 2, done.stdout + done.stderr
    assert shown(shop) is None
    assert shop.files() == []


def test_first_load_bypassing_the_gate(shop):
    """A table that is not there yet cannot be branched: elsewhere its first rows go to main."""
    shop.orders("orders-1.csv", range(10), amount="-1.00")
    code, seen = watched(shop, "orders")
    assert code == 1
    assert set(map(str, seen)) == {"None"}
    assert plain(shop).list_namespaces() == []
    assert shop.files() == []


def test_rootless_branch_under_a_run(shop):
    """Somebody removes the branch while its run is down: it is not made again without its root."""
    shop.orders("orders-1.csv", range(10))
    shop.result("orders")
    shop.orders("orders-2.csv", range(10, 20))
    assert shop.run("orders", WAP_DRILL="open_branch:after").returncode == -signal.SIGKILL
    table = plain(shop).load_table("shop.orders")
    (branch,) = set(table.refs()) - {"main"}
    table.manage_snapshots().remove_branch(branch).commit()
    shop.run("orders")
    assert shown(shop) in (list(range(10)), list(range(20)))
    shop.result("orders")
    assert shown(shop) == list(range(20))
    assert set(plain(shop).load_table("shop.orders").refs()) == {"main"}
