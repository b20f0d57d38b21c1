"""Rows of a group's member are set aside: published in the group's one commit, or not at all."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from catalog.errors import HeadMovedError
from catalog.refs import TableName
from tests.behaviors.quarantined import take_back
from tests.unit.wap.test_group_steps import FILES, TABLES, Both
from wap import evidence
from wap.errors import GroupRefusedError
from wap.group_steps import Ready
from wap.model import Ending, RunResult
from wap.project import load_project
from wap.query import query
from wap.rolling_back import group_targets, rollback_targets
from wap.steps import Audited
from wap.verifying import Records, verify
from wap.worker import open_activities

ASIDE = TableName.parse("shop.orders__quarantine")


@dataclass
class Divided(Both):
    """The same, where rows are set aside as the saga does it: then all are audited again."""

    def settled(self) -> list[Ready]:
        for _ in range(5):
            audits = {name: self.audit(name) for name in TABLES}
            bad = {name: audited for name, audited in audits.items() if not audited.passed}
            if not bad:
                return [self._sealed(name, audited) for name, audited in audits.items()]
            for name, audited in bad.items():
                assert audited.separable, audited.reason
                assert self.steps.quarantine(self.member(name), audited).refused is None
        raise AssertionError("they never passed")

    def _sealed(self, name: str, audited: Audited) -> Ready:
        self.steps.seal(self.member(name), audited)
        return Ready(run=self.member(name), audited=audited)

    def see(self, sql: str) -> list[tuple[object, ...]]:
        found = query(self.steps.catalog, sql, temp_directory=self.steps.temp_directory)
        return [tuple(row.values()) for row in found.to_pylist()]


@pytest.fixture
def both(tmp_path):
    more = "on_failure: quarantine\nquarantine: {max_percent: 60}\n"
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text + (more if name == "pipelines/orders.yml" else ""))
    with open_activities(load_project(tmp_path, {})) as steps:
        made = Divided(steps)
        made.deliver(1, "ann bob", "1,ann 2,bob 3,dan")
        yield made


def test_what_the_group_knows_not_is_set_aside_in_its_one_commit(both):
    both.stage()
    ready = both.settled()
    moves = both.steps.publish_group(both.run, ready)
    assert both.steps.publish_group(both.run, ready) == moves
    catalog = both.steps.catalog
    assert [move.after for move in moves] == [
        catalog.published(table).snapshot.id for table in TABLES.values()
    ]
    assert both.rows() == {"names": 2, "orders": 2}
    assert both.see("select id, wap_run from shop.orders__quarantine") == [(3, "both-1.orders")]
    assert catalog.branches() == []
    for name, move in zip(TABLES, moves, strict=True):
        run = both.member(name)
        both.steps.close(
            run,
            RunResult(
                run_id=run.run_id, pipeline=name, table=str(TABLES[name]),
                ending=Ending.PUBLISHED, snapshot=move,
            ),
        )  # fmt: skip
    proofs = verify(catalog, Records(both.steps.ledger, both.steps.project.reports))
    assert [(p.table, p.unsealed, p.notes) for p in proofs] == [
        (table, (), ()) for table in ("shop.names", "shop.orders", "shop.orders__quarantine")
    ]
    ((_, seal),) = evidence.seals(catalog, ASIDE)
    assert evidence.run_of(seal) == "both-1.orders"


def published_twice(both: Divided) -> None:
    """By the group's run, and by another of a second delivery."""
    both.stage()
    both.steps.publish_group(both.run, both.settled())
    both.deliver(2, "cyd", "4,cyd 5,eve")
    later = Divided(both.steps, "both-2")
    later.stage()
    later.steps.publish_group(later.run, later.settled())


def test_what_a_group_set_aside_goes_back_with_it(both):
    published_twice(both)
    catalog = both.steps.catalog
    with pytest.raises(GroupRefusedError, match=r"both-2 published it together with shop\.orders"):
        rollback_targets(catalog, str(ASIDE), None)
    targets = group_targets(catalog, "both-2")
    assert [t.table for t in targets] == [*TABLES.values(), ASIDE]
    take_back(both.steps, group_targets(catalog, "both-2"))
    assert both.rows() == {"names": 2, "orders": 2}
    assert both.see("select id from shop.orders__quarantine order by 1") == [(3,)]
    assert targets[-1].run_id == "both-1.orders"


def test_the_first_rows_of_a_group_go_back_with_it(both):
    both.deliver(1, "ann bob", "1,ann 2,bob")
    published_twice(both)
    take_back(both.steps, group_targets(both.steps.catalog, "both-2"))
    assert both.rows() == {"names": 2, "orders": 2}
    assert both.see("select id from shop.orders__quarantine") == []
    assert both.steps.catalog.branches() == []


def test_when_main_of_another_member_moves_both_tables_of_this_one_stand(both):
    both.stage()
    both.steps.publish_group(both.run, both.settled())
    both.deliver(2, "cyd", "4,cyd 5,eve")
    later = Divided(both.steps, "both-2")
    later.stage()
    later.settled()
    both.alone_with("names", "names-9", "data/more.csv", "name\neve\n")
    for name in TABLES:
        assert later.steps.rebase(later.member(name)).redo is None
    later.steps.publish_group(later.run, later.settled())
    assert both.rows() == {"names": 4, "orders": 3}
    assert both.see("select id from shop.orders__quarantine order by 1") == [(3,), (5,)]
    assert both.steps.catalog.branches() == []


def test_a_group_that_is_undone_leaves_none_of_the_tables(both):
    both.stage()
    both.settled()
    for name in TABLES:
        assert both.steps.drop_branch(both.member(name)).published is None
    catalog = both.steps.catalog
    assert (catalog.tables(), catalog.branches()) == ([], [])
    warehouse = both.steps.project.root / "warehouse"
    assert not [p for p in warehouse.rglob("*.parquet") if p.is_file()]


def test_a_divided_member_that_lost_the_race_is_staged_again_with_the_group(both):
    """Another run was faster at the table of which rows are set aside; no source is left."""
    both.stage()
    both.steps.publish_group(both.run, both.settled())
    both.deliver(2, "cyd", "2,cyd 4,cyd 5,eve")
    later = Divided(both.steps, "both-2")
    later.stage()
    ready = later.settled()
    both.alone_with("orders", "orders-9", "more.csv", "id,name\n2,ann\n9,ann\n")
    for path in (both.steps.project.root / "data").iterdir():
        path.unlink()
    with pytest.raises(HeadMovedError):
        later.steps.publish_group(later.run, ready)
    assert later.steps.rebase(later.member("names")).redo is None
    assert later.steps.rebase(later.member("orders")).restages
    restaged = later.steps.restage(later.member("orders"))
    # It is whole again, and the rows on the quarantine table's branch are nobody's until then.
    assert (restaged.redo, restaged.quarantine, restaged.rows.read) == (None, None, 3)
    later.steps.publish_group(later.run, later.settled())
    assert both.see("select id, name from shop.orders order by 1") == [
        (1, "ann"), (2, "cyd"), (4, "cyd"), (9, "ann"),
    ]  # fmt: skip
    aside = both.see("select id, wap_run from shop.orders__quarantine order by 1")
    assert aside == [(3, "both-1.orders"), (5, "both-2.orders")]
    assert both.steps.catalog.branches() == []
