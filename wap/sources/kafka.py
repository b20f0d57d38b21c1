"""The source ``kafka``: a topic's records between two offsets of each partition."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa

from wap.errors import ConfigError, SourceError
from wap.pipeline import Schema
from wap.source_sections import KafkaSource as Spec
from wap.sources.base import Cursor, Extract, Interval, Plan, Source
from wap.sources.extract import InputsExtract, open_rejects
from wap.sources.kafka_client import Held, held, lost
from wap.sources.kafka_reader import METADATA, KafkaReader, OffsetRange, parts_of
from wap.types import iceberg_schema, to_arrow

VERSION = 1


class KafkaSource(Source):
    """Records, each loaded once.

    The published state says the next offset of each partition. A plan fixes where each one is
    read to, so that every attempt reads the same; what comes later is for the next run.
    """

    kind = "kafka"

    def __init__(self, spec: Spec, columns: Schema, *, rejects: Path | None = None) -> None:
        """A source from a pipeline's sections.

        Args:
            spec: the section ``source``.
            columns: the section ``schema``: the columns are those that are declared.
            rejects: where all records that are set aside are kept, as JSON lines.
        """
        self.spec = spec
        self.columns = columns
        self.rejects = rejects

    def plan(
        self, since: Cursor | None, *, everything: bool, interval: Interval | None = None
    ) -> Plan:
        """See the port.

        Raises:
            SourceError: records that no run has read are gone, or the topic is another one.
        """
        if interval is not None:
            raise ConfigError("a Kafka source has no data interval", where=self.spec.location)
        found = held(self.spec)
        starts = {n: first for n, (first, _) in found.offsets.items()}
        if not everything:
            starts |= self._following(since, found)
        ends = {n: end for n, (_, end) in found.offsets.items()}
        is_new = since is None or since.state != self._state(found.id, ends)
        ranges = [[n, starts[n], ends[n]] for n in sorted(ends) if starts[n] < ends[n]]
        return self._plan(found, ranges if is_new else [], ends, since)

    def _following(self, since: Cursor | None, found: Held) -> dict[int, int]:
        """Where each partition is read on; one that is new since the last run from its start."""
        if since is None:
            return {}
        since.refuse_other(self.kind, VERSION)
        state: Any = since.state
        if (state["topic"], state["id"]) != (self.spec.topic, found.id):
            raise SourceError(
                f"the table was loaded from another topic, {state['topic']} of id {state['id']}",
                where=self.spec.location,
                hint="its offsets mean nothing here, also if the topic was made anew under its "
                "name; load into a new table, or once with write: {mode: replace}",
            )
        return {n: self._next(n, found, state["offsets"].get(str(n), 0)) for n in found.offsets}

    def _next(self, partition: int, found: Held, wanted: int) -> int:
        first, end = found.offsets[partition]
        if first > wanted:
            raise lost(f"{self.spec.topic}-{partition}", wanted, first)
        if end < wanted:
            raise SourceError(
                f"the partition ends at offset {end}, and it was loaded up to {wanted}",
                where=f"{self.spec.topic}-{partition}",
                hint="Kafka has lost records; load the topic into a new table",
            )
        return wanted

    def _plan(
        self, found: Held, ranges: list[list[int]], ends: dict[int, int], since: Cursor | None
    ) -> Plan:
        work: dict[str, Any] = {
            "ranges": ranges,
            "after": since.state if since else None,
            "next": self._state(found.id, ends),
            "inputs": [
                {"path": f"{self.spec.topic}-{n}", "version": f"{start}..{end}"}
                for n, start, end in ranges
            ],
        }
        facts = {"kind": self.kind, "topic": found.id, "ranges": ranges}
        count = sum(end - start for _, start, end in ranges)
        return Plan(
            kind=self.kind,
            work=work,
            digest=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
            empty=not ranges,
            summary=f"{count:,} offsets of {self.spec.topic}" if ranges else "nothing new",
        )

    def schema(self, plan: Plan) -> pa.Schema:
        """See the port: the columns as they are declared."""
        del plan
        said = {name: METADATA[fact] for fact, name in self.spec.metadata.columns.items()}
        return to_arrow(iceberg_schema({**self.columns.columns, **said}))

    @contextmanager
    def open(
        self, plan: Plan, schema: pa.Schema, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Extract]:
        """See the port."""
        planned: Any = plan.work["ranges"]
        ranges = [OffsetRange(self.spec, *one) for one in planned]
        reader = KafkaReader(self.spec, closed=self.columns.on_change == "strict")
        with ExitStack() as stack:
            yield InputsExtract(
                reader=reader,
                files=ranges,
                schema=schema,
                bounds=None,
                set_aside=self.spec.malformed == "set_aside",
                rejects=open_rejects(self.rejects, stack),
                cancelled=cancelled,
                cut=lambda: parts_of(reader, ranges, schema),
            )

    def advance(self, since: Cursor | None, plan: Plan) -> Cursor:
        """See the port."""
        del since
        state: Any = plan.work["next"]
        return Cursor(kind=self.kind, version=VERSION, state=state)

    def done(self, since: Cursor | None, plan: Plan) -> bool:
        """See the port: whatever moved the offsets took some of what this plan is to take."""
        return (since.state if since else None) != plan.work["after"]

    def outdated(self, since: Cursor | None, now: Cursor | None, plan: Plan) -> bool:
        """See the port: records at their offsets stay what they are."""
        del since, now, plan
        return False

    def _state(self, topic: str, ends: dict[int, int]) -> dict[str, Any]:
        offsets = {str(n): end for n, end in sorted(ends.items())}
        return {"topic": self.spec.topic, "id": topic, "offsets": offsets}
