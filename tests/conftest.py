"""The servers that tests share: each is started when a test first asks for it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from deploy.make_env import Issuer
from tests.behaviors import places
from tests.servers.__main__ import running
from tests.servers.glue import Glue
from tests.servers.iceberg_rest import IcebergRest
from tests.servers.kafka import Kafka
from tests.servers.nessie import Nessie, on_postgres
from tests.servers.postgres import USER, Postgres
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.spark import SparkConnect, local_spark
from tests.servers.temporal import Temporal


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--boundaries", choices=("some", "all"), default="some",
        help="where test_places.py and test_groups.py kill the worker (all takes an hour), and "
        "which cases and deaths test_quarantine_follows.py looks at",
    )  # fmt: skip
    parser.addoption(
        "--sequences", type=int, default=0,
        help="how many random sequences test_catalog_interleavings.py plays on each catalog, "
        "other ones each time; by default a few, the same each time",
    )  # fmt: skip
    places.add_option(parser)


def pytest_configure(config: pytest.Config) -> None:
    for line in places.MARKERS:
        config.addinivalue_line("markers", line)


@pytest.fixture(scope="session")
def postgres():
    """PostgreSQL; ``postgres.database()`` names a new empty database."""
    # Not below pytest's own folder: every pytest that starts closes that to other users, and
    # PostgreSQL runs as one of its own.
    with tempfile.TemporaryDirectory(prefix="wap-postgres-") as folder:
        server = Postgres(Path(folder))
        server.start()
        yield server
        server.stop()


@pytest.fixture(scope="session")
def nessie(tmp_path_factory: pytest.TempPathFactory):
    """Nessie over RocksDB."""
    server = Nessie(tmp_path_factory.mktemp("nessie"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def seaweedfs(tmp_path_factory: pytest.TempPathFactory):
    """S3; ``seaweedfs.bucket()`` names a new empty bucket."""
    server = SeaweedFS(tmp_path_factory.mktemp("seaweedfs"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory):
    """Kafka; ``kafka.topic()`` names a new empty topic."""
    server = Kafka(tmp_path_factory.mktemp("kafka"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def temporal(tmp_path_factory: pytest.TempPathFactory):
    """A given Temporal server with the namespace ``lake`` and no search attribute of ours."""
    server = Temporal(tmp_path_factory.mktemp("temporal"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    """Signs the tokens that Nessie of ``server_mode`` takes."""
    return Issuer()


@pytest.fixture(scope="session")
def server_mode(issuer: Issuer):
    """All servers of ``docker-compose.yml``, with its settings: tokens, rules, bucket policy."""
    with (
        tempfile.TemporaryDirectory(prefix="wap-server-mode-") as folder,
        running(Path(folder), issuer) as servers,
    ):
        yield servers


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory):
    """Spark with a driver of our own; started when something is first asked of it."""
    one = local_spark(tmp_path_factory.mktemp("spark"))
    yield one
    one.stop()


@pytest.fixture(scope="session")
def spark_connect(tmp_path_factory: pytest.TempPathFactory):
    """A Spark Connect server; ``spark_connect.remote`` is its URL."""
    server = SparkConnect(tmp_path_factory.mktemp("spark-connect"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def iceberg_rest(tmp_path_factory: pytest.TempPathFactory):
    """Iceberg's own REST server; all who use it share its tables."""
    server = IcebergRest(tmp_path_factory.mktemp("iceberg-rest"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def iceberg_rest_s3(tmp_path_factory: pytest.TempPathFactory, seaweedfs: SeaweedFS):
    """The same with its tables in S3."""
    server = IcebergRest(tmp_path_factory.mktemp("iceberg-rest-s3"), seaweedfs)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def nessie_on_postgres(tmp_path_factory: pytest.TempPathFactory, postgres: Postgres):
    """Nessie over PostgreSQL."""
    store = on_postgres(postgres.jdbc(postgres.database()), USER, postgres.password)
    server = Nessie(tmp_path_factory.mktemp("nessie-on-postgres"), store)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def place_bucket(seaweedfs: SeaweedFS) -> str:
    """The bucket that all places in S3 share, each below a prefix of its own."""
    return seaweedfs.bucket()


@pytest.fixture(scope="session")
def glue():
    """AWS Glue, as moto plays it."""
    server = Glue()
    server.start()
    yield server
    server.stop()
