"""Members of a group that met another main are staged again from their batch, as one."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from catalog.errors import CatalogUnavailableError, HeadMovedError
from catalog.refs import Branch
from tests.unit.wap.test_group_steps import FILES, TABLES, Both
from tests.unit.wap.test_guard_steps import Port
from wap.group_activities import GroupActivities
from wap.project import load_project
from wap.query import query
from wap.steps import Restaged
from wap.worker import open_activities

SHOWS = [(1, "ann"), (2, "cyd"), (3, "dan"), (4, "ann")]


@dataclass
class Race(Both):
    """Two runs of the group, of which the later one was faster, and whose input is gone since."""

    def follow(self, steps: GroupActivities | None = None) -> Restaged:
        """What the saga does when main has moved: the names are appended, the orders met."""
        rebased = self.steps.rebase(self.member("names"))
        assert (rebased.redo, rebased.restages) == (None, False)
        rebased = self.steps.rebase(self.member("orders"))
        assert rebased.restages
        return (steps or self.steps).restage(self.member("orders"))

    def finish(self) -> None:
        self.steps.publish_group(self.run, self.sealed())

    def shows(self) -> list[tuple[object, ...]]:
        sql = "select id, name from shop.orders order by id"
        found = query(self.steps.catalog, sql, temp_directory=self.steps.temp_directory)
        return [tuple(row.values()) for row in found.to_pylist()]

    def empty(self) -> None:
        """No source has anything any more."""
        for path in (self.steps.project.root / "data").iterdir():
            path.unlink()

    def data_files(self) -> set[str]:
        found = self.steps.project.root.rglob(f"warehouse/**/data/{self.run_id}/*.parquet")
        return {path.name for path in found}

    def committed(self) -> set[str]:
        paths: set[str] = set()
        for table in TABLES.values():
            staging = self.steps.catalog.staging(Branch.of_run(self.run_id), table)
            files = self.steps.catalog.scan(table, staging.head, staging.branch).files
            paths |= {f.file_path for f in files if f"/data/{self.run_id}/" in f.file_path}
        return {path.rpartition("/")[2] for path in paths}


@pytest.fixture
def late(tmp_path):
    """A run that was audited and sealed when another of the same group published."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with open_activities(load_project(tmp_path, {})) as steps:
        first = Race(steps)
        first.deliver(1, "ann bob", "1,ann 2,bob")
        first.steps.publish_group(first.run, first.ready())
        yield overtaken(steps)


def overtaken(steps: GroupActivities) -> Race:
    late, rival = Race(steps, "both-2"), Race(steps, "both-3")
    late.deliver(2, "cyd", "2,cyd 4,ann")
    ready = late.ready()
    late.empty()
    rival.deliver(3, "dan", "2,dan 3,dan")
    rival.steps.publish_group(rival.run, rival.ready())
    late.empty()
    with pytest.raises(HeadMovedError):
        late.steps.publish_group(late.run, ready)
    return late


def test_it_is_as_if_the_group_had_come_after_its_rival(late):
    restaged = late.follow()
    assert (restaged.redo, restaged.refused) == (None, None)
    assert (restaged.rows.read, restaged.rows.updated, restaged.rows.inserted) == (2, 1, 1)
    assert late.data_files() == late.committed()
    late.finish()
    assert late.shows() == SHOWS
    assert late.rows() == {"names": 4, "orders": 4}
    assert late.steps.catalog.branches() == []
    assert all(late.steps.catalog.verify(table) == [] for table in TABLES.values())


def test_its_check_across_tables_is_asked_on_the_new_main(late):
    """What it builds on is main's as it is now, and the other candidate's."""
    late.follow()
    main = {name: late.steps.catalog.published(t).snapshot.id for name, t in TABLES.items()}
    for ready in late.sealed():
        assert ready.audited.expected == main[ready.run.request.pipeline]


def test_an_attempt_that_dies_before_its_commit_is_done_over(late):
    def dies(*_: object) -> None:
        raise CatalogUnavailableError("killed")

    steps = late.steps
    catalog = Port(steps.catalog, "restage_on", dies)
    with pytest.raises(CatalogUnavailableError):
        late.follow(replace(steps, catalog=catalog))
    assert late.follow().redo is None
    assert late.data_files() == late.committed()
    late.finish()
    assert late.shows() == SHOWS


def test_main_that_moves_again_is_met_again(late):
    late.follow()
    ready = late.sealed()
    late.alone_with("orders", "orders-9", "more.csv", "id,name\n9,ann\n")
    with pytest.raises(HeadMovedError):
        late.steps.publish_group(late.run, ready)
    assert late.follow().redo is None
    late.finish()
    assert late.shows() == [*SHOWS, (9, "ann")]


def test_what_lies_aside_goes_with_the_groups_undo(late):
    scratch = late.steps.project.state / "runs" / "both-2.orders" / "scratch"
    assert [p for p in scratch.rglob("*.parquet") if p.is_file()]
    for name in TABLES:
        late.steps.drop_branch(late.member(name))
    assert not scratch.exists()
