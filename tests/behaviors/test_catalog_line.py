"""Writers that have lost a race for a table: they stand in line, and wait for nobody for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager

import pytest

from catalog import commits
from catalog.commits import Proposal
from tests.behaviors.conftest import FLIGHTS, Lake

BOTH = pytest.mark.kinds("sqlite", "postgres")


def _first_in(lake: Lake) -> AbstractContextManager[None]:
    """Somebody else stands in line for the table."""
    table = lake.plain.load_table(FLIGHTS.identifier)
    return lake.again().faults.in_line([Proposal(table, (), ())])


@BOTH
def test_who_has_lost_a_race_waits_behind_who_stands_in_line(lake):
    lake.publish([0])
    rival, run = lake.again(), lake.run()
    lake.faults.before = [lambda: rival.publish([1])]
    with ThreadPoolExecutor(1) as pool:
        with _first_in(lake):
            opening = pool.submit(run.open)
            with pytest.raises(TimeoutError):
                opening.result(timeout=1)
            assert lake.faults.before == []
        assert opening.result().expected is not None
    run.stage([2])
    run.finish()
    assert lake.ids() == [0, 1, 2]


@BOTH
def test_who_meets_nobody_does_not_stand_in_line(lake, monkeypatch):
    monkeypatch.setattr(commits, "LINE_SECONDS", 60)
    lake.publish([0])
    with _first_in(lake):
        lake.publish([1])
    assert lake.ids() == [0, 1]


@BOTH
def test_who_stands_in_line_and_does_nothing_is_not_waited_for_without_end(lake, monkeypatch):
    monkeypatch.setattr(commits, "LINE_SECONDS", 0.2)
    lake.publish([0])
    rival = lake.again()
    lake.faults.before = [lambda: rival.publish([1])]
    with _first_in(lake):
        lake.publish([2])
    assert lake.ids() == [0, 1, 2]


@pytest.mark.kinds("postgres")
def test_the_line_of_one_table_is_not_that_of_another(lake, monkeypatch, flights):
    """SQLite has one for the whole file, which takes one writer anyway."""
    monkeypatch.setattr(commits, "LINE_SECONDS", 60)
    lake.publish([0])
    other = type(flights).parse("nyc.planes")
    lake.publish([5], other)
    rival = lake.again()
    lake.faults.before = [lambda: rival.publish([6], other)]
    with _first_in(lake):
        lake.publish([7], other)
    assert lake.ids(other) == [5, 6, 7]
