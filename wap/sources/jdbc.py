"""The source ``jdbc``: a table or query of a database, read by Spark in several queries at once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pyarrow as pa

from wap.complaints import suggestion
from wap.errors import ConfigError, SourceError
from wap.source_sections import JdbcPartition
from wap.source_sections import JdbcSource as Spec
from wap.sources.base import Cursor, Extract, Interval, Plan, Source
from wap.sources.credentials import credentials
from wap.sources.interval import bounds_of
from wap.sources.jdbc_sql import Sql, cuts, is_divisible, is_ordered
from wap.spark.database import Database, database_errors
from wap.spark.frames import FrameExtract
from wap.spark.jars import postgres_driver
from wap.spark.scratch import quoted
from wap.spark.session import Spark

VERSION = 1


class JdbcSource(Source):
    """Rows of a database: those above the published cursor, or all, or a data interval's.

    A database does not say what changed, so without a cursor there is always something to read.
    """

    kind = "jdbc"

    def __init__(self, spec: Spec, spark: Spark | None) -> None:
        """A source from a pipeline's section.

        Args:
            spec: the section.
            spark: what asks and reads; None where a source is only asked about cursors.
        """
        self.spec = spec
        self.sql = Sql(spec)
        self._spark = spark

    def plan(
        self, since: Cursor | None, *, everything: bool, interval: Interval | None = None
    ) -> Plan:
        """See the port.

        Raises:
            SourceError: a row has no cursor value, the published one is another column's, or
                there is no row to replace everything with.
        """
        with self._database() as database:
            schema, texts = database.schema(self.sql.rows("1 = 0"))
            if self.spec.cursor is not None:
                work, rows = self._new_rows(database, schema, since)
            else:
                work, rows = self._all_rows(database, schema, interval)
            if everything and not rows:
                raise SourceError("the source holds no row", where=self.spec.location)
            slices = self._slices(database, schema, work["where"]) if rows else []
        work |= {"slices": slices, "texts": texts, "inputs": self._inputs(work)}
        facts = {"kind": self.kind, "at": self.spec.location, "rows": rows, "work": work}
        return Plan(
            kind=self.kind,
            work=work,
            digest=hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest(),
            empty=self.spec.cursor is not None and not rows,
            summary=f"{rows:,} rows" if rows else "nothing new",
            interval=interval,
        )

    def _new_rows(
        self, database: Database, schema: pa.Schema, since: Cursor | None
    ) -> tuple[dict[str, Any], int]:
        """The rows above the published cursor, up to the greatest value there is now."""
        column = str(self.spec.cursor)
        kind = _kind_of(column, schema, "cursor", is_ordered)
        after = self._loaded_to(since)
        found = database.ask(self.sql.bounds(column, self.sql.above(column, after, kind)))
        if found["n"] != found["c"]:
            raise SourceError(
                f"{found['n'] - found['c']} rows have no value in the cursor's column {column!r}, "
                "so no run would ever read them",
                where=self.spec.location,
                hint="make the column NOT NULL, or leave them out by source: {query: …}",
            )
        upto = found["hi"] if found["n"] else after
        where = (
            self.sql.between(column, kind, after=after, upto=upto) if upto is not None else "1 = 0"
        )
        return {"cursor": column, "after": after, "upto": upto, "where": where}, int(found["n"])

    def _all_rows(
        self, database: Database, schema: pa.Schema, interval: Interval | None
    ) -> tuple[dict[str, Any], int]:
        """All rows, or those of an interval."""
        where = ""
        if interval is not None:
            bounds = bounds_of(interval, schema)
            start, end = (str(bound.as_py()) for bound in (bounds.start, bounds.end))
            kind = schema.field(interval.column).type
            where = self.sql.between(interval.column, kind, start=start, end=end)
        rows = int(database.ask(self.sql.count(where))["n"])
        return {"cursor": None, "after": None, "upto": None, "where": where}, rows

    def _loaded_to(self, since: Cursor | None) -> str | None:
        """The published cursor's value, as the database wrote it.

        Raises:
            SourceError: it is another column's.
        """
        if since is None:
            return None
        since.refuse_other(self.kind, VERSION)
        if since.state["column"] != self.spec.cursor:
            raise SourceError(
                f"the table was loaded by the cursor {since.state['column']!r}, not by "
                f"{self.spec.cursor!r}",
                where=self.spec.location,
                hint="keep the cursor; or load into a new table",
            )
        return str(since.state["value"])

    def _slices(self, database: Database, schema: pa.Schema, where: str) -> list[str]:
        """How the rows are cut for several queries; [] for one."""
        partition = self.spec.partition
        if partition is None or partition.count == 1:
            return []
        kind = _kind_of(partition.column, schema, "partition.column", is_divisible)
        low, high = self._ends(partition, database, where)
        if low is None or high is None:
            return []
        try:
            found = cuts(low, high, partition.count, kind)
        except ValueError as exc:
            raise ConfigError(
                f"[{low}, {high}] are no bounds of {partition.column}, which holds {kind}",
                where=self.spec.location,
                hint="check source: {partition: {lower: …, upper: …}}, or leave both out",
            ) from exc
        return self.sql.slices(partition.column, kind, found)

    def _ends(
        self, partition: JdbcPartition, database: Database, where: str
    ) -> tuple[str | None, str | None]:
        """Least and greatest value of the partition's column, given or asked for."""
        low, high = partition.lower, partition.upper
        if low is not None and high is not None:
            return str(low), str(high)
        found = database.ask(self.sql.bounds(partition.column, where))
        return (
            str(low) if low is not None else found["lo"],
            str(high) if high is not None else found["hi"],
        )

    def _inputs(self, work: dict[str, Any]) -> list[dict[str, str]]:
        version = f"{work['after'] or ''}..{work['upto']}" if work["cursor"] else ""
        return [{"path": self.spec.location, "version": version}]

    def schema(self, plan: Plan) -> pa.Schema:
        """See the port."""
        del plan
        with self._database() as database:
            return database.schema(self.sql.rows("1 = 0"))[0]

    @contextmanager
    def open(
        self, plan: Plan, schema: pa.Schema, *, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Extract]:
        """See the port."""
        del cancelled  # the engine ends Spark's jobs itself
        work: Any = plan.work
        yield FrameExtract(
            where=self.spec.location,
            schema=schema,
            slices=max(len(work["slices"]), 1),
            open_frame=partial(self._frame, work, schema.names),
            errors=partial(database_errors, self.spec.location),
        )

    def _frame(self, work: Any, names: list[str], session: Any) -> tuple[int, Any]:
        database = self._of(session)
        count = int(database.ask(self.sql.count(work["where"]))["n"])
        frame = database.frame(self.sql.rows(work["where"]), work["slices"], work["texts"])
        return count, frame.select(*(quoted(name) for name in names))

    def advance(self, since: Cursor | None, plan: Plan) -> Cursor:
        """See the port."""
        del since
        state = {"column": plan.work["cursor"], "value": plan.work["upto"]}
        return Cursor(kind=self.kind, version=VERSION, state=state)

    def done(self, since: Cursor | None, plan: Plan) -> bool:
        """See the port: whatever moved the cursor took some of what this plan is to take.

        What replaces rows is not the same work twice: it is read anew in any case.
        """
        if plan.work["cursor"] is None:
            return False
        return (since.state["value"] if since else None) != plan.work["after"]

    def outdated(self, since: Cursor | None, now: Cursor | None, plan: Plan) -> bool:
        """See the port: no cursor tells which state of its rows a database was read in."""
        del since, now
        return plan.work["cursor"] is None

    @contextmanager
    def _database(self) -> Iterator[Database]:
        if self._spark is None:
            raise ConfigError("a JDBC source needs Spark", where=self.spec.location)
        with self._spark.session({}) as session:
            yield self._of(session)

    def _of(self, session: Any) -> Database:
        spec = self.spec
        return Database(
            session=session,
            url=spec.url,
            credentials=credentials(spec.user_env, spec.password_env, spec.location),
            driver=spec.driver,
            fetch_size=spec.fetch_size,
            where=spec.location,
            jar=self._jar(),
        )

    def _jar(self) -> str | None:
        """PostgreSQL's driver, fetched when it is first needed; others are the user's to name."""
        spark = self._spark
        if spark is None or spark.is_remote or not self.spec.url.startswith("jdbc:postgresql:"):
            return None
        return postgres_driver(spark.settings.jars)


def _kind_of(
    column: str, schema: pa.Schema, key: str, fits: Callable[[pa.DataType], bool]
) -> pa.DataType:
    """The type of a column that the pipeline names.

    Raises:
        ConfigError: there is no such column, or it is no good for what it is named for.
    """
    if column not in schema.names:
        raise ConfigError(
            f"source.{key} names a column that the source does not have: {column!r}",
            hint=suggestion(column, schema.names),
        )
    kind = schema.field(column).type
    if not fits(kind):
        raise ConfigError(
            f"source.{key}: {column!r} holds {kind}, which cannot be used for that",
            hint="take whole numbers, decimals with a scale, dates or timestamps",
        )
    return kind
