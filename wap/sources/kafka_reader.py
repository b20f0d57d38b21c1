"""Records of some offsets of a topic as batches: parsed like JSON lines, counted by offsets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import IO, Any

import pyarrow as pa

from wap.errors import SourceError
from wap.source_sections import KafkaSource as Spec
from wap.sources.base import Part, Reject
from wap.sources.blocks import Block, Malformed
from wap.sources.extract import InputsExtract
from wap.sources.json_reader import RecordParser
from wap.sources.kafka_client import held, lost, records
from wap.sources.reading import Parsed, Progress

#: Offsets of one part; their bytes are only guessed, for nobody tells them before they are read.
PORTION_RECORDS = 100_000
_RECORD_BYTES = 500

#: Iceberg's types of what Kafka says of a record.
METADATA = {"key": "string", "partition": "int", "offset": "long", "timestamp": "timestamptz"}


@dataclass(frozen=True)
class OffsetRange:
    """Some offsets of a partition, ``[start, end)``; see :class:`wap.sources.reading.Input`."""

    spec: Spec
    partition: int
    start: int
    end: int

    @property
    def path(self) -> str:
        """As Kafka's own tools write it."""
        return f"{self.spec.topic}-{self.partition}"

    @property
    def key(self) -> tuple[int, int, int]:
        """Records never change."""
        return (self.partition, self.start, self.end)

    def now(self) -> OffsetRange:
        """The same, if all of it is still there.

        Raises:
            SourceError: retention deleted some of it.
        """
        first, _ = held(self.spec).offsets[self.partition]
        if first > self.start:
            raise lost(self.path, self.start, first)
        return self


@dataclass(frozen=True)
class KafkaReader:
    """Reads ranges of offsets.

    Attributes:
        spec: the pipeline's ``source`` section.
        closed: a key that is no column makes a record malformed.
    """

    spec: Spec
    closed: bool

    def read(self, file: OffsetRange, schema: pa.Schema, progress: Progress) -> Iterator[Parsed]:
        """See :class:`wap.sources.reading.InputReader`.

        Raises:
            SourceError: an offset of the range has no record, and none may lack.
        """
        said = set(self.spec.metadata.columns.values())
        told = pa.schema([field for field in schema if field.name not in said])
        parser = RecordParser(file.path, told, closed=self.closed)
        following = file.start
        for messages in records(self.spec, file.partition, file.start, file.end):
            for message in messages:
                self._follow(file, following, message.offset())
                following = message.offset() + 1
            progress(sum(len(m.value() or b"") for m in messages))
            yield self._parsed(messages, schema, parser)
        self._follow(file, following, file.end)

    def _follow(self, file: OffsetRange, wanted: int, found: int) -> None:
        """Refuse an offset that was jumped over: nobody could tell why it is not there."""
        if found != wanted and (found < wanted or self.spec.gaps == "fail"):
            raise SourceError(
                f"offset {wanted} has no record: the next one is {found}",
                where=file.path,
                hint="transactions and compaction leave such gaps; if the topic has either, say "
                "source: {gaps: allow}",
            )

    def _parsed(self, messages: Sequence[Any], schema: pa.Schema, parser: RecordParser) -> Parsed:
        if not messages:
            return Parsed([], 0)
        parsed = parser(_block(messages))
        bad = {reject.line for reject in parsed.rejects}
        kept = [m for m in messages if m.offset() not in bad]
        table = pa.Table.from_batches(parsed.batches, parser.schema)
        for fact, name in self.spec.metadata.columns.items():
            if name in schema.names:
                values = [_FACTS[fact](m) for m in kept]
                table = table.append_column(name, pa.array(values, schema.field(name).type))
        return Parsed(
            table.select(schema.names).to_batches(), len(messages), _named(parsed.rejects)
        )


def _named(rejects: Sequence[Reject]) -> list[Reject]:
    """What was refused, in the order of offsets; those stand where files have lines."""
    found = sorted(rejects, key=lambda reject: reject.line or 0)
    return [replace(r, file=f"{r.file}, offset {r.line}", line=None) for r in found]


def _block(messages: Sequence[Any]) -> Block:
    """The records as lines; what cannot be one is malformed. Their offsets stand for lines."""
    lines, offsets, malformed = [], [], []
    for message in messages:
        value, problem = _line(message.value())
        if problem:
            text = value.decode(errors="replace")
            malformed.append(Malformed(message.offset(), 1, text, problem))
        else:
            lines.append(value + b"\n")
            offsets.append(message.offset())
    data = pa.py_buffer(b"".join(lines))
    return Block(data, messages[0].offset(), len(lines), tuple(malformed), offsets)


def _line(value: bytes | None) -> tuple[bytes, str]:
    """A record's value on one line, and what is wrong with it."""
    if value is None:
        return b"", "the record has no value"
    text = value.strip()
    if not text.startswith(b"{"):
        return value, "the value is not a JSON object"
    if b"\n" in text or b"\r" in text:
        try:
            text = json.dumps(json.loads(text), ensure_ascii=False).encode()
        except ValueError as exc:
            return value, f"the value is not JSON: {exc}"
    return text, ""


def _time(message: Any) -> datetime | None:
    kind, milliseconds = message.timestamp()
    # 0: a producer so old that it told none.
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if kind else None


def _key(message: Any) -> str | None:
    key = message.key()
    return None if key is None else key.decode(errors="replace")


_FACTS = {
    "key": _key,
    "partition": lambda message: message.partition(),
    "offset": lambda message: message.offset(),
    "timestamp": _time,
}


@dataclass(frozen=True)
class KafkaPart:
    """Some offsets of one partition; see :class:`wap.sources.base.Part`."""

    reader: KafkaReader
    range: OffsetRange
    schema: pa.Schema

    @property
    def name(self) -> str:
        """See the port."""
        return self.range.path

    @property
    def bytes(self) -> int:
        """See the port; a guess."""
        return (self.range.end - self.range.start) * _RECORD_BYTES

    def open(self, rejects: IO[str] | None = None) -> InputsExtract[OffsetRange]:
        """See the port."""
        return InputsExtract(
            reader=self.reader,
            files=[self.range],
            schema=self.schema,
            bounds=None,
            set_aside=self.reader.spec.malformed == "set_aside",
            rejects=rejects,
            cancelled=lambda: False,
        )


def parts_of(
    reader: KafkaReader, ranges: Sequence[OffsetRange], schema: pa.Schema
) -> tuple[Part, ...]:
    """The ranges in portions, in order."""
    return tuple(
        KafkaPart(reader, replace(one, start=at, end=min(one.end, at + PORTION_RECORDS)), schema)
        for one in ranges
        for at in range(one.start, one.end, PORTION_RECORDS)
    )
