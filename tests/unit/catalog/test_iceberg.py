"""What we rely on in pyiceberg: private names, and behaviour that is nowhere promised."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException
from pyiceberg.schema import Schema, promote
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.types import DecimalType, LongType, NestedField

from catalog import iceberg, moves
from catalog.drafts import Draft


@pytest.fixture
def table(tmp_path):
    catalog = SqlCatalog("t", uri=f"sqlite:///{tmp_path}/c.db", warehouse=str(tmp_path / "w"))
    catalog.create_namespace("ns")
    return catalog.create_table("ns.t", Schema(NestedField(1, "a", LongType(), required=False)))


def test_staging_metadata_writes_nothing_and_moves_nothing(table, tmp_path):
    before = sorted(tmp_path.rglob("*.json"))
    property_update = moves.add_schema(Schema(NestedField(1, "a", LongType()), schema_id=1))
    staged = iceberg.stage_metadata(table.catalog, table, (), (property_update,))
    assert len(staged.metadata.schemas) == 2
    assert len(table.metadata.schemas) == 1
    assert sorted(tmp_path.rglob("*.json")) == before
    assert not Path(staged.metadata_location).exists()


def test_staging_metadata_checks_the_requirements(table):
    with pytest.raises(CommitFailedException):
        iceberg.stage_metadata(table.catalog, table, (moves.ref_is("main", 7),), ())


def test_staged_metadata_names_its_predecessor_and_the_next_version(table):
    update = moves.add_schema(Schema(NestedField(1, "a", LongType()), schema_id=1))
    staged = iceberg.stage_metadata(table.catalog, table, (), (update,))
    assert staged.metadata.metadata_log[-1].metadata_file == table.metadata_location
    assert Path(staged.metadata_location).name.startswith("00001-")


def test_writing_staged_metadata_writes_that_file(table):
    update = moves.add_schema(Schema(NestedField(1, "a", LongType()), schema_id=1))
    staged = iceberg.stage_metadata(table.catalog, table, (), (update,))
    assert Path(iceberg.write_metadata(table.catalog, staged)).exists()
    assert table.catalog.load_table("ns.t").metadata_location == table.metadata_location


def test_an_arrow_schema_becomes_icebergs_and_icebergs_stays():
    (field,) = iceberg.as_schema(pa.schema([("a", pa.int64())])).fields
    assert (field.name, field.field_type, field.required) == ("a", LongType(), False)
    own = Schema(NestedField(7, "a", LongType()))
    assert iceberg.as_schema(own) is own


def test_an_absent_ref_can_be_required(table):
    moves.ref_is("main", None).validate(table.metadata)


def test_requirements_are_not_merged_by_type(table):
    """Trap 4 is in pyiceberg's Transaction; a commit of our own checks each."""
    both = (moves.ref_is("main", None), moves.ref_is("main", 7))
    with pytest.raises(CommitFailedException):
        table.catalog.commit_table(table, both, (moves.set_schema(0),))


def test_promote_still_forgets_the_scale_of_decimals():
    """When this fails, catalog.schemas may use pyiceberg's own promote again."""
    assert promote(DecimalType(9, 2), DecimalType(12, 3)) == DecimalType(12, 3)


def test_updates_change_no_metadata_that_was_loaded(table):
    """We share it between commits, so an update in place would show in earlier versions."""
    catalog, metadata = table.catalog, table.metadata
    draft = Draft(table, "r", table.schema())
    snapshot = draft.snapshot(metadata, None, 1)
    steps = [
        (moves.add_snapshot(snapshot), moves.set_branch("main", snapshot)),
        (moves.set_branch("wap/r", snapshot),),
        (moves.add_schema(Schema(NestedField(1, "a", LongType()), schema_id=1)),),
        (moves.set_schema(1),),
        (moves.set_schema(0), moves.remove_schemas([1])),
        (moves.remove_ref("wap/r"),),
        (moves.remove_snapshots([snapshot]),),
    ]
    for updates in steps:
        before = table.metadata.model_dump_json()
        staged = iceberg.stage_metadata(catalog, table, (), updates)
        assert table.metadata.model_dump_json() == before
        assert staged.metadata.model_dump_json() != before
        location = iceberg.write_metadata(catalog, staged)
        reread = FromInputFile.table_metadata(table.io.new_input(location))
        assert reread.model_dump_json() == staged.metadata.model_dump_json()
        table = Table(table.name(), staged.metadata, location, table.io, catalog)
