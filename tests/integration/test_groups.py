"""A group on catalogs with a server: one commit for all tables, a conflict, and the way back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from catalog import HeadMovedError
from tests.behaviors.quarantined import take_back
from tests.e2e.places import Place, open_place
from tests.unit.wap.test_group_steps import FILES, Both
from wap.errors import GroupRefusedError
from wap.past import Looking
from wap.project import load_project
from wap.reaudit import reaudit
from wap.rolling_back import group_targets, rollback_targets
from wap.verifying import Records, verify
from wap.worker import open_activities

pytestmark = pytest.mark.server


@pytest.fixture(params=["postgres", "rest", "nessie"])
def place(request, tmp_path) -> Place:
    return open_place(request, request.param, tmp_path)


@pytest.fixture
def both(place, tmp_path) -> Iterator[Both]:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with open_activities(load_project(tmp_path, place.settings)) as steps:
        made = Both(steps)
        made.deliver(1, "ann bob", "1,ann 2,bob")
        yield made


def first_load(both: Both) -> None:
    """Both tables; one by one where the catalog gives names one by one."""
    if both.steps.catalog.capabilities.new_in_groups:
        both.steps.publish_group(both.run, both.ready())
        return
    for name in ("names", "orders"):
        both.steps.resolve(both.member(name))
    with pytest.raises(GroupRefusedError, match="new table"):
        both.steps.check_group(both.run, [both.member("names"), both.member("orders")])
    both.alone("names", "names-0")
    both.alone("orders", "orders-0")


def test_published_overtaken_and_taken_back(both):
    first_load(both)
    both.deliver(2, "cyd", "3,cyd")
    later = Both(both.steps, "both-2")
    ready = later.ready()
    later.steps.check_group(later.run, [one.run for one in ready])
    both.alone_with("names", "names-3", "data/more.csv", "name\neve\n")
    with pytest.raises(HeadMovedError):
        later.steps.publish_group(later.run, ready)
    assert both.rows() == {"names": 3, "orders": 2}
    for name in ("names", "orders"):
        assert later.steps.rebase(later.member(name)).redo is None
    again = later.sealed()
    moves = later.steps.publish_group(later.run, again)
    assert later.steps.publish_group(later.run, again) == moves
    assert both.rows() == {"names": 4, "orders": 3}

    catalog = both.steps.catalog
    assert catalog.branches() == []
    proofs = verify(catalog, Records(both.steps.ledger, both.steps.project.reports))
    assert [p.unsealed for p in proofs] == [(), ()]
    assert {p.seals[0].members for p in proofs} == {("shop.names", "shop.orders")}
    # The table that stood was sealed twice, and published once.
    assert {p.table: len(p.seals) for p in proofs} == {"shop.names": 3, "shop.orders": 2}
    looking = Looking(catalog, both.steps.auditor, both.steps.temp_directory)
    assert reaudit(looking, both.steps.ledger, "both-2.orders").equal
    with pytest.raises(GroupRefusedError):
        rollback_targets(catalog, "shop.orders", None)
    take_back(both.steps, group_targets(catalog, "both-2"))
    assert both.rows() == {"names": 3, "orders": 2}
