"""The ledger in a SQL database: SQLite by default, Postgres by its URL."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Table, delete, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite
from typing_extensions import override

from wap.ledger import rows, tables
from wap.ledger.base import Ledger
from wap.ledger.database import Database
from wap.model import RunFacts, StepFacts


class SqlLedger(Ledger):
    """Runs in five tables; a step tried twice is one row (inserts say what a conflict means)."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._insert = sqlite.insert if self._database.sqlite else postgresql.insert

    @override
    def migrate(self) -> None:
        self._database.migrate()

    @override
    def pipeline(self, name: str, digest: str, text: str) -> None:
        row = {"name": name, "digest": digest, "definition": text, "first_seen": datetime.now(UTC)}
        with self._database.write() as connection:
            self._put(connection, tables.pipelines, row, replace=False)

    @override
    def start(
        self, run_id: str, pipeline: str, table: str, at: datetime, *, version: int | None = None
    ) -> None:
        row = {
            "run_id": run_id,
            "pipeline": pipeline,
            "pipeline_version": version,
            "table_name": table,
            "started_at": at,
        }
        with self._database.write() as connection:
            self._put(connection, tables.runs, row, replace=False)

    @override
    def step(self, run_id: str, step: StepFacts) -> None:
        with self._database.write() as connection:
            self._put(connection, tables.steps, rows.step_row(run_id, step))

    @override
    def hold(self, facts: RunFacts) -> None:
        runs = tables.runs
        ended = select(runs.c.ended_at).where(runs.c.run_id == facts.run_id).with_for_update()
        with self._database.write() as connection:
            # A late attempt must not put «held» over the ending.
            if connection.scalar(ended) is None:
                self._write(connection, facts)

    @override
    def finish(self, facts: RunFacts) -> None:
        with self._database.write() as connection:
            self._write(connection, facts)

    @override
    def run(self, run_id: str) -> RunFacts | None:
        with self._database.read() as connection:
            found = self._read(
                connection, select(tables.runs).where(tables.runs.c.run_id == run_id)
            )
        return found[0] if found else None

    @override
    def runs(
        self, *, pipeline: str | None = None, limit: int = 50, before: str | None = None
    ) -> Sequence[RunFacts]:
        runs = tables.runs
        query = select(runs).order_by(runs.c.started_at.desc(), runs.c.run_id.desc()).limit(limit)
        if pipeline is not None:
            query = query.where(runs.c.pipeline == pipeline)
        if before is not None:
            place = select(runs.c.started_at, runs.c.run_id).where(runs.c.run_id == before)
            query = query.where(tuple_(runs.c.started_at, runs.c.run_id) < place.scalar_subquery())
        with self._database.read() as connection:
            return self._read(connection, query)

    @override
    def rebuild(self, facts: Sequence[RunFacts]) -> int:
        with self._database.write() as connection:
            ended = set(
                connection.scalars(
                    select(tables.runs.c.run_id).where(tables.runs.c.ended_at.is_not(None))
                )
            )
            missing = {f.run_id: f for f in facts if f.run_id not in ended}
            for one in missing.values():
                self._write(connection, one)
        return len(missing)

    @override
    def close(self) -> None:
        self._database.close()

    def _write(self, connection: Connection, facts: RunFacts) -> None:
        self._put(connection, tables.runs, rows.run_row(facts))
        for step in facts.steps:
            self._put(connection, tables.steps, rows.step_row(facts.run_id, step))
        details = ((tables.checks, rows.check_rows(facts)), (tables.files, rows.file_rows(facts)))
        for table, new in details:
            connection.execute(delete(table).where(table.c.run_id == facts.run_id))
            if new:
                connection.execute(table.insert(), new)

    def _put(
        self, connection: Connection, table: Table, row: Mapping[str, Any], *, replace: bool = True
    ) -> None:
        keys = list(table.primary_key)
        insert = self._insert(table).values(**row)
        rest = {name: insert.excluded[name] for name in row if name not in table.primary_key}
        connection.execute(
            insert.on_conflict_do_update(index_elements=keys, set_=rest)
            if replace
            else insert.on_conflict_do_nothing(index_elements=keys)
        )

    def _read(self, connection: Connection, query: Any) -> list[RunFacts]:
        found = [dict(row) for row in connection.execute(query).mappings()]
        ids = [row["run_id"] for row in found]
        steps = self._details(connection, tables.steps, ids, "started_at")
        checks = self._details(connection, tables.checks, ids, "position")
        files = self._details(connection, tables.files, ids, "position")
        return [
            rows.facts_of(row, steps[row["run_id"]], checks[row["run_id"]], files[row["run_id"]])
            for row in found
        ]

    @staticmethod
    def _details(
        connection: Connection, table: Table, ids: Sequence[str], order: str
    ) -> Mapping[str, list[Mapping[str, Any]]]:
        """Rows of a detail table by run."""
        by_run: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        query = select(table).where(table.c.run_id.in_(ids)).order_by(table.c[order])
        for row in connection.execute(query).mappings():
            by_run[row["run_id"]].append(dict(row))
        return by_run
