"""Kafka: one node that is broker and controller (KRaft), on loopback, made anew in its folder."""

from __future__ import annotations

import secrets
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from tests.servers.maven import libraries
from tests.servers.process import Server, free_ports, listens, program
from tests.servers.versions import KAFKA

USER = "reader"
_SECONDS = 30.0

#: A plain listener, and one that asks for user and password.
_SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl},\
CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{port},SASL_PLAINTEXT://127.0.0.1:{sasl}
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,\
SASL_PLAINTEXT:SASL_PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.sasl_plaintext.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
log.dirs={folder}/log
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
auto.create.topics.enable=false
"""


class Kafka:
    """A broker; every caller of :meth:`topic` gets a new topic."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.password = secrets.token_urlsafe(12)
        self.port, self.sasl, controller = free_ports(3)
        self._java = [
            program("java", "openjdk-17-jre-headless"), "-Xmx512m", "-cp",
            f"{libraries(f'kafka-{KAFKA}', [f'org.apache.kafka:kafka_2.13:{KAFKA}'])}/*",
        ]  # fmt: skip
        settings = folder / "server.properties"
        settings.write_text(
            _SETTINGS.format(port=self.port, sasl=self.sasl, controller=controller, folder=folder)
        )
        self._format(settings)
        command = [*self._java, "kafka.Kafka", str(settings)]
        self.server = Server("kafka", command, folder, self._answers)

    def _format(self, settings: Path) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        subprocess.run(
            # With "=", for the id may begin with a dash.
            [*self._java, "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}",
             "-c", str(settings),
             "--add-scram", f"SCRAM-SHA-512=[name={USER},password={self.password}]"],
            check=True, capture_output=True, cwd=settings.parent,
        )  # fmt: skip

    @property
    def address(self) -> str:
        """Where it answers anybody."""
        return f"127.0.0.1:{self.port}"

    @property
    def guarded(self) -> str:
        """Where it answers :data:`USER`."""
        return f"127.0.0.1:{self.sasl}"

    @cached_property
    def admin(self) -> AdminClient:
        """To make, change and cut topics; what it promises is void once it is thrown away."""
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        try:
            return bool(self.admin.list_topics(timeout=5).brokers)
        except KafkaException:
            return False  # it still elects itself

    def topic(self, partitions: int = 1, **settings: str) -> str:
        """The name of a new, empty topic."""
        name = f"topic-{secrets.token_hex(6)}"
        self.make(name, partitions, settings)
        return name

    def make(self, name: str, partitions: int, settings: Mapping[str, str] | None = None) -> None:
        """Make a topic."""
        new = NewTopic(name, partitions, 1, config=dict(settings or {}))
        self.done(self.admin.create_topics([new]))

    def drop(self, name: str) -> None:
        """Delete a topic with all its records."""
        self.done(self.admin.delete_topics([name]))

    def cut(self, topic: str, partition: int, before: int) -> None:
        """Delete the records before an offset, as retention does."""
        self.done(self.admin.delete_records([TopicPartition(topic, partition, before)]))

    def done(self, futures: Mapping[Any, Any]) -> None:
        """Wait for what the admin promised."""
        for future in futures.values():
            future.result(_SECONDS)

    def send(
        self, topic: str, values: Iterable[bytes | str | None], partition: int = 0, **more: str
    ) -> None:
        """Write records, and wait until they are there.

        Args:
            more: settings of the producer; with a ``transactional.id`` they are one transaction.
        """
        producer = self.producer(**more)
        for value in values:
            producer.produce(topic, value, partition=partition)
        assert producer.flush(_SECONDS) == 0

    def producer(self, **more: str) -> Producer:
        """A producer of its own."""
        return Producer({"bootstrap.servers": self.address, "log_level": 0, **more})

    def start(self) -> None:
        """Start it."""
        self.server.start()

    def stop(self) -> None:
        """Stop it."""
        self.server.kill()

    def restart(self) -> None:
        """Kill it and start it again on the same state."""
        self.server.restart()
