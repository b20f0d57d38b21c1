"""Called again, called late, or answered by nobody: every method has one effect or says why not."""

from __future__ import annotations

from contextlib import suppress

import pytest
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from sqlalchemy.exc import OperationalError

from catalog import (
    BranchExistsError,
    BranchNotFoundError,
    CatalogError,
    CatalogUnavailableError,
    HeadMovedError,
    storage,
)
from catalog.base import Change
from catalog.refs import TableName

#: Whose commits go through a committer, which can be made to fail.
FAULTY = pytest.mark.kinds("sqlite", "portable", "nessie")


def _locked() -> OperationalError:
    return OperationalError("UPDATE …", {}, Exception("database is locked"))


def test_open_twice_is_one_branch(lake):
    run = lake.run()
    first = run.open()
    assert run.open().head == first.head
    assert len(lake.catalog.branches()) == 1


def test_open_of_a_published_run_is_refused(lake):
    run = lake.run()
    run.open()
    run.stage([1])
    run.finish()
    with pytest.raises(BranchExistsError, match="published already"):
        run.open()
    assert lake.catalog.branches() == []


def test_stage_twice_is_one_change(lake):
    run = lake.run()
    run.open()
    change = Change([run.write([1])])
    opened = run.now
    first = lake.catalog.stage(opened, change)
    assert lake.catalog.stage(opened, change).head == first.head
    assert lake.catalog.stage(first, change).head == first.head
    run.staging = first
    assert run.candidate_ids() == [1]


def test_a_late_attempt_with_other_files_is_refused(lake):
    run = lake.run()
    opened = run.open()
    late = Change([run.write([1], "batch-late")])
    run.stage([2])
    with pytest.raises(HeadMovedError):
        lake.catalog.stage(opened, late)
    assert run.candidate_ids() == [2]


def test_a_second_change_on_top_of_the_first_is_refused(lake):
    run = lake.run()
    run.open()
    staged = run.stage([2])
    with pytest.raises(HeadMovedError):
        lake.catalog.stage(staged, Change([run.write([3], "batch-more")]))
    assert run.candidate_ids() == [2]


def test_a_late_attempt_after_a_seal_is_refused(lake):
    run = lake.run()
    opened = run.open()
    run.stage([2])
    run.seal()
    with pytest.raises(HeadMovedError):
        lake.catalog.stage(opened, Change([run.write([1], "batch-late")]))


@pytest.mark.storage
@pytest.mark.parametrize("first_load", [True, False])
def test_a_late_stage_after_a_drop_creates_nothing(lake, first_load):
    if not first_load:
        lake.publish([1])
    run = lake.run()
    opened = run.open()
    change = Change([run.write([2])])
    run.drop()
    before = lake.files()
    with pytest.raises(BranchNotFoundError):
        lake.catalog.stage(opened, change)
    assert lake.files() == before
    assert lake.catalog.branches() == []


@pytest.mark.parametrize("first_load", [True, False])
def test_a_late_stage_of_an_earlier_round_does_not_reach_the_next(lake, first_load):
    """The branch is dropped and opened again under the same name at the same base."""
    if not first_load:
        lake.publish([1])
    run = lake.run()
    earlier = run.open()
    change = Change([run.write([2], "batch-round-0")])
    run.drop()
    run.open()
    with pytest.raises(HeadMovedError):
        lake.catalog.stage(earlier, change)
    assert not lake.catalog.staging(run.branch, run.table).staged


def test_seal_twice_is_one_seal(lake):
    run = lake.run()
    run.open()
    run.stage([1])
    assert run.seal() == run.seal()


def test_a_seal_that_says_more_takes_the_place_of_the_first(lake):
    run = lake.run()
    run.open()
    run.stage([1])
    first = run.seal()
    second = run.seal(notes={"evidence": "new"})
    assert second.id != first.id
    assert second.parent_id == first.parent_id == run.now.head
    (published,) = lake.catalog.publish([run.audited()])
    assert published.summary["wap.evidence"] == "new"
    assert lake.catalog.verify(run.table) == []
    assert [s.role for s in lake.catalog.log(run.table)] == ["seal", "stage", "open", "bootstrap"]


@pytest.mark.parametrize("first_load", [True, False])
def test_publish_twice_is_one_publish(lake, first_load):
    if not first_load:
        lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    audited = run.audited()
    snapshot = run.finish()
    before = lake.files()
    assert lake.catalog.publish([audited]) == [snapshot]
    assert lake.files() == before


def test_publish_again_after_others_published_returns_the_same(lake):
    run = lake.run()
    run.open()
    run.stage([1])
    audited = run.audited()
    snapshot = run.finish()
    lake.publish([2])
    assert lake.catalog.publish([audited]) == [snapshot]
    assert lake.ids() == [1, 2]


def test_late_steps_of_a_published_run_find_no_branch(lake):
    run = lake.run()
    run.open()
    run.stage([1])
    audited = run.audited()
    run.finish()
    for late in (
        lambda: lake.catalog.seal(audited, run.facts(audited)),
        lambda: lake.catalog.rebase(run.branch, run.table),
        lambda: lake.catalog.batch(run.now),
    ):
        with pytest.raises(BranchNotFoundError):
            late()


@pytest.mark.storage
@pytest.mark.parametrize("first_load", [True, False])
def test_drop_twice_is_one_drop(lake, first_load):
    if not first_load:
        lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    assert run.drop().branch
    again = run.drop()
    assert (again.branch, again.files, again.bytes) == (False, 0, 0)


def test_drop_of_a_branch_that_never_was(lake):
    dropped = lake.run().drop()
    assert (dropped.branch, dropped.files, dropped.bytes) == (False, 0, 0)


@pytest.mark.storage
def test_drop_clears_files_that_came_after_it(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.drop()
    run.write([2], "batch-late")
    assert run.drop().files == 1


def test_drop_after_publish_touches_nothing_published(lake):
    run = lake.run()
    run.open()
    run.stage([1])
    run.finish()
    run.write([2], "batch-late")
    assert run.drop().files == 1
    assert lake.ids() == [1]
    assert lake.catalog.verify(run.table) == []


def test_a_stale_batch_says_that_the_branch_has_moved(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    stale = run.stage([2])
    lake.publish([3])
    run.rebase()
    with pytest.raises(HeadMovedError):
        lake.catalog.batch(stale)


# --- answers that never came --------------------------------------------------------------------

LOST = [ConnectionError("reset by peer"), CommitStateUnknownException("timeout"), _locked()]


@FAULTY
@pytest.mark.parametrize("lost", LOST, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("first_load", [True, False])
def test_lost_answers_of_a_whole_run(lake, lost, first_load):
    """Each commit takes effect and its answer is lost: the run ends as if nothing had been."""
    if not first_load:
        lake.publish([1])
    run = lake.run()
    for step in (run.open, lambda: run.stage([2]), run.seal, run.finish):
        lake.faults.after = [lost]
        step()
        assert lake.faults.after == []
    assert lake.ids() == ([2] if first_load else [1, 2])
    log = lake.catalog.log(run.table)
    assert [s.role for s in log][:3] == ["seal", "stage", "open"]
    assert len(log) == (4 if first_load else 7)


@pytest.mark.storage
@FAULTY
def test_lost_answers_of_rebase_and_drop(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    lake.publish([3])
    lake.faults.after = [ConnectionError("lost")]
    run.rebase()
    assert run.candidate_ids() == [1, 2, 3]
    before = lake.files()
    lake.faults.after = [ConnectionError("lost"), ConnectionError("lost")]
    assert run.drop().branch
    assert lake.files() < before
    assert lake.catalog.branches() == []


@pytest.mark.storage
@FAULTY
@pytest.mark.parametrize(
    "refused",
    [
        CommitFailedException("Table has been updated by another process: nyc.flights"),
        CommitFailedException("Requirement failed: branch other has changed"),
        ValueError("Cannot add snapshot with sequence number 3 older than last sequence number 4"),
        _locked(),
    ],
    ids=["cas", "other-ref", "sequence-number", "locked"],
)
def test_a_lost_race_is_tried_again_and_leaves_no_manifest_behind(lake, refused):
    lake.publish([1])
    run = lake.run()
    for step in (run.open, lambda: run.stage([2]), run.finish):
        lake.faults.before = [refused, refused]
        step()
    assert lake.ids() == [1, 2]
    if not isinstance(refused, OperationalError):
        assert _unreferenced(lake, run.table) == set()


def _unreferenced(lake, table):
    loaded = lake.plain.load_table(table.identifier)
    used = set()
    for snapshot in loaded.metadata.snapshots:
        used.add(snapshot.manifest_list)
        used |= {m.manifest_path for m in snapshot.manifests(loaded.io)}
    found = {lake.where.location(f) for f in lake.files() if f.endswith(".avro")}
    return found - used


@FAULTY
def test_a_race_that_is_never_won_ends_in_an_error_that_may_be_retried(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    before = lake.files()
    lake.faults.before = [CommitFailedException("updated by another process")] * 60
    with pytest.raises(CatalogUnavailableError, match="60 times"):
        run.stage([2])
    assert {f for f in lake.files() - before if f.endswith(".avro")} == set()
    lake.faults.before = []
    run.stage([2])
    run.finish()
    assert lake.ids() == [1, 2]


@FAULTY
def test_an_error_that_is_no_race_is_raised_at_once(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    lake.faults.before = [OSError(28, "No space left on device"), None]
    with pytest.raises(Exception, match="no room"):
        run.stage([2])
    assert lake.faults.before == [None]


@pytest.mark.storage
@pytest.mark.kinds("sqlite", "portable")  # elsewhere a drop commits to no table
@pytest.mark.parametrize("dies_at", [0, 1])
def test_a_drop_that_dies_is_completed_by_the_next(lake, dies_at):
    lake.publish([1])
    before = lake.files()
    run = lake.run()
    run.open()
    run.stage([2])
    lake.faults.before = [None] * dies_at + [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        run.drop()
    run.drop()
    assert lake.files() == before
    assert lake.catalog.branches() == []
    assert lake.ids() == [1]


@pytest.mark.by_default("sqlite", "nessie")
@FAULTY
@pytest.mark.parametrize("published", [False, True])
def test_a_late_drop_of_an_earlier_round_takes_nothing_of_the_next(lake, published):
    """It sleeps between any two of its looks; the run goes into its next round meanwhile."""
    lake.publish([0])
    for number in range(20):
        run = lake.run(f"run-late-{number}")
        run.open()
        run.stage([-1])
        late = lake.again()

        def next_round(run=run, number=number) -> None:
            run.drop()
            run.open()
            run.staging = run.catalog.stage(run.now, Change([run.write([number], "batch-1")]))
            run.seal()
            if published:
                run.catalog.publish([run.audited()])

        late.faults.loading = [None] * number + [next_round]
        with suppress(CatalogError):  # Nessie's says that the run was published meanwhile
            late.catalog.drop(run.branch, run.table)
        if late.faults.loading:
            run.drop()
            break
        before = lake.ids()
        try:
            lake.catalog.publish([run.audited()])
        except BranchNotFoundError:  # it took the next round for its own, and all of it is gone
            assert not published
            assert lake.ids() == before
            run.drop()
        else:
            assert number in lake.ids()
        assert lake.catalog.verify(run.table) == []
    assert 1 < number < 19


@pytest.mark.by_default("sqlite", "nessie")
@FAULTY
@pytest.mark.parametrize("published", [False, True])
def test_a_late_drop_of_a_first_load_takes_nothing_of_the_next_round(lake, published):
    """As above, of a table that is new: both rounds stage it under one name, in one place."""
    for number in range(20):
        run = lake.run(f"run-late-{number}", TableName.parse(f"shop.new{number}"))
        run.open()
        run.stage([-1])
        late = lake.again()

        def next_round(run=run, number=number) -> None:
            run.drop()
            run.open()
            run.staging = run.catalog.stage(run.now, Change([run.write([number], "batch-1")]))
            run.seal()
            if published:
                run.catalog.publish([run.audited()])

        late.faults.loading = [None] * number + [next_round]
        with suppress(CatalogError):  # Nessie's says that the run was published meanwhile
            late.catalog.drop(run.branch, run.table)
        if late.faults.loading:
            break
        try:
            lake.catalog.publish([run.audited()])
        except BranchNotFoundError:  # it took the next round for its own, and all of it is gone
            assert not published
            assert lake.catalog.published(run.table) is None
            run.drop()
        else:
            assert lake.ids(run.table) == [number]
            assert lake.catalog.verify(run.table) == []
    assert 1 < number < 19


@pytest.mark.storage
@pytest.mark.in_s3
@pytest.mark.parametrize("first_load", [True, False])
def test_drop_aborts_the_uploads_of_its_run_and_of_no_other(lake, first_load):
    if not first_load:
        lake.publish([0])
    run, other = lake.run("day-1"), lake.run("day-10")
    writers = []
    for each in (run, other):
        each.open()
        writers.append(storage.create(each.now.io, f"{each.now.data_location}/batch-0.parquet"))
        writers[-1].write(b"x")
    run.drop()
    with pytest.raises(CatalogUnavailableError, match="upload is gone"):
        writers[0].close()
    writers[1].close()
    assert len([f for f in lake.files() if "/day-10/" in f and f.endswith(".parquet")]) == 1
    assert not [f for f in lake.files() if "/day-1/" in f]
