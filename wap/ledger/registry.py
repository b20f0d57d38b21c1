"""Pipelines in database tables: every change is a new version, and nothing is overwritten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select
from sqlalchemy.dialects import postgresql, sqlite

from wap.declared import Proved
from wap.errors import VersionMovedError
from wap.ledger.database import Database
from wap.ledger.tables import version_checks, version_contracts, versions
from wap.versions import Change, ContractText, Version, VersionInfo

#: Answers that no caller bounds hold so many rows at most.
MANY = 1_000


class Registry:
    """The pipelines declared in one database.

    Every method may raise LedgerUnavailableError (try again) or LedgerError.
    """

    def __init__(self, url: str, *, pooled: bool = True) -> None:
        self._database = Database(url, pooled=pooled)
        self._insert = sqlite.insert if self._database.sqlite else postgresql.insert

    def migrate(self) -> None:
        """Bring the database to this version's tables; safe when several do so at once.

        Raises:
            LedgerError: the database was written by a newer version.
        """
        self._database.migrate()

    def close(self) -> None:
        """Give the connections back."""
        self._database.close()

    def names(self) -> list[str]:
        """Names of the pipelines there are, sorted."""
        query = select(versions.c.name).where(_latest(), ~versions.c.deleted)
        with self._database.read() as connection:
            return sorted(connection.scalars(query))

    def pipelines(self, *, after: str = "", limit: int = MANY) -> list[VersionInfo]:
        """The latest version of each pipeline there is, by name.

        Args:
            after: only names behind this one.
        """
        query = (
            select(*_INFO)
            .where(_latest(), ~versions.c.deleted, versions.c.name > after)
            .order_by(versions.c.name)
            .limit(limit)
        )
        return self._infos(query)

    def history(
        self, name: str, *, before: int | None = None, limit: int = MANY
    ) -> list[VersionInfo]:
        """All versions of a pipeline, newest first, deleted ones too; [] when there never was one.

        Args:
            before: only versions older than this one.
        """
        query = select(*_INFO).where(versions.c.name == name)
        if before is not None:
            query = query.where(versions.c.version < before)
        return self._infos(query.order_by(versions.c.version.desc()).limit(limit))

    def latest(self, name: str) -> Version | None:
        """The latest version; None when there is no such pipeline (any more)."""
        with self._database.read() as connection:
            found = _read(connection, versions.c.name == name, _latest())
        return None if found is None or found.deleted else found

    def version(self, name: str, number: int) -> Version | None:
        """One version; None when there never was one."""
        with self._database.read() as connection:
            return _read(connection, versions.c.name == name, versions.c.version == number)

    def put(self, proved: Proved, change: Change, *, expected: int | None) -> Version:
        """Store a new version, unless the latest one says the same already.

        So a put whose answer was lost may be sent again.

        Args:
            expected: the latest version as the caller saw it; None: there is no such pipeline.

        Raises:
            VersionMovedError: somebody else was faster; nothing is stored.
        """
        draft = proved.draft
        with self._database.write() as connection:
            last = _read(connection, versions.c.name == draft.name, _latest())
            if last is not None and not last.deleted and last.digest == draft.digest:
                return last
            made = Version(
                **_next(draft.name, last, change, expected),
                digest=draft.digest,
                table=proved.pipeline.table,
                pipeline=draft.pipeline,
                contracts=draft.contracts,
            )
            self._add(connection, made, expected, _read_off(proved))
            for table, rows in (
                (version_contracts, _contract_rows(made)),
                (version_checks, _check_rows(made, proved)),
            ):
                connection.execute(table.insert(), rows)
        return made

    def delete(self, name: str, change: Change, *, expected: int | None) -> VersionInfo | None:
        """Store a version that says that the pipeline is gone; None when there never was one.

        A pipeline that is gone already stays as it is.

        Raises:
            VersionMovedError: somebody else was faster; nothing is stored.
        """
        with self._database.write() as connection:
            last = _read(connection, versions.c.name == name, _latest())
            if last is None or last.deleted:
                return last
            made = Version(**_next(name, last, change, expected), deleted=True, digest="")
            self._add(connection, made, expected, {})
        return made

    def _add(
        self, connection: Connection, made: Version, expected: int | None, read_off: dict[str, Any]
    ) -> None:
        insert = self._insert(versions).values(
            name=made.name,
            version=made.version,
            deleted=made.deleted,
            author=made.author,
            created_at=made.at,
            reason=made.reason,
            digest=made.digest,
            definition=None if made.deleted else made.pipeline,
            **read_off,
        )
        # Two writers that saw one latest version meet at the key: the second waits, and adds none.
        done = connection.execute(insert.on_conflict_do_nothing().returning(versions.c.version))
        if done.first() is None:
            raise VersionMovedError(made.name, expected=expected, found=made.version)

    def _infos(self, query: Select[Any]) -> list[VersionInfo]:
        with self._database.read() as connection:
            return [VersionInfo(**_info(row)) for row in connection.execute(query)]


_INFO = tuple(c for c in versions.c if c.name != "definition")


def _latest() -> ColumnElement[bool]:
    """That a row of ``versions`` is its pipeline's newest."""
    others = versions.alias()
    newest = select(func.max(others.c.version)).where(others.c.name == versions.c.name)
    return versions.c.version == newest.scalar_subquery()


def _info(row: Row[Any]) -> dict[str, Any]:
    return {
        "name": row.name,
        "version": row.version,
        "deleted": row.deleted,
        "author": row.author,
        "at": row.created_at,
        "reason": row.reason,
        "digest": row.digest,
        "table": row.table_name,
    }


def _read(connection: Connection, *where: ColumnElement[bool]) -> Version | None:
    row = connection.execute(select(versions).where(*where)).first()
    if row is None:
        return None
    texts = (
        select(version_contracts.c.path, version_contracts.c.definition)
        .where(version_contracts.c.name == row.name, version_contracts.c.version == row.version)
        .order_by(version_contracts.c.position)
    )
    contracts = tuple(
        ContractText(path=path, text=text) for path, text in connection.execute(texts)
    )
    return Version(**_info(row), pipeline=row.definition or "", contracts=contracts)


def _next(name: str, last: Version | None, change: Change, expected: int | None) -> dict[str, Any]:
    """What every new version says.

    Raises:
        VersionMovedError: the latest version is not the expected one.
    """
    found = None if last is None or last.deleted else last.version
    if found != expected:
        raise VersionMovedError(name, expected=expected, found=found)
    return {
        "name": name,
        "version": 1 if last is None else last.version + 1,
        "author": change.author,
        "at": datetime.now(UTC),
        "reason": change.reason,
    }


def _read_off(proved: Proved) -> dict[str, Any]:
    pipeline = proved.pipeline
    return {
        "table_name": _shown(pipeline.table),
        "source_kind": pipeline.source.kind,
        "source_location": _shown(pipeline.source.location),
        "write_mode": pipeline.write.mode,
        "owners": _shown(", ".join(pipeline.owners)),
    }


def _shown(text: str) -> str:
    """A text that is read off a definition, where an escape can write what Postgres cannot hold."""
    return text.replace("\0", "␀")


def _contract_rows(made: Version) -> Sequence[dict[str, Any]]:
    return [
        {**_key(made, position), "path": contract.path, "definition": contract.text}
        for position, contract in enumerate(made.contracts)
    ]


def _check_rows(made: Version, proved: Proved) -> Sequence[dict[str, Any]]:
    return [
        {
            **_key(made, position),
            "check_name": _shown(rule.name),
            "relation": _shown(rule.relation),
            "kind": rule.kind,
            "column_name": rule.column and _shown(rule.column),
            "blocking": rule.threshold.blocking,
        }
        for position, rule in enumerate(proved.rules)
    ]


def _key(made: Version, position: int) -> dict[str, Any]:
    return {"name": made.name, "version": made.version, "position": position}
