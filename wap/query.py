"""A consumer's SQL: one SELECT over published snapshots; nothing else is read, none written."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import duckdb
import pyarrow as pa
import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from catalog.base import BranchCatalog
from catalog.errors import TableNotFoundError
from catalog.refs import TableName
from wap.errors import QueryError
from wap.field_map import literal, quoted
from wap.relations import connect, create_view
from wap.remote_files import failure_of

#: Rows of one batch of a result.
BATCH_ROWS = 65_536


def query(
    catalog: BranchCatalog,
    sql: str,
    *,
    temp_directory: Path,
    limit: int | None = None,
    memory_limit: str = "400MB",
    threads: int = 2,
) -> pa.Table:
    """The result in memory.

    Args:
        catalog: whose published tables are the views ``namespace.table``.
        sql: one SELECT in DuckDB's dialect; a namespace of several parts is one name, ``"a.b".t``.
        temp_directory: where the query may spill.
        limit: at most so many rows are read; None for all.
        memory_limit: of DuckDB's buffers.
        threads: worker threads.

    Raises:
        QueryError: not one SELECT, a table that is not published, wrong SQL, or an attempt to
            reach anything else.
        RelationError: a published table cannot be read.
        CatalogUnavailableError: try again.
    """
    with open_query(
        catalog, sql, temp_directory=temp_directory, memory_limit=memory_limit, threads=threads
    ) as reader:
        return pa.Table.from_batches(_first(reader, limit), schema=reader.schema)


@contextmanager
def open_query(
    catalog: BranchCatalog,
    sql: str,
    *,
    temp_directory: Path,
    memory_limit: str = "400MB",
    threads: int = 2,
) -> Iterator[pa.RecordBatchReader]:
    """The result as a stream, in bounded memory; see :func:`query`."""
    con = connect(temp_directory=temp_directory, memory_limit=memory_limit, threads=threads)
    try:
        _check_statement(con, sql)
        published = catalog.tables()
        views = [_view(con, catalog, t) for t in _mentioned(published, sql)]
        _lock(con, [path for paths in views for path in paths])
        with _translated(published, sql, con):
            reader = con.sql(sql).to_arrow_reader(BATCH_ROWS)
        schema = pa.schema(map(pa.Field.with_name, reader.schema, _distinct(reader.schema.names)))
        yield pa.RecordBatchReader.from_batches(
            schema, _batches(reader, schema, published, sql, con)
        )
    finally:
        con.close()


def _batches(
    reader: pa.RecordBatchReader,
    schema: pa.Schema,
    published: Sequence[TableName],
    sql: str,
    con: duckdb.DuckDBPyConnection,
) -> Iterator[pa.RecordBatch]:
    while True:
        try:
            # Only here: what goes wrong between two batches is not the query's fault.
            with _translated(published, sql, con):
                batch = reader.read_next_batch()
        except StopIteration:
            return
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _distinct(names: Sequence[str]) -> list[str]:
    """The names, a second one of a kind numbered as DuckDB does in a subquery: ``a``, ``a_1``."""
    taken: dict[str, None] = {}
    for name in names:
        new = (f"{name}_{n}" if n else name for n in count())
        taken[next(n for n in new if n not in taken and (n == name or n not in names))] = None
    return list(taken)


def _first(reader: pa.RecordBatchReader, limit: int | None) -> Iterator[pa.RecordBatch]:
    if limit is None:
        yield from reader
        return
    while limit > 0 and (batch := next(reader, None)) is not None:
        yield batch.slice(0, limit)
        limit -= batch.num_rows


def _check_statement(con: duckdb.DuckDBPyConnection, sql: str) -> None:
    """Let DuckDB's own parser, the one that will run it, say what it is; nothing is bound yet."""
    try:
        statements = con.extract_statements(sql)
    except duckdb.Error as exc:
        raise QueryError(f"not SQL: {exc}", hint="one SELECT in DuckDB's dialect") from exc
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        kinds = ", ".join(s.type.name for s in statements) or "nothing"
        raise QueryError(
            f"a query is one SELECT; this is {kinds}",
            hint="the published tables can be read only; a PIVOT needs its values: IN (…)",
        )


def _mentioned(published: Sequence[TableName], sql: str) -> list[TableName]:
    """The published tables that the query names.

    Raises:
        QueryError: it names one that is not published.
    """
    tables = _tables(sql)
    if tables is None:
        text = sql.casefold()
        return [t for t in published if t.name.replace('"', '""').casefold() in text]
    # A bare name is a common table expression, or nothing: DuckDB will say so.
    return list(dict.fromkeys(_match(published, t) for t in tables if t.db))


def _tables(sql: str) -> list[exp.Table] | None:
    """What stands after FROM and JOIN anywhere; None: SQL that only DuckDB understands."""
    try:
        tree = sqlglot.parse_one(sql, dialect="duckdb")
    except SqlglotError:
        return None
    return None if isinstance(tree, exp.Command) else list(tree.find_all(exp.Table))


def _match(published: Sequence[TableName], table: exp.Table) -> TableName:
    """The table of that name; in other letter case too, as SQL has it."""
    wanted = f"{table.db}.{table.name}"
    exact = [t for t in published if str(t) == wanted]
    folded = [t for t in published if str(t).casefold() == wanted.casefold()]
    if not table.catalog and (exact or folded):
        return (exact or folded)[0]
    name = ".".join(part.name for part in table.parts)
    same = [t for t in published if str(t).casefold() == name.casefold()]
    raise QueryError(f"no published table {name}", hint=_hint(published, name, same))


def _view(con: duckdb.DuckDBPyConnection, catalog: BranchCatalog, table: TableName) -> list[str]:
    published = catalog.published(table)
    if published is None:
        raise TableNotFoundError("not published any more", where=str(table))
    scan = catalog.scan(table, published.snapshot.id)
    return create_view(con, ".".join(table.namespace), table.name, scan)


def _lock(con: duckdb.DuckDBPyConnection, paths: list[str]) -> None:
    """From here on the connection reads the views' files, and can do and be told nothing else."""
    con.execute(f"SET allowed_paths = [{', '.join(map(literal, paths))}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")


@contextmanager
def _translated(
    published: Sequence[TableName], sql: str, con: duckdb.DuckDBPyConnection
) -> Iterator[None]:
    try:
        yield
    except duckdb.CatalogException as exc:
        bare = next((t.name for t in _tables(sql) or () if not t.db), "")
        raise QueryError(str(exc), hint=_hint(published, bare)) from exc
    except duckdb.PermissionException as exc:
        raise QueryError(
            f"a query reads published tables and nothing else: {exc}",
            hint="publish the data through a pipeline first",
        ) from exc
    except duckdb.OutOfMemoryException as exc:
        raise QueryError(str(exc), hint="ask for less, or allow more memory") from exc
    except (duckdb.Error, pa.ArrowException, OSError) as exc:  # a late error comes as OSError
        failure = failure_of(con)
        if failure is not None:
            raise failure from exc
        raise QueryError(str(exc)) from exc


def _hint(published: Sequence[TableName], name: str, same: Sequence[TableName] = ()) -> str:
    """How to name what was probably meant."""
    if not published:
        return "nothing is published yet"
    likely = same or _nearest(published, name)
    listed = ", ".join(_in_sql(t) for t in (likely or published)[:10])
    return f"write {listed}" if likely else f"published: {listed}"


def _nearest(published: Sequence[TableName], name: str) -> list[TableName]:
    names = {str(t).casefold(): t for t in published} | {t.name.casefold(): t for t in published}
    close = difflib.get_close_matches(name.casefold(), names, n=3, cutoff=0.6)
    return list(dict.fromkeys(names[c] for c in close))


def _in_sql(table: TableName) -> str:
    """The table as a query names it."""
    parts = (".".join(table.namespace), table.name)
    return ".".join(p if p.isidentifier() else quoted(p) for p in parts)
