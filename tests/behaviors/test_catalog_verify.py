"""``verify``: every snapshot of main that no seal covers is named."""

from __future__ import annotations

import pyarrow as pa
import pytest

from catalog import Seal
from catalog.drafts import Draft
from catalog.moves import add_snapshot, set_branch

#: What is judged here was read already: no server has a say in it.
pytestmark = pytest.mark.embedded
#: Where others can get at the tables: not in memory.
FORGED = pytest.mark.kinds("sqlite", "portable", "nessie")

ROWS = pa.table({"id": [666], "carrier": ["XX"]})


def _put_on_main(lake, run):
    """Show on main what the run staged, as whoever may write to the catalog could."""
    on_branch, ref = lake.on_branch(run)
    table = on_branch.load_table(run.table.identifier)
    if on_branch is lake.plain:
        staged = table.metadata.snapshot_by_name(ref)
        lake.plain.commit_table(table, (), (set_branch("main", staged),))
    else:
        location = table.metadata_location
        lake.plain.register_table(run.table.identifier, location, overwrite=True)


def test_main_made_by_runs_is_covered(lake, flights):
    for i in range(3):
        lake.publish([i])
    assert lake.catalog.verify(flights) == []


@FORGED
def test_a_foreign_append_is_named(lake, flights):
    lake.publish([1])
    table = lake.plain.load_table(flights.identifier)
    table.append(ROWS)
    foreign = lake.plain.load_table(flights.identifier).current_snapshot().snapshot_id
    assert [s.id for s in lake.catalog.verify(flights)] == [foreign]


@FORGED
def test_a_run_on_top_of_a_foreign_append_does_not_cover_it(lake, flights):
    lake.publish([1])
    lake.plain.load_table(flights.identifier).append(ROWS)
    foreign = lake.plain.load_table(flights.identifier).current_snapshot().snapshot_id
    lake.publish([2])
    assert [s.id for s in lake.catalog.verify(flights)] == [foreign]


@FORGED
def test_a_table_made_without_us_is_named_whole_and_can_be_loaded(lake, flights):
    lake.plain.create_namespace("nyc")
    table = lake.plain.create_table(flights.identifier, ROWS.schema)
    table.append(ROWS)
    assert len(lake.catalog.verify(flights)) == 1
    assert lake.catalog.published(flights) is not None
    lake.publish([1])
    assert lake.ids() == [1, 666]
    assert len(lake.catalog.verify(flights)) == 1


@FORGED
def test_an_empty_table_made_without_us_can_be_loaded(lake, flights):
    lake.plain.create_namespace("nyc")
    lake.plain.create_table(flights.identifier, ROWS.schema)
    assert lake.catalog.published(flights) is None
    run = lake.run()
    run.open()
    assert lake.catalog.published(flights) is None
    run.stage([1])
    run.finish()
    assert lake.ids() == [1]
    assert lake.catalog.verify(flights) == []


@FORGED
def test_a_stage_that_was_put_on_main_without_a_seal_is_named(lake, flights):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    _put_on_main(lake, run)
    assert [s.role for s in lake.catalog.verify(flights)] == ["stage", "open"]


@FORGED
def test_a_seal_that_shows_more_than_it_names_covers_nothing(lake, flights):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    audited = run.audited()
    _put_on_main(lake, run)
    table = lake.plain.load_table(flights.identifier)
    metadata = table.metadata
    forged = Draft(
        table,
        run.branch.run_id,
        table.schema(),
        [run.write([666], "batch-smuggled")],
        summary=run.facts(audited).to_summary(),
    ).snapshot(metadata, metadata.snapshot_by_id(audited.head), metadata.next_sequence_number())
    lake.plain.commit_table(table, (), (add_snapshot(forged), set_branch("main", forged)))
    assert [s.role for s in lake.catalog.verify(flights)] == ["seal", "stage", "open"]


@FORGED
def test_a_bootstrap_that_holds_rows_is_named(lake, flights):
    lake.plain.create_namespace("nyc")
    table = lake.plain.create_table(flights.identifier, ROWS.schema)
    table.append(ROWS, snapshot_properties={"wap.role": "bootstrap"})
    assert len(lake.catalog.verify(flights)) == 1
    assert lake.catalog.published(flights) is not None


def test_what_was_published_under_a_waiver_says_so(lake):
    lake.publish([1])
    run = lake.run("waived")
    run.open()
    run.stage([2])
    audited = run.waived()
    run.catalog.seal(audited, run.facts(audited))
    (snapshot,) = run.catalog.publish([audited])
    assert Seal.from_summary(snapshot.summary).waiver == audited.waiver_text
    assert run.catalog.publish([audited]) == [snapshot], "told again, it is the same publish"
    assert lake.ids() == [1, 2]
    assert lake.catalog.verify(run.table) == []
