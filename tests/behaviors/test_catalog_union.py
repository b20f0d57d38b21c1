"""Unions: batches of several runs on a branch of its own, published while every member is there."""

from __future__ import annotations

import pytest

from catalog import (
    BranchExistsError,
    BranchNotFoundError,
    HeadMovedError,
    RebaseRefusedError,
    UnsealedError,
)
from catalog.base import Change
from catalog.refs import MEMBERS, Taken
from tests.behaviors.conftest import read_ids
from tests.behaviors.test_catalog_maintenance import keep

#: Where a union's publish asserts the members' branches in the commit itself.
NATIVE = pytest.mark.kinds("sqlite", "portable", "rest")


@pytest.fixture
def crowd(lake):
    """A published table, two runs with a batch each, and a union that has staged both."""
    lake.publish([0])
    return lake, *_staged(lake)


def _staged(lake):
    members = [lake.run(f"run-{letter}") for letter in "ab"]
    for run, ids in zip(members, ([1, 2], [3]), strict=True):
        run.open()
        run.stage(ids)
    union = lake.run("union-1")
    _united(union, members)
    return members, union


def _united(union, members):
    union.open()
    files = [file for run in members for file in run.catalog.batch(run.now).files]
    names = " ".join(run.branch.run_id for run in members)
    union.staging = union.catalog.stage(union.now, Change(files, summary={MEMBERS: names}))


def _audited(union, members):
    taken = tuple(Taken(run.branch, run.now.head) for run in members)
    return union.audited(members=taken)


def _sealed(union, members):
    audited = _audited(union, members)
    facts = union.facts(audited, members=audited.member_ids)
    union.catalog.seal(audited, facts)
    return audited


def _published(union, members):
    (snapshot,) = union.catalog.publish([_sealed(union, members)])
    return snapshot


def _data(lake):
    return {f for f in lake.files() if f.endswith(".parquet")}


def test_a_union_shows_the_rows_of_all_and_writes_none(crowd):
    lake, members, union = crowd
    before = _data(lake)
    assert union.batch_ids() == [1, 2, 3]
    assert union.candidate_ids() == [0, 1, 2, 3]
    snapshot = _published(union, members)
    assert lake.ids() == [0, 1, 2, 3]
    assert _data(lake) == before
    assert [snapshot.holds(run.branch.run_id) for run in (*members, union)] == [True] * 3
    assert lake.catalog.verify(union.table) == []
    assert union.catalog.publish([_audited(union, members)]) == [snapshot], "and again"


def test_members_are_cleared_away_without_what_is_published(crowd):
    lake, members, union = crowd
    _published(union, members)
    for run in members:
        run.drop()
        run.drop()
    assert lake.ids() == [0, 1, 2, 3]
    assert lake.catalog.branches() == []
    assert lake.catalog.verify(union.table) == []
    assert len(_data(lake)) == 3


def test_a_union_that_is_dropped_takes_no_file_of_its_members(crowd):
    lake, members, union = crowd
    _sealed(union, members)
    before = _data(lake)
    union.drop()
    assert _data(lake) == before
    for run in members:
        run.rebase()
        run.finish()
    assert lake.ids() == [0, 1, 2, 3]
    assert lake.catalog.branches() == []


@pytest.mark.parametrize("how", ["drop", "publish"])
def test_a_union_is_not_published_without_a_member(crowd, how):
    lake, members, union = crowd
    audited = _sealed(union, members)
    gone, stays = members
    _ = gone.drop() if how == "drop" else gone.finish()
    shown = lake.ids()
    with pytest.raises(HeadMovedError):
        union.catalog.publish([audited])
    assert lake.ids() == shown
    union.drop()
    stays.rebase()
    stays.finish()
    assert lake.ids() == sorted([*shown, 3])


@NATIVE
def test_a_member_that_leaves_in_the_moment_of_the_publish_wins_or_loses_whole(crowd):
    lake, members, union = crowd
    audited = _sealed(union, members)
    lake.faults.before = [members[0].drop]
    with pytest.raises(HeadMovedError):
        union.catalog.publish([audited])
    assert lake.faults.before == []
    assert lake.ids() == [0]


def test_a_batch_that_a_union_published_does_not_come_a_second_time(crowd):
    lake, members, union = crowd
    _published(union, members)
    gone = BranchNotFoundError, RebaseRefusedError
    with pytest.raises(gone, match=r"union|no branch"):
        members[0].rebase()
    with pytest.raises((BranchNotFoundError, HeadMovedError)):
        members[0].finish()
    members[1].drop()
    with pytest.raises(BranchExistsError):
        lake.run(members[1].branch.run_id).open()
    assert lake.ids() == [0, 1, 2, 3]


def test_a_union_does_not_come_onto_a_main_that_holds_one_of_its_members(crowd):
    lake, members, union = crowd
    members[0].finish()
    with pytest.raises(RebaseRefusedError, match="union"):
        union.rebase()
    assert lake.ids() == [0, 1, 2]


def test_a_union_follows_main(crowd):
    lake, members, union = crowd
    lake.publish([9])
    with pytest.raises(HeadMovedError):
        _published(union, members)
    union.rebase()
    _published(union, members)
    assert lake.ids() == [0, 1, 2, 3, 9]
    for run in members:
        run.drop()
    assert lake.ids() == [0, 1, 2, 3, 9]
    assert lake.catalog.branches() == []


def test_a_seal_names_the_members_it_was_made_for(crowd):
    _, members, union = crowd
    audited = _audited(union, members)
    for names in ((), ("run-a",), ("run-b", "run-a")):
        with pytest.raises(UnsealedError):
            union.catalog.seal(audited, union.facts(audited, members=names))
    _sealed(union, members)
    with pytest.raises(UnsealedError):
        union.catalog.publish([_audited(union, members[:1])])


# --- what was published and rolled back ----------------------------------------------------------


@pytest.fixture
def gone_back(crowd):
    """A union that was published and rolled back before any member, or its keeper, heard of it.

    The first member had been audited and sealed by itself, as one whose turn it was too late.
    """
    lake, members, union = crowd
    union.drop()
    own = members[0].audited()
    members[0].seal()
    members[0].staging = lake.catalog.staging(members[0].branch, union.table)
    union = lake.run("union-2")
    _united(union, members)
    before = lake.catalog.published(union.table).snapshot
    after = _published(union, members)
    lake.catalog.rollback(union.table, before.id, expected=after.id)
    return lake, members, union, own


def test_a_member_of_a_union_that_was_rolled_back_is_not_published_by_itself(gone_back):
    lake, members, union, own = gone_back
    for run in members:
        with pytest.raises(BranchNotFoundError, match=run.branch.run_id):
            run.rebase()
    with pytest.raises((BranchNotFoundError, HeadMovedError)):
        lake.catalog.publish([own])
    with pytest.raises(BranchNotFoundError):
        lake.catalog.publish([_audited(union, members)])
    assert lake.ids() == [0]


@pytest.mark.parametrize("later", [False, True])
def test_what_was_rolled_back_is_not_staged_again_by_the_same_run(gone_back, later):
    """Its undo found nothing of it on main; the next round would read the same input anew."""
    lake, members, union, _ = gone_back
    for run in (*members, union):
        run.drop()
    if later:
        lake.publish([9])
    for run in (*members, union):
        with pytest.raises(BranchExistsError):
            lake.run(run.branch.run_id).open()
    assert lake.catalog.branches() == []
    assert lake.ids() == ([0, 9] if later else [0])
    assert lake.catalog.verify(union.table) == []


def test_what_was_rolled_back_is_no_member_of_another_union(gone_back):
    lake, members, _, _ = gone_back
    late = lake.run("late")
    late.open()
    late.stage([4])
    again = lake.run("union-3")
    again.open()
    names = f"{members[1].branch.run_id} {late.branch.run_id}"
    files = [again.write([3, 4])]
    again.staging = again.catalog.stage(again.now, Change(files, summary={MEMBERS: names}))
    audited = _sealed(again, [members[1], late])
    with pytest.raises((BranchNotFoundError, HeadMovedError)):
        lake.catalog.publish([audited])
    assert lake.ids() == [0]


def test_what_was_rolled_back_is_read_by_whoever_is_at_it_until_it_expires(lake):
    first = lake.publish([0])
    run = lake.run()
    run.open()
    run.stage([1])
    second = run.finish()
    lake.catalog.rollback(run.table, first.id, expected=second.id)
    run.drop()
    found = lake.catalog.scan(run.table, second.id)
    assert read_ids(found.files, found.io) == [0, 1]


@pytest.mark.parametrize("back", [False, True])
def test_a_union_is_not_forgotten_while_one_of_its_members_is_at_work(crowd, back):
    """A member is slow to hear of it; meanwhile others publish, and history is cleared up."""
    lake, members, union = crowd
    before = lake.catalog.published(union.table).snapshot
    sealed = _published(union, members)
    if back:
        lake.catalog.rollback(union.table, before.id, expected=sealed.id)
    lake.publish([8])
    lake.publish([9])
    slow = members[1]
    shown = lake.ids()
    lake.catalog.expire(union.table, keep(live={slow.branch.run_id}))
    with pytest.raises((BranchNotFoundError, RebaseRefusedError)):
        slow.rebase()
    slow.drop()
    with pytest.raises(BranchExistsError):
        lake.run(slow.branch.run_id).open()
    held = {s.id for s in lake.catalog.log(union.table) if s.holds(slow.branch.run_id)}
    assert bool(held) is not back
    assert lake.ids() == shown
    # The last of them has ended.
    assert sealed.id in {s.id for s in lake.catalog.expire(union.table, keep())}
    assert lake.catalog.verify(union.table) == []
