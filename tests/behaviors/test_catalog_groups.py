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
