"""A pipeline on Spark through the door: published, rejected without a trace, nothing new."""

from __future__ import annotations

import shutil

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from sqlalchemy import create_engine, text

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


SOURCES = {
    "orders": """\
source: {{kind: jdbc, url: {jdbc}, table: orders, user_env: SHOP_USER, password_env: SHOP_WORD,
  cursor: id, partition: {{column: id, count: 2}}}}
schema: {{}}
""",
    "events": """\
source: {{kind: kafka, servers: {kafka}, topic: {topic}, format: json, malformed: set_aside}}
schema: {{columns: {{id: long, amount: "decimal(12, 2)"}}}}
""",
}
DECLARED = """\
table: shop.{name}
{source}write: {{mode: append}}
contracts: [contracts/{name}.yml]
engine: spark
"""
UNIQUE = """\
dataset: wap/shop/{name}
columns: []
checks:
  - duplicate: {{columns: [id]}}
"""
TABLE = "create table orders (id bigint primary key, amount numeric(12, 2))"
ROWS = "insert into orders select i, i + 0.5 from generate_series({}, {}) i"


def execute(server, name: str, *statements: str) -> None:
    engine = create_engine(server.url(name))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def test_a_database_and_a_topic_on_spark(shop, postgres, kafka):
    need_java()
    database, topic = postgres.database(), kafka.topic(2)
    execute(postgres, database, TABLE, ROWS.format(1, 100))
    kafka.send(topic, [f'{{"id": {i}, "amount": "0.50"}}' for i in range(60)], 0)
    kafka.send(topic, ["odd", *(f'{{"id": {i}, "amount": "1"}}' for i in range(60, 80))], 1)
    places = {"jdbc": postgres.jdbc(database), "kafka": kafka.address, "topic": topic}
    shop.write("wap.toml", SETTINGS)
    for name, said in SOURCES.items():
        text_ = DECLARED.format(name=name, source=said.format(**places))
        shop.write(f"pipelines/{name}.yml", text_)
        shop.write(f"contracts/{name}.yml", UNIQUE.format(name=name))
    secrets = {"SHOP_USER": postgres.user, "SHOP_WORD": postgres.password}
    shop.wap("up", **secrets)
    try:
        first = shop.result("orders")
        assert (first["rows"]["read"], first["rows"]["published"]) == (100, 100)
        assert shop.result("orders")["nothing_new"] is True
        execute(postgres, database, ROWS.format(101, 107))
        assert shop.result("orders")["rows"]["published"] == 7

        events = shop.result("events")["rows"]
        assert (events["read"], events["staged"], events["quarantined"]) == (81, 80, 1)
        assert shop.result("events")["nothing_new"] is True
    finally:
        shop.wap("down")
    assert shop.query("select count(*) as n, sum(amount) as s from shop.orders") == [
        {"n": 107, "s": "5831.50"}
    ]
    assert shop.query("select count(distinct id) as n from shop.events") == [{"n": 80}]
    for path in (p for p in shop.root.rglob("*") if p.is_file() and p.suffix != ".parquet"):
        assert postgres.password.encode() not in path.read_bytes(), path


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
