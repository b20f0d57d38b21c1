"""A Kafka topic as a source: which offsets, which rows, which are refused, and what is an error."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from confluent_kafka.admin import NewPartitions

from tests.servers.kafka import USER, Kafka
from wap.errors import (
    BatchRefusedError,
    ConfigError,
    SourceError,
    SourceUnavailableError,
)
from wap.pipeline import Schema
from wap.source_sections import KafkaSource as Spec
from wap.sources import kafka_client, open_source
from wap.sources.base import Counts, Cursor, Interval, Plan, Source

pytestmark = pytest.mark.server

COLUMNS = {"id": "long", "amount": "decimal(12, 2)", "placed": "date"}


@dataclass
class Read:
    rows: list[dict[str, Any]]
    counts: Counts


def source(
    server: Kafka,
    topic: str,
    columns: Schema | None = None,
    rejects: Path | None = None,
    **more: Any,
) -> Source:
    spec = {"kind": "kafka", "servers": server.address, "topic": topic, "format": "json", **more}
    said = columns or Schema(columns=COLUMNS)
    return open_source(Spec.model_validate(spec), Path(), columns=said, rejects=rejects)


def read(one: Source, plan: Plan) -> Read:
    schema = one.schema(plan)
    with one.open(plan, schema) as extract:
        batches = list(extract.batches())
        assert all(batch.schema.equals(schema) for batch in batches)
        counts = extract.finish()
    return Read(pa.Table.from_batches(batches, schema).to_pylist(), counts)


def orders(ids: Sequence[int]) -> list[str]:
    return [json.dumps({"id": i, "amount": f"{i}.50", "placed": "2026-01-02"}) for i in ids]


def ids(found: Read) -> list[int]:
    return sorted(row["id"] for row in found.rows)


def test_each_record_is_read_once(kafka):
    topic = kafka.topic(2)
    one = source(kafka, topic)
    assert one.plan(None, everything=False).empty
    kafka.send(topic, orders(range(5)), 0)
    kafka.send(topic, orders(range(5, 8)), 1)
    first = one.plan(None, everything=False)
    assert first.work["ranges"] == [[0, 0, 5], [1, 0, 3]]
    assert (first.empty, first.summary) == (False, f"8 offsets of {topic}")
    kafka.send(topic, orders([8]), 1)
    found = read(one, first)
    assert ids(found) == list(range(8)), "what came behind the plan is for the next run"
    assert (found.counts.read, found.counts.rejected) == (8, 0)
    assert found.rows[0]["placed"].isoformat() == "2026-01-02"
    assert str(found.rows[0]["amount"]) == "0.50"

    cursor = Cursor.model_validate_json(one.advance(None, first).model_dump_json())
    second = one.plan(cursor, everything=False)
    assert second.work["ranges"] == [[1, 3, 4]]
    assert ids(read(one, second)) == [8]
    assert one.plan(one.advance(cursor, second), everything=False).empty


def test_the_same_offsets_have_the_same_digest(kafka):
    topic = kafka.topic()
    kafka.send(topic, orders([1]))
    one = source(kafka, topic)
    digest = one.plan(None, everything=False).digest
    assert one.plan(None, everything=False).digest == digest
    kafka.send(topic, orders([2]))
    assert one.plan(None, everything=False).digest != digest


def test_what_another_run_has_read_is_done(kafka):
    topic = kafka.topic()
    kafka.send(topic, orders([1]))
    one = source(kafka, topic)
    plan = one.plan(None, everything=False)
    assert not one.done(None, plan)
    cursor = one.advance(None, plan)
    assert one.done(cursor, plan)
    kafka.send(topic, orders([2]))
    later = one.plan(cursor, everything=False)
    assert not one.done(cursor, later)
    assert one.done(None, later), "main was moved back: what is there now is not what was planned"


def test_replace_reads_all_there_is_when_anything_is_new(kafka):
    topic = kafka.topic()
    kafka.send(topic, orders([1, 2]))
    one = source(kafka, topic)
    cursor = one.advance(None, one.plan(None, everything=True))
    assert one.plan(cursor, everything=True).empty
    kafka.send(topic, orders([3]))
    assert ids(read(one, one.plan(cursor, everything=True))) == [1, 2, 3]


def test_partitions_that_are_added_are_read_from_their_start(kafka):
    topic = kafka.topic()
    kafka.send(topic, orders([1]))
    one = source(kafka, topic)
    cursor = one.advance(None, one.plan(None, everything=False))
    kafka.done(kafka.admin.create_partitions([NewPartitions(topic, 2)]))
    kafka.send(topic, orders([2, 3]), 1)
    assert one.plan(cursor, everything=False).work["ranges"] == [[1, 0, 2]]


# --- what is no row ------------------------------------------------------------------------------

BAD = [
    '{"id": 1, "amount": "1.00", "placed": "2026-01-01"}',
    '{"id": "x"}',
    "not json",
    None,
    '{"id": 2, "amount": "1.005"}',
    '{"id": 3, "colour": "red"}',
    '{"id": 4,\n "amount": "4.00"}',
    '{"id": 5} {"id": 6}',
    "[1]",
    "{broken}",
]
REASONS = [
    (1, "id"),
    (2, "the value is not a JSON object"),
    (3, "the record has no value"),
    (4, "does not fit decimal(12, 2)"),
    (5, "unknown key 'colour'"),
    (7, "not JSON"),
    (8, "the value is not a JSON object"),
    (9, "not JSON"),
]


def test_records_that_are_no_rows_are_set_aside_with_their_offset(kafka, tmp_path):
    topic = kafka.topic()
    kafka.send(topic, BAD)
    kept = tmp_path / "rejects.jsonl"
    one = source(kafka, topic, malformed="set_aside", rejects=kept)
    found = read(one, one.plan(None, everything=False))
    assert ids(found) == [1, 4]
    assert (found.counts.read, found.counts.rejected) == (10, 8)
    lines = [json.loads(line) for line in kept.read_text().splitlines()]
    assert [line["file"] for line in lines] == [f"{topic}-0, offset {n}" for n, _ in REASONS]
    for line, (_, reason) in zip(lines, REASONS, strict=True):
        assert reason in line["reason"]


def test_or_refuse_the_batch(kafka):
    topic = kafka.topic()
    kafka.send(topic, BAD)
    one = source(kafka, topic)
    with pytest.raises(BatchRefusedError) as caught:
        read(one, one.plan(None, everything=False))
    assert len(caught.value.differences) == 8
    assert caught.value.where == f"{topic}-0, offset 1"


def test_undeclared_keys_are_left_out_when_the_pipeline_says_so(kafka):
    topic = kafka.topic()
    kafka.send(topic, ['{"id": 3, "colour": "red"}'])
    one = source(kafka, topic, Schema(columns={"id": "long"}, on_change="ignore"))
    assert read(one, one.plan(None, everything=False)).rows == [{"id": 3}]


def test_what_kafka_says_of_a_record(kafka):
    topic = kafka.topic(2)
    producer = kafka.producer()
    at = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
    producer.produce(topic, '{"id": "x"}', partition=1)
    producer.produce(topic, '{"id": 1}', key="k", partition=1, timestamp=int(at.timestamp() * 1000))
    producer.produce(topic, '{"id": 2}', partition=1)
    producer.flush()
    names = {"key": "k", "partition": "p", "offset": "o", "timestamp": "t"}
    one = source(kafka, topic, Schema(columns={"id": "int"}), metadata=names, malformed="set_aside")
    first, second = read(one, one.plan(None, everything=False)).rows
    assert first == {"id": 1, "k": "k", "p": 1, "o": 1, "t": at}
    assert (second["k"], second["o"]) == (None, 2)


# --- what is lost or not there -------------------------------------------------------------------


def test_records_that_retention_took_before_a_run_came_are_an_error(kafka):
    topic = kafka.topic()
    kafka.send(topic, orders(range(4)))
    one = source(kafka, topic)
    cursor = one.advance(None, one.plan(None, everything=False))
    kafka.send(topic, orders(range(4, 9)))
    kafka.cut(topic, 0, 6)
    with pytest.raises(SourceError, match="offset 4 was to be read next, and 6 is") as caught:
        one.plan(cursor, everything=False)
    assert caught.value.where == f"{topic}-0"
    assert ids(read(one, one.plan(cursor, everything=True))) == [6, 7, 8]


@pytest.mark.parametrize("gaps", ["fail", "allow"])
def test_records_that_retention_took_between_plan_and_read_are_an_error(kafka, gaps):
    topic = kafka.topic()
    kafka.send(topic, orders(range(4)))
    one = source(kafka, topic, gaps=gaps)
    plan = one.plan(None, everything=False)
    kafka.cut(topic, 0, 2)
    with pytest.raises(SourceError, match="lost"):
        read(one, plan)


def test_records_that_retention_takes_while_they_are_read_are_an_error(kafka):
    topic = kafka.topic()
    kafka.send(topic, orders(range(4)))
    one = source(kafka, topic, gaps="allow")
    plan = one.plan(None, everything=False)
    with one.open(plan, one.schema(plan)) as extract:
        list(extract.batches())
        kafka.cut(topic, 0, 2)
        with pytest.raises(SourceError, match="lost"):
            extract.finish()


def test_a_topic_made_anew_is_another_one(kafka):
    topic = kafka.topic()
    kafka.send(topic, orders([1]))
    one = source(kafka, topic)
    cursor = one.advance(None, one.plan(None, everything=False))
    kafka.drop(topic)
    kafka.make(topic, 1)
    kafka.send(topic, orders([2, 3]))
    with pytest.raises(SourceError, match="another topic"):
        one.plan(cursor, everything=False)
    assert ids(read(one, one.plan(cursor, everything=True))) == [2, 3]


def aborted(server: Kafka, topic: str) -> None:
    producer = server.producer(**{"transactional.id": topic})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(topic, '{"id": 99}', partition=0)
    producer.flush()
    producer.abort_transaction()


def ends_at(one: Source, offset: int) -> None:
    """Wait until the broker has marked the end of what was aborted, which it does in its time."""
    deadline = time.monotonic() + 30
    while one.plan(None, everything=False).work["ranges"][0][2] < offset:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_gaps_of_transactions_are_told_unless_they_are_allowed(kafka):
    topic = kafka.topic()
    strict = source(kafka, topic)
    kafka.send(topic, orders([1]))
    aborted(kafka, topic)
    ends_at(strict, 3)
    kafka.send(topic, orders([2]))
    aborted(kafka, topic)
    ends_at(strict, 6)
    with pytest.raises(SourceError, match="offset 1 has no record: the next one is 3"):
        read(strict, strict.plan(None, everything=False))
    one = source(kafka, topic, gaps="allow")
    plan = one.plan(None, everything=False)
    assert plan.work["ranges"] == [[0, 0, 6]]
    found = read(one, plan)
    assert (ids(found), found.counts.read) == ([1, 2], 2)
    assert one.plan(one.advance(None, plan), everything=False).empty


def test_a_transaction_that_is_open_is_not_read_into(kafka):
    topic = kafka.topic()
    kafka.send(topic, orders([1]))
    producer = kafka.producer(**{"transactional.id": topic})
    producer.init_transactions()
    producer.begin_transaction()
    producer.produce(topic, '{"id": 2}', partition=0)
    producer.flush()
    one = source(kafka, topic, gaps="allow")
    plan = one.plan(None, everything=False)
    assert plan.work["ranges"] == [[0, 0, 1]]
    cursor = one.advance(None, plan)
    producer.commit_transaction()
    ends_at(one, 3)
    assert ids(read(one, one.plan(cursor, everything=False))) == [2]


def test_no_topic_no_server_no_interval_no_foreign_cursor(kafka, monkeypatch):
    monkeypatch.setattr(kafka_client, "ANSWER_SECONDS", 2.0)
    with pytest.raises(SourceError, match="no such topic"):
        source(kafka, "nobody").plan(None, everything=False)
    with pytest.raises(SourceUnavailableError):
        source(kafka, "t", servers="127.0.0.1:1").plan(None, everything=False)
    one = source(kafka, kafka.topic())
    interval = Interval(column="id", start="1", end="2")
    with pytest.raises(ConfigError, match="no data interval"):
        one.plan(None, everything=False, interval=interval)
    with pytest.raises(SourceError, match="kind 'files'"):
        one.plan(Cursor(kind="files", state={}), everything=False)


def test_user_and_password_come_from_the_environment(kafka, monkeypatch):
    topic = kafka.topic()
    kafka.send(topic, orders([1]))
    named = {"user_env": "K_USER", "password_env": "K_WORD", "servers": kafka.guarded}
    one = source(kafka, topic, **named)
    with pytest.raises(ConfigError, match="K_USER is not set"):
        one.plan(None, everything=False)
    monkeypatch.setenv("K_USER", USER)
    monkeypatch.setenv("K_WORD", kafka.password)
    assert ids(read(one, one.plan(None, everything=False))) == [1]
    monkeypatch.setenv("K_WORD", "wrong-word")
    monkeypatch.setattr(kafka_client, "ANSWER_SECONDS", 3.0)
    with pytest.raises(SourceError, match="does not let this user in") as caught:
        one.plan(None, everything=False)
    assert "wrong-word" not in str(caught.value)
