"""AWS Glue on loopback: moto's server, spoken to by boto3 as if it were AWS."""

from __future__ import annotations

from moto.server import ThreadedMotoServer

#: What anybody may use: moto looks at no secret.
KEY = "testing"


class Glue:
    """A moto server in a thread of this process."""

    def __init__(self) -> None:
        self._server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)

    @property
    def endpoint(self) -> str:
        """Where it answers."""
        host, port = self._server.get_host_and_port()
        return f"http://{host}:{port}"

    @property
    def properties(self) -> dict[str, str]:
        """What pyiceberg needs to reach it."""
        return {
            "glue.endpoint": self.endpoint,
            "glue.region": "us-east-1",
            "glue.access-key-id": KEY,
            "glue.secret-access-key": KEY,
        }

    def start(self) -> None:
        """Start it."""
        self._server.start()

    def stop(self) -> None:
        """Stop it."""
        self._server.stop()
