"""What every catalog does for a run that meets no trouble: open, stage, seal, publish, look."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pyiceberg.expressions import EqualTo, GreaterThan

from catalog import (
    BranchNotFoundError,
    HeadMovedError,
    RebaseRefusedError,
    SchemaConflictError,
    TableName,
    TableNotFoundError,
    UnsealedError,
    UnsupportedError,
)
from catalog.base import Change, TableShape
from catalog.errors import CatalogConfigError


@pytest.mark.glue
def test_a_run_publishes_what_it_staged(lake):
    run = lake.run()
    run.open()
    run.stage([1, 2, 3])
    assert lake.ids() is None
    snapshot = run.finish()
    assert lake.ids() == [1, 2, 3]
    assert lake.catalog.published(run.table).snapshot == snapshot
    assert snapshot.is_sealed


def test_main_shows_nothing_of_a_run_before_publish(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    assert lake.ids() == [1]
    assert lake.catalog.tables() == [run.table]
    assert len(lake.catalog.log(run.table)) == 4


def test_open_says_where_to_publish_over(lake):
    first = lake.publish([1])
    staging = lake.run().open()
    assert staging.expected == first.id
    assert not staging.staged


def test_a_new_table_expects_nothing(lake):
    staging = lake.run().open()
    assert staging.expected is None


def test_staging_returns_the_branch_as_it_stands(lake):
    run = lake.run()
    run.open()
    staged = run.stage([1])
    assert staged.staged
    now = lake.catalog.staging(run.branch, run.table)
    assert replace(now, io=staged.io) == staged


def test_data_files_lie_in_a_folder_of_the_run(lake):
    run = lake.run("alpha")
    assert run.open().data_location == f"{run.now.location}/data/alpha"


def test_batch_is_what_the_run_adds(lake):
    lake.publish([1, 2])
    run = lake.run()
    run.open()
    run.stage([3])
    assert run.batch_ids() == [3]
    assert run.candidate_ids() == [1, 2, 3]


def test_before_staging_the_batch_is_empty_and_the_candidate_is_main(lake):
    lake.publish([1, 2])
    run = lake.run()
    run.open()
    assert run.batch_ids() == []
    assert run.candidate_ids() == [1, 2]


def test_a_batch_without_rows_is_published(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([])
    assert run.batch_ids() == []
    run.finish()
    assert lake.ids() == [1]
    assert lake.catalog.verify(run.table) == []


def test_replace_takes_files_away_and_carries_rows_over(lake):
    lake.publish([1, 2])
    lake.publish([3])
    run = lake.run()
    run.open()
    published = lake.catalog.scan(run.table, run.now.expected)
    old = [f for f in published.files if f.record_count == 2]
    run.stage([9], removed=old, kept=[run.write([2], "kept-0")])
    assert run.batch_ids() == [9]
    assert run.candidate_ids() == [2, 3, 9]
    run.finish()
    assert lake.ids() == [2, 3, 9]


def test_replace_everything(lake):
    lake.publish([1, 2])
    run = lake.run()
    run.open()
    run.stage([7], removed=lake.catalog.scan(run.table, run.now.expected).files)
    run.finish()
    assert lake.ids() == [7]


def test_an_append_after_a_replace_keeps_what_was_replaced_away(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2], removed=lake.catalog.scan(run.table, run.now.expected).files)
    run.finish()
    lake.publish([3])
    assert lake.ids() == [2, 3]


def test_names_of_carried_over_files_are_checked(lake):
    run = lake.run()
    run.open()
    with pytest.raises(CatalogConfigError, match="carries rows over"):
        run.catalog.stage(run.now, Change([run.write([1], "kept-0")]))
    with pytest.raises(CatalogConfigError, match="carries rows over"):
        run.catalog.stage(run.now, Change([], kept=[run.write([1], "batch-0")]))


def test_files_to_replace_must_be_there(lake):
    lake.publish([1])
    stranger = lake.run()
    stranger.open()
    run = lake.run()
    run.open()
    before = lake.files() | {str(run.now.data_location)}
    with pytest.raises(RebaseRefusedError):
        run.stage([2], removed=[stranger.write([5])])
    assert not [f for f in lake.files() - before if "/metadata/" in f]


def test_the_summary_of_the_change_travels(lake):
    run = lake.run("alpha")
    run.open()
    run.stage([1])
    run.finish()
    staged = next(s for s in lake.catalog.log(run.table) if s.role == "stage")
    assert staged.summary["wap.pipeline"] == "flights"
    assert staged.run_id == "alpha"


def test_the_seal_is_readable_from_the_log(lake):
    run = lake.run("alpha")
    run.open()
    run.stage([1])
    audited = run.audited()
    facts = run.facts(audited, notes={"pipeline": "flights", "cursor": "7"})
    lake.catalog.seal(audited, facts)
    lake.catalog.publish([audited])
    newest = lake.catalog.log(run.table)[0]
    assert type(facts).from_summary(newest.summary).notes["cursor"] == "7"
    assert newest.parent_id == audited.head


def test_the_log_goes_from_newest_to_the_bootstrap(lake):
    lake.publish([1])
    lake.publish([2])
    log = lake.catalog.log(lake.run().table)
    assert [s.role for s in log] == ["seal", "stage", "open", "seal", "stage", "open", "bootstrap"]
    assert [s.parent_id for s in log] == [s.id for s in log[1:]] + [None]


def test_branches_lists_open_runs_and_new_tables(lake):
    lake.publish([1])
    here = lake.run("here")
    here.open()
    new = lake.run("new", TableName.parse("nyc.weather"))
    new.open()
    new.stage([1])
    states = lake.catalog.branches()
    assert [(str(s.table), s.branch.run_id) for s in states] == [
        ("nyc.flights", "here"),
        ("nyc.weather", "new"),
    ]
    assert (states[0].base, states[0].main) == (here.now.expected, here.now.expected)
    assert (states[1].base, states[1].main) == (None, None)
    assert states[1].head == new.now.head
    assert states[0].created_at is not None


def test_a_published_branch_is_gone(lake):
    run = lake.run()
    run.open()
    run.stage([1])
    run.finish()
    assert lake.catalog.branches() == []
    with pytest.raises(BranchNotFoundError):
        lake.catalog.staging(run.branch, run.table)


def test_scan_of_an_unknown_snapshot_says_so(lake):
    lake.publish([1])
    with pytest.raises(TableNotFoundError, match="no snapshot 7"):
        lake.catalog.scan(lake.run().table, 7)


def test_scan_with_a_filter_leaves_no_matching_file_out(lake):
    lake.publish([1, 2])
    lake.publish([30])
    published = lake.catalog.published(lake.run().table)
    scan = lake.catalog.scan(
        lake.run().table, published.snapshot.id, row_filter=GreaterThan("id", 10)
    )
    assert 30 in [i for f in scan.files for i in [30] if f.record_count == 1]
    assert len(scan.files) <= 2


def test_scan_refuses_a_filter_on_no_column(lake):
    lake.publish([1])
    published = lake.catalog.published(lake.run().table)
    with pytest.raises(SchemaConflictError, match="filter"):
        lake.catalog.scan(
            lake.run().table, published.snapshot.id, row_filter=EqualTo("nowhere", 10)
        )


@pytest.mark.glue
def test_two_runs_of_one_table_both_get_in(lake):
    lake.publish([1])
    one, two = lake.run(), lake.run()
    one.open()
    two.open()
    one.stage([2])
    two.stage([3])
    one.finish()
    with pytest.raises(HeadMovedError) as moved:
        two.finish()
    assert moved.value.ref == "main"
    assert moved.value.found == lake.catalog.published(one.table).snapshot.id
    assert two.rebase().expected == moved.value.found
    assert two.batch_ids() == [3]
    assert two.candidate_ids() == [1, 2, 3]
    two.finish()
    assert lake.ids() == [1, 2, 3]
    assert lake.catalog.verify(one.table) == []


def test_an_audit_against_an_older_main_does_not_count_for_the_new_one(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    now = lake.publish([3]).id
    with pytest.raises(UnsealedError, match="descend"):
        lake.catalog.publish([run.audited(expected=now)])
    assert lake.ids() == [1, 3]


def test_rebase_keeps_what_the_stage_said(lake):
    lake.publish([1])
    run = lake.run("late")
    run.open()
    run.stage([2])
    lake.publish([3])
    run.rebase()
    run.finish()
    rebased = next(s for s in lake.catalog.log(run.table) if s.role == "rebase")
    assert rebased.summary["wap.pipeline"] == "flights"


def test_rebase_without_need_changes_nothing(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    before = run.stage([2])
    assert replace(run.rebase(), io=before.io) == before


def test_rebase_before_staging_leaves_the_branch_unstaged(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    moved = lake.publish([2])
    assert run.rebase().expected == moved.id
    assert not run.now.staged
    run.stage([3])
    run.finish()
    assert lake.ids() == [1, 2, 3]


def test_a_replace_is_not_rebased(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2], removed=lake.catalog.scan(run.table, run.now.expected).files)
    lake.publish([3])
    with pytest.raises(RebaseRefusedError, match="replaces"):
        run.rebase()


@pytest.mark.glue
def test_several_tables_are_published_in_one_step_or_refused(lake):
    weather = TableName.parse("nyc.weather")
    lake.publish([1])
    runs = [lake.run("both"), lake.run("both", weather)]
    for run in runs:
        run.open()
        run.stage([2])
        run.seal()
    heads = [run.audited() for run in runs]
    if not lake.catalog.capabilities.atomic_groups:
        with pytest.raises(UnsupportedError, match="several tables in one step"):
            lake.catalog.publish(heads)
        assert lake.ids() == [1]
        return
    if not lake.catalog.capabilities.new_in_groups:
        with pytest.raises(UnsupportedError, match="new table"):
            lake.catalog.publish(heads)
        assert lake.ids() == [1]
        assert lake.ids(weather) is None
        return
    snapshots = lake.catalog.publish(heads)
    assert [s.table for s in snapshots] == [run.table for run in runs]
    assert lake.ids() == [1, 2]
    assert lake.ids(weather) == [2]
    assert lake.catalog.publish(heads) == snapshots


def test_a_group_of_tables_that_are_there_moves_in_one_step_or_not_at_all(lake):
    weather = TableName.parse("nyc.weather")
    lake.publish([1])
    lake.publish([1], weather)
    runs = [lake.run("both"), lake.run("both", weather)]
    for run in runs:
        run.open()
        run.stage([2])
        run.seal()
    heads = [run.audited() for run in runs]
    if not lake.catalog.capabilities.atomic_groups:
        with pytest.raises(UnsupportedError):
            lake.catalog.publish(heads)
        assert lake.ids() == lake.ids(weather) == [1]
        return
    snapshots = lake.catalog.publish(heads)
    assert lake.ids() == lake.ids(weather) == [1, 2]
    assert lake.catalog.publish(heads) == snapshots


def test_a_group_with_one_bad_head_moves_nothing(lake):
    weather = TableName.parse("nyc.weather")
    lake.publish([1])
    lake.publish([1], weather)
    good, late = lake.run("both"), lake.run("both", weather)
    for run in (good, late):
        run.open()
        run.stage([2])
        run.seal()
    lake.publish([5], weather)
    groups = lake.catalog.capabilities.atomic_groups
    with pytest.raises(HeadMovedError if groups else UnsupportedError):
        lake.catalog.publish([good.audited(), late.audited()])
    assert lake.ids() == [1]
    assert lake.ids(weather) == [1, 5]


def test_one_table_twice_in_a_group_is_refused(lake):
    run = lake.run()
    run.open()
    run.stage([1])
    run.seal()
    with pytest.raises(UnsupportedError):
        lake.catalog.publish([run.audited(), run.audited()])


@pytest.mark.glue
def test_rollback_shows_an_earlier_seal_again(lake):
    first = lake.publish([1])
    second = lake.publish([2])
    assert lake.catalog.rollback(first.table, first.id, expected=second.id) == first
    assert lake.ids() == [1]
    lake.publish([3])
    assert lake.ids() == [1, 3]
    assert lake.catalog.verify(first.table) == []


def test_rollback_twice_is_rolling_back_once(lake):
    first, second = lake.publish([1]), lake.publish([2])
    for _ in range(2):
        lake.catalog.rollback(first.table, first.id, expected=second.id)
    assert lake.ids() == [1]


def test_rollback_refuses_what_is_not_sealed(lake):
    lake.publish([1])
    second = lake.publish([2])
    staged = next(s for s in lake.catalog.log(second.table) if s.role == "stage")
    for target in (staged.id, 77):
        with pytest.raises(UnsealedError):
            lake.catalog.rollback(second.table, target, expected=second.id)
    assert lake.ids() == [1, 2]


def test_rollback_refuses_when_main_has_moved(lake):
    first, second, _ = lake.publish([1]), lake.publish([2]), lake.publish([3])
    with pytest.raises(HeadMovedError):
        lake.catalog.rollback(first.table, first.id, expected=second.id)
    assert lake.ids() == [1, 2, 3]


def test_a_rolled_back_run_is_not_published_again_by_a_late_retry(lake):
    first = lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    audited = run.audited()
    second = run.finish()
    lake.catalog.rollback(run.table, first.id, expected=second.id)
    with pytest.raises(BranchNotFoundError):
        lake.catalog.publish([audited])
    assert lake.ids() == [1]


def test_partitioning_is_the_tables_own(lake):
    run = lake.run()
    staging = run.open(partitioning=(("id", "bucket[4]"), ("carrier", "identity")))
    assert [str(f.transform) for f in staging.spec.fields] == ["bucket[4]", "identity"]
    with pytest.raises(SchemaConflictError, match="nowhere"):
        lake.run().open(partitioning=(("nowhere", "identity"),))
    with pytest.raises(SchemaConflictError, match="transform"):
        lake.run().open(partitioning=(("id", "buckets"),))


def test_partitioning_of_a_published_table_cannot_change(lake, make_schema):
    lake.publish([1])
    run = lake.run()
    with pytest.raises(SchemaConflictError, match="partitioned"):
        run.catalog.open_branch(
            run.branch, run.table, TableShape(make_schema(), (("carrier", "identity"),))
        )


def test_unknown_table(lake):
    nowhere = TableName.parse("nyc.nowhere")
    assert lake.catalog.published(nowhere) is None
    assert lake.catalog.log(nowhere) == []
    assert lake.catalog.verify(nowhere) == []
    with pytest.raises(TableNotFoundError):
        lake.catalog.rollback(nowhere, 1, 1)
