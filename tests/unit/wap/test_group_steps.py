"""The steps of a group, called as Temporal calls them: twice, late, or after a death."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass

import pytest

from catalog.errors import BranchNotFoundError, HeadMovedError, UnauditedError
from catalog.refs import TableName
from wap import evidence
from wap.group_activities import GroupActivities
from wap.group_steps import Ready
from wap.groups import request_of
from wap.membership import member_id
from wap.model import Ending, Rows, RunRequest, RunResult
from wap.project import load_project
from wap.steps import Audited, Group, RunRef
from wap.verifying import Records, verify
from wap.worker import open_activities

FILES = {
    "wap.toml": (
        '[project]\nname = "shop"\n[lineage]\nkind = "none"\n[groups.both]\n'
        'pipelines = ["names", "orders"]\ncontracts = ["contracts/known.yml"]\n'
    ),
    "pipelines/names.yml": (
        'table: shop.names\nsource: {kind: files, path: "data/names*.csv", format: csv}\n'
        "write: {mode: append}\nschema: {columns: {name: string}}\n"
        "contracts: [contracts/names.yml]\ntags: {name: [pii]}\n"
    ),
    "pipelines/orders.yml": (
        'table: shop.orders\nsource: {kind: files, path: "data/orders*.csv", format: csv}\n'
        "write: {mode: merge, keys: [id]}\nschema: {columns: {id: long, name: string}}\n"
        "contracts: [contracts/orders.yml]\n"
    ),
    "contracts/names.yml": "dataset: wap/shop/names\ncolumns: []\nchecks:\n- row_count:\n",
    "contracts/orders.yml": "dataset: wap/shop/orders\ncolumns: []\nchecks:\n- row_count:\n",
    "contracts/known.yml": (
        "dataset: wap/shop/orders\ncolumns:\n- name: name\n  checks:\n  - invalid:\n"
        "      valid_reference_data: {dataset: wap/shop/names, column: name}\n"
    ),
}
TABLES = {"names": TableName.parse("shop.names"), "orders": TableName.parse("shop.orders")}
GROUP = Group(name="both", tables=("shop.names", "shop.orders"))


@dataclass
class Both:
    """The project and one group run of it."""

    steps: GroupActivities
    run_id: str = "both-1"

    @property
    def run(self) -> RunRef:
        return RunRef(run_id=self.run_id, request=request_of(self.steps.project, "both"))

    def member(self, name: str) -> RunRef:
        request = self.run.request.of_member(name)
        return RunRef(run_id=member_id(self.run_id, name), request=request, group=GROUP)

    def deliver(self, number: int, names: str, orders: str) -> None:
        data = self.steps.project.root / "data"
        data.mkdir(exist_ok=True)
        (data / f"names-{number}.csv").write_text("\n".join(["name", *names.split()]) + "\n")
        (data / f"orders-{number}.csv").write_text("\n".join(["id,name", *orders.split()]) + "\n")

    def stage(self) -> None:
        for name in TABLES:
            for step in (self.steps.resolve, self.steps.open_branch, self.steps.stage):
                step(self.member(name))

    def audit(self, name: str) -> Audited:
        self.steps.reconcile(self.member(name))
        return self.steps.audit(self.member(name))

    def seal(self, name: str) -> Ready:
        audited = self.audit(name)
        self.steps.seal(self.member(name), audited)
        return Ready(run=self.member(name), audited=audited)

    def ready(self) -> list[Ready]:
        self.stage()
        return self.sealed()

    def sealed(self) -> list[Ready]:
        """Every table is audited before any is sealed."""
        audits = {name: self.audit(name) for name in TABLES}
        for name, audited in audits.items():
            assert audited.passed, audited.reason
            self.steps.seal(self.member(name), audited)
        return [Ready(run=self.member(n), audited=a) for n, a in audits.items()]

    def alone(self, name: str, run_id: str, *inputs: str) -> None:
        """Another run of one table, from its plan to its publish."""
        request = RunRequest(project="p", pipeline=name, inputs=inputs)
        run = RunRef(run_id=run_id, request=request)
        for step in (self.steps.resolve, self.steps.open_branch, self.steps.stage):
            step(run)
        self.steps.reconcile(run)
        audited = self.steps.audit(run)
        self.steps.seal(run, audited)
        self.steps.publish(run, audited)

    def alone_with(self, name: str, run_id: str, file: str, text: str) -> None:
        """Another run of one table, of an input that the pipeline does not read by itself."""
        (self.steps.project.root / file).write_text(text)
        self.alone(name, run_id, file)

    def rows(self) -> dict[str, int]:
        catalog = self.steps.catalog
        found = {name: catalog.published(table) for name, table in TABLES.items()}
        return {
            name: catalog.scan(TABLES[name], p.snapshot.id).rows
            for name, p in found.items()
            if p is not None
        }


@pytest.fixture
def both(tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with open_activities(load_project(tmp_path, {})) as steps:
        made = Both(steps)
        made.deliver(1, "ann bob", "1,ann 2,bob")
        yield made


def test_a_first_load_is_checked_across_tables_and_published_in_one_step(both):
    moves = both.steps.publish_group(both.run, both.ready())
    assert both.rows() == {"names": 2, "orders": 2}
    for move, table in zip(moves, TABLES.values(), strict=True):
        ((snapshot, seal),) = evidence.seals(both.steps.catalog, table)
        assert (move.before, move.after) == (None, snapshot.id)
        assert seal.run_id == "both-1"
        assert evidence.run_of(seal) == f"both-1.{table.name}"
        assert evidence.together(seal) == set(TABLES.values())
        assert seal.notes["group"] == "both"
    assert both.steps.catalog.branches() == []


def test_published_twice_is_published_once(both):
    ready = both.ready()
    assert both.steps.publish_group(both.run, ready) == both.steps.publish_group(both.run, ready)
    assert both.rows() == {"names": 2, "orders": 2}


def test_the_other_table_is_looked_at_as_it_would_be(both):
    both.steps.publish_group(both.run, both.ready())
    both.deliver(2, "cyd", "3,cyd")
    later = Both(both.steps, "both-2")
    later.steps.publish_group(later.run, later.ready())
    assert both.rows() == {"names": 3, "orders": 3}


def test_what_the_other_table_does_not_bring_fails_the_check(both):
    both.deliver(2, "cyd", "3,dan")
    both.stage()
    assert both.audit("names").passed
    audited = both.audit("orders")
    assert not audited.passed
    assert audited.checks.failed == 1


def test_a_run_by_itself_is_not_held_to_the_groups_contracts(both):
    both.deliver(2, "cyd", "3,dan")
    both.alone("orders", "orders-1")
    assert both.rows() == {"orders": 3}


def test_heads_that_were_not_audited_beside_each_other_are_not_published(both):
    """A table is rebased and sealed again behind the other's audit."""
    both.steps.publish_group(both.run, both.ready())
    both.deliver(2, "cyd", "3,cyd")
    later = Both(both.steps, "both-2")
    _, orders = later.ready()
    names = later.member("names")
    both.alone_with("names", "names-9", "data/more.csv", "name\neve\n")
    assert later.steps.rebase(names).redo is None
    again = later.seal("names")
    with pytest.raises(UnauditedError, match=r"looked at snapshot \d+ of shop\.names"):
        later.steps.publish_group(later.run, [again, orders])
    assert both.rows() == {"names": 3, "orders": 2}
    # The table whose main stands follows without a new plan, although it is written by key.
    rebased = later.steps.rebase(later.member("orders"))
    assert (rebased.redo, rebased.expected) == (None, orders.audited.expected)
    ready = later.sealed()
    later.steps.publish_group(later.run, ready)
    assert both.rows() == {"names": 4, "orders": 3}
    # It was sealed where it stood, twice; it was published once.
    runs = [s.run_id for _, s in evidence.seals(both.steps.catalog, TABLES["orders"])]
    assert runs == ["both-2", "both-1"]


def test_what_another_run_has_published_meanwhile_keeps_all_back(both):
    ready = both.ready()
    both.alone("names", "names-1")
    with pytest.raises(HeadMovedError):
        both.steps.publish_group(both.run, ready)
    assert both.rows() == {"names": 2}
    assert both.steps.rebase(both.member("names")).redo is not None


def test_an_input_that_was_published_before_the_branch_was_opened_keeps_all_back(both):
    for name in TABLES:
        both.steps.resolve(both.member(name))
    both.alone("names", "names-1")
    for name in TABLES:
        both.steps.open_branch(both.member(name))
        both.steps.stage(both.member(name))
    ready = both.sealed()
    with pytest.raises(HeadMovedError):
        both.steps.publish_group(both.run, ready)
    assert both.rows() == {"names": 2}


def test_one_dropped_member_makes_a_late_publish_of_all_impossible(both):
    ready = both.ready()
    assert both.steps.drop_branch(both.member("orders")).published is None
    with pytest.raises(BranchNotFoundError):
        both.steps.publish_group(both.run, ready)
    assert both.rows() == {}
    both.steps.drop_branch(both.member("names"))
    assert not list(both.steps.project.root.rglob("*.parquet"))


def test_a_run_whose_folders_are_gone_leaves_no_table_behind(both):
    both.stage()
    shutil.rmtree(both.steps.project.state / "runs")
    undone = both.steps.drop_branch(both.member("orders"))
    assert all(f"{table}: " in undone.removed for table in TABLES.values())
    assert both.steps.catalog.branches() == []
    assert not list(both.steps.project.root.rglob("*.parquet"))


def test_what_is_published_is_not_undone(both):
    moves = both.steps.publish_group(both.run, both.ready())
    for name, move in zip(TABLES, moves, strict=True):
        assert both.steps.drop_branch(both.member(name)).published.after == move.after
    assert both.rows() == {"names": 2, "orders": 2}


def test_half_a_group_on_main_is_noted(both):
    """Somebody moves main of one table back past the doors: its rows are proved all the same."""
    for number, names, orders in ((1, "ann bob", "1,ann 2,bob"), (2, "cyd", "3,cyd")):
        both.deliver(number, names, orders)
        run = Both(both.steps, f"both-{number}")
        run.steps.publish_group(run.run, run.ready())
    catalog, names = both.steps.catalog, TABLES["names"]
    records = Records(both.steps.ledger, both.steps.project.reports)
    whole = verify(catalog, records)
    assert {n.code for p in whole for n in p.notes} == {"ledger-missing"}
    (_, now), (before, _) = ((s, seal) for s, seal in evidence.seals(catalog, names))
    assert now.run_id == "both-2"
    catalog.rollback(names, before.id, catalog.published(names).snapshot.id)
    _, orders = verify(catalog, records)
    assert orders.unsealed == ()
    noted = [n.reason for n in orders.notes if n.code == "group"]
    assert noted == ["main of shop.names does not show the group's run both-2"]


def test_the_summary_tells_each_table_and_hides_what_is_masked(both):
    both.stage()
    told = tuple(
        RunResult(
            run_id=f"both-1.{name}", pipeline=name, table=f"shop.{name}", ending=Ending.REJECTED,
            reason="name has 'ann' twice", rows=Rows(read=2, staged=2),
        )
        for name in TABLES
    )  # fmt: skip
    result = RunResult(
        run_id="both-1", pipeline="both", table="", ending=Ending.REJECTED, members=told,
        reason="shop.names: name has 'ann' twice",
    )  # fmt: skip
    members = [both.member(name) for name in TABLES]
    closed = both.steps.close_group(both.run, members, result)
    folder = (both.steps.project.root / closed.report).parent
    kept = json.loads((folder / "report.json").read_text())["run"]
    assert [m["table"] for m in kept["members"]] == ["shop.names", "shop.orders"]
    for file in folder.iterdir():
        assert "shop.orders" in file.read_text()
        if file.name != "junit.xml":
            assert "shop.names: name has" in file.read_text().replace("\\", "")
    assert "'ann'" not in kept["reason"]
    assert "ann" not in kept["members"][0]["reason"]
    assert both.steps.home.folder("both-1.names").has_plan(0)
