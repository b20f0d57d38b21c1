"""PostgreSQL on loopback: the catalog's, the ledger's and Nessie's database in tests."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import time
from pathlib import Path

from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError

from tests.servers.process import Server, free_ports, listens, unavailable

USER = "wap"
START_SECONDS = 60.0


def _bin() -> Path:
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = shutil.which("initdb")
    if found is None and not versions:
        unavailable("PostgreSQL", "install the Debian package postgresql")
    return versions[-1].parent if versions else Path(str(found)).parent


def _as_user(folder: Path) -> list[str]:
    """PostgreSQL refuses root: then it runs as the user that Debian's package made."""
    if os.geteuid() != 0:
        return []
    shutil.chown(folder, "postgres", "postgres")
    for parent in folder.parents:
        if parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return ["runuser", "-u", "postgres", "--"]


class Postgres:
    """A server with a password; every caller of :meth:`database` gets an empty database."""

    def __init__(self, folder: Path, user: str = USER, password: str | None = None) -> None:
        self.user, self.password = user, password or secrets.token_urlsafe(12)
        (self.port,) = free_ports(1)
        self._data = folder / "data"
        self._data.mkdir(parents=True, exist_ok=True)
        self._as_user = as_user = _as_user(self._data)
        self.is_new = not (self._data / "PG_VERSION").exists()
        if self.is_new:
            self._make(folder / "word", as_user)
        command = [
            *as_user, str(_bin() / "postgres"), "-D", str(self._data), "-p", str(self.port),
            "-h", "127.0.0.1", "-k", "", "-c", "max_connections=200",
        ]  # fmt: skip
        self.server = Server("postgres", command, folder, self._answers)

    def _make(self, word: Path, as_user: list[str]) -> None:
        word.write_text(self.password)
        word.chmod(0o644)
        subprocess.run(
            [*as_user, str(_bin() / "initdb"), "-D", str(self._data), "-U", self.user, "-A",
             "scram-sha-256", f"--pwfile={word}", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8"],
            check=True, capture_output=True, cwd="/",
        )  # fmt: skip
        word.unlink()

    def _answers(self) -> bool:
        if not listens(self.port):
            return False
        engine = create_engine(self.url("postgres"))
        try:
            with engine.connect() as connection:
                return connection.execute(text("select 1")).scalar() == 1
        except OperationalError:
            return False  # it recovers from its journal
        finally:
            engine.dispose()

    def url(self, database: str) -> str:
        """SQLAlchemy's URL of a database, password and all."""
        return URL.create(
            "postgresql+psycopg", self.user, self.password, "127.0.0.1", self.port, database
        ).render_as_string(hide_password=False)

    def jdbc(self, database: str) -> str:
        """JDBC's URL of a database, without user and password."""
        return f"jdbc:postgresql://127.0.0.1:{self.port}/{database}"

    def database(self) -> str:
        """The name of a new, empty database."""
        name = f"db_{secrets.token_hex(6)}"
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f'create database "{name}"'))
        engine.dispose()
        return name

    def drop(self, database: str) -> None:
        """Drop a database, whoever is connected to it."""
        engine = create_engine(self.url("postgres"), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f'drop database if exists "{database}" with (force)'))
        engine.dispose()

    def start(self) -> None:
        """Start it."""
        self.server.start()

    def stop(self) -> None:
        """Stop it at once, as a crash would; no connection is served any more when this returns."""
        self._shut("immediate")

    def close(self) -> None:
        """Stop it with all written down, so that the next start finds nothing to recover."""
        self._shut("fast")

    def _shut(self, mode: str) -> None:
        # Killed alone, the postmaster would leave its backends to notice that in their own time.
        if self.server.process is not None:
            subprocess.run(
                [*self._as_user, str(_bin() / "pg_ctl"), "-D", str(self._data), "-m", mode,
                 "-w", "stop"],
                check=self.server.process.poll() is None, capture_output=True, cwd="/",
            )  # fmt: skip
        self.server.kill()

    def restart(self) -> None:
        """Kill it and start it again on the same state, once the old postmaster is gone."""
        self.stop()
        deadline = time.monotonic() + START_SECONDS
        while listens(self.port) and time.monotonic() < deadline:
            time.sleep(0.05)
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self.server.start()
