"""The ten traps of pyiceberg's own branch calls, each met on our path without harm."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.typedef import Record
from pyiceberg.types import NestedField, StringType

from catalog import (
    BranchExistsError,
    BranchNotFoundError,
    HeadMovedError,
    TableNotFoundError,
)
from catalog.base import Change

pytestmark = pytest.mark.kinds("sqlite", "portable", "nessie")
#: Where the branch is a ref of the table that main shows.
NATIVE = pytest.mark.kinds("sqlite", "portable")


@pytest.fixture
def run(lake):
    lake.publish([1])
    run = lake.run("mine")
    run.open()
    return run


def _refs(lake, run):
    return set(lake.plain.load_table(run.table.identifier).metadata.refs)


@NATIVE
def test_trap_1_staging_on_a_missing_branch_makes_no_rootless_one(lake, run):
    table = lake.plain.load_table(run.table.identifier)
    table.manage_snapshots().remove_branch(run.branch.name).commit()
    with pytest.raises(BranchNotFoundError):
        run.stage([2])
    assert _refs(lake, run) == {"main"}


def test_trap_2_a_branch_removed_during_the_commit_is_not_resurrected(lake, run):
    other = lake.again()
    lake.faults.before = [lambda: other.catalog.drop(run.branch, run.table)]
    with pytest.raises(BranchNotFoundError):
        run.stage([2])
    assert _refs(lake, run) == {"main"}
    assert lake.ids() == [1]


def test_trap_3_a_retry_keeps_the_move_of_the_ref(lake, run):
    lake.faults.before = [CommitFailedException("updated by another process")]
    run.stage([2])
    plain, ref = lake.on_branch(run)
    refs = plain.load_table(run.table.identifier).metadata.refs
    assert refs[ref].snapshot_id == run.now.head
    lake.faults.before = [CommitFailedException("updated by another process")]
    run.seal()
    lake.faults.before = [CommitFailedException("updated by another process")]
    lake.catalog.publish([run.audited()])
    assert lake.ids() == [1, 2]


@pytest.mark.parametrize("moves", ["main", "branch"])
def test_trap_4_both_refs_are_required_not_only_the_first(lake, run, moves):
    """Main, or the branch, moves between our last look and the commit."""
    run.stage([2])
    run.seal()
    other = lake.again()
    if moves == "main":
        lake.faults.before = [lambda: other.publish([3])]
    else:
        lake.faults.before = [lambda: other.catalog.drop(run.branch, run.table)]
    with pytest.raises(HeadMovedError if moves == "main" else BranchNotFoundError):
        lake.catalog.publish([run.audited()])
    assert lake.ids() == ([1, 3] if moves == "main" else [1])


def test_trap_5_a_diverged_branch_does_not_discard_what_others_published(lake, run):
    run.stage([2])
    run.seal()
    lake.publish([3])
    with pytest.raises(HeadMovedError):
        lake.catalog.publish([run.audited()])
    assert lake.ids() == [1, 3]


def test_trap_6_a_handle_opened_earlier_publishes_the_audited_head(lake, run):
    earlier = lake.again()
    earlier.catalog.staging(run.branch, run.table)
    run.stage([2])
    run.seal()
    earlier.catalog.publish([run.audited()])
    assert lake.ids() == [1, 2]


@NATIVE
@pytest.mark.parametrize("taken_by", ["branch", "tag"])
def test_trap_7_opening_does_not_move_a_ref_that_is_there(lake, run, taken_by):
    other = lake.run("taken")
    table = lake.plain.load_table(run.table.identifier)
    head = table.current_snapshot().snapshot_id
    refs = table.manage_snapshots()
    if taken_by == "branch":
        refs.create_branch(head, other.branch.name).commit()
    else:
        refs.create_tag(head, other.branch.name).commit()
    before = lake.plain.load_table(run.table.identifier).metadata.refs
    with pytest.raises(BranchExistsError):
        other.open()
    assert lake.plain.load_table(run.table.identifier).metadata.refs == before


@NATIVE
def test_trap_8_expiring_a_dropped_run_does_not_harm_refs_that_move(lake, run):
    """Another run publishes right before our snapshots are removed."""
    run.stage([2])
    other = lake.again()
    lake.faults.before = [None, lambda: other.publish([3])]
    run.drop()
    assert lake.ids() == [1, 3]
    assert _refs(lake, run) == {"main"}
    assert lake.catalog.verify(run.table) == []


@NATIVE
def test_trap_8_a_snapshot_that_somebody_tagged_stays(lake, run):
    run.stage([2])
    table = lake.plain.load_table(run.table.identifier)
    table.manage_snapshots().create_tag(run.now.head, "keep").commit()
    run.drop()
    table = lake.plain.load_table(run.table.identifier)
    assert sorted(table.scan().use_ref("keep").to_arrow()["id"].to_pylist()) == [1, 2]


def test_trap_9_partition_values_are_the_writers_not_guessed_from_bounds(lake):
    run = lake.run()
    run.open(partitioning=(("carrier", "identity"),))
    run.staging = lake.catalog.stage(run.now, Change([run.write([1], partition=Record(None))]))
    (file,) = lake.catalog.batch(run.now).files
    assert file.partition[0] is None


def test_trap_10_a_lost_commit_leaves_no_file(lake, run):
    other = lake.again()
    lake.faults.before = [lambda: other.publish([3])]
    run.stage([2])
    on_branch, _ = lake.on_branch(run)
    known = _files_of(lake.plain, run) | _files_of(on_branch, run)
    # The checksums are Hadoop's, which writes the metadata of the server in these tests.
    found = {lake.where.location(f) for f in lake.where.names() if not f.endswith(".crc")}
    known = {f.removeprefix("file:") for f in known}
    # Through the public interface alone, the loser's metadata file cannot be known. On Nessie
    # the way to what main shows is cleared, and main's log still names it.
    lost = {f for f in found - known if f.endswith(".metadata.json")}
    assert found - known == (lost if lake.kind in ("portable", "glue") else set())


def _files_of(catalog, run):
    """All that a table refers to."""
    table = catalog.load_table(run.table.identifier)
    known = {table.metadata_location, *(e.metadata_file for e in table.metadata.metadata_log)}
    for snapshot in table.metadata.snapshots:
        known.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            known.add(manifest.manifest_path)
            known |= {e.data_file.file_path for e in manifest.fetch_manifest_entry(table.io)}
    return known


def test_a_table_of_another_format_version_is_refused(lake, flights):
    lake.plain.create_namespace("nyc")
    rows = pa.table({"id": [1], "carrier": ["AA"]})
    table = lake.plain.create_table(
        flights.identifier, rows.schema, properties={"format-version": "1"}
    )
    table.append(rows)
    with pytest.raises(Exception, match="format version 1"):
        lake.run().open()


def test_metadata_stays_small(lake, run):
    """Old versions of the metadata file are deleted, at most twenty are kept."""
    for i in range(8):
        lake.publish([i])
    versions = [f for f in lake.where.names() if f.endswith(".metadata.json")]
    assert len(versions) <= 21


def test_manifests_are_merged_when_many(lake):
    run = lake.run()
    run.open(properties={"commit.manifest.min-count-to-merge": "3"})
    run.stage([0])
    run.finish()
    for i in range(1, 8):
        lake.publish([i])
    table = lake.plain.load_table(run.table.identifier)
    assert len(table.current_snapshot().manifests(table.io)) <= 4
    assert lake.ids() == list(range(8))
    assert sorted(table.scan().to_arrow()["id"].to_pylist()) == list(range(8))
    assert lake.catalog.verify(run.table) == []


@NATIVE
def test_a_table_that_vanished_is_said_so(lake, run):
    lake.plain.drop_table(run.table.identifier)
    with pytest.raises(BranchNotFoundError):
        run.stage([2])
    with pytest.raises(TableNotFoundError):
        lake.catalog.rollback(run.table, 1, 1)


def test_trap_4_a_foreign_append_to_the_branch_right_before_publish_is_not_lost(lake, run):
    run.stage([2])
    run.seal()
    rows = pa.table({"id": [666], "carrier": ["XX"]})

    def append() -> None:
        lake.plain.load_table(run.table.identifier).append(rows, branch=run.branch.name)

    lake.faults.before = [append]
    with pytest.raises(HeadMovedError):
        lake.catalog.publish([run.audited()])
    assert lake.ids() == [1]
    assert _refs(lake, run) == {"main", run.branch.name}


def test_trap_4_columns_renamed_right_before_publish_are_not_renamed_back(lake, make_schema):
    lake.publish([1])
    run = lake.run()
    run.open(make_schema(NestedField(7, "origin", StringType(), required=False)))
    run.stage([2])
    run.seal()

    def rename() -> None:
        table = lake.plain.load_table(run.table.identifier)
        table.update_schema().rename_column("carrier", "airline").commit()

    lake.faults.before = [rename]
    with pytest.raises(HeadMovedError):
        lake.catalog.publish([run.audited()])
    assert lake.catalog.published(run.table).schema.column_names == ["id", "airline"]
