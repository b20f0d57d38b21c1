"""A warehouse behind a URL: paths there carry a scheme and a bucket that listings leave out."""

from __future__ import annotations

import sys
from types import ModuleType

import pyarrow.fs as pa_fs
import pytest
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem
from pyiceberg.io.pyarrow import PyArrowFileIO

from catalog import HeadMovedError, open_catalog

pytestmark = pytest.mark.exactly("sqlite")


@pytest.fixture
def remote(lake, tmp_path, monkeypatch):
    """The lake with its warehouse at ``bucket://lake/wh``; the bucket is a folder."""
    root = DirFileSystem(str(tmp_path / "store"), LocalFileSystem(auto_mkdir=True))
    store = pa_fs.PyFileSystem(pa_fs.FSSpecHandler(root))

    class BucketFileIO(PyArrowFileIO):
        def __init__(self, properties: dict[str, str] | None = None) -> None:
            super().__init__(properties or {})
            self.fs_by_scheme = lambda _scheme, _netloc: store

    module = ModuleType("bucket_io")
    module.BucketFileIO = BucketFileIO
    monkeypatch.setitem(sys.modules, "bucket_io", module)
    properties = {
        "uri": f"sqlite:///{tmp_path / 'remote.db'}",
        "warehouse": "bucket://lake/wh",
        "py-io-impl": "bucket_io.BucketFileIO",
    }
    lake.catalog = open_catalog("sqlite", "test", properties)
    return lake


def _files(tmp_path):
    return {p.name for p in (tmp_path / "store").rglob("*") if p.is_file()}


def test_a_run_is_published(remote):
    remote.publish([1, 2])
    assert remote.ids() == [1, 2]
    published = remote.catalog.published(remote.run().table)
    assert published.location.startswith("bucket://lake/wh/nyc/flights-")


def test_a_dropped_first_load_leaves_nothing(remote, tmp_path):
    run = remote.run()
    run.open()
    run.stage([1])
    assert run.drop().files >= 2
    assert _files(tmp_path) == set()


def test_a_dropped_run_leaves_main_whole(remote, tmp_path):
    remote.publish([1])
    before = _files(tmp_path)
    run = remote.run()
    run.open()
    run.stage([2])
    run.drop()
    assert {f for f in _files(tmp_path) - before if not f.endswith(".metadata.json")} == set()
    assert remote.ids() == [1]


def test_a_lost_first_load_is_adopted_and_its_files_found_again(remote, tmp_path):
    one, two = remote.run("one"), remote.run("two")
    for run, ids in ((one, [1]), (two, [2])):
        run.open()
        run.stage(ids)
    one.finish()
    with pytest.raises(HeadMovedError):
        two.finish()
    two.rebase()
    two.finish()
    assert two.drop().files == 0
    assert remote.ids() == [1, 2]
    assert len(list((tmp_path / "store").rglob("*.parquet"))) == 2
