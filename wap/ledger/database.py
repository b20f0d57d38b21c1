"""The database under the ledger: engine, transactions, migrations, and its errors in our words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    Connection,
    Engine,
    NullPool,
    create_engine,
    event,
    func,
    inspect,
    select,
    table,
)
from sqlalchemy import column as column_
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from wap.errors import LedgerError, LedgerUnavailableError, NotInstalledError

#: Revision of the newest migration, so that the usual start needs one SELECT and no Alembic.
HEAD = "0002"

#: Seconds a writer waits for the others (SQLite has one writer at a time), unless the URL says.
BUSY_SECONDS = 30

#: libpq's parameters, unless the URL says: a server that is gone without a word is noticed.
_POSTGRES: dict[str, Any] = {
    "connect_timeout": 10,
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "wap",
    # A pooler such as PgBouncer may give each transaction another server connection.
    "prepare_threshold": None,
}

#: Each of a reader's statements sees what the first one saw; SQLite does so by itself.
_ONE_STATE = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

#: What Postgres says of a connection that no later attempt will get either.
_REFUSED = ("password authentication failed", "no pg_hba.conf entry", "does not exist")
#: What SQLite and Postgres say when there is no room, and of a file that is damaged.
_FULL = ("disk is full", "No space left", "could not extend file")
_BROKEN = ("malformed", "not a database")
#: A full disk under SQLite's shared memory, too.
_SICK = "disk I/O error"
_UNDEFINED_TABLE = "42P01"

_MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = table("alembic_version", column_("version_num"))
#: Any number will do, as long as nobody else in that database takes it.
_ADVISORY_LOCK = 7_219_003


class Database:
    """One SQLite or Postgres database; connections are made when needed.

    Args:
        url: SQLAlchemy's; ``postgresql://`` is opened with psycopg.
        pooled: keep connections for the next transaction; else each makes its own, and there is
            nothing to close.
    """

    def __init__(self, url: str, *, pooled: bool = True) -> None:
        parsed = _parse(url)
        # Without its query too: libpq takes a password there.
        self.name = parsed.set(query={}).render_as_string(hide_password=True)
        self._folder = Path(parsed.database or "").parent
        self.sqlite = parsed.get_backend_name() == "sqlite"
        self.engine = _engine(parsed, sqlite=self.sqlite, pooled=pooled)
        own = {} if self.sqlite else _ONE_STATE
        self._reader = self.engine.execution_options(wap_read_only=True, **own)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that holds the write lock from its start.

        Raises:
            LedgerUnavailableError: locked or refused.
            LedgerError: it cannot be used.
        """
        with self._translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that sees one state and locks nobody out.

        Raises:
            LedgerUnavailableError: locked or refused.
            LedgerError: it cannot be used.
        """
        with self._translated(), self._reader.begin() as connection:
            yield connection

    def migrate(self) -> None:
        """Bring the tables to :data:`HEAD`; safe when several processes do so at once.

        Raises:
            LedgerError: the database was written by a newer version, or cannot be used.
            LedgerUnavailableError: locked or refused.
        """
        self._prepare_sqlite()
        with self.read() as connection:
            if self._version(connection) == HEAD:
                return
        with self.write() as connection:
            if not self.sqlite:
                connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
            if self._version(connection) != HEAD:
                _upgrade(connection)

    def close(self) -> None:
        """Give the connections back."""
        self.engine.dispose()

    def _version(self, connection: Connection) -> str | None:
        """The revision the tables are at; None: there are none yet."""
        if not inspect(connection).has_table(_VERSION.name):
            return None
        version: str | None = connection.scalar(select(_VERSION.c.version_num))
        if version is not None and version not in _known():
            raise LedgerError(
                f"the ledger is at revision {version}, this version knows up to {HEAD}",
                where=self.name,
                hint="a newer version wrote it: upgrade this one, or point it to another ledger",
            )
        return version

    def _prepare_sqlite(self) -> None:
        """Make the file's folder, and turn the write-ahead log on once (it stays on)."""
        if not self.sqlite:
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise LedgerError(f"no folder for the ledger: {exc}", where=self.name) from exc
        with self._translated(), self.engine.connect() as connection:
            raw = connection.connection
            with _closing(raw.cursor()) as cursor:
                if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                    cursor.execute("PRAGMA journal_mode = WAL")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as exc:
            raise self._error(exc) from exc
        except PoolTimeoutError as exc:
            raise self._unavailable("all of its connections are in use") from exc

    def _error(self, exc: DBAPIError) -> LedgerError:
        what = _said(exc.orig)
        if isinstance(exc, OperationalError | InterfaceError) and self._passes(what):
            return self._unavailable(what)
        no_table = "no such table" in what or (
            getattr(exc.orig, "sqlstate", None) == _UNDEFINED_TABLE
        )
        hint = "start once with migrations" if no_table else _hint(what)
        return LedgerError(f"the ledger cannot be used: {what}", where=self.name, hint=hint)

    def _unavailable(self, what: str) -> LedgerUnavailableError:
        return LedgerUnavailableError(
            f"the ledger does not answer: {what}", where=self.name, hint="try again"
        )

    def _passes(self, what: str) -> bool:
        """Whether such an error goes away by itself (SQLite has one class for all of them)."""
        if self.sqlite:
            return "locked" in what or "busy" in what
        return not any(words in what for words in _REFUSED)


def _hint(what: str) -> str:
    """What a person can do about what the database says."""
    if any(words in what for words in _FULL):
        return "free some space, then run again"
    if _SICK in what:
        return "look whether its disk is full or broken: free some space, then run again"
    if any(words in what for words in _BROKEN):
        return (
            "restore it from a backup; or, if no pipelines are kept in it, remove the file and run "
            "`wap rebuild-ledger`"
        )
    return "check the ledger's url"


def _said(error: BaseException | None) -> str:
    """What the database says, without its DETAIL, which quotes rows."""
    primary = getattr(getattr(error, "diag", None), "message_primary", None)
    return str(primary or error).strip()


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Without the text itself, and not `from exc`: what it takes for the port, and quotes, may
        # be a piece of the password.
        raise LedgerError(
            "the ledger's url cannot be read", hint="for example sqlite:///.wap/ledger.db"
        ) from None
    if "@" in (parsed.host or ""):
        # What follows the first @ is taken for the host, and hosts are shown.
        raise LedgerError(
            "the ledger's url holds more than one @",
            hint="in user and password write @ as %40, : as %3A, / as %2F",
        )
    name = parsed.get_backend_name()
    if name not in ("sqlite", "postgresql"):
        raise LedgerError(f"no ledger on {name}", hint="sqlite and postgresql are supported")
    if name == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise LedgerError("a ledger in memory is lost", hint="name a file: sqlite:///ledger.db")
    if parsed.drivername == "postgresql":
        return parsed.set(drivername="postgresql+psycopg")
    return parsed


def _engine(url: URL, *, sqlite: bool, pooled: bool) -> Engine:
    options: dict[str, Any] = {"hide_parameters": True}
    if not pooled:
        options["poolclass"] = NullPool
    if sqlite:
        patience = {} if "timeout" in url.query else {"timeout": BUSY_SECONDS}
        options["connect_args"] = {**patience, "isolation_level": None}
    else:
        given = {k: v for k, v in _POSTGRES.items() if k not in url.query}
        options |= {"pool_pre_ping": True, "connect_args": given}
    try:
        engine = create_engine(url, **options)
    except (ModuleNotFoundError, NoSuchModuleError) as exc:
        raise NotInstalledError(
            f"no driver for {url.drivername}: {exc}", hint="pip install 'wap-lakehouse[postgres]'"
        ) from exc
    if sqlite:
        event.listen(engine, "connect", _on_connect)
    if sqlite or "options" not in url.query:  # where somebody says lock_timeout
        event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(connection: Any, _: object) -> None:
    with _closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = NORMAL")


def _on_begin(connection: Connection) -> None:
    if connection.dialect.name != "sqlite":
        if not connection.get_execution_options().get("wap_read_only", False):
            connection.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_SECONDS}s'")
        return
    # A transaction that reads first and writes later cannot wait for the lock: SQLite says
    # "locked" at once. So a writer takes it at the start, where the busy timeout counts.
    read_only = connection.get_execution_options().get("wap_read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def _closing(cursor: Any) -> Iterator[Any]:
    try:
        yield cursor
    finally:
        cursor.close()


def _known() -> frozenset[str]:
    return frozenset(p.name.partition("_")[0] for p in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _upgrade(connection: Connection) -> None:
    # Imported here: only the first start of a version needs it.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
