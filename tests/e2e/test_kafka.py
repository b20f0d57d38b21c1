"""A topic through the door: published once, killed on the way, a bad record set aside."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterable

import pytest

from tests.servers.kafka import Kafka

pytestmark = [pytest.mark.server, pytest.mark.slow]

PIPELINE = """\
table: shop.orders
source:
  kind: kafka
  servers: {servers}
  topic: {topic}
  format: json
  malformed: {malformed}
  metadata: {{offset: kafka_offset}}
write: {{mode: append}}
schema: {{columns: {{id: long, customer: string, amount: "decimal(12,2)", placed: date}}}}
contracts: [contracts/orders.yml]
tags: {{customer: [pii]}}
"""


def orders(ids: Iterable[int], **more: str) -> list[str]:
    return [
        json.dumps(
            {"id": i, "customer": f"c{i}", "amount": f"{i}.50", "placed": "2026-01-01"} | more
        )
        for i in ids
    ]


def declare(shop, kafka: Kafka, topic: str, malformed: str = "fail") -> None:
    text = PIPELINE.format(servers=kafka.address, topic=topic, malformed=malformed)
    shop.write("pipelines/orders.yml", text)


def test_a_topic_is_published_once(shop, kafka):
    topic = kafka.topic(2)
    declare(shop, kafka, topic)
    kafka.send(topic, orders(range(100)), 0)
    kafka.send(topic, orders(range(100, 120)), 1)
    killed = shop.run("orders", "--json", WAP_DRILL="stage:after")
    assert killed.returncode == -signal.SIGKILL
    kafka.send(topic, orders(range(120, 125)), 1)
    first = shop.result("orders")
    assert (first["ending"], first["rows"]["read"], first["rows"]["published"]) == (
        "published", 120, 120,
    )  # fmt: skip
    killed = shop.run("orders", "--json", WAP_DRILL="publish:after")
    assert killed.returncode == -signal.SIGKILL
    assert shop.result("orders")["rows"]["published"] == 5
    assert shop.query(
        "select count(*) as n, count(distinct id) as d, max(kafka_offset) as o from shop.orders"
    ) == [{"n": 125, "d": 125, "o": 99}]

    kafka.send(topic, ["no json", *orders([200])])
    declare(shop, kafka, topic, "set_aside")
    aside = shop.result("orders")
    assert (aside["rows"]["read"], aside["rows"]["staged"], aside["rows"]["quarantined"]) == (
        2,
        1,
        1,
    )
    kept = next((shop.root / ".wap" / "rejects").glob("*.jsonl")).read_text()
    assert json.loads(kept)["file"] == f"{topic}-0, offset 100"
