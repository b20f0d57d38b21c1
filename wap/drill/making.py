"""Making scratch projects in the real one's state: what they are given, and how they go again."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from catalog.base import BranchCatalog
from catalog.refs import TableName
from checks.contract import parse_contract
from wap.auditing import named_in
from wap.declared import Declared
from wap.drill.declaring import declare, rows_contract, write, write_settings
from wap.drill.processes import call, environment, stop_server
from wap.drill.scratch import Batch, Scratch
from wap.errors import RelationError, WapError
from wap.field_map import literal
from wap.groups import declared_group
from wap.project import Project
from wap.relations import connect, create_view, published_snapshot
from wap.remote_files import failure_of
from wap.source_sections import FilesSource
from wap.sources.listing import list_inputs


@contextmanager
def scratch_of(
    project: Project,
    catalog: BranchCatalog,
    said: Declared,
    batch: Batch,
    *,
    heartbeat_seconds: float,
    keep: bool = False,
) -> Iterator[Scratch]:
    """A scratch project in the real one's state, gone at the end.

    Its catalog is SQLite, its tables lie in its own folder, it starts a Temporal server of its
    own and tells nobody of its lineage. Of the real project it has the pipeline, the contracts
    and how it computes; it reads the real source. Published tables that the contracts look at
    are copied.

    Args:
        catalog: the real one; it is only read.
        keep: leave the folder there.

    Raises:
        RelationError: a table that the contracts look at cannot be copied.
        WapError: such a copy cannot be loaded.
    """
    with _place(project, keep=keep) as folder:
        made = Scratch(folder, said, _absolute(project, said, batch), heartbeat_seconds)
        with _made(project, catalog, made):
            yield made


@contextmanager
def scratch_of_group(
    project: Project,
    catalog: BranchCatalog,
    group: str,
    *,
    heartbeat_seconds: float,
    keep: bool = False,
) -> Iterator[Scratch]:
    """The same for a group. Files of its pipelines' sources are copied, others are read.

    Raises:
        ConfigError, ContractError: see :func:`wap.groups.declared_group`.
        RelationError, WapError: see :func:`scratch_of`.
    """
    members = declared_group(project, group)
    with _place(project, keep=keep) as folder:
        made = Scratch(folder, members[-1], Batch(), heartbeat_seconds, group, members)
        for root in (made.root, made.beside):
            for said in members:
                _copy_inputs(project, said, root)
            for path in project.groups[group].contracts:
                write(root / path, project.contract_text(path))
        with _made(project, catalog, made):
            yield made


@contextmanager
def _place(project: Project, *, keep: bool) -> Iterator[Path]:
    base = project.state / "drill"
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    clear_up(base)
    folder = base / secrets.token_hex(4)
    folder.mkdir(mode=0o700)  # it holds copies of rows and the pipeline's settings
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _made(project: Project, catalog: BranchCatalog, made: Scratch) -> Iterator[None]:
    """Write the project and the one beside it; their servers are stopped in the end."""
    try:
        write_settings(project, made.root, made.beside, made.heartbeat_seconds, made.group)
        for said in made.drilled:
            declare(made.root, said)
            declare(made.beside, said)
        _bring_neighbours(project, catalog, made)
        made.opened()
        made.keep()
        yield
    finally:
        made.stop()


def _copy_inputs(project: Project, said: Declared, root: Path) -> None:
    """Files that a pipeline names by their place in the project, at the same place in another."""
    source = said.pipeline.source
    if not isinstance(source, FilesSource):
        return
    named = [path for path in source.paths if "://" not in path]
    for file in list_inputs(project.root, named, from_user=False):
        target = root / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(file.location, target)


def clear_up(base: Path) -> None:
    """Remove what drills left that were killed themselves: nobody holds their lock any more."""
    for folder in base.iterdir():
        with (folder / "lock").open("a") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in ("project", "beside"):
                stop_server(folder / name)
            shutil.rmtree(folder, ignore_errors=True)


def _absolute(project: Project, said: Declared, batch: Batch) -> Batch:
    """Files that the pipeline names by their place in the project, named so from elsewhere."""
    source = said.pipeline.source
    if batch.inputs or not isinstance(source, FilesSource):
        return batch
    if all("://" in path for path in source.paths):
        return batch
    inputs = tuple(p if "://" in p else str(project.root / p) for p in source.paths)
    return Batch(inputs, batch.interval)


# --- tables that the contracts look at ----------------------------------------------------------


def _bring_neighbours(project: Project, catalog: BranchCatalog, made: Scratch) -> None:
    own = {said.table for said in made.drilled}
    tables = sorted(
        {
            table
            for said in made.drilled
            for table in named_in(
                [parse_contract(c.text, c.path) for c in said.contracts],
                said.table,
                catalog.tables(),
            )
        }
        - own
    )
    names = [f"wap-drill-{number}" for number in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        _copy_rows(project, catalog, table, made.root / f"neighbours/{name}.parquet")
        contract = f"contracts/{name}.yml"
        document = {
            "table": str(table),
            "source": {"kind": "files", "path": f"neighbours/{name}.parquet", "format": "parquet"},
            "write": {"mode": "append"},
            "contracts": [contract],
        }
        write(made.root / contract, rows_contract(table, {"must_be_greater_than_or_equal": 0}))
        write(made.root / f"pipelines/{name}.yml", json.dumps(document))
    if not names:
        return
    door = call(["run", *names, "--json", "--project", str(made.root)], environment(os.environ))
    if door.code:
        raise WapError(
            f"a table that the contracts look at cannot be copied: {door.said}",
            where=", ".join(map(str, tables)),
        )
    for name in names:
        (made.root / f"pipelines/{name}.yml").unlink()
        (made.root / f"neighbours/{name}.parquet").unlink()


def _copy_rows(project: Project, catalog: BranchCatalog, table: TableName, target: Path) -> None:
    """The rows that main shows, as one Parquet file; they stream."""
    target.parent.mkdir(parents=True, exist_ok=True)
    con = connect(temp_directory=project.state / "tmp", memory_limit=project.audit.memory)
    try:
        create_view(
            con, "neighbour", "rows", catalog.scan(table, published_snapshot(catalog, table))
        )
        con.execute(f"COPY (FROM neighbour.rows) TO {literal(str(target))} (FORMAT parquet)")
    except duckdb.Error as exc:
        failure = failure_of(con)
        if failure is not None:
            raise failure from exc
        raise RelationError(f"its rows cannot be copied: {exc}", where=str(table)) from exc
    finally:
        con.close()
