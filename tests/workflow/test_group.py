"""The saga of a group ends in one of its endings for all tables alike, whatever goes wrong."""

import asyncio
import threading

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError, CancelledError

from tests.workflow.group_world import GROUP, GroupWorld, moved_once
from wap.group_activities import GroupActivities
from wap.group_steps import GroupSteps
from wap.membership import member_id, owner_of
from wap.model import Ending, ExitCode

BEFORE_PUBLISH = [
    "resolve flights", "check_group", "open_branch planes", "stage flights", "audit flights",
    "seal weather",
]  # fmt: skip


def test_all_are_published_in_one_step(saga):
    world = GroupWorld()
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert result.exit_code is ExitCode.PUBLISHED
    assert [m.pipeline for m in result.members] == list(world.names)
    assert [m.run_id for m in result.members] == [
        member_id(result.run_id, name) for name in world.names
    ]
    assert {m.pipeline: m.snapshot.after for m in result.members} == world.main
    assert all(m.snapshot.before == 1 for m in result.members)
    assert result.rows.published == 15
    assert result.checks.passed == 9
    assert world.calls.count("publish_group") == 1
    assert set(world.closed) == set(world.names)
    assert not world.branches


def test_every_table_is_audited_beside_the_candidates_of_the_others(saga):
    world = GroupWorld()
    result, _ = saga(world)
    (heads,) = world.published.values()
    assert owner_of(result.members[0].run_id) == result.run_id
    for name in world.names:
        assert world.seen[name] == {n: h for n, h in heads.items() if n != name}


def test_one_failed_audit_rejects_all_and_every_table_was_audited(saga):
    world = GroupWorld(bad=frozenset({"planes"}))
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.REJECTED
    assert result.exit_code is ExitCode.REJECTED
    assert result.reason == "nyc.planes: planes has 2 nulls"
    assert world.untouched
    assert world.count("audit") == ["audit planes", "audit weather", "audit flights"]
    assert not world.count("seal", "publish_group")
    told = {m.pipeline: (m.ending, m.reason) for m in result.members}
    assert told["planes"] == (Ending.REJECTED, "planes has 2 nulls")
    assert told["flights"] == (
        Ending.REJECTED, "the group was rejected: nyc.planes: planes has 2 nulls",
    )  # fmt: skip


def test_broken_rows_of_members_are_set_aside_and_all_are_audited_again(saga):
    world = GroupWorld(broken={"planes": 2, "flights": 1})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert world.count("quarantine") == ["quarantine planes", "quarantine flights"]
    assert world.count("audit") == 2 * ["audit planes", "audit weather", "audit flights"]
    assert world.calls.count("publish_group") == 1
    assert (result.rows.published, result.rows.quarantined) == (12, 3)
    told = {m.pipeline: m.quarantine and m.quarantine.rows for m in result.members}
    assert told == {"planes": 2, "weather": None, "flights": 1}


@pytest.mark.parametrize("bad", ["planes", "weather"])
def test_nothing_is_set_aside_where_the_group_is_rejected_anyway(saga, bad):
    world = GroupWorld(broken={"flights": 1}, bad=frozenset({bad}))
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.REJECTED
    assert world.untouched
    assert not world.count("quarantine")
    told = {m.pipeline: m.reason for m in result.members}
    assert told["flights"] == "flights has 2 nulls"


def test_a_member_that_cannot_be_divided_rejects_all(saga):
    world = GroupWorld(broken={"planes": 2, "flights": 4})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.REJECTED
    assert result.reason == "nyc.flights: flights has 2 nulls; too many rows"
    assert world.untouched
    assert not world.aside
    assert all(m.quarantine is None for m in result.members)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_division_of_a_member_is_tried_again(saga, when):
    world = GroupWorld(
        broken={"planes": 2}, faults={"quarantine": [(when, "CatalogUnavailableError", 1)]}
    )
    result, failure = saga(world)
    assert failure is None
    assert result.rows.quarantined == 2
    assert world.count("quarantine") == 2 * ["quarantine planes"]


def test_a_member_that_is_planned_anew_begins_without_what_was_set_aside(saga):
    world = moved_once(GroupWorld(broken={"planes": 2}, redone={"planes"}), "planes")
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert (result.rows.quarantined, result.rows.published) == (0, 15)
    assert all(m.quarantine is None for m in result.members)


def test_batch_that_does_not_fit_rejects_all_before_anything_is_staged(saga):
    world = GroupWorld(unfit=frozenset({"flights"}))
    result, _ = saga(world)
    assert result.ending is Ending.REJECTED
    assert world.untouched
    assert not world.count("open_branch", "check_group")


def test_nothing_new_in_all_is_nothing_new(saga):
    world = GroupWorld(nothing_new=set(GROUP))
    result, failure = saga(world)
    assert failure is None
    assert result.nothing_new
    assert result.ending is Ending.PUBLISHED
    assert not world.count("open_branch", "check_group", "publish_group", "record_lineage")
    assert world.untouched


def test_a_table_with_nothing_new_is_left_as_it_is(saga):
    world = GroupWorld(nothing_new={"planes"})
    result, _ = saga(world)
    assert result.ending is Ending.PUBLISHED
    assert not result.nothing_new
    assert world.main["planes"] == 1
    assert "planes" not in world.seen["flights"]
    assert [m.nothing_new for m in result.members] == [True, False, False]
    assert "open_branch planes" not in world.calls


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", BEFORE_PUBLISH)
def test_error_in_a_step_is_rolled_back_in_every_table(saga, step, when):
    world = GroupWorld(faults={step: [(when, "EngineError", 1)]})
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert result.ending is Ending.ROLLED_BACK
    assert {m.ending for m in result.members} == {Ending.ROLLED_BACK}
    assert "EngineError" in result.reason
    assert world.untouched
    assert result.exit_code is ExitCode.ROLLED_BACK
    assert set(world.closed) == set(world.names)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["check_group", "stage weather", "publish_group", "close_group"])
def test_passing_outage_is_outlived(saga, step, when):
    world = GroupWorld(faults={step: [(when, "CatalogUnavailableError", 2)]})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert world.calls.count(step) == 3
    assert len(world.published) == 1


def test_a_group_the_catalog_cannot_publish_is_refused_before_anything_is_staged(saga):
    world = GroupWorld(faults={"check_group": [("before", "GroupRefusedError", 1)]})
    result, _ = saga(world)
    assert result.exit_code is ExitCode.USAGE
    assert not world.count("open_branch", "stage")


def test_publish_that_took_effect_but_never_answered_is_published(saga):
    world = GroupWorld(faults={"publish_group": [("after", "SomeError", 99)]})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert {m.pipeline: m.snapshot.after for m in result.members} == world.main
    assert result.rows.published == 15


def test_publish_that_had_no_effect_is_rolled_back(saga):
    world = GroupWorld(faults={"publish_group": [("before", "SomeError", 99)]})
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert result.ending is Ending.ROLLED_BACK
    assert world.untouched


def test_one_moved_main_is_rebased_and_all_are_audited_again(saga):
    world = moved_once(GroupWorld(), "planes")
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert [m.snapshot.before for m in result.members] == [50, 1, 1]
    assert len(world.count("audit")) == 6
    assert len(world.count("stage")) == 3
    (heads,) = world.published.values()
    assert world.seen["flights"]["planes"] == heads["planes"]


def test_only_the_table_that_cannot_follow_is_planned_anew(saga):
    world = moved_once(GroupWorld(redone={"planes"}), "planes", "weather")
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert [m.snapshot.before for m in result.members] == [50, 50, 1]
    assert world.count("stage") == [
        "stage planes",
        "stage weather",
        "stage flights",
        "stage planes",
    ]
    assert world.count("drop_branch") == ["drop_branch planes"]


def test_what_another_run_did_meanwhile_drops_out_and_the_rest_is_published(saga):
    world = moved_once(GroupWorld(done_meanwhile={"planes"}), "planes")
    result, failure = saga(world)
    assert failure is None
    assert [m.nothing_new for m in result.members] == [True, False, False]
    assert world.main["planes"] == 50
    assert "planes" not in world.seen["flights"]
    (heads,) = world.published.values()
    assert set(heads) == {"weather", "flights"}
    assert not world.branches


def test_all_done_by_another_run_is_nothing_new(saga):
    world = moved_once(GroupWorld(done_meanwhile=set(GROUP)), *GROUP)
    result, failure = saga(world)
    assert failure is None
    assert result.nothing_new
    assert not world.published
    assert not world.branches


def test_a_main_that_never_rests_ends_the_run(saga):
    world = GroupWorld(names=("planes", "flights"), redone={"planes"})
    world.during["publish_group"] = lambda: world.main.update(planes=world._new())
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert "10 rounds" in result.reason
    assert not world.branches


def test_undo_that_fails_for_good_says_what_is_left_and_undoes_the_rest(saga):
    world = GroupWorld(
        faults={
            "audit planes": [("before", "BadError", 1)],
            "drop_branch weather": [("before", "WorseError", 99)],
        }
    )
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert result.exit_code is ExitCode.INCOMPLETE
    assert len(result.incomplete) == 1
    assert "drop_branch weather" in result.incomplete[0]
    assert set(world.branches) == {"weather"}


@pytest.mark.parametrize(
    ("step", "said"),
    [("record_lineage planes", "lineage"), ("close planes", "ledger"), ("close_group", "report")],
)
def test_what_comes_after_the_publish_can_never_fail_a_run(saga, step, said):
    world = GroupWorld(faults={step: [("before", "OddError", 99)]})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    told = [w for one in (result, *result.members) for w in one.warnings]
    assert len(told) == 1
    assert said in told[0]


@pytest.mark.parametrize(
    ("step", "cached"),
    [("resolve flights", 0), ("stage weather", 100), ("audit flights", 0), ("seal planes", 100)],
)
def test_cancel_in_a_step_rolls_all_back(saga, step, cached):
    world = GroupWorld()
    inside, go_on = threading.Event(), threading.Event()
    world.during[step] = lambda: (inside.set(), go_on.wait(20))

    async def drive(handle):
        assert await asyncio.to_thread(inside.wait, 20)
        await handle.cancel()
        go_on.set()

    result, failure = saga(world, drive, cached=cached)
    assert isinstance(failure, CancelledError)
    assert result.ending is Ending.ROLLED_BACK
    assert world.untouched
    assert "publish_group" not in world.calls


def test_cancel_during_publish_comes_too_late(saga):
    world = GroupWorld()
    inside, go_on = threading.Event(), threading.Event()
    world.during["publish_group"] = lambda: (inside.set(), go_on.wait(20))

    async def drive(handle):
        assert await asyncio.to_thread(inside.wait, 20)
        await handle.cancel()
        go_on.set()

    result, _ = saga(world, drive)
    assert result.ending is Ending.PUBLISHED
    assert {m.pipeline: m.snapshot.after for m in result.members} == world.main


def test_every_declared_step_is_done_under_its_own_name():
    for name in GroupSteps.__abstractmethods__:
        for owner in (GroupActivities, GroupWorld):
            definition = activity._Definition.from_callable(getattr(owner, name))
            assert definition is not None
            assert definition.name == name
