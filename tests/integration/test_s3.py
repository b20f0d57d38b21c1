"""A project whose warehouse lies in S3, from its door: every ending, crashes, and a bad network."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import CONTRACT, PIPELINE, Shop
from tests.servers.proxy import Proxy
from tests.servers.seaweedfs import SeaweedFS

pytestmark = [pytest.mark.server, pytest.mark.slow]

#: Enough rows that compress badly: a data file is uploaded in several parts.
MANY = range(600_000)


@dataclass
class Lake:
    """A shop, its warehouse behind a proxy, and its keys in the environment only."""

    shop: Shop
    server: SeaweedFS
    proxy: Proxy
    bucket: str

    @property
    def env(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": self.server.key,
            "AWS_SECRET_ACCESS_KEY": self.server.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": self.server.endpoint,
        }

    def result(self, *, code: int = 0, **env: str) -> dict[str, Any]:
        return self.shop.result("orders", code=code, **{**self.env, **env})

    def wap(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        return self.shop.wap(*args, **{**self.env, **env})

    def start(self) -> subprocess.Popen[str]:
        return self.shop.start("orders", "--json", **self.env)

    def query(self, sql: str) -> list[dict[str, Any]]:
        done = self.wap("query", sql, "--json")
        assert done.returncode == 0, done.stderr
        return list(json.loads(done.stdout))

    def keys(self) -> set[str]:
        """All objects of the warehouse, and uploads that nobody ended."""
        return self.server.keys(self.bucket, "wh/") | self.server.uploads(self.bucket, "wh/")

    def data(self) -> set[str]:
        return {key for key in self.keys() if key.endswith(".parquet")}


@pytest.fixture
def lake(seaweedfs: SeaweedFS, shop: Shop):
    proxy = Proxy(seaweedfs.port)
    lake = Lake(shop, seaweedfs, proxy, seaweedfs.bucket())
    shop.write(
        "wap.toml",
        f'[project]\nname = "shop"\n[catalog]\nwarehouse = "s3://{lake.bucket}/wh"\n'
        f'[catalog.properties]\n"s3.endpoint" = "http://127.0.0.1:{proxy.port}"\n'
        '"s3.request-timeout" = "5"\n',
    )
    yield lake
    proxy.close()


@pytest.fixture
def shop(tmp_path: Path):
    shop = Shop(tmp_path / "shop")
    shop.write("pipelines/orders.yml", PIPELINE.format(write="{mode: append}", on_change="strict"))
    shop.write("contracts/orders.yml", CONTRACT)
    yield shop
    server = shop.server()
    if server is not None and server.pid is not None:
        os.kill(server.pid, signal.SIGKILL)


def _puts(key: str) -> Callable[[bytes], bool]:
    """A request that sends (a part of) an object whose key holds the text."""
    return lambda data: data.startswith(b"PUT ") and key.encode() in data.split(b"\r\n", 1)[0]


def _reads_data(data: bytes) -> bool:
    return data.startswith(b"GET ") and b".parquet" in data.split(b"\r\n", 1)[0]


def test_every_ending_and_no_secret_anywhere(lake):
    said = []

    def wap(*args: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = lake.wap(*args)
        said.append(done.stdout + done.stderr)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    lake.shop.orders("orders-1.csv", range(50), id="7")
    assert lake.result(code=1)["ending"] == "rejected"
    assert lake.keys() == set(), "a first load that was rejected leaves nothing"

    lake.shop.orders("orders-1.csv", range(50))
    first = lake.result()
    assert first["ending"] == "published"
    before = lake.data()
    lake.shop.orders("orders-2.csv", range(10))  # ids that are there already
    assert lake.result(code=1)["ending"] == "rejected"
    assert lake.data() == before
    lake.shop.orders("orders-2.csv", range(50, 60))
    assert lake.result()["ending"] == "published"
    assert json.loads(wap("verify", "--json").stdout)["ok"] is True
    assert "removed" in wap("doctor").stdout
    wap("rollback", "shop.orders", "--to", str(first["snapshot"]["after"]), "--yes")
    assert lake.query("select count(*) as n from shop.orders") == [{"n": 50}]
    wap("rebuild-ledger")
    assert json.loads(wap("branches", "--json").stdout) == []
    said.append(lake.wap("status", "--json").stdout)
    _assert_secret_is_nowhere(lake, said)


def _assert_secret_is_nowhere(lake: Lake, said: list[str]) -> None:
    secret = (lake.server.key.encode(), lake.server.secret.encode())
    files = [p for p in lake.shop.root.rglob("*") if p.is_file()]
    assert any("temporal" in str(p) for p in files), "the runs' histories are looked at"
    left = {str(path): path.read_bytes() for path in files}
    client = lake.server.client
    for key in lake.server.keys(lake.bucket):
        left[key] = client.get_object(Bucket=lake.bucket, Key=key)["Body"].read()
    left["what the commands said"] = "".join(said).encode()
    assert [name for name, content in left.items() if any(s in content for s in secret)] == []


def test_files_in_a_bucket_are_a_source(lake):
    """Globs, and what is loaded by etag: a new object is loaded, an old one is not again."""
    client = lake.server.client

    def put(number: int, ids: range) -> None:
        path = lake.shop.orders(f"out/{number}.csv", ids)
        client.put_object(Bucket=lake.bucket, Key=f"in/orders-{number}.csv", Body=path.read_bytes())

    text = PIPELINE.format(write="{mode: append}", on_change="strict")
    lake.shop.write(
        "pipelines/orders.yml", text.replace("data/orders-*.csv", f"s3://{lake.bucket}/in/*.csv")
    )
    put(1, range(10))
    assert lake.result()["rows"]["published"] == 10
    assert lake.result()["nothing_new"] is True
    put(2, range(10, 15))
    assert lake.result()["rows"]["published"] == 5
    assert lake.query("select count(*) as n from shop.orders") == [{"n": 15}]


def test_rows_are_replaced(lake):
    text = PIPELINE.format(write="{mode: replace, where: \"amount < '20.00'\"}", on_change="strict")
    lake.shop.write("pipelines/orders.yml", text)
    lake.shop.orders("orders-1.csv", range(50))
    lake.result()
    lake.shop.orders("orders-2.csv", range(100, 105), amount="1.00")
    assert lake.result()["ending"] == "published"
    assert lake.query("select count(*) as n, min(id) as first from shop.orders") == [
        {"n": 35, "first": 20}
    ]


def test_an_interrupt_in_the_middle_of_an_upload_leaves_nothing(lake):
    lake.shop.orders("orders-1.csv", MANY)
    with lake.proxy.fault("hang", _puts(".parquet?")) as met:
        door = lake.start()
        assert met.wait(60)
        door.send_signal(signal.SIGINT)
        out, err = door.communicate(timeout=120)
    assert (door.returncode, json.loads(out)["ending"]) == (3, "rolled_back"), err
    assert lake.keys() == set()


def test_killed_in_the_middle_of_an_upload_then_run_again_is_published_once(lake):
    lake.shop.orders("orders-1.csv", MANY)
    door: list[subprocess.Popen[str]] = []
    with lake.proxy.fault("swallow", _puts(".parquet?"), then=lambda: door.pop().kill()):
        started = lake.start()
        door.append(started)
        started.communicate(timeout=120)
    assert started.returncode == -signal.SIGKILL
    assert lake.server.uploads(lake.bucket, "wh/") != set(), "an upload was left behind"
    assert lake.result()["ending"] == "published"
    assert lake.query("select count(*) as n, count(distinct id) as d from shop.orders") == [
        {"n": len(MANY), "d": len(MANY)}
    ]
    assert lake.server.uploads(lake.bucket, "wh/") == set()


def test_a_network_that_breaks_while_it_is_staged_is_outlived(lake):
    """More often than one request is tried: the whole step is tried again."""
    lake.shop.orders("orders-1.csv", MANY)
    part = _puts(".parquet?")
    with lake.proxy.fault("refuse", part, times=4), lake.proxy.fault("swallow", part, times=2):
        result = lake.result()
    assert result["ending"] == "published"
    assert lake.query("select count(*) as n from shop.orders") == [{"n": len(MANY)}]
    assert lake.server.uploads(lake.bucket, "wh/") == set()


def test_a_network_that_breaks_in_the_audit_is_no_verdict(lake):
    lake.shop.orders("orders-1.csv", range(5000))
    with lake.proxy.fault("refuse", _reads_data, times=4):
        result = lake.result()
    assert result["ending"] == "published"
    assert result["checks"]["not_evaluated"] == 0


def test_answers_that_are_lost_while_it_is_committed_are_no_loss(lake):
    lake.shop.orders("orders-1.csv", range(50))
    with contextlib.ExitStack() as stack:
        for name in (".metadata.json", "snap-", "wap-evidence"):
            stack.enter_context(lake.proxy.fault("swallow", _puts(name), times=4))
        result = lake.result()
    assert result["ending"] == "published"
    assert lake.query("select count(*) as n from shop.orders") == [{"n": 50}]
    assert len(lake.data()) == 1


def test_settings_that_cannot_work_start_nothing(lake):
    lake.shop.orders("orders-1.csv", range(5))
    done = lake.shop.run("orders", **{**lake.env, "AWS_SECRET_ACCESS_KEY": "wrong"})
    assert (done.returncode, "does not take our credentials" in done.stderr) == (2, True)
    assert "Hint:" in done.stderr
    lake.proxy.cut()
    done = lake.shop.run("orders", **lake.env)
    assert (done.returncode, "S3 does not answer" in done.stderr) == (3, True), done.stderr
    assert lake.keys() == set()


def test_one_who_may_only_read_ends_rolled_back_and_is_told_why(lake):
    lake.shop.orders("orders-1.csv", range(5))
    key, secret = lake.server.reader
    env = {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
    result = lake.result(code=2, **env)
    assert result["ending"] == "rolled_back"
    assert "S3 denies put_object" in result["reason"]
    assert lake.keys() == set()
