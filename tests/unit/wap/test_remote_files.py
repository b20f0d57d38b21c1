"""Files served to DuckDB: at each thread's own place, these files only, and failures kept."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import duckdb
import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from catalog.errors import CatalogUnavailableError
from wap.remote_files import RemoteFiles, failure_of, serve


class Away(PyArrowFileIO):
    """A storage that does not answer."""

    def new_input(self, location: str):
        raise ConnectionError(location)


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "x.bin"
    path.write_bytes(b"0123456789")
    return SimpleNamespace(file_path=f"file://{path}", file_size_in_bytes=10)


def test_each_thread_reads_an_open_file_at_its_own_place(file):
    """DuckDB seeks and reads in two calls, and lets other threads in between them."""
    opened = RemoteFiles("r", PyArrowFileIO(), [file])._open(f"r://{file.file_path}")
    opened.seek(2)
    other = threading.Thread(target=opened.seek, args=(7,))
    other.start()
    other.join()
    assert (opened.read(3), opened.read(1)) == (b"234", b"5")


def test_another_file_of_the_same_storage_is_not_there(file, tmp_path):
    (tmp_path / "y.bin").write_bytes(b"secret")
    served = RemoteFiles("r", PyArrowFileIO(), [file])
    for look in (served.glob, served.info, served.modified, served._open):
        with pytest.raises(FileNotFoundError):
            look(f"r://file://{tmp_path}/y.bin")
    with pytest.raises(PermissionError):
        served._open(f"r://{file.file_path}", "wb")


def test_what_the_storage_failed_with_is_kept_for_whoever_reads_through_duckdb(file):
    con = duckdb.connect()
    prefix = serve(con, Away(), [file])
    assert failure_of(con) is None
    with pytest.raises(duckdb.Error):
        con.execute(f"SELECT * FROM read_text('{prefix}{file.file_path}')")
    assert isinstance(failure_of(con), CatalogUnavailableError)
    con.close()


def test_a_file_that_is_gone_is_not_an_outage(tmp_path):
    gone = SimpleNamespace(file_path=f"file://{tmp_path}/gone", file_size_in_bytes=1)
    con = duckdb.connect()
    prefix = serve(con, PyArrowFileIO(), [gone])
    with pytest.raises(duckdb.Error):
        con.execute(f"SELECT * FROM read_text('{prefix}{gone.file_path}')")
    assert failure_of(con) is None
    con.close()
