"""What loses rows elsewhere, done here: first as others do it, then by our port.

Who loses what is told in ``docs/proof.md``. What lets rows through unchecked is tried in
``tests/e2e/test_losses_of_others.py``.
"""

from __future__ import annotations

import pyarrow as pa
import pytest
from pyiceberg.types import NestedField, StringType

from catalog import BranchNotFoundError, HeadMovedError, RebaseRefusedError, TableName
from catalog.base import Change

pytestmark = pytest.mark.kinds("sqlite", "portable", "nessie")
#: Where branches are refs of the table, so that others have them, too.
REFS = pytest.mark.kinds("sqlite", "portable")

THEIRS = ("nyc", "theirs")


def rows(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64()), "carrier": ["XX"] * len(ids)})


def theirs(lake, *ids: int):
    """A table that pyiceberg alone has made and filled."""
    lake.plain.create_namespace_if_not_exists(THEIRS[:1])
    table = lake.plain.create_table(THEIRS, rows(*ids).schema)
    table.append(rows(*ids))
    return table


def ids_of(table):
    return sorted(table.scan().to_arrow()["id"].to_pylist())


@REFS
def test_rootless_branch(lake, flights):
    table = theirs(lake, 1, 2)
    table.append(rows(3), branch="gone")
    made = table.refs()["gone"].snapshot_id
    assert table.snapshot_by_id(made).parent_snapshot_id is None, "mended: say so in docs/proof.md"
    table.manage_snapshots().set_current_snapshot(ref_name="gone").commit()
    assert ids_of(lake.plain.load_table(THEIRS)) == [3], "1 and 2 are lost to every reader"

    lake.publish([1, 2])
    run = lake.run()
    run.open()
    ours = lake.plain.load_table(flights.identifier)
    ours.manage_snapshots().remove_branch(run.branch.name).commit()
    with pytest.raises(BranchNotFoundError):
        run.stage([3])
    assert set(lake.plain.load_table(flights.identifier).refs()) == {"main"}
    run.drop()
    lake.publish([3])
    assert ids_of(lake.plain.load_table(flights.identifier)) == [1, 2, 3]


@REFS
def test_stale_replace_of_main_by_others(lake):
    """The same two branches as below, published as pyiceberg's documents say."""
    table = theirs(lake, 1)
    base = table.current_snapshot().snapshot_id
    for name, row in (("one", 2), ("two", 3)):
        table.manage_snapshots().create_branch(base, name).commit()
        table.append(rows(row), branch=name)
    for name in ("one", "two"):
        table.manage_snapshots().set_current_snapshot(ref_name=name).commit()
    assert ids_of(lake.plain.load_table(THEIRS)) == [1, 3], "2 was published, and is lost"


def test_stale_replace_of_main(lake, flights):
    lake.publish([1])
    one, two, all_of_it = lake.run(), lake.run(), lake.run()
    for run, ids in ((one, [2]), (two, [3])):
        run.open()
        run.stage(ids)
    all_of_it.open()
    published = lake.catalog.scan(flights, all_of_it.now.expected)
    all_of_it.stage([9], removed=list(published.files))
    one.finish()
    for late in (two, all_of_it):
        with pytest.raises(HeadMovedError):
            late.finish()
    two.rebase()
    assert two.candidate_ids() == [1, 2, 3], "audited again as what it will be"
    two.finish()
    with pytest.raises(RebaseRefusedError):
        all_of_it.rebase()
    all_of_it.drop()
    assert ids_of(lake.plain.load_table(flights.identifier)) == [1, 2, 3]


def test_two_snapshots_of_which_one_is_published(lake, flights):
    lake.publish([1])
    run = lake.run()
    run.open()
    files = [run.write([2], "batch-0"), run.write([3], "batch-1")]
    run.staging = lake.catalog.stage(run.now, Change(files))
    with pytest.raises(HeadMovedError):  # a second change cannot be put behind the first
        lake.catalog.stage(run.now, Change([run.write([4], "batch-2")]))
    run.finish()
    table = lake.plain.load_table(flights.identifier)
    assert ids_of(table) == [1, 2, 3]
    added = [
        s for s in table.snapshots() if int(s.summary.additional_properties.get("added-records", 0))
    ]
    assert len(added) == 2, "the first run's change and this one's, each in one snapshot"


@REFS
def test_two_snapshots_of_which_one_was_audited(lake, flights):
    """Somebody puts a second snapshot on the branch: not one of the two is published."""
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    lake.plain.load_table(flights.identifier).append(rows(666), branch=run.branch.name)
    with pytest.raises(HeadMovedError):
        lake.catalog.publish([run.audited()])
    assert ids_of(lake.plain.load_table(flights.identifier)) == [1]


@REFS
def test_side_branch_leak_of_others(lake):
    """A column that is meant for a branch is in every default read at once."""
    table = theirs(lake, 1)
    table.manage_snapshots().create_branch(table.current_snapshot().snapshot_id, "side").commit()
    with table.update_schema() as update:
        update.add_column("origin", StringType())
    assert "origin" in lake.plain.load_table(THEIRS).scan().to_arrow().schema.names


def test_side_branch_leak(lake, flights, make_schema):
    lake.publish([1])
    run = lake.run()
    run.open(make_schema(NestedField(7, "origin", StringType(), required=False)))
    run.stage([2])
    new = lake.run(table=TableName.parse("nyc.planes"))
    new.open()
    new.stage([1])
    table = lake.plain.load_table(flights.identifier)
    assert ids_of(table) == [1]
    assert table.scan().to_arrow().schema.names == ["id", "carrier"]
    assert lake.plain.list_tables("nyc") == [flights.identifier]
    run.finish()
    table = lake.plain.load_table(flights.identifier)
    assert ids_of(table) == [1, 2]
    assert table.scan().to_arrow().schema.names == ["id", "carrier", "origin"]
