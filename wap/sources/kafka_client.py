"""The only code that talks to Kafka: what a topic holds, and the records of some offsets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from wap.errors import NotInstalledError, SourceError, SourceUnavailableError
from wap.source_sections import KafkaSource as Spec
from wap.sources.credentials import credentials

#: So long the servers may take to answer a question, and a partition to give its next record.
ANSWER_SECONDS = 15.0
SILENCE_SECONDS = 60.0
_BATCH_RECORDS = 5_000
_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Held:
    """What a topic holds now.

    Attributes:
        id: the topic's own, which a topic made anew under its name does not have.
        offsets: by partition, the first offset that is there and the one behind the last that
            is committed.
    """

    id: str
    offsets: dict[int, tuple[int, int]]


@dataclass
class _Said:
    """What a client was told in the background: why nothing answers."""

    errors: list[Any] = field(default_factory=list)

    def __call__(self, error: Any) -> None:
        self.errors.append(error)


def held(spec: Spec) -> Held:
    """What the topic holds now; records of open transactions do not count.

    Raises:
        ConfigError: a variable with the credentials is not set.
        SourceError: there is no such topic, or it may not be read.
        SourceUnavailableError: the servers do not answer.
    """
    said = _Said()
    admin_module = _library("confluent_kafka.admin")
    kafka = _library("confluent_kafka")
    with _translated(spec, said):
        admin = admin_module.AdminClient(_conf(spec, said))
        try:
            asked = kafka.TopicCollection([spec.topic])
            topics = admin.describe_topics(asked, request_timeout=ANSWER_SECONDS)
            told = topics[spec.topic].result()
            numbers = [p.id for p in told.partitions]
            first = _listed(spec, admin, numbers, admin_module.OffsetSpec.earliest())
            ends = _listed(spec, admin, numbers, admin_module.OffsetSpec.latest())
        finally:
            admin.poll(0)  # only then is it told why nothing answers
        return Held(str(told.topic_id), {n: (first[n], ends[n]) for n in sorted(numbers)})


def _listed(spec: Spec, admin: Any, partitions: list[int], which: Any) -> dict[int, int]:
    kafka = _library("confluent_kafka")
    futures = admin.list_offsets(
        {kafka.TopicPartition(spec.topic, n): which for n in partitions},
        isolation_level=kafka.IsolationLevel.READ_COMMITTED,
        request_timeout=ANSWER_SECONDS,
    )
    return {at.partition: int(future.result().offset) for at, future in futures.items()}


def records(spec: Spec, partition: int, start: int, end: int) -> Iterator[list[Any]]:
    """The records of ``[start, end)`` of a partition, some at a time; [] while none comes.

    Raises:
        ConfigError: a variable with the credentials is not set.
        SourceError: the offsets are not there any more.
        SourceUnavailableError: the servers give nothing, or not yet all of it.
    """
    kafka, said = _library("confluent_kafka"), _Said()
    with _translated(spec, said), _consumer(spec, said) as consumer:
        consumer.assign([kafka.TopicPartition(spec.topic, partition, start)])
        silent = 0.0
        while True:
            messages = consumer.consume(_BATCH_RECORDS, _POLL_SECONDS)
            good = [m for m in messages if m.error() is None]
            yield [m for m in good if m.offset() < end]
            at = max((m.offset() for m in good), default=-1)
            if at >= end - 1 or _is_read(spec, messages, partition, end):
                return
            silent = 0.0 if messages else silent + _POLL_SECONDS
            if said.errors and silent >= ANSWER_SECONDS:
                raise kafka.KafkaException(said.errors[-1])
            if silent >= SILENCE_SECONDS:
                raise _unavailable(spec, f"partition {partition} gives no record")


def _is_read(spec: Spec, messages: list[Any], partition: int, end: int) -> bool:
    """Whether the partition ended, and not before ``end``; other errors are raised."""
    kafka = _library("confluent_kafka")
    for message in messages:
        error = message.error()
        if error is None:
            continue
        if error.code() != kafka.KafkaError._PARTITION_EOF:  # noqa: SLF001 - its documented name
            raise kafka.KafkaException(error)
        if message.offset() < end:
            raise _unavailable(spec, f"partition {partition} ends at {message.offset()} for now")
        return True
    return False


@contextmanager
def _consumer(spec: Spec, said: _Said) -> Iterator[Any]:
    conf = {
        # Needed by the library; nothing is ever committed to it: our cursor is the table's.
        "group.id": "wap",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "error",
        "isolation.level": "read_committed",
        "enable.partition.eof": True,
        # Else it reads ahead without regard to our memory.
        "queued.max.messages.kbytes": 16_384,
    }
    consumer = _library("confluent_kafka").Consumer({**_conf(spec, said), **conf})
    try:
        yield consumer
    finally:
        consumer.close()


def _conf(spec: Spec, said: Callable[[Any], None]) -> dict[str, Any]:
    sasl = credentials(spec.user_env, spec.password_env, spec.location)
    conf: dict[str, Any] = {
        "bootstrap.servers": spec.servers,
        "client.id": "wap",
        "security.protocol": f"{'SASL_' if sasl else ''}{'SSL' if spec.tls else 'PLAINTEXT'}",
        # It would print on its own what we say as an error.
        "log_level": 0,
        "error_cb": said,
    }
    if sasl:
        conf |= {
            "sasl.mechanism": spec.mechanism,
            "sasl.username": sasl[0],
            "sasl.password": sasl[1],
        }
    return conf


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ModuleNotFoundError as exc:
        raise NotInstalledError(
            "a Kafka source needs the package confluent-kafka",
            hint="pip install 'wap-lakehouse[kafka]'",
        ) from exc


def lost(where: str, wanted: int, first: int) -> SourceError:
    """The error that says that records are gone which no run has read."""
    return SourceError(
        f"records are lost: offset {wanted} was to be read next, and {first} is the first there is",
        where=where,
        hint="retention deleted them before a run came; run more often, or keep them longer. To go "
        "on without them load the topic into a new table, or once with write: {mode: replace}",
    )


def _unavailable(spec: Spec, what: str) -> SourceUnavailableError:
    return SourceUnavailableError(
        what, where=spec.location, hint="check the servers, the network, and open transactions"
    )


@contextmanager
def _translated(spec: Spec, said: _Said) -> Iterator[None]:
    kafka = _library("confluent_kafka")
    try:
        yield
    except kafka.KafkaException as exc:
        raise _ours(spec, exc.args[0], said) from exc


def _ours(spec: Spec, error: Any, said: _Said) -> SourceError:
    kinds = _library("confluent_kafka").KafkaError
    denied = {
        kinds._AUTHENTICATION,  # noqa: SLF001 - its documented name
        kinds.SASL_AUTHENTICATION_FAILED,
        kinds.TOPIC_AUTHORIZATION_FAILED,
        kinds.GROUP_AUTHORIZATION_FAILED,
        kinds.CLUSTER_AUTHORIZATION_FAILED,
    }
    codes = {error.code(), *(e.code() for e in said.errors)}
    if codes & denied:
        return SourceError(
            "Kafka does not let this user in, or not to this topic",
            where=spec.location,
            hint="check the variables of user_env and password_env, mechanism, tls, and its ACLs",
        )
    gone = {kinds._AUTO_OFFSET_RESET, kinds.OFFSET_OUT_OF_RANGE}  # noqa: SLF001 - as above
    if error.code() in gone:
        return SourceError(
            "records are lost: the offsets to be read are not there any more",
            where=spec.location,
            hint="retention deleted them before they were read; run again to see which",
        )
    if error.code() in {kinds.UNKNOWN_TOPIC_OR_PART, kinds._UNKNOWN_TOPIC}:  # noqa: SLF001 - as above
        return SourceError(
            "there is no such topic", where=spec.location, hint="check source: {topic: …}"
        )
    return _unavailable(spec, f"Kafka does not answer: {error.str()}")
