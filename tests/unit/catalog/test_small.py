"""Names, change digests, storage paths, and the package's face."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pyiceberg.io import load_file_io
from pyiceberg.io.pyarrow import PyArrowFileIO

import catalog
from catalog import (
    Branch,
    CatalogConfigError,
    NotInstalledError,
    TableName,
    UnsupportedError,
    batches,
    naming,
    storage,
)

TABLE = TableName.parse("nyc.flights")
RUN = Branch.of_run("a")


def test_hidden_names_are_one_per_branch_and_table():
    names = {
        naming.hidden_identifier(branch, table)
        for branch in (RUN, Branch.of_run("b"))
        for table in (TABLE, TableName.parse("nyc.planes"))
    }
    assert len(names) == 4
    assert naming.hidden_identifier(RUN, TABLE) == naming.hidden_identifier(RUN, TABLE)


def test_a_new_location_holds_no_character_a_url_would_trip_over():
    odd = TableName.parse("a b.c#d?e%f«é»")
    location = naming.new_location("/w/", RUN, odd)
    assert location.startswith("/w/a_b/c_d_e_f___-")
    assert naming.new_location("/w", RUN, TABLE) != naming.new_location("/w", RUN, odd)


def test_a_new_location_has_no_folder_that_a_file_system_refuses():
    long, longer = (TableName.parse(f"{'a' * 400}.{'b' * size}") for size in (400, 401))
    assert all(len(p) < 256 for p in naming.new_location("/w", RUN, long).split("/"))
    assert naming.new_location("/w", RUN, long) != naming.new_location("/w", RUN, longer)


@pytest.mark.parametrize(
    ("location", "kept"),
    [("s3://b/data/r/kept-0.parquet", True), ("/d/kept-x/batch-0", False), ("batch-kept-", False)],
)
def test_names_tell_what_is_carried_over(location, kept):
    assert batches.is_kept(location) is kept


def test_two_spellings_of_one_file_are_one_path():
    io = PyArrowFileIO()
    assert storage.path_of(io, "file:///a/b/") == storage.path_of(io, "/a/b")


def test_listing_and_deleting(tmp_path):
    io = PyArrowFileIO()
    folder = tmp_path / "x"
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one").write_bytes(b"123")
    (folder / "two").write_bytes(b"4")
    found = storage.list_files(io, str(folder))
    assert [f.size for f in found] == [3, 1]
    assert storage.without(found, {found[1].path}) == found[:1]
    assert storage.delete_files(io, str(folder), found[:1]) == (1, 3)
    assert storage.delete_files(io, str(folder), found[:1]) == (0, 0)
    storage.delete_empty_folder(io, str(folder))
    assert folder.exists(), "one file is left"
    storage.delete_files(io, str(folder), found)
    storage.delete_empty_folder(io, str(folder))
    storage.delete_empty_folder(io, str(folder))
    assert not folder.exists()
    assert storage.list_files(io, str(folder)) == []


def test_a_file_io_that_cannot_list_says_so():
    io = load_file_io({"py-io-impl": "pyiceberg.io.fsspec.FsspecFileIO"}, "/nowhere")
    with pytest.raises(UnsupportedError, match="FsspecFileIO"):
        storage.list_files(io, "/nowhere")


def test_importing_the_package_imports_no_adapter():
    code = (
        "import sys, catalog; heavy = {'pyiceberg', 'sqlalchemy', 'pyarrow'} & set(sys.modules);"
        "assert not heavy, heavy; assert catalog.Staging.__name__ == 'Staging'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_public_name_is_there():
    for name in catalog.__all__:
        assert getattr(catalog, name).__doc__ or name in ("MAIN", "Role")
    with pytest.raises(AttributeError):
        catalog.nothing  # noqa: B018 - looking it up is the test


def test_an_unknown_kind():
    with pytest.raises(CatalogConfigError, match="unknown catalog kind") as raised:
        catalog.open_catalog("oracle", "t", {})
    assert "memory, nessie, postgres, rest, sqlite" in raised.value.hint


def test_a_missing_package_names_the_pip_line(monkeypatch):
    monkeypatch.setitem(catalog._KINDS, "far", ("no_such_package", "open", "far"))
    with pytest.raises(NotInstalledError) as raised:
        catalog.open_catalog("far", "t", {})
    assert raised.value.hint == "pip install 'wap-lakehouse[far]'"
