"""A database as Spark sees it: asked, and read in several queries at once, by its JDBC driver."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from wap.errors import (
    ConfigError,
    EngineError,
    EngineUnavailableError,
    SourceError,
    SourceUnavailableError,
)
from wap.spark.scratch import literal, quoted
from wap.spark.session import translated

#: Java classes of drivers by what JDBC's URLs begin with.
_CLASSES = {
    "postgresql": "org.postgresql.Driver",
    "mysql": "com.mysql.cj.jdbc.Driver",
    "mariadb": "org.mariadb.jdbc.Driver",
    "oracle": "oracle.jdbc.OracleDriver",
    "sqlserver": "com.microsoft.sqlserver.jdbc.SQLServerDriver",
    "sqlite": "org.sqlite.JDBC",
}
#: Decimals without a scale of their own: Spark would take these, and round what has more digits.
_UNBOUNDED = (38, 18)
_SQL_ERROR = re.compile(r"SQL\w*Exception|java\.sql|java\.net|jdbc", re.IGNORECASE)
_AWAY = re.compile(
    r"connect|refused|time(d )?out|unknown ?host|terminat|i/o error|socket|starting up|shutting",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Database:
    """One database, by one session.

    Attributes:
        session: Spark's.
        url: JDBC's, without user and password.
        credentials: those.
        driver: its Java class; None: by the URL.
        fetch_size: rows at a time.
        where: the source, for messages.
        jar: the driver's, when it is not on Spark's class path from the start.
    """

    session: Any
    url: str
    credentials: tuple[str, str] | None = field(repr=False)
    driver: str | None
    fetch_size: int
    where: str
    jar: str | None

    def __post_init__(self) -> None:
        if self.jar is not None:
            with translated(self.where):
                self.session.sql(f"ADD JAR {literal(self.jar)}")

    @property
    def _kind(self) -> str:
        return self.url.split(":")[1].lower()

    def ask(self, sql: str) -> Any:
        """The one row that a query gives."""
        with database_errors(self.where):
            (row,) = self._reader().option("dbtable", f"({sql}) wap_answer").load().collect()
        return row

    def schema(self, sql: str) -> tuple[pa.Schema, list[str]]:
        """The columns of a query that gives no row, and which of them must be read as text.

        Raises:
            ConfigError: a type that Spark does not have.
        """
        with database_errors(self.where):
            frame = self._reader().option("dbtable", f"({sql}) wap_shape").load()
            fields = frame.schema.fields
            texts = [f.name for f in fields if _is_told_in_text(f)]
            found = frame.toArrow().schema
        columns = [pa.field(f.name, pa.string() if f.name in texts else f.type) for f in found]
        return pa.schema(columns), texts

    def frame(self, sql: str, slices: Sequence[str], texts: Sequence[str]) -> Any:
        """The rows of a query as Spark's frame, a slice a partition.

        Args:
            slices: conditions that together hold for each row once; none: all in one query.
            texts: columns that are read as text.
        """
        options = self._options()
        if texts:
            options["customSchema"] = ", ".join(f"{quoted(name)} STRING" for name in texts)
        with database_errors(self.where):
            return self.session.read.jdbc(
                options.pop("url"),
                f"({sql}) wap_rows",
                predicates=list(slices) or ["1 = 1"],
                properties=options,
            )

    def _reader(self) -> Any:
        return self.session.read.format("jdbc").options(**self._options())

    def _options(self) -> dict[str, str]:
        driver = self.driver or _CLASSES.get(self._kind)
        if driver is None:
            raise ConfigError(
                f"the driver of jdbc:{self._kind} is not known",
                where=self.where,
                hint="say its Java class: source: {driver: …}, and its jar under [spark] jars",
            )
        user = dict(zip(("user", "password"), self.credentials or (), strict=False))
        return {
            "url": self.url,
            "driver": driver,
            "fetchsize": str(self.fetch_size),
            # A timestamp without a zone stays one.
            "preferTimestampNTZ": "true",
            **user,
        }


def _is_told_in_text(field_: Any) -> bool:
    """Whether Spark's own type would change a value: digits cut off, a time of day as a moment."""
    kind = field_.dataType
    unbounded = (getattr(kind, "precision", 0), getattr(kind, "scale", 0)) == _UNBOUNDED
    return unbounded or bool(field_.metadata.get("logical_time_type"))


@contextmanager
def database_errors(where: str) -> Iterator[None]:
    """What the database or its driver complains about, as the source's error.

    Raises:
        SourceUnavailableError: it does not answer.
        SourceError: anything else that it says.
        EngineError: Spark's own complaint.
    """
    try:
        with translated(where):
            yield
    except EngineUnavailableError:
        raise
    except EngineError as exc:
        found = _database_error(exc, where)
        if found is None:
            raise
        raise found from exc


def _database_error(exc: EngineError, where: str) -> SourceError | None:
    said = exc.what.removeprefix("Spark: ")
    if "ClassNotFoundException" in said:
        hint = "put the driver's jar under [spark] jars, or on the server of [spark] remote"
        return SourceError(f"the driver is not there: {said}", where=where, hint=hint)
    if not _SQL_ERROR.search(said):
        return None
    if _AWAY.search(said):
        return SourceUnavailableError(
            f"the database does not answer: {said}",
            where=where,
            hint="check source: {url: …} and the network",
        )
    hint = "check source: {…}, the user's rights, and spark.log in the state folder"
    return SourceError(f"the database says: {said}", where=where, hint=hint)
