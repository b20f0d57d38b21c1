"""Files of a first load that lost its race lie outside the table's place, and are found there."""

from __future__ import annotations

import pytest

from catalog import naming
from tests.behaviors.conftest import write_file
from tests.behaviors.test_catalog_maintenance import keep, replaced, sweep

NATIVE = pytest.mark.kinds("memory", "sqlite", "portable", "rest")
NOTED = pytest.mark.exactly("sqlite", "portable", "rest")


@pytest.fixture
def two(lake):
    """A run whose files the table of another run has taken over."""
    one, two = lake.run("one"), lake.run("two")
    for run, ids in ((one, [1]), (two, [2])):
        run.open()
        run.stage(ids)
    one.finish()
    two.lost = two.staging
    two.rebase()
    return two


def files_of_two(lake):
    return {f for f in lake.files() if "/two/" in f and f.endswith(".parquet")}


def notes(lake, flights):
    properties = lake.plain.load_table(flights.identifier).properties
    return {k for k in properties if k.startswith(naming.ELSEWHERE)}


@NATIVE
def test_they_are_swept_when_nothing_shows_them_any_more(lake, flights, two):
    two.finish()
    assert sweep(lake, flights) == []
    assert lake.ids() == [1, 2]
    (file,) = files_of_two(lake)
    replaced(lake, [3])
    replaced(lake, [4])
    lake.catalog.expire(flights, keep())
    named = sweep(lake, flights, dry_run=True)
    assert [f for f in named if f.path.endswith(file)]
    assert files_of_two(lake) == {file}
    assert named == sweep(lake, flights)
    assert files_of_two(lake) == set()
    assert lake.ids() == [4]
    assert sweep(lake, flights) == []


@NATIVE
def test_they_stay_while_their_run_is_at_work(lake, flights, two):
    """Even what no snapshot shows: an attempt of it may be about to say what it is."""
    path = f"{two.lost.data_location}/part-9.parquet"
    file = write_file(two.lost, path, [5])
    assert sweep(lake, flights) == []
    assert two.now.io.new_input(file.file_path).exists()
    two.finish()
    assert sweep(lake, flights, live={"two"}) == []
    assert [f.size for f in sweep(lake, flights)] == [file.file_size_in_bytes]
    assert lake.ids() == [1, 2]


@NOTED
def test_a_place_is_noted_until_it_is_empty(lake, flights, two):
    assert notes(lake, flights) == {f"{naming.ELSEWHERE}two"}
    sweep(lake, flights)
    assert notes(lake, flights) == {f"{naming.ELSEWHERE}two"}, "its run is at work"
    two.drop()
    sweep(lake, flights)
    assert notes(lake, flights) == set()
    assert files_of_two(lake) == set()
    assert lake.ids() == [1]


@pytest.mark.exactly("sqlite", "portable")
def test_a_place_where_the_lost_table_still_is_stays_noted(lake, flights, monkeypatch):
    """The rebase died before it dropped the run's own table, whose files tell what they are."""
    one, two = lake.run("one"), lake.run("two")
    for run, ids in ((one, [1]), (two, [2])):
        run.open()
        run.stage(ids)
    one.finish()
    with monkeypatch.context() as patch:
        patch.setattr(lake.plain, "drop_table", _die)
        with pytest.raises(KeyboardInterrupt):
            two.rebase()
    two.staging = lake.catalog.staging(two.branch, flights)
    two.finish()
    replaced(lake, [3])
    replaced(lake, [4])
    lake.catalog.expire(flights, keep())
    sweep(lake, flights)
    assert notes(lake, flights) == {f"{naming.ELSEWHERE}two"}
    two.drop()
    sweep(lake, flights)
    assert notes(lake, flights) == set()
    assert files_of_two(lake) == set()
    assert lake.ids() == [4]


@pytest.mark.exactly("nessie")
def test_on_nessie_main_tells_of_them_however_often_the_run_was_rebased(lake, flights, two):
    lake.publish([3])
    two.rebase()
    two.finish()
    assert notes(lake, flights) == {f"{naming.ELSEWHERE}two"}
    sweep(lake, flights)
    assert lake.ids() == [1, 2, 3]


def _die(identifier):
    del identifier
    raise KeyboardInterrupt
