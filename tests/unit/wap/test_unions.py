"""Unions over the real steps and files: each row once, each run's evidence found, nothing left."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow.parquet as pq
import pytest

from catalog.errors import BranchExistsError, BranchNotFoundError, HeadMovedError
from catalog.refs import Branch, TableName
from catalog.retention import Keep
from checks.render import read_report
from tests.unit.wap.test_guard_steps import Port, Shop, shop  # noqa: F401 - a fixture
from tests.unit.wap.test_maintenance import Told
from wap import evidence
from wap.history import sealed_facts
from wap.ledger.base import Ledger
from wap.maintenance import _Work
from wap.model import Ending, RunRequest, RunResult
from wap.past import Looking
from wap.reaudit import reaudit
from wap.steps import Audited, RunRef
from wap.undoing import published_move
from wap.verifying import Records, verify

ORDERS = TableName.parse("shop.orders")
UNION = "union-orders-1-20260101-000000-0123abcd"


class Crowd:
    """Runs of the shop's pipeline that have all lost the race to one that is published."""

    def __init__(self, shop: Shop, *batches: tuple[int, ...]) -> None:  # noqa: F811
        self.shop, self.steps = shop, shop.steps
        shop.published("run-0")
        self.runs = [self.staged(f"run-{i}", *ids) for i, ids in enumerate(batches, 1)]
        self.union = RunRef(run_id=UNION, request=self.runs[0].request)

    def request(self, run_id: str) -> RunRequest:
        return RunRequest(project="p", pipeline="orders", inputs=(f"data/{run_id}.csv",))

    def staged(self, run_id: str, *ids: int) -> RunRef:
        self.shop.orders(f"{run_id}.csv", *ids)
        run = RunRef(run_id=run_id, request=self.request(run_id))
        for step in (self.steps.resolve, self.steps.open_branch, self.steps.stage):
            step(run)
        self.steps.reconcile(run)
        return run

    def unite(self, *runs: RunRef) -> tuple[str, ...]:
        return self.steps.unite(self.union, runs or tuple(self.runs)).members

    def audited(self) -> Audited:
        return self.shop.audited(self.union)

    def published(self) -> Audited:
        self.unite()
        audited = self.audited()
        assert audited.passed, audited.reason
        self.steps.seal(self.union, audited)
        self.steps.publish(self.union, audited)
        return audited

    def ids(self) -> list[int]:
        catalog = self.steps.catalog
        files = catalog.scan(ORDERS, catalog.published(ORDERS).snapshot.id).files
        return sorted(i for f in files for i in pq.read_table(f.file_path)["id"].to_pylist())

    def closed(self, run: RunRef) -> RunResult:
        undone = self.steps.drop_branch(run)
        assert undone.published is not None
        rows = self.shop.folder(run).books(0).rows
        result = RunResult(
            run_id=run.run_id, pipeline="orders", table="shop.orders", ending=Ending.PUBLISHED,
            rows=rows.model_copy(update={"published": rows.staged}), snapshot=undone.published,
        )  # fmt: skip
        return self.steps.close(run, result)

    @property
    def ledger(self) -> Ledger:
        return self.steps.ledger


@pytest.fixture
def crowd(shop):  # noqa: F811
    return Crowd(shop, (10, 11), (20,), (30, 31, 32))


def test_one_audit_and_one_seal_publish_them_all(crowd):
    before = crowd.shop.data_files()
    crowd.published()
    assert crowd.ids() == [1, 2, 3, 10, 11, 20, 30, 31, 32]
    assert crowd.shop.data_files() == before, "no Parquet was written"
    seals = [seal for _, seal in evidence.seals(crowd.steps.catalog, ORDERS)]
    assert [evidence.runs_of(s) for s in seals] == [("run-1", "run-2", "run-3"), ("run-0",)]
    assert crowd.steps.catalog.verify(ORDERS) == []
    for run in crowd.runs:
        assert published_move(crowd.steps.catalog, run.run_id, ORDERS).after is not None


def test_every_member_is_closed_as_a_run_of_its_own(crowd):
    audited = crowd.published()
    for run in crowd.runs:
        result = crowd.closed(run)
        facts = crowd.ledger.run(run.run_id)
        assert facts.report_digest == audited.report_digest
        assert facts.result.rows.published == result.rows.staged > 0
        report, _ = read_report(crowd.steps.project.reports / run.run_id)
        assert report is not None
        assert (report.digest, report.run_id) == (audited.report_digest, run.run_id)
    crowd.steps.dissolve(crowd.union)
    assert crowd.steps.catalog.branches() == []
    assert crowd.ids() == [1, 2, 3, 10, 11, 20, 30, 31, 32]
    assert crowd.ledger.run(UNION) is None
    (proved,) = verify(crowd.steps.catalog, Records(crowd.ledger, crowd.steps.project.reports))
    assert proved.unsealed == ()
    assert {s.ledger for s in proved.seals if s.run_id == UNION} == {"equal"}
    assert not (crowd.steps.project.state / "runs" / UNION).exists()


def test_the_ledger_is_rebuilt_with_every_member(crowd):
    crowd.published()
    facts = {f.run_id: f for f in sealed_facts(crowd.steps.catalog, ORDERS)}
    assert set(facts) == {"run-0", "run-1", "run-2", "run-3"}
    assert [facts[f"run-{i}"].result.rows.published for i in (1, 2, 3)] == [2, 1, 3]
    assert facts["run-1"].inputs[0].path.endswith("run-1.csv")


def test_a_members_audit_is_that_of_its_union_and_can_be_repeated(crowd):
    audited = crowd.published()
    looking = Looking(crowd.steps.catalog, crowd.steps.auditor, crowd.steps.temp_directory)
    crowd.steps.temp_directory.mkdir(exist_ok=True)
    again = reaudit(looking, crowd.ledger, "run-2")
    assert again.equal
    assert again.digest == audited.report_digest


def test_what_a_union_published_is_new_to_nobody(crowd):
    crowd.published()
    for run in crowd.runs:
        again = RunRef(run_id=f"{run.run_id}-again", request=run.request)
        assert crowd.steps.resolve(again).nothing_new
        assert crowd.steps.rebase(run).redo is not None


@pytest.mark.parametrize("step", ["unite", "reconcile", "audit", "seal", "publish", "dissolve"])
def test_a_step_that_is_done_twice_is_done_once(crowd, step):
    """A worker was killed behind the effect, and the next one does the step again."""
    twice = lambda name, work: [work() for _ in range(2 if name == step else 1)][-1]  # noqa: E731
    twice("unite", crowd.unite)
    twice("reconcile", lambda: crowd.steps.reconcile(crowd.union))
    audited = twice("audit", lambda: crowd.steps.audit(crowd.union))
    twice("seal", lambda: crowd.steps.seal(crowd.union, audited))
    twice("publish", lambda: crowd.steps.publish(crowd.union, audited))
    if step != "dissolve":
        for run in crowd.runs:
            crowd.closed(run)
    undone = crowd.steps.dissolve(crowd.union)
    assert undone.published is not None
    if step == "dissolve":
        crowd.steps.dissolve(crowd.union)
    assert crowd.ids() == [1, 2, 3, 10, 11, 20, 30, 31, 32]
    (proved,) = verify(crowd.steps.catalog, Records(crowd.ledger, crowd.steps.project.reports))
    assert proved.unsealed == ()


@pytest.mark.parametrize("far", ["unite", "seal"])
def test_a_union_that_is_undone_takes_nothing_from_its_members(crowd, far):
    crowd.unite()
    if far == "seal":
        crowd.steps.seal(crowd.union, crowd.audited())
    files = crowd.shop.data_files()
    assert crowd.steps.dissolve(crowd.union).published is None
    assert crowd.shop.data_files() == files
    assert crowd.ids() == [1, 2, 3]
    for run in crowd.runs:
        crowd.steps.rebase(run)
        audited = crowd.shop.audited(run)
        crowd.steps.seal(run, audited)
        crowd.steps.publish(run, audited)
    assert crowd.ids() == [1, 2, 3, 10, 11, 20, 30, 31, 32]
    assert crowd.steps.catalog.branches() == []


@pytest.mark.parametrize("far", ["unite", "seal"])
def test_a_member_that_leaves_takes_the_union_with_it_and_no_other(crowd, far):
    crowd.unite()
    audited = crowd.audited()
    if far == "seal":
        crowd.steps.seal(crowd.union, audited)
    gone, *others = crowd.runs
    assert crowd.steps.drop_branch(gone).published is None
    with pytest.raises(BranchNotFoundError):
        crowd.steps.publish(crowd.union, audited)
    assert crowd.ids() == [1, 2, 3]
    crowd.steps.dissolve(crowd.union)
    for run in others:
        crowd.steps.rebase(run)
        again = crowd.shop.audited(run)
        crowd.steps.seal(run, again)
        crowd.steps.publish(run, again)
    assert crowd.ids() == [1, 2, 3, 20, 30, 31, 32]


def test_a_union_is_not_published_without_a_member(crowd):
    """Whoever dropped the branch knew nothing of the union."""
    crowd.unite()
    audited = crowd.audited()
    crowd.steps.seal(crowd.union, audited)
    crowd.steps.catalog.drop(Branch.of_run("run-2"), ORDERS)
    with pytest.raises(HeadMovedError):
        crowd.steps.publish(crowd.union, audited)
    assert crowd.steps.rebase(crowd.union).redo == "run run-2 has left the union"
    assert crowd.ids() == [1, 2, 3]


def test_a_union_that_was_begun_during_the_undo_of_a_member_is_dropped(crowd):
    gone, *_ = crowd.runs

    def unite_first(*arguments: Any) -> Any:
        crowd.unite()
        return crowd.steps.catalog.drop(*arguments)

    late = replace(crowd.steps, catalog=Port(crowd.steps.catalog, "drop", unite_first))
    assert late.drop_branch(gone).published is None
    assert {s.branch.run_id for s in crowd.steps.catalog.branches()} == {"run-2", "run-3"}


def test_runs_that_read_the_same_are_not_united(crowd):
    twin = RunRef(run_id="twin", request=crowd.runs[0].request)
    for step in (crowd.steps.resolve, crowd.steps.open_branch, crowd.steps.stage):
        step(twin)
    crowd.steps.reconcile(twin)
    assert crowd.unite(crowd.runs[0], twin, crowd.runs[1]) == ("run-1", "run-2")


def test_what_is_declared_otherwise_is_not_united(crowd):
    pipeline = crowd.shop.root / "pipelines/orders.yml"
    pipeline.write_text(pipeline.read_text() + "owners: [others]\n")
    other = crowd.staged("run-9", 90)
    assert crowd.unite(crowd.runs[0], other, crowd.runs[1]) == ("run-1", "run-2")


def test_one_is_no_union(crowd):
    assert crowd.unite(crowd.runs[0]) == ()
    assert crowd.steps.dissolve(crowd.union).published is None
    assert [s.branch.run_id for s in crowd.steps.catalog.branches()] == ["run-1", "run-2", "run-3"]


def test_main_that_moved_is_followed_by_the_union(crowd):
    crowd.unite()
    first = crowd.audited()
    crowd.steps.seal(crowd.union, first)
    crowd.shop.orders("more.csv", 99)
    other = crowd.staged("more", 99)
    crowd.steps.rebase(other)
    audited = crowd.shop.audited(other)
    crowd.steps.seal(other, audited)
    crowd.steps.publish(other, audited)
    with pytest.raises(HeadMovedError):
        crowd.steps.publish(crowd.union, first)
    assert crowd.steps.rebase(crowd.union).redo is None
    again = crowd.audited()
    crowd.steps.seal(crowd.union, again)
    crowd.steps.publish(crowd.union, again)
    assert crowd.ids() == [1, 2, 3, 10, 11, 20, 30, 31, 32, 99]


def test_a_late_publish_of_a_member_finds_that_it_is_published(crowd):
    """Its own audit and seal are from before; only main and the union know better."""
    run = crowd.runs[0]
    own = crowd.shop.audited(run)
    crowd.steps.seal(run, own)
    # The seal is the branch's head now, and that is what the union takes.
    crowd.published()
    with pytest.raises(HeadMovedError):
        crowd.steps.publish(run, own)
    assert crowd.closed(run).ending is Ending.PUBLISHED
    assert crowd.ids() == [1, 2, 3, 10, 11, 20, 30, 31, 32]


def test_rows_that_are_wrong_only_together_fail_the_union(shop):  # noqa: F811
    crowd = Crowd(shop, (10, 11), (11, 12))
    assert all(crowd.shop.audited(run).passed for run in crowd.runs)
    crowd.unite()
    assert not crowd.audited().passed


# --- when nobody is left who would end it --------------------------------------------------------


def _maintained(crowd: Crowd) -> dict[str, str]:
    """What a clean-up a week later does of all that is left, with every workflow over."""
    later = datetime.now(UTC) + timedelta(days=7)
    work = _Work(crowd.steps.project, crowd.steps, Told(), later, dry_run=False)
    return {run.run_id: run.action for run in work.runs(None)}


def test_a_published_union_that_nobody_dissolved_is_cleared_away_whole(crowd):
    """Keeper and members were terminated right behind the publish."""
    crowd.published()
    actions = _maintained(crowd)
    assert actions[UNION] == "published"
    assert {actions[run.run_id] for run in crowd.runs} == {"published"}
    assert crowd.ids() == [1, 2, 3, 10, 11, 20, 30, 31, 32]
    assert crowd.steps.catalog.branches() == []
    assert crowd.steps.home.runs() == []
    assert [crowd.ledger.run(run.run_id).result.ending for run in crowd.runs] == [
        Ending.PUBLISHED
    ] * 3
    assert crowd.ledger.run(UNION) is None
    (proved,) = verify(crowd.steps.catalog, Records(crowd.ledger, crowd.steps.project.reports))
    assert proved.unsealed == ()


def test_a_union_that_nobody_ended_goes_with_its_members(crowd):
    crowd.unite()
    crowd.steps.seal(crowd.union, crowd.audited())
    assert set(_maintained(crowd).values()) <= {"removed", "published"}
    assert crowd.ids() == [1, 2, 3]
    assert crowd.steps.catalog.branches() == []
    assert crowd.steps.home.runs() == []
    assert len(crowd.shop.data_files()) == 1


# --- when main goes back behind the union, and nobody has heard of it yet ------------------------


def _publishes_and_goes_back(crowd: Crowd, audited: Audited) -> None:
    """The union reaches main, and a person takes main back at once."""
    catalog = crowd.steps.catalog
    before = catalog.published(ORDERS).snapshot
    after = crowd.steps.publish(crowd.union, audited).after
    catalog.rollback(ORDERS, before.id, expected=after)


def _united(crowd: Crowd) -> Audited:
    crowd.unite()
    audited = crowd.audited()
    crowd.steps.seal(crowd.union, audited)
    return audited


def _stays_away(crowd: Crowd, run: RunRef) -> None:
    """The run's undo is done; whatever it tries from now on, its batch is not published again."""
    again = run.model_copy(update={"round": 1})
    assert not crowd.steps.resolve(again).nothing_new, "its input counts as new"
    with pytest.raises(BranchExistsError):
        crowd.steps.open_branch(again)
    assert crowd.steps.drop_branch(again).published is None
    assert crowd.ids() == [1, 2, 3]


def test_a_member_that_hears_late_neither_comes_back_nor_says_that_it_is_published(crowd):
    _publishes_and_goes_back(crowd, _united(crowd))
    for run in crowd.runs:
        with pytest.raises(BranchNotFoundError):
            crowd.steps.rebase(run)
        assert crowd.steps.drop_branch(run).published is None
        _stays_away(crowd, run)
    assert crowd.steps.catalog.branches() == []


def test_a_member_that_met_its_batch_on_main_is_not_planned_anew_when_main_went_back(crowd):
    audited = _united(crowd)
    before = crowd.steps.catalog.published(ORDERS).snapshot
    after = crowd.steps.publish(crowd.union, audited).after
    assert all(crowd.steps.rebase(run).redo is not None for run in crowd.runs)
    crowd.steps.catalog.rollback(ORDERS, before.id, expected=after)
    for run in crowd.runs:
        assert crowd.steps.drop_branch(run).published is None
        _stays_away(crowd, run)


def test_a_union_that_comes_and_goes_during_the_undo_of_a_member_is_seen_by_the_next_round(crowd):
    audited = _united(crowd)
    leaves, *_ = crowd.runs
    real, moved = crowd.steps.catalog, []

    def just_before(*arguments: Any) -> Any:
        if not moved:
            moved.append(True)
            _publishes_and_goes_back(crowd, audited)
        return real.drop(*arguments)

    late = replace(crowd.steps, catalog=Port(real, "drop", just_before))
    assert late.drop_branch(leaves).published is None
    assert moved
    _stays_away(crowd, leaves)


def test_a_keeper_whose_answer_was_lost_finds_its_union_gone_and_nobody_goes_on_alone(crowd):
    audited = _united(crowd)
    _publishes_and_goes_back(crowd, audited)
    with pytest.raises(BranchNotFoundError):
        crowd.steps.publish(crowd.union, audited)
    assert crowd.steps.dissolve(crowd.union).published is None
    assert crowd.unite(*crowd.runs) == ()
    for run in crowd.runs:
        with pytest.raises(BranchNotFoundError):
            crowd.steps.rebase(run)
    assert crowd.ids() == [1, 2, 3]


def test_a_slow_member_finds_its_union_behind_a_clean_up_that_keeps_one_run(crowd):
    """Else it would find its input read and its batch nowhere, and say: nothing new."""
    crowd.published()
    late = crowd.staged("late", 40)
    crowd.steps.rebase(late)
    audited = crowd.shop.audited(late)
    crowd.steps.seal(late, audited)
    crowd.steps.publish(late, audited)
    *_, slow = crowd.runs
    soon = datetime.now(UTC) + timedelta(days=1)
    crowd.steps.catalog.expire(ORDERS, Keep(1, soon, soon, {slow.run_id}))
    assert crowd.steps.rebase(slow).redo is not None
    assert crowd.closed(slow).rows.published == 3
    assert crowd.ledger.run(slow.run_id).result.ending is Ending.PUBLISHED
