"""What a suspicious engineer tries: bad input, sick storage, races, signals, secrets, injections.

Whatever is tried, the door ends with its exit code, says what, where and a hint, shows no
traceback, and leaves main, branches and files as they were.
"""

from __future__ import annotations

import csv
import fcntl
import gzip
import io
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchTableError

from tests.e2e.conftest import Shop

HEADER = "id,customer,amount,placed\n"
ROW = "1,a,1.00,2026-01-01\n"


def seeded(seed: int) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same on every machine, not secret


def plain(shop: Shop) -> SqlCatalog:
    """The catalog as any other program opens it: quicker than a door, and independent of ours."""
    return SqlCatalog(
        "shop",
        uri=f"sqlite:///{shop.root}/.wap/catalog.db",
        warehouse=f"file://{shop.root}/warehouse",
    )


def ids(shop: Shop, table: str = "shop.orders") -> list[int] | None:
    """The ids that main shows; None when there is no such table. Proves that no branch is left."""
    try:
        found = plain(shop).load_table(table)
    except NoSuchTableError:
        return None
    assert set(found.metadata.refs) == {"main"}
    return sorted(found.scan().to_arrow()["id"].to_pylist())


def tables(shop: Shop) -> list[str]:
    """Every table that the catalog's database knows, half-made ones too."""
    with sqlite3.connect(shop.root / ".wap" / "catalog.db") as db:
        return [name for (name,) in db.execute("select table_name from iceberg_tables")]


def assert_readable(done: subprocess.CompletedProcess[str]) -> None:
    assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr


def refused(shop: Shop, *args: str, code: int, said: str, **env: str) -> dict[str, Any]:
    """Run; prove the exit code, one JSON document, what was said, and that nothing is left."""
    done = shop.run("orders", *args, "--json", **env)
    assert_readable(done)
    assert done.returncode == code, done.stdout + done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    told = json.dumps(result, ensure_ascii=False)
    if result["report"]:
        told += (shop.root / result["report"]).with_suffix(".md").read_text()
    assert said in told
    assert result["ending"] == ("rejected" if code == 1 else "rolled_back")
    assert result["rows"]["published"] == 0
    return result


def assert_nothing(shop: Shop) -> None:
    assert shop.files() == []
    assert tables(shop) == []
    assert shop.server() is None


def mount(*args: str) -> None:
    """Mount, or skip loudly: where a variable says that servers must run, a skip is a failure."""
    done = subprocess.run(
        [shutil.which("mount") or "mount", *args], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = f"NOT TESTED: mount is not permitted here: {done.stderr.strip()}"
        if os.environ.get("WAP_REQUIRE_SERVERS"):
            pytest.fail(reason)
        pytest.skip(reason)


@contextmanager
def mounted(folder: Path, *args: str) -> Iterator[None]:
    mount(*args, str(folder))
    try:
        yield
    finally:
        subprocess.run([shutil.which("umount") or "umount", "-l", str(folder)], check=True)


# --- input that cannot be read ---------------------------------------------------------------


def _folder(data: Path) -> None:
    (data / "orders-1.csv").mkdir()


def _empty(data: Path) -> None:
    (data / "orders-1.csv").touch()


def _utf16(data: Path) -> None:
    (data / "orders-1.csv").write_bytes((HEADER + ROW).encode("utf-16"))


def _latin1(data: Path) -> None:
    (data / "orders-1.csv").write_bytes((HEADER + "1,café,1.00,2026-01-01\n").encode("latin-1"))


def _header_twice(data: Path) -> None:
    (data / "orders-1.csv").write_text("id,id,customer,amount,placed\n1," + ROW)


def _broken_zip(data: Path) -> None:
    (data / "orders-1.csv.zip").write_bytes(b"PK\x03\x04garbage")


def _cut_gzip(data: Path) -> None:
    rows = "".join(f"{i},{i * 7919 % 1009},1.00,2026-01-01\n" for i in range(50_000))
    (data / "orders-1.csv.gz").write_bytes(gzip.compress((HEADER + rows).encode())[:-2000])


def _cut_parquet(data: Path) -> None:
    whole = io.BytesIO()
    pq.write_table(pa.table({"id": list(range(1000))}), whole)
    (data / "orders-1.parquet").write_bytes(whole.getvalue()[:-50])


@pytest.mark.parametrize(
    ("make", "source", "code", "said"),
    [
        (_folder, "orders-*.csv, format: csv", 3, "no file is there"),
        (_empty, "orders-*.csv, format: csv", 3, "empty"),
        (_utf16, "orders-*.csv, format: csv", 3, "UTF-8"),
        (_latin1, "orders-*.csv, format: csv", 1, "UTF-8"),
        (_header_twice, "orders-*.csv, format: csv", 1, "every column once"),
        (_broken_zip, "orders-*.csv.zip, format: csv", 3, "not valid zip"),
        (_cut_gzip, "orders-*.csv.gz, format: csv", 3, "cut off"),
        (_cut_parquet, "orders-*.parquet, format: parquet", 3, "not valid Parquet"),
    ],
)
def test_unreadable_input(
    shop: Shop, make: Callable[[Path], None], source: str, code: int, said: str
) -> None:
    pipeline = shop.root / "pipelines" / "orders.yml"
    text = pipeline.read_text().replace('"data/orders-*.csv", format: csv', f"data/{source}")
    pipeline.write_text(text)
    (shop.root / "data").mkdir()
    make(shop.root / "data")
    result = refused(shop, code=code, said=said)
    assert "orders-" in json.dumps(result) or result["report"]
    assert_nothing(shop)


def test_huge_and_many_bad_values_are_told_briefly(shop: Shop) -> None:
    bad = [f"bad{i}{'x' * 20_000 if i < 3 else ''},a,1.00,2026-01-01\n" for i in range(2_000)]
    shop.write("data/orders-1.csv", HEADER + "".join(bad))
    result = refused(shop, code=1, said="rows cannot be read")
    assert len(result["reason"]) < 2_000
    for page in (shop.root / result["report"]).parent.iterdir():
        assert page.stat().st_size < 300_000, page.name
    assert_nothing(shop)


# --- slips in what a project says -------------------------------------------------------------


def _replace(name: str, old: str, new: str) -> Callable[[Shop], None]:
    def change(shop: Shop) -> None:
        path = shop.root / name
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return change


def _settings(text: str) -> Callable[[Shop], None]:
    return lambda shop: shop.write("wap.toml", f'[project]\nname = "shop"\n{text}\n') and None


def _outside(shop: Shop) -> None:
    (shop.root.parent / "elsewhere.yml").write_text(
        (shop.root / "contracts/orders.yml").read_text()
    )
    (shop.root / "contracts/orders.yml").unlink()
    (shop.root / "contracts/orders.yml").symlink_to(shop.root.parent / "elsewhere.yml")


@pytest.mark.parametrize(
    ("change", "args", "env", "said"),
    [
        (lambda s: (s.root / "contracts/orders.yml").unlink(), [], {}, "no contract"),
        (_outside, [], {}, "leads out of the project"),
        (_replace("pipelines/orders.yml", "contracts/orders.yml", "../../etc/passwd"), [], {},
         "leads out of the project"),
        (_settings('[catalog]\nwarehouse = "../out"'), [], {}, "wap.toml:4"),
        (_settings('[catalog]\nuri = "sqlite:///../x.db"'), [], {}, "wap.toml:4"),
        (_settings('[ledger]\nurl = "sqlite:///../x.db"'), [], {}, "wap.toml:4"),
        (_settings('[lineage]\nfolder = "../out"'), [], {}, "wap.toml:4"),
        (_replace("pipelines/orders.yml", "shop.orders", "shop.sales"), [], {},
         "dataset wap/shop/orders"),
        (_replace("contracts/orders.yml", "wap/shop/orders", "wap/shop/order"), [], {},
         "dataset wap/shop/order,"),
        (_replace("pipelines/orders.yml", "shop.orders", "shop..orders"), [], {},
         "not a table name"),
        (None, [], {"WAP_CATALOG__WAREHOSE": "x"}, "WAP_CATALOG__WAREHOUSE"),
        (None, ["--source", "https://u:s3cr3t@host.invalid/x.csv"], {}, "secret"),
        (None, ["--source", "https://host.invalid/x.csv?sig=s3cr3t"], {}, "secret"),
        (None, [], {"TEMPORAL_ADDRESS": "nonsense"}, "TEMPORAL_ADDRESS"),
    ],
)  # fmt: skip
def test_slip_is_a_usage_error_that_starts_nothing(
    shop: Shop,
    change: Callable[[Shop], object] | None,
    args: list[str],
    env: dict[str, str],
    said: str,
) -> None:
    shop.orders("orders-1.csv", range(3))
    if change is not None:
        change(shop)
    done = shop.run("orders", *args, "--json", **env)
    assert_readable(done)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert said in done.stderr
    assert "s3cr3t" not in done.stderr
    assert not (shop.root / ".wap").exists(), "something was started"
    assert not (shop.root / "warehouse").exists()


# --- sick storage ------------------------------------------------------------------------------


def test_full_disk_rolls_back_and_a_roomier_one_publishes(shop: Shop) -> None:
    warehouse = shop.root / "warehouse"
    warehouse.mkdir()
    noise = seeded(1)
    rows = (f"{i},{noise.getrandbits(512):x},1.00,2026-01-01\n" for i in range(60_000))
    shop.write("data/orders-1.csv", HEADER + "".join(rows))
    with mounted(warehouse, "-t", "tmpfs", "-o", "size=2m", "tmpfs"):
        refused(shop, code=3, said="disk is full")
        assert_nothing(shop)
        mount("-o", "remount,size=64m", str(warehouse))
        assert shop.result("orders")["ending"] == "published"
        assert ids(shop) == list(range(60_000))


def test_read_only_project_is_told_in_a_line(shop: Shop) -> None:
    shop.orders("orders-1.csv", range(3))
    with mounted(shop.root, "--bind", str(shop.root)):
        mount("-o", "remount,ro,bind", str(shop.root))
        for done in (shop.run("orders", "--json"), shop.wap("status"), shop.wap("up")):
            assert_readable(done)
            assert done.returncode == 2
            assert done.stdout == ""
            assert "read-only" in done.stderr
            assert "Hint:" in done.stderr


@contextmanager
def locked(database: Path, seconds: float) -> Iterator[None]:
    """Another program holds the SQLite database for itself, for so long at most."""
    code = (
        "import sqlite3, sys, time; db = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "db.execute('begin exclusive'); print('held', flush=True); time.sleep(float(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(database), str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            holder.kill()


def test_locked_catalog_is_waited_for(shop: Shop) -> None:
    shop.orders("orders-1.csv", range(3))
    shop.result("orders")
    shop.orders("orders-2.csv", range(3, 6))
    with locked(shop.root / ".wap" / "catalog.db", 6):
        assert shop.result("orders")["ending"] == "published"
    assert ids(shop) == list(range(6))


def newest_metadata(shop: Shop) -> Path:
    with sqlite3.connect(shop.root / ".wap" / "catalog.db") as db:
        ((location,),) = db.execute("select metadata_location from iceberg_tables")
    return Path(location.removeprefix("file://"))


def _newer(text: str) -> str:
    return json.dumps({**json.loads(text), "format-version": 4})


@pytest.mark.parametrize(
    ("spoil", "said"),
    [(_newer, "newer than this program"), (lambda text: text[:500], "Invalid JSON")],
)
def test_unknown_metadata_stops_every_door_and_changes_nothing(
    shop: Shop, spoil: Callable[[str], str], said: str
) -> None:
    shop.orders("orders-1.csv", range(3))
    shop.result("orders")
    metadata = newest_metadata(shop)
    whole = metadata.read_text()
    metadata.write_text(spoil(whole))
    shop.orders("orders-2.csv", range(3, 6))
    files = shop.files()
    refused(shop, code=3, said=said)
    for args in (["verify"], ["query", "from shop.orders"]):
        done = shop.wap(*args)
        assert_readable(done)
        assert done.returncode == 3
        assert said in done.stderr
        assert "Hint:" in done.stderr
    assert shop.files() == files
    metadata.write_text(whole)
    assert ids(shop) == [0, 1, 2]


def test_lost_data_file_is_named_and_blocks_the_next_publish(shop: Shop) -> None:
    shop.orders("orders-1.csv", range(3))
    shop.result("orders")
    (lost,) = shop.data_files()
    (shop.root / "warehouse" / lost).unlink()
    shop.orders("orders-2.csv", range(3, 6))
    result = refused(shop, code=3, said=Path(lost).name)
    assert "Hint:" in result["reason"]
    assert "SELECT" not in result["reason"]
    assert shop.data_files() == []
    done = shop.wap("query", "select * from shop.orders")
    assert_readable(done)
    assert done.returncode == 3
    assert Path(lost).name in done.stderr


# --- names, types, markup ----------------------------------------------------------------------


def declare(shop: Shop, source: str, schema: str = "{}", contract: str = "") -> None:
    shop.write(
        "pipelines/orders.yml",
        f"table: shop.orders\nsource: {{kind: files, path: {source}}}\nwrite: {{mode: append}}\n"
        f"schema: {schema}\ncontracts: [contracts/orders.yml]\n",
    )
    shop.write(
        "contracts/orders.yml",
        contract or "dataset: wap/shop/orders\ncolumns: []\nchecks: [{row_count: }]\n",
    )


def test_three_hundred_columns_with_odd_names(shop: Shop) -> None:
    names = [f"c {i}.x" for i in range(290)] + [
        "select", "été", "a'b", 'a"b', "a,b", "\\u", "[red]", "[/b]", "x;drop table t", "order",
    ]  # fmt: skip
    text = io.StringIO()
    rows = csv.writer(text)
    rows.writerow(names)
    rows.writerows([[i * k for i in range(len(names))] for k in range(20)])
    shop.write("data/wide [1].csv", text.getvalue())
    declare(shop, "'data/wide*.csv', format: csv")
    assert shop.result("orders")["rows"]["published"] == 20
    table = plain(shop).load_table("shop.orders").scan().to_arrow()
    assert table.schema.names == names
    sums = [sum(column.to_pylist()) for column in table.columns]
    assert sums == [i * 190 for i in range(len(names))]
    shown = shop.wap("query", 'select "[/b]", "a\'b", "a""b" from shop.orders limit 1')
    assert_readable(shown)
    assert shown.returncode == 0
    assert "[/b]" in shown.stdout


def test_nested_zoned_and_wide_values_come_through_whole(shop: Shop) -> None:
    big = "12345678901234567890123456789012345.678"
    whole = 1_700_000_000_123_456_000
    table = pa.table(
        {
            "id": pa.array([1, 2], pa.int64()),
            "ns": pa.array([whole, None], pa.timestamp("ns")),
            "zoned": pa.array([whole, 0], pa.timestamp("ns", "Europe/Berlin")),
            "wide": pa.array([big, None]).cast(pa.decimal128(38, 3)),
            "list": pa.array([[1], [2, None]], pa.list_(pa.int64())),
            "struct": pa.array(
                [{"a": 1, "b": [{"c": "x"}]}, None],
                pa.struct({"a": pa.int32(), "b": pa.list_(pa.struct({"c": pa.string()}))}.items()),
            ),
        }
    )
    (shop.root / "data").mkdir()
    pq.write_table(table, shop.root / "data" / "x.parquet")
    declare(shop, "data/*.parquet, format: parquet")
    assert shop.result("orders")["rows"]["published"] == 2
    rows = plain(shop).load_table("shop.orders").scan().to_arrow().sort_by("id")
    for name in ("id", "wide", "list", "struct"):
        assert rows[name].to_pylist() == table[name].to_pylist(), name
    for name in ("ns", "zoned"):
        assert rows[name].cast(pa.int64()).to_pylist() == [
            None if v is None else v // 1000 for v in table[name].cast(pa.int64()).to_pylist()
        ], name


def test_lost_nanoseconds_are_refused_not_rounded(shop: Shop) -> None:
    table = pa.table({"id": [1], "at": pa.array([1_700_000_000_123_456_789], pa.timestamp("ns"))})
    (shop.root / "data").mkdir()
    pq.write_table(table, shop.root / "data" / "x.parquet")
    declare(shop, "data/*.parquet, format: parquet")
    refused(shop, code=1, said="microseconds")
    assert_nothing(shop)


def test_markup_in_names_and_values_stays_text(shop: Shop) -> None:
    evil = "<img src=x onerror=alert(1)>"
    script = "</title><script>alert(2)</script>"
    shop.write(f"data/{script.replace('/', '_')}.csv", f"id,{evil}\n1,{script}\n2,{evil}\n")
    name, text = json.dumps(evil), json.dumps(script)
    declare(
        shop,
        "data/*.csv, format: csv",
        contract="dataset: wap/shop/orders\ncolumns:\n"
        f"  - name: {name}\n    checks: [{{invalid: {{name: {text}, valid_values: [{text}]}}}}]\n"
        f"checks: [{{failed_rows: {{name: {text}, expression: 'true'}}}}]\n",
    )
    result = refused(shop, code=1, said="alert(2)")
    page = (shop.root / result["report"]).read_text()
    assert "alert(1)" in page
    for tag in (evil, "<script>alert", "</title><script", "<img src=x"):
        assert tag not in page
    assert_nothing(shop)


def test_secrets_in_a_pipelines_url_are_written_nowhere(shop: Shop) -> None:
    declare(shop, "'http://u:s3cr3t-pw@127.0.0.1:1/x.csv?sig=s3cr3t-sig', format: csv")
    done = shop.run("orders")
    assert_readable(done)
    assert done.returncode == 3
    assert "s3cr3t" not in done.stdout + done.stderr
    (shop.root / "pipelines" / "orders.yml").unlink()
    leaks = [f for f in shop.root.rglob("*") if f.is_file() and b"s3cr3t" in f.read_bytes()]
    assert leaks == []


def test_masked_value_that_does_not_fit_is_written_nowhere(shop: Shop) -> None:
    pipeline = shop.root / "pipelines" / "orders.yml"
    pipeline.write_text(pipeline.read_text().replace("{customer: [pii]}", "{amount: [pii]}"))
    data = shop.write("data/orders-1.csv", HEADER + "1,a,pr1v4te,2026-01-01\n")
    result = refused(shop, code=1, said="amount")
    assert "orders-1.csv, line 2, column amount" in result["reason"]
    assert "pr1v4te" not in json.dumps(result)
    data.unlink()
    leaks = [f for f in shop.root.rglob("*") if f.is_file() and b"pr1v4te" in f.read_bytes()]
    # The refused rows themselves are kept for whoever corrects them, as the input was.
    assert [f.parent.name for f in leaks] in ([], ["rejects"])


# --- at once -----------------------------------------------------------------------------------


def test_three_first_loads_at_once_lose_nothing(shop: Shop) -> None:
    files = [shop.orders(f"{k}.csv", range(k * 10, k * 10 + 10)) for k in range(3)]
    doors = [shop.start("orders", "--json", "--source", str(f)) for f in files]
    results = [json.loads(door.communicate(timeout=200)[0]) for door in doors]
    assert [r["ending"] for r in results] == ["published"] * 3
    assert len({r["run_id"] for r in results}) == 3
    assert ids(shop) == list(range(30))
    assert tables(shop) == ["orders"]
    assert len(shop.data_files()) == 3
    assert json.loads(shop.wap("verify", "--json").stdout)["ok"] is True


def test_one_input_started_three_times_at_once_is_published_once(shop: Shop) -> None:
    file = shop.orders("orders-1.csv", range(20))
    own: list[list[str]] = [[], [], ["--source", str(file)]]
    doors = [shop.start("orders", "--json", *args) for args in own]
    results = [json.loads(door.communicate(timeout=200)[0]) for door in doors]
    assert [r["ending"] for r in results] == ["published"] * 3
    assert len({r["snapshot"]["after"] for r in results}) == 1
    assert ids(shop) == list(range(20))
    assert len(shop.data_files()) == 1


# The moment of a signal is the input of these tests, so they wait for it; none asserts on time.
# --- signals -----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(15))
def test_killed_at_any_moment_then_run_again_is_published_once(shop: Shop, seed: int) -> None:
    shop.orders("orders-1.csv", range(500))
    with shop.start("orders", "--json") as door:
        time.sleep(seeded(seed).uniform(0.5, 4.0))
        door.kill()
    assert shop.result("orders")["ending"] == "published"
    assert ids(shop) == list(range(500))
    assert len(shop.data_files()) == 1
    assert shop.server() is None


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seed", range(5))
def test_interrupted_at_any_moment_is_whole_or_nothing(
    shop: Shop, seed: int, number: signal.Signals
) -> None:
    shop.orders("orders-1.csv", range(500))
    with shop.start("orders", "--json") as door:
        time.sleep(seeded(seed).uniform(0.1, 3.5))
        door.send_signal(number)
        out, err = door.communicate(timeout=120)
    assert "Traceback" not in err, err
    if door.returncode == 0:
        assert json.loads(out)["ending"] == "published"
        assert ids(shop) == list(range(500))
        return
    if door.returncode == 3:
        assert json.loads(out)["ending"] == "rolled_back"
    else:  # before the run began there was nothing to roll back
        assert door.returncode in (130, -number)
        assert out == ""
    assert shop.files() == []
    assert shop.result("orders")["ending"] == "published"
    assert ids(shop) == list(range(500))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="who waits for a lock is read from /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_behind_the_end_still_tells_it(shop: Shop, number: signal.Signals) -> None:
    shop.orders("orders-1.csv", range(500))
    with shop.start("orders", "--json") as door:
        assert door.stderr is not None
        for line in door.stderr:
            if "open the branch" in line:
                break
        # The run is over when the door wants to stop the server, for which it takes this lock.
        with (shop.root / ".wap" / "temporal" / "turn.lock").open("a") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)
            while not re.search(rf"-> FLOCK .* {door.pid} ", Path("/proc/locks").read_text()):
                assert door.poll() is None
                time.sleep(0.01)
            door.send_signal(number)
        out, err = door.communicate(timeout=120)
    assert door.returncode == 0, err
    assert json.loads(out)["ending"] == "published"
    assert ids(shop) == list(range(500))


@pytest.mark.parametrize("door_dies_too", [False, True])
def test_warm_worker_killed_under_a_run(shop: Shop, door_dies_too: bool) -> None:
    shop.orders("orders-1.csv", range(200_000))
    assert shop.wap("up").returncode == 0
    worker = json.loads((shop.root / ".wap" / "temporal" / "worker.json").read_text())["pid"]
    with shop.start("orders", "--json") as door:
        assert door.stderr is not None
        for line in door.stderr:
            if "open the branch" in line:
                break
        os.kill(worker, signal.SIGKILL)
        if door_dies_too:
            door.kill()
            assert shop.result("orders")["ending"] == "published"
        else:
            out, err = door.communicate(timeout=200)
            assert door.returncode == 0, err
            assert json.loads(out)["ending"] == "published"
    assert ids(shop) == list(range(200_000))
    assert len(shop.data_files()) == 1
    assert shop.server() is None


def test_a_file_that_is_named_at_the_door_and_is_not_there_starts_nothing(shop: Shop) -> None:
    shop.orders("orders-[1].csv", range(3))
    for wrong in ("data/none.csv", "data/none-*.csv"):
        done = shop.run("orders", "--source", str(shop.root / wrong))
        assert (done.returncode, "no file is there" in done.stderr) == (2, True)
    assert shop.server() is None
    assert not (shop.root / ".wap" / "temporal").exists()
    there = shop.root / "data" / "orders-[1].csv"
    assert shop.result("orders", "--source", str(there))["ending"] == "published"
