"""Manifests that are cut off: pyiceberg reads them as shorter ones, and we must not."""

from pathlib import Path

import pyarrow as pa
import pytest
from pyiceberg.catalog.sql import SqlCatalog

from catalog.errors import CorruptMetadataError
from catalog.manifests import entries_of, manifests_in


@pytest.fixture
def table(tmp_path):
    warehouse = (tmp_path / "tables").as_uri()
    catalog = SqlCatalog("t", uri=f"sqlite:///{tmp_path}/c.db", warehouse=warehouse)
    catalog.create_namespace("shop")
    rows = pa.table({"id": [1, 2, 3]})
    made = catalog.create_table("shop.orders", rows.schema)
    made.append(rows)
    yield catalog.load_table("shop.orders")
    catalog.close()


def cut_off(location: str) -> None:
    """Leave Avro's header, which ends with the first of the marks that stand between blocks."""
    path = Path(location.removeprefix("file://"))
    content = path.read_bytes()
    mark = content[-16:]
    path.write_bytes(content[: content.index(mark) + len(mark)])


def test_whole_ones_are_read(table):
    (manifest,) = manifests_in(table.current_snapshot(), table.io)
    assert len(entries_of(manifest, table.io)) == 1


def test_a_list_that_is_cut_off_is_no_shorter_list(table):
    snapshot = table.current_snapshot()
    cut_off(snapshot.manifest_list)
    assert snapshot.manifests(table.io) == [], "pyiceberg now notices by itself"
    with pytest.raises(CorruptMetadataError, match="0 of 1 data files are listed") as caught:
        manifests_in(snapshot, table.io)
    assert caught.value.where == snapshot.manifest_list


def test_a_manifest_that_is_cut_off_is_no_shorter_manifest(table):
    (manifest,) = manifests_in(table.current_snapshot(), table.io)
    cut_off(manifest.manifest_path)
    assert manifest.fetch_manifest_entry(table.io) == [], "pyiceberg now notices by itself"
    with pytest.raises(CorruptMetadataError, match="0 of 1 entries are there") as caught:
        entries_of(manifest, table.io)
    assert caught.value.where == manifest.manifest_path


def test_garbage_is_named(table):
    snapshot = table.current_snapshot()
    Path(snapshot.manifest_list.removeprefix("file://")).write_bytes(b"\x00garbage\xff" * 50)
    with pytest.raises(CorruptMetadataError, match="cannot be read") as caught:
        manifests_in(snapshot, table.io)
    assert caught.value.where == snapshot.manifest_list
    assert caught.value.hint
