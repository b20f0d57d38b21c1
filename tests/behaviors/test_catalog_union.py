"""Unions: batches of several runs on a branch of its own, published while every member is there."""

from __future__ import annotations

import pytest

from catalog import BranchExistsError, HeadMovedError, RebaseRefusedError, UnsealedError
from catalog.base import Change
from catalog.refs import MEMBERS, Taken

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
    union.open()
    files = [file for run in members for file in run.catalog.batch(run.now).files]
    names = " ".join(run.branch.run_id for run in members)
    union.staging = union.catalog.stage(union.now, Change(files, summary={MEMBERS: names}))
    return members, union


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
    with pytest.raises(RebaseRefusedError, match="union"):
        members[0].rebase()
    with pytest.raises(HeadMovedError):
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
