"""A pipeline on Spark through the door: published, rejected without a trace, nothing new."""

from __future__ import annotations

import shutil

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from tests.servers.spark import need_java

pytestmark = [pytest.mark.server, pytest.mark.slow]

SETTINGS = """\
[project]
name = "shop"
[spark]
master = "local[2]"
[spark.conf]
"spark.sql.shuffle.partitions" = "2"
"""


def test_a_pipeline_on_spark(shop):
    need_java()
    shop.write("wap.toml", SETTINGS)
    pipeline = shop.root / "pipelines" / "orders.yml"
    pipeline.write_text(pipeline.read_text() + "engine: spark\n")
    shop.orders("orders-1.csv", range(100))
    shop.orders("orders-2.csv", range(100, 150))
    shop.wap("up")  # one worker, and so one Spark, for all three runs
    try:
        first = shop.result("orders")
        assert (first["ending"], first["rows"]["published"]) == ("published", 150)
        assert shop.query("select count(*) as n, sum(amount) as s from shop.orders") == [
            {"n": 150, "s": "11250.00"}
        ]
        published = shop.files()

        bad = shop.orders("orders-3.csv", range(150, 160), amount="-1")
        second = shop.result("orders", code=1)
        assert second["ending"] == "rejected"
        assert "10 of 160 rows" in second["reason"]
        assert [f for f in shop.files() if not f.endswith(".metadata.json")] == [
            f for f in published if not f.endswith(".metadata.json")
        ]
        bad.unlink()

        third = shop.result("orders")
        assert third["nothing_new"] is True
    finally:
        shop.wap("down")
    uri = f"sqlite:///{shop.root}/.wap/catalog.db"
    plain = SqlCatalog("shop", uri=uri, warehouse=f"file://{shop.root}/warehouse")
    assert plain.load_table("shop.orders").scan().to_arrow().num_rows == 150
    assert not [f for f in shop.files() if "scratch-" in f or f.endswith(".crc")]


def test_large_input_is_taken_by_spark_and_without_java_the_run_says_so(shop, tmp_path):
    """Nothing of Spark is needed, or started, for a run below the threshold."""
    assert shutil.which("java") is None or need_java() is None
    shop.orders("orders-1.csv", range(10))
    shop.write("wap.toml", '[project]\nname = "shop"\n[engine]\nspark_from = "64MB"\n')
    nowhere = {"JAVA_HOME": str(tmp_path / "nowhere")}
    assert shop.result("orders", **nowhere)["ending"] == "published"
    pipeline = shop.root / "pipelines" / "orders.yml"
    pipeline.write_text(pipeline.read_text() + "engine: spark\n")
    shop.orders("orders-2.csv", range(10, 20))
    failed = shop.result("orders", code=2, **nowhere)
    assert "Spark needs Java" in failed["reason"]
    assert shop.branches() == []
