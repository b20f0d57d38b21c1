"""Members of a group that met another main are staged again: they alone, and all are audited."""

import asyncio
import threading
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError, CancelledError

from tests.workflow.group_world import GROUP, GroupWorld, moved_once
from wap.model import Ending
from wap.steps import Restaged


def overtaken(*moved: str, **world: Any) -> GroupWorld:
    """A group of which two tables meet the rows of main, and somebody else is faster."""
    return moved_once(GroupWorld(meets={"planes", "flights"}, **world), *(moved or GROUP))


@pytest.mark.parametrize("abreast", [1, 2])
def test_it_meets_the_new_main_as_one_and_nothing_is_read_again(saga, abreast):
    world = overtaken(abreast=abreast)
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert [m.snapshot.before for m in result.members] == [50, 50, 50]
    assert len(world.count("resolve")) == len(world.count("stage")) == 3
    assert world.count("rebase") == [f"rebase {name}" for name in GROUP]
    assert sorted(world.count("restage")) == ["restage flights", "restage planes"]
    assert not world.count("drop_branch")
    # What each was audited beside is what it was published with, all on the new main.
    assert len(world.count("audit")) == 6
    (heads,) = world.published.values()
    for name in GROUP:
        assert world.seen[name] == {n: h for n, h in heads.items() if n != name}


def test_a_table_whose_main_stands_stays_as_it_is(saga):
    world = overtaken("planes")
    result, failure = saga(world)
    assert failure is None
    assert [m.snapshot.before for m in result.members] == [50, 1, 1]
    assert world.count("restage") == ["restage planes"]


def test_main_that_moves_again_is_met_again(saga):
    world = GroupWorld(meets={"planes"})

    def somebody_publishes() -> None:
        if (times := world.calls.count("publish_group")) <= 3:
            world.main["planes"] = 49 + times

    world.during["publish_group"] = somebody_publishes
    result, failure = saga(world)
    assert failure is None
    assert result.members[0].snapshot.before == 52
    assert len(world.count("restage")) == 3
    assert len(world.count("stage")) == 3


def test_only_the_one_that_cannot_be_staged_again_is_planned_anew(saga):
    world = overtaken(abreast=2, restage_says={"planes": Restaged(redo="it is not here")})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert [m.snapshot.before for m in result.members] == [50, 50, 50]
    assert world.count("drop_branch") == ["drop_branch planes"]
    assert sorted(world.count("stage")) == sorted([*(f"stage {n}" for n in GROUP), "stage planes"])


def test_rows_that_cannot_meet_the_new_main_reject_the_group(saga):
    refused = {"flights": Restaged(refused="key 1 is there twice")}
    world = overtaken(abreast=2, restage_says=refused)
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.REJECTED
    assert result.reason == "nyc.flights: key 1 is there twice"
    assert not world.branches
    assert set(world.main.values()) == {50}


def test_a_new_main_that_one_audit_refuses_rejects_the_group(saga):
    world = overtaken()
    world.during["restage planes"] = lambda: setattr(world, "bad", frozenset({"planes"}))
    result, _ = saga(world)
    assert (result.ending, result.reason) == (Ending.REJECTED, "nyc.planes: planes has 2 nulls")
    assert not world.branches
    assert not world.published


def test_what_it_builds_on_is_said(saga):
    result, _ = saga(overtaken("planes", said=("main holds 7",)))
    assert [m.warnings for m in result.members] == [("main holds 7",), (), ()]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_passing_outage_is_outlived(saga, when):
    world = overtaken(faults={"restage planes": [(when, "CatalogUnavailableError", 2)]})
    result, failure = saga(world)
    assert failure is None
    assert result.ending is Ending.PUBLISHED
    assert world.count("restage").count("restage planes") == 3


@pytest.mark.parametrize("when", ["before", "after"])
def test_an_error_is_rolled_back_in_every_table(saga, when):
    faults = {"restage planes": [(when, "EngineError", 1)]}
    world = overtaken(faults=faults, abreast=2)
    result, failure = saga(world)
    assert isinstance(failure, ApplicationError)
    assert result.ending is Ending.ROLLED_BACK
    assert not world.branches
    assert not world.published


def test_a_cancel_while_tables_are_staged_again_rolls_all_back(saga):
    world = overtaken(abreast=2)
    inside, go_on, left = threading.Barrier(3), threading.Event(), []

    def at_work() -> None:
        inside.wait(20)
        assert go_on.wait(20)
        left.append(world.count("drop_branch"))

    world.during["restage"] = at_work

    async def drive(handle):
        await asyncio.to_thread(inside.wait, 20)
        await handle.cancel()
        go_on.set()

    result, failure = saga(world, drive)
    assert isinstance(failure, CancelledError)
    assert result.ending is Ending.ROLLED_BACK
    assert left == [[], []]
    assert not world.branches
    assert not world.published


def test_a_divided_member_is_whole_again_and_divided_anew_where_it_must_be(saga):
    world = overtaken("planes", "flights", broken={"planes": 2, "flights": 1})
    world.during["restage flights"] = lambda: world.aside.pop("flights", None)
    result, failure = saga(world)
    assert failure is None
    assert len(world.count("stage")) == 3
    assert world.count("quarantine") == [
        "quarantine planes", "quarantine flights", "quarantine planes",
    ]  # fmt: skip
    told = {m.pipeline: m.quarantine and m.quarantine.rows for m in result.members}
    assert told == {"planes": 2, "weather": None, "flights": None}
