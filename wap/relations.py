"""Snapshots as relations: DuckDB views over exactly the files of a snapshot, nothing cached."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit

import duckdb
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat

from catalog.base import BranchCatalog, Covered, Scan, Staging
from catalog.errors import TableNotFoundError
from catalog.refs import Branch, TableName
from checks.base import Relation
from wap.errors import RelationError
from wap.field_map import check_names, columns_by_id, duckdb_type, literal, quoted
from wap.remote_files import failure_of, serve
from wap.standing import Standing
from wap.type_texts import type_text

#: Names that DuckDB keeps for itself; a view in a schema of that name cannot be reached.
_RESERVED = frozenset({"memory", "system", "temp", "information_schema", "pg_catalog"})

_GLOB = re.compile(r"[*?[]")


def connect(
    *, temp_directory: Path, memory_limit: str = "400MB", threads: int = 2
) -> duckdb.DuckDBPyConnection:
    """A private in-memory database that spills to ``temp_directory`` and installs nothing.

    Args:
        temp_directory: made if missing; each connection spills into its own folder in it, which
            DuckDB makes at the first spill and removes at the end.
        memory_limit: of DuckDB's buffers, for example ``400MB``.
        threads: worker threads.

    Raises:
        RelationError: the folder cannot be made, or DuckDB does not know the limit.
    """
    try:
        temp_directory.mkdir(parents=True, exist_ok=True)
        # mktemp, not mkdtemp: DuckDB removes only the folder it made itself.
        spill = tempfile.mktemp(prefix="spill-", dir=temp_directory)  # noqa: S306 - see above
        con = duckdb.connect(
            config={
                "memory_limit": memory_limit,
                "threads": threads,
                "temp_directory": spill,
                "preserve_insertion_order": False,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "allow_community_extensions": False,
                "allow_persistent_secrets": False,
            }
        )
        con.execute("SET TimeZone = 'UTC'")
        # Else SQL could name a Python variable of whoever runs it.
        con.execute("SET python_enable_replacements = false")
    except (OSError, duckdb.Error) as exc:
        raise RelationError(
            f"no DuckDB connection: {exc}", where=str(temp_directory), hint="check the settings"
        ) from exc
    return con


def create_view(con: duckdb.DuckDBPyConnection, schema: str, name: str, scan: Scan) -> list[str]:
    """Make the view ``schema.name`` over the scan's own files, read by Iceberg field id.

    Returns:
        The paths that a query of it opens, as DuckDB sees them: each file, and the pattern that
        stands for it where its name holds a wildcard.

    Raises:
        RelationError: delete files, files that are not Parquet or carry no field ids, a type or
            name DuckDB does not have, a file that is missing.
        CatalogUnavailableError: storage other than the local disk does not answer.
    """
    where = f"{schema}.{name}"
    if schema.casefold() in _RESERVED:
        raise RelationError(
            f"namespace {schema!r} is a name DuckDB keeps for itself",
            where=where,
            hint="publish the table in another namespace",
        )
    paths = check_readable(con, scan, where)
    try:
        con.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
        con.execute(f"CREATE VIEW {quoted(schema)}.{quoted(name)} AS {_select(scan, paths)}")
    except duckdb.Error as exc:
        raise RelationError(f"cannot make the view: {exc}", where=where) from exc
    return sorted({*paths, *(p for f in scan.files if (p := _local(f.file_path)) is not None)})


@contextmanager
def audit_relation(
    catalog: BranchCatalog,
    staging: Staging,
    *,
    temp_directory: Path,
    source: str = "wap",
    neighbours: Sequence[TableName] = (),
    beside: Sequence[TableName] = (),
    masked: frozenset[str] = frozenset(),
    keys: Sequence[str] = (),
    memory_limit: str = "400MB",
    threads: int = 2,
    at: datetime | None = None,
    standing: Standing = Standing(),  # noqa: B008 - frozen
) -> Iterator[Relation]:
    """What an audit looks at, in a connection of its own that ends with the ``with`` block.

    The candidate is pinned to ``staging.head`` and the published table to ``staging.expected``.

    Args:
        neighbours: other tables, as main shows them.
        beside: tables staged on the same branch, as they would be after the publish.
        standing: what the published rows' own audit found; left out unless the candidate is the
            published files and the batch's, and nothing else.

    Raises:
        RelationError: see :func:`create_view`.
        TableNotFoundError: a snapshot is gone, or a neighbour is not published.
        BranchNotFoundError: the branch is gone.
        CatalogUnavailableError: storage did not answer, before or at any time in the audit.
    """
    scans = scans_of(catalog, staging)
    with _opened(
        catalog,
        staging.table,
        scans,
        source=source,
        neighbours=pinned(catalog, staging, neighbours, beside),
        branch=staging.branch,
        masked=masked,
        keys=tuple(keys),
        at=at,
        connection=connect(
            temp_directory=temp_directory, memory_limit=memory_limit, threads=threads
        ),
    ) as relation:
        if not standing.results or not only_adds(scans, staging.table.name):
            yield relation
        else:
            yield replace(relation, earlier=standing.results, earlier_run=standing.run_id)


@contextmanager
def covered_relation(
    catalog: BranchCatalog,
    covered: Covered,
    *,
    temp_directory: Path,
    published: bool = True,
    neighbours: Mapping[TableName, int],
    masked: frozenset[str] = frozenset(),
    keys: Sequence[str] = (),
    memory_limit: str = "400MB",
    threads: int = 2,
    at: datetime | None = None,
) -> Iterator[Relation]:
    """What the audit behind a seal looked at, once more; see :func:`audit_relation`.

    Args:
        covered: what the seal covers.
        published: with what consumers saw then; its snapshot may be gone where nobody asks for it.
        neighbours: other tables, each with the snapshot to look at.

    Raises:
        RelationError, TableNotFoundError, CatalogUnavailableError: see :func:`audit_relation`.
    """
    with _opened(
        catalog,
        covered.table,
        scans_of_covered(catalog, covered, published=published),
        source="wap",
        neighbours=neighbours,
        branch=None,
        masked=masked,
        keys=tuple(keys),
        at=at,
        connection=connect(
            temp_directory=temp_directory, memory_limit=memory_limit, threads=threads
        ),
    ) as relation:
        yield relation


@contextmanager
def _opened(
    catalog: BranchCatalog,
    table: TableName,
    views: Mapping[str, Scan],
    *,
    source: str,
    neighbours: Mapping[TableName, int],
    branch: Branch | None,
    masked: frozenset[str],
    keys: tuple[str, ...],
    at: datetime | None,
    connection: duckdb.DuckDBPyConnection,
) -> Iterator[Relation]:
    schema, con = ".".join(table.namespace), connection
    try:
        for name, scan in views.items():
            create_view(con, schema, name, scan)
        for other, snapshot in neighbours.items():
            scan = catalog.scan(other, snapshot, branch)
            create_view(con, ".".join(other.namespace), other.name, scan)
        yield Relation(
            connection=con,
            source=source,
            schema=schema,
            table=table.name,
            columns={f.name: type_text(f.field_type) for f in views[table.name].schema.fields},
            rows={name: scan.rows for name, scan in views.items()},
            masked=masked,
            keys=keys,
            neighbours={str(other): snapshot for other, snapshot in neighbours.items()},
            at=at,
        )
        # Whoever audited took it for an error of a check, which would be a verdict.
        failure = failure_of(con)
        if failure is not None:
            raise failure
    finally:
        con.close()


def scans_of(catalog: BranchCatalog, staging: Staging) -> dict[str, Scan]:
    """Candidate, batch and published under the names that contracts know them by."""
    name = staging.table.name
    candidate = catalog.scan(staging.table, staging.head, staging.branch)
    # What consumers see of a new table is nothing, in the columns they would see.
    published = Scan(schema=candidate.schema, files=(), io=staging.io)
    if staging.expected is not None:
        published = catalog.scan(staging.table, staging.expected)
    return {
        name: candidate,
        f"{name}__batch": catalog.batch(staging),
        f"{name}__published": published,
    }


def only_adds(scans: Mapping[str, Scan], name: str) -> bool:
    """Whether the candidate is made of the published files and the batch's, each of them once."""
    candidate, batch, published = (
        [f.file_path for f in scans[f"{name}{part}"].files]
        for part in ("", "__batch", "__published")
    )
    parts = [*batch, *published]
    return len(set(parts)) == len(parts) and sorted(candidate) == sorted(parts)


def scans_of_covered(
    catalog: BranchCatalog, covered: Covered, *, published: bool
) -> dict[str, Scan]:
    """The same of what a seal covers; without what was published then, where nobody needs it."""
    name = covered.table.name
    scans = {name: catalog.scan(covered.table, covered.head), f"{name}__batch": covered.batch}
    if not published:
        return scans
    before = Scan(schema=covered.schema, files=(), io=covered.io)
    if covered.expected is not None:
        before = catalog.scan(covered.table, covered.expected)
    return {**scans, f"{name}__published": before}


def pinned(
    catalog: BranchCatalog,
    staging: Staging,
    neighbours: Sequence[TableName],
    beside: Sequence[TableName],
) -> dict[TableName, int]:
    """Each other table with the snapshot an audit looks at; what is staged beside comes first.

    Raises:
        TableNotFoundError: a neighbour is not published.
        BranchNotFoundError: one is not staged on the branch.
    """
    staged = {other: catalog.staging(staging.branch, other).head for other in beside}
    shown = {o: published_snapshot(catalog, o) for o in neighbours if o not in staged}
    return {**shown, **staged}


def published_snapshot(catalog: BranchCatalog, table: TableName) -> int:
    """The snapshot of a table that main shows.

    Raises:
        TableNotFoundError: it is not published.
    """
    published = catalog.published(table)
    if published is None:
        raise TableNotFoundError("not published", where=str(table), hint="publish it first")
    return published.snapshot.id


def check_readable(con: duckdb.DuckDBPyConnection, scan: Scan, where: str) -> list[str]:
    """Refuse files that would be read otherwise than they were meant.

    Returns:
        The files' paths, as DuckDB reads them.

    Raises:
        RelationError, CatalogUnavailableError: see :func:`create_view`.
    """
    _check_files(scan.files, where)
    paths = _paths(con, scan)
    _check_field_ids(con, paths, where)
    return paths


def _check_files(files: Sequence[DataFile], where: str) -> None:
    for file in files:
        if file.content is not DataFileContent.DATA:
            raise RelationError(
                f"the snapshot has delete files: {file.file_path}",
                where=where,
                hint="rewrite the table copy-on-write; no run of ours writes delete files",
            )
        if file.file_format is not FileFormat.PARQUET:
            raise RelationError(f"not a Parquet file: {file.file_path}", where=where)


def _check_field_ids(con: duckdb.DuckDBPyConnection, paths: list[str], where: str) -> None:
    """Refuse files without field ids: every column of theirs would silently read as null."""
    if not paths:
        return
    try:
        without = con.execute(
            "SELECT file_name FROM parquet_schema($1)"
            " GROUP BY file_name HAVING count(field_id) = 0 LIMIT 1",
            [paths],
        ).fetchall()
    except duckdb.Error as exc:
        what = f"cannot read a data file: {_said(exc)}"
        failure = failure_of(con)
        if failure is not None:
            raise failure from exc
        hint = "restore the file from a backup, or go back to an earlier snapshot by wap rollback"
        raise RelationError(what, where=where, hint=hint) from exc
    if without:
        raise RelationError(
            f"the file carries no Iceberg field ids: {without[0][0]}",
            where=where,
            hint="it was added by another tool; write its rows through a pipeline",
        )


def _said(exc: duckdb.Error) -> str:
    """What went wrong, in one line: without our own SQL, and without a file system's traceback."""
    lines = str(exc).partition("\n\nLINE ")[0].strip().splitlines()
    return lines[-1 if lines[0].startswith("Traceback") else 0].strip()


def _select(scan: Scan, paths: list[str]) -> str:
    if paths:
        files = ", ".join(map(literal, paths))
        return (
            f"SELECT * FROM read_parquet([{files}], schema = {columns_by_id(scan.schema)},"  # noqa: S608 - literals by sqlglot
            f" hive_partitioning = false, explicit_cardinality = {max(scan.rows, 1)})"
        )
    check_names(scan.schema.fields, "the table")
    columns = ", ".join(
        f"CAST(NULL AS {duckdb_type(f.field_type)}) AS {quoted(f.name)}" for f in scan.schema.fields
    )
    return f"SELECT {columns} WHERE false"


def _paths(con: duckdb.DuckDBPyConnection, scan: Scan) -> list[str]:
    remote = [f for f in scan.files if _local(f.file_path) is None]
    prefix = serve(con, scan.io, remote) if remote else ""
    return [
        f"{prefix}{f.file_path}" if (path := _local(f.file_path)) is None else _escaped(path)
        for f in scan.files
    ]


def _local(location: str) -> str | None:
    """The path on this machine's disk; None for a location elsewhere."""
    parts = urlsplit(location)
    if parts.scheme == "":
        return location
    if parts.scheme != "file":
        return None
    # Not parts.path: a "#" or "?" in a file's name would end it.
    path = location[len("file:") :]
    return path.removeprefix("//").removeprefix("localhost") if path.startswith("//") else path


def _escaped(path: str) -> str:
    """The path as a pattern that matches it alone: DuckDB takes every path for a glob."""
    return _GLOB.sub(lambda m: f"[{m.group()}]", path)
