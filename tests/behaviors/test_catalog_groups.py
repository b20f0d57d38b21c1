"""Several tables go back in one step, or none of them does."""

import pytest

from catalog import HeadMovedError, TableName, TableNotFoundError, UnsealedError, UnsupportedError
from catalog.refs import Back

WEATHER = TableName.parse("nyc.weather")


@pytest.fixture
def moves(lake, flights):
    """Two runs of both tables, and the way back behind the second."""
    first = [lake.publish([1], table) for table in (flights, WEATHER)]
    second = [lake.publish([2], table) for table in (flights, WEATHER)]
    return [Back(s.table, s.id, now.id) for s, now in zip(first, second, strict=True)]


@pytest.fixture
def able(lake):
    return lake.catalog.capabilities.atomic_groups


def test_several_tables_go_back_in_one_step_or_are_refused(lake, moves, able, flights):
    if not able:
        with pytest.raises(UnsupportedError, match="several tables back"):
            lake.catalog.roll_back(moves)
        assert lake.ids() == lake.ids(WEATHER) == [1, 2]
        return
    assert [s.id for s in lake.catalog.roll_back(moves)] == [move.to for move in moves]
    assert lake.ids() == lake.ids(WEATHER) == [1]
    lake.publish([3], WEATHER)
    assert lake.ids(WEATHER) == [1, 3]
    assert lake.catalog.verify(flights) == lake.catalog.verify(WEATHER) == []


def test_none_goes_back_when_one_has_moved(lake, moves, able):
    lake.publish([5], WEATHER)
    with pytest.raises(HeadMovedError if able else UnsupportedError):
        lake.catalog.roll_back(moves)
    assert lake.ids() == [1, 2]
    assert lake.ids(WEATHER) == [1, 2, 5]


def test_none_goes_back_when_one_moves_during_the_commit(lake, moves, able):
    if lake.faults is None or not able:
        return
    other = lake.again()
    lake.faults.before = [lambda: other.publish([5], WEATHER)]
    with pytest.raises(HeadMovedError):
        lake.catalog.roll_back(moves)
    assert lake.ids() == [1, 2]
    assert lake.ids(WEATHER) == [1, 2, 5]


def test_none_goes_back_to_what_is_no_seal(lake, moves, able):
    wrong = [moves[0], Back(WEATHER, moves[0].to, moves[1].expected)]
    with pytest.raises(UnsealedError if able else UnsupportedError):
        lake.catalog.roll_back(wrong)
    assert lake.ids() == lake.ids(WEATHER) == [1, 2]


def test_none_goes_back_when_one_is_not_published(lake, moves, able):
    nowhere = Back(TableName.parse("nyc.nowhere"), 1, 1)
    with pytest.raises(TableNotFoundError if able else UnsupportedError):
        lake.catalog.roll_back([moves[0], nowhere])
    assert lake.ids() == [1, 2]


def test_going_back_twice_is_going_back_once(lake, moves, able):
    if not able:
        return
    assert lake.catalog.roll_back(moves) == lake.catalog.roll_back(moves)
    assert lake.ids() == lake.ids(WEATHER) == [1]


def test_a_lost_answer_is_found_again(lake, moves, able):
    if lake.faults is None or not able:
        return
    lake.faults.after = [ConnectionError("reset")]
    lake.catalog.roll_back(moves)
    assert lake.ids() == lake.ids(WEATHER) == [1]


def test_one_table_twice_is_refused(lake, moves):
    with pytest.raises(UnsupportedError):
        lake.catalog.roll_back([moves[0], moves[0]])
    assert lake.ids() == [1, 2]


@pytest.fixture
def back_and_forth(lake, moves):
    """One table goes back, and in the same step another goes on to its run's sealed head."""
    run = lake.run("run-on", WEATHER)
    run.open()
    run.stage([3])
    run.seal()
    return moves[0], run.audited()


def test_a_table_goes_back_in_one_step_with_what_is_published(lake, back_and_forth, able, flights):
    back, head = back_and_forth
    if not able:
        with pytest.raises(UnsupportedError):
            lake.catalog.roll_back([back], [head])
        assert (lake.ids(), lake.ids(WEATHER)) == ([1, 2], [1, 2])
        return
    if lake.faults is not None:
        lake.faults.before = [None, AssertionError("a second commit")]
    shown = lake.catalog.roll_back([back], [head])
    assert [s.table for s in shown] == [flights, WEATHER]
    assert lake.catalog.roll_back([back], [head]) == shown
    assert (lake.ids(), lake.ids(WEATHER)) == ([1], [1, 2, 3])
    assert lake.catalog.branches() == []
    assert lake.catalog.verify(flights) == lake.catalog.verify(WEATHER) == []


@pytest.mark.parametrize("moving", [True, False])
def test_neither_goes_when_one_has_moved(lake, back_and_forth, able, moving):
    back, head = back_and_forth
    lake.publish([5], back.table if moving else WEATHER)
    with pytest.raises(HeadMovedError if able else UnsupportedError):
        lake.catalog.roll_back([back], [head])
    assert 3 not in lake.ids(WEATHER)
    assert 2 in lake.ids()


@pytest.mark.parametrize("moving", [True, False])
def test_neither_goes_when_one_moves_during_the_commit(lake, back_and_forth, able, moving):
    if lake.faults is None or not able:
        return
    back, head = back_and_forth
    other = lake.again()
    lake.faults.before = [lambda: other.publish([5], back.table if moving else WEATHER)]
    with pytest.raises(HeadMovedError):
        lake.catalog.roll_back([back], [head])
    assert 3 not in lake.ids(WEATHER)
    assert 2 in lake.ids()


def test_neither_goes_when_the_head_has_no_seal(lake, moves, able):
    run = lake.run("run-on", WEATHER)
    run.open()
    run.stage([3])
    with pytest.raises(UnsealedError if able else UnsupportedError):
        lake.catalog.roll_back([moves[0]], [run.audited()])
    assert (lake.ids(), lake.ids(WEATHER)) == ([1, 2], [1, 2])


def test_a_lost_answer_to_both_is_found_again(lake, back_and_forth, able):
    if lake.faults is None or not able:
        return
    back, head = back_and_forth
    lake.faults.after = [ConnectionError("reset")]
    lake.catalog.roll_back([back], [head])
    assert (lake.ids(), lake.ids(WEATHER)) == ([1], [1, 2, 3])
    assert lake.catalog.branches() == []


def test_one_table_does_not_go_both_ways(lake, moves, flights):
    run = lake.run("run-on", flights)
    run.open()
    run.stage([3])
    run.seal()
    with pytest.raises(UnsupportedError):
        lake.catalog.roll_back([moves[0]], [run.audited()])
    assert lake.ids() == [1, 2]
