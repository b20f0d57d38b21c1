"""The servers that tests share: each is started when a test first asks for it."""

from __future__ import annotations

import pytest

from tests.servers.nessie import Nessie
from tests.servers.postgres import Postgres
from tests.servers.seaweedfs import SeaweedFS


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory):
    """PostgreSQL; ``postgres.database()`` names a new empty database."""
    server = Postgres(tmp_path_factory.mktemp("postgres"))
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
