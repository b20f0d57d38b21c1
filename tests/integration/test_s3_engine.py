"""The arrow engine and storage on a real S3: parts, partitions, carried rows, and no litter."""

from __future__ import annotations

import json
import secrets
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyiceberg.expressions import LessThan
from s3fs import S3FileSystem

from catalog import storage
from catalog.base import Staging
from catalog.errors import CatalogConfigError, CatalogUnavailableError
from catalog.file_io import TableFileIO
from catalog.s3_objects import PART_BYTES, ObjectReader
from tests.servers.seaweedfs import SeaweedFS
from tests.unit.wap.engines.staging import Given, rows_of, scan, sorted_rows, staging, write
from wap.engines.arrow import ArrowEngine
from wap.relations import connect
from wap.remote_files import serve
from wap.sources.listing import list_inputs

pytestmark = pytest.mark.server


@dataclass(frozen=True)
class Place:
    """A prefix in the bucket that these tests share."""

    server: SeaweedFS
    bucket: str
    prefix: str

    @property
    def io(self) -> TableFileIO:
        return TableFileIO(self.server.properties)

    def staging(self, root: Path, table: pa.Table, *partitioning: tuple[str, str]) -> Staging:
        local = staging(root, table.schema, partitioning)
        return replace(local, location=f"s3://{self.bucket}/{self.prefix}", io=self.io)

    def keys(self) -> set[str]:
        return self.server.keys(self.bucket, self.prefix)

    def uploads(self) -> set[str]:
        return self.server.uploads(self.bucket, self.prefix)


@pytest.fixture(scope="module")
def bucket(seaweedfs: SeaweedFS) -> str:
    return seaweedfs.bucket()


@pytest.fixture
def place(seaweedfs: SeaweedFS, bucket: str) -> Place:
    return Place(seaweedfs, bucket, f"t-{secrets.token_hex(6)}")


def _wide(rows: int) -> pa.Table:
    """Rows that do not compress: about 160 bytes each."""
    numbers = np.random.default_rng(7)
    columns = {f"c{i}": numbers.integers(0, 1 << 62, rows) for i in range(20)}
    return pa.table({"id": range(rows), **columns})


def test_a_file_of_several_parts_is_read_back_equal(place, tmp_path):
    table = _wide(200_000)
    where = place.staging(tmp_path, table)
    written = write(Given.of(table, 10_000), where)
    assert written.bytes > 2 * PART_BYTES
    assert {
        f.file_path.removeprefix(f"s3://{place.bucket}/") for f in written.files
    } == place.keys()
    assert rows_of(written, where).sort_by("id") == table
    assert place.uploads() == set()


def test_many_partitions_hold_few_parts_and_lose_no_row(place, tmp_path):
    table = pa.table({"id": range(600), "v": [i % 30 for i in range(600)]})
    where = place.staging(tmp_path, table, ("v", "identity"))
    engine = ArrowEngine(PART_BYTES * 32)
    written = write(Given.of(table, 100), where, engine)
    assert sorted_rows(rows_of(written, where)) == table.to_pylist()
    assert {next(iter(f.partition)) for f in written.files} == set(range(30))
    assert place.uploads() == set()


def test_rows_that_stay_are_carried(place, tmp_path):
    table = pa.table({"id": range(100), "v": ["a"] * 100})
    where = place.staging(tmp_path, table)
    published = scan(write(Given.of(table), where), where)
    kept = ArrowEngine().carry(published, LessThan("id", 40), where, cancelled=lambda: False)
    assert sorted(rows_of(kept, where)["id"].to_pylist()) == list(range(40, 100))


def test_a_write_that_fails_leaves_no_object_and_no_upload(place, tmp_path):
    table = _wide(100_000)
    where = place.staging(tmp_path, table)

    def batches():
        yield from table.to_batches(10_000)
        raise OSError("the input broke off")

    given = Given.of(table)
    given.batches = batches  # type: ignore[method-assign]
    with pytest.raises(OSError, match="broke off"):
        write(given, where, ArrowEngine(64 << 20))
    assert (place.keys(), place.uploads()) == (set(), set())


def test_a_late_writer_cannot_show_its_file_once_its_run_was_cleared(place, tmp_path):
    """The thread of an attempt that is taken for dead goes on writing."""
    where = place.staging(tmp_path, pa.table({"id": [1]}))
    late = storage.create(place.io, f"{where.data_location}/batch-late-0.parquet")
    late.write(b"x" * (PART_BYTES + 1))
    assert len(place.uploads()) == 1
    ArrowEngine().clear(where)
    late.write(b"x" * 100)
    with pytest.raises(CatalogUnavailableError, match="upload is gone"):
        late.close()
    assert (place.keys(), place.uploads()) == (set(), set())


def test_clear_leaves_what_is_kept_and_what_is_another_runs(place, tmp_path):
    where = place.staging(tmp_path, pa.table({"id": [1]}))
    other = storage.create(place.io, f"{where.location}/data/run-10/batch-0.parquet")
    kept, gone = (f"{where.data_location}/batch-{n}.parquet" for n in (0, 1))
    for location in (kept, gone):
        with storage.create(place.io, location) as file:
            file.write(b"x")
    ArrowEngine().clear(where, lambda: {kept})
    assert place.keys() == {kept.removeprefix(f"s3://{place.bucket}/")}
    other.write(b"y")
    other.close()
    assert len(place.keys()) == 2


def test_more_objects_than_one_listing_or_deletion_takes(place):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: _put(place, n), range(1010)))
    found = storage.list_files(place.io, f"s3://{place.bucket}/{place.prefix}")
    assert len(found) == 1010
    assert storage.delete_files(place.io, f"s3://{place.bucket}", found) == (1010, 1010)
    assert place.keys() == set()


def _put(place: Place, number: int) -> None:
    with storage.create(place.io, f"s3://{place.bucket}/{place.prefix}/{number}") as file:
        file.write(b"1")


def test_duckdb_reads_the_columns_it_needs_and_each_footer_once(place, tmp_path, monkeypatch):
    table = _wide(200_000)
    where = place.staging(tmp_path, table)
    written = write(Given.of(table, 50_000), where)
    asked: list[tuple[int, int]] = []
    _count(monkeypatch, asked)
    con = connect(temp_directory=tmp_path / "spill")
    prefix = serve(con, place.io, written.files)
    paths = [f"{prefix}{f.file_path}" for f in written.files]
    wanted = sum(table["c3"].to_pylist()) % 1000
    for _ in range(2):
        found = con.execute("SELECT sum(c3::HUGEINT) % 1000 FROM read_parquet($1)", [paths])
        assert found.fetchone() == (wanted,)
    con.close()
    ends = {f.file_size_in_bytes for f in written.files}
    assert len([1 for size, at in asked if size + at in ends]) == len(paths), "a footer each"
    assert sum(size for size, _ in asked) < written.bytes / 4, "two of 42 columns, and the footers"


def _count(monkeypatch: pytest.MonkeyPatch, asked: list[tuple[int, int]]) -> None:
    original = ObjectReader.read_at

    def read_at(self, size, offset):
        asked.append((size, offset))
        return original(self, size, offset)

    monkeypatch.setattr(ObjectReader, "read_at", read_at)


def test_a_listing_shows_what_came_since_the_last_one(place, tmp_path, monkeypatch):
    """As in one worker, whose fsspec keeps a listing."""
    # It keeps file systems, too, that other tests made with another endpoint in the environment.
    S3FileSystem.clear_instance_cache()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", place.server.key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", place.server.secret)
    monkeypatch.setenv("AWS_ENDPOINT_URL", place.server.endpoint)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    pattern = f"s3://{place.bucket}/{place.prefix}/*"
    for count in (1, 2):
        _put(place, count)
        assert len(list_inputs(tmp_path, [pattern], from_user=False)) == count


# --- credentials -------------------------------------------------------------------------------


@pytest.fixture
def chain(place, tmp_path, monkeypatch):
    """A store whose credentials boto3 finds by itself, in files of this test."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    # A time-out of its own, so that no other test shares the client.
    return {"s3.endpoint": place.server.endpoint, "s3.region": "us-east-1",
            "s3.request-timeout": f"{20 + secrets.randbelow(10**6) / 10**6}"}  # fmt: skip


def _credentials(path: Path, key: str, secret: str) -> None:
    (path / "credentials").write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n"
    )


def test_no_credentials_anywhere(place, chain):
    with pytest.raises(CatalogConfigError, match="no credentials"):
        storage.list_files(TableFileIO(chain), f"s3://{place.bucket}/x")


def test_a_key_that_is_rotated_in_its_file_is_read_again(place, chain, tmp_path):
    """One FileIO, as a worker that lives for days keeps it."""
    io = TableFileIO(chain)
    _credentials(tmp_path, place.server.key, place.server.secret)
    assert storage.list_files(io, f"s3://{place.bucket}/{place.prefix}") == []
    client = io.fs_by_scheme("s3", place.bucket).handler.client
    _credentials(tmp_path, "old", "old")
    client._made = None
    with pytest.raises(CatalogConfigError, match="does not take our credentials"):
        storage.list_files(io, f"s3://{place.bucket}/{place.prefix}")
    _credentials(tmp_path, place.server.key, place.server.secret)
    assert storage.list_files(io, f"s3://{place.bucket}/{place.prefix}") == []


def test_credentials_that_expire_are_fetched_again(place, chain, tmp_path):
    _credential_process(tmp_path, place.server.key, place.server.secret)
    io = TableFileIO(chain)
    for _ in range(3):
        assert storage.list_files(io, f"s3://{place.bucket}/{place.prefix}") == []
    assert len((tmp_path / "asked").read_text()) >= 3


def _credential_process(folder: Path, key: str, secret: str) -> None:
    """A program that gives credentials which end within boto3's margin, and notes each call."""
    answer = {"Version": 1, "AccessKeyId": key, "SecretAccessKey": secret, "SessionToken": ""}
    program = folder / "give"
    program.write_text(
        f"#!{sys.executable}\nimport datetime, json, pathlib\n"
        f"with pathlib.Path({str(folder / 'asked')!r}).open('a') as noted:\n    noted.write('.')\n"
        "end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=60)\n"
        f"print(json.dumps({json.dumps(answer)} | {{'Expiration': end.isoformat()}}))\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (folder / "config").write_text(f"[default]\ncredential_process = {program}\n")
