"""Taint: publish builds on nothing that a run without a seal left, and says what it builds on."""

from __future__ import annotations

import pyarrow as pa
import pytest

from catalog import TableNotFoundError, UnsealedError
from catalog.drafts import Draft
from catalog.moves import add_snapshot, ref_is, set_branch

#: What is judged here was read already: no server has a say in it.
pytestmark = pytest.mark.embedded
#: Where others can get at the tables: not in memory.
FORGED = pytest.mark.kinds("sqlite", "portable", "nessie")

ROWS = pa.table({"id": [666], "carrier": ["XX"]})


def show(lake, run) -> None:
    """Move main to what the run has on its branch, as whoever may write to the catalog could."""
    if lake.plain is None:
        table = lake.catalog._visible[run.table]
        table.refs["main"] = table.refs[run.branch.name]
        return
    on_branch, ref = lake.on_branch(run)
    table = on_branch.load_table(run.table.identifier)
    if on_branch is lake.plain:
        staged = table.metadata.snapshot_by_name(ref)
        lake.plain.commit_table(table, (), (set_branch("main", staged),))
    else:
        lake.plain.register_table(run.table.identifier, table.metadata_location, overwrite=True)


@pytest.fixture
def tainted(lake):
    """Main shows [1], and [2] of a run whose audit never passed."""
    lake.publish([1])
    failed = lake.run("failed")
    failed.open()
    failed.stage([2])
    show(lake, failed)
    return lake


def test_a_head_over_what_a_failed_run_left_on_main(tainted, flights):
    run = tainted.run("next")
    run.open()
    run.stage([3])
    run.seal()
    with pytest.raises(
        UnsealedError, match=r"main itself is tainted .* run failed failed"
    ) as caught:
        run.catalog.publish([run.audited()])
    assert "wap rollback" in caught.value.hint
    assert tainted.ids() == [1, 2]
    assert [g.kind for g in tainted.catalog.gaps(flights)] == ["unsealed", "unsealed"]
    with pytest.raises(UnsealedError, match="main itself"):
        tainted.catalog.ground(flights)


def test_after_a_roll_back_it_is_published(tainted, flights):
    sealed = next(s for s in tainted.catalog.log(flights) if s.is_sealed)
    head = tainted.catalog.published(flights).snapshot.id
    tainted.catalog.rollback(flights, sealed.id, head)
    assert tainted.catalog.ground(flights, sealed_only=True) == []
    tainted.publish([3])
    assert tainted.ids() == [1, 3]


@FORGED
def test_a_seal_on_main_that_is_about_another_snapshot(lake, flights):
    lake.publish([1])
    sealed = lake.catalog.log(flights)[0]
    table = lake.plain.load_table(flights.identifier)
    metadata = table.metadata
    forged = Draft(
        table, sealed.run_id, table.schema(), summary=dict(sealed.summary), same_manifests=True
    ).snapshot(metadata, metadata.snapshot_by_id(sealed.id), metadata.next_sequence_number())
    lake.plain.commit_table(table, (), (add_snapshot(forged), set_branch("main", forged)))
    run = lake.run("next")
    run.open()
    run.stage([2])
    run.seal()
    with pytest.raises(UnsealedError, match=r"main itself is tainted .* not about the snapshot"):
        run.catalog.publish([run.audited()])


@FORGED
def test_rows_of_another_writer_are_built_on_or_not_as_the_run_says(lake, flights):
    lake.publish([1])
    lake.plain.load_table(flights.identifier).append(ROWS)
    run = lake.run("strict")
    run.open()
    run.stage([2])
    run.seal()
    with pytest.raises(UnsealedError, match=r"main itself is tainted .* no run of this catalog"):
        run.catalog.publish([run.audited(sealed_only=True)])
    assert lake.ids() == [1, 666]
    run.catalog.publish([run.audited()])
    assert lake.ids() == [1, 2, 666]
    assert [g.kind for g in lake.catalog.ground(flights)] == ["foreign"]
    with pytest.raises(UnsealedError, match="main itself"):
        lake.catalog.ground(flights, sealed_only=True)


@FORGED
def test_two_changes_of_one_run_of_which_the_audit_saw_one_as_the_batch(lake, report):
    lake.publish([1])
    run = lake.run("twice")
    run.open()
    run.stage([2])
    mine = {"wap.run": run.branch.run_id, "wap.role": "stage"}
    plain, ref = lake.on_branch(run)
    table = plain.load_table(run.table.identifier)
    made = Draft(table, "twice", table.schema(), [run.write([3], "batch-1")], summary=mine)
    metadata, below = table.metadata, table.metadata.snapshot_by_id(run.now.head)
    second = made.snapshot(metadata, below, metadata.next_sequence_number())
    plain.commit_table(
        table, (ref_is(ref, run.now.head),), (add_snapshot(second), set_branch(ref, second))
    )
    head = second.snapshot_id
    audited = run.audited(head=head, report=report(head))
    run.catalog.seal(audited, run.facts(audited))
    with pytest.raises(UnsealedError, match="more than the one change"):
        run.catalog.publish([audited])
    assert lake.ids() == [1]


# --- what a seal covers ------------------------------------------------------------------------


def test_what_a_seal_covers_is_found_again(lake, flights):
    first, second = lake.publish([1]), lake.publish([2])
    lake.publish([3])
    covered = lake.catalog.covered(flights, second.id)
    assert (covered.head, covered.expected) == (second.parent_id, first.id)
    assert sum(f.record_count for f in covered.batch.files) == 1
    assert lake.catalog.scan(flights, covered.head).rows == 2
    assert lake.catalog.covered(flights, first.id).expected is None, "the table was new"


def test_what_a_rebased_seal_covers_is_found_again(lake, flights):
    lake.publish([1])
    run = lake.run("late")
    run.open()
    run.stage([2, 3])
    between = lake.publish([4])
    run.rebase()
    sealed = run.finish()
    covered = lake.catalog.covered(flights, sealed.id)
    assert covered.expected == between.id
    assert covered.batch.rows == 2


def test_what_is_no_seal_covers_nothing(lake, flights):
    sealed = lake.publish([1])
    with pytest.raises(UnsealedError, match="no seal"):
        lake.catalog.covered(flights, sealed.parent_id)
    with pytest.raises(TableNotFoundError):
        lake.catalog.covered(flights, 7)


def test_what_a_staged_snapshot_is_made_of(lake, flights):
    run = lake.run()
    run.open()
    run.stage([1])
    staged = run.catalog.made_of(flights, run.now.head, run.branch)
    sealed = run.finish()
    assert staged == lake.catalog.made_of(flights, sealed.id) != frozenset()
