"""Scratch projects: a pipeline with tables, server and ledger of its own, made to be crashed."""

from __future__ import annotations

import contextlib
import fcntl
import glob
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb

from catalog.base import BranchCatalog
from catalog.refs import TableName
from checks.contract import parse_contract
from wap.auditing import named_in
from wap.declared import Declared
from wap.drill import crowd
from wap.drill.crash import crash_at
from wap.drill.declaring import declare, eighth_contract, rows_contract, write, write_settings
from wap.drill.processes import Door, call, environment, stop_server
from wap.errors import ConfigError, RelationError, WapError
from wap.field_map import literal
from wap.project import Project, load_project
from wap.relations import connect, create_view, published_snapshot
from wap.remote_files import failure_of
from wap.source_sections import FilesSource


@dataclass(frozen=True, slots=True)
class Batch:
    """What a scratch run reads: the pipeline's source, or what was given in its place.

    Attributes:
        inputs: absolute paths or globs in place of the source's own; () means its own.
        interval: bounds of the data interval.
    """

    inputs: tuple[str, ...] = ()
    interval: tuple[str, str] | None = None

    @property
    def arguments(self) -> list[str]:
        """The same for ``wap run``."""
        sources = [part for path in self.inputs for part in ("--source", path)]
        start, end = self.interval or ("", "")
        return [*sources, *(["--start", start, "--end", end] if self.interval else [])]


@dataclass(frozen=True, slots=True)
class Scratch:
    """A scratch project for one pipeline; see :func:`scratch_of`.

    Attributes:
        folder: holds the project, its copy to begin anew from, and a second project beside it
            that writes to the same table through a server of its own.
        said: the pipeline as the real project declares it.
    """

    folder: Path
    said: Declared
    batch: Batch
    heartbeat_seconds: float

    @property
    def root(self) -> Path:
        """The project's folder."""
        return self.folder / "project"

    @property
    def beside(self) -> Path:
        """The other project's."""
        return self.folder / "beside"

    @property
    def name(self) -> str:
        """The pipeline's."""
        return self.said.pipeline.name

    def opened(self) -> Project:
        """The scratch project, proved to be one.

        Raises:
            ConfigError: it would write somewhere else than into the scratch folder.
        """
        project = load_project(self.root, {})
        prove_scratch(project, self.folder)
        return project

    def keep(self) -> None:
        """Keep the project as it is now: what :meth:`restart` begins from."""
        self.stop()
        shutil.copytree(self.root, self.folder / "kept", symlinks=True)

    def restart(self) -> None:
        """Put the project back to where it was kept, at the same path."""
        self.stop()
        shutil.rmtree(self.root)
        shutil.rmtree(self.beside / ".wap", ignore_errors=True)
        shutil.copytree(self.folder / "kept", self.root, symlinks=True)

    def kept_files(self) -> set[str]:
        """Files of the warehouse that were there before any drilled run, relative."""
        return _files(self.folder / "kept" / "warehouse")

    def files(self) -> set[str]:
        """Files of the warehouse, relative."""
        return _files(self.root / "warehouse")

    def never_passes(self, *, hold: bool) -> None:
        """Declare that every batch fails its audit, and whether the run is then held."""
        never = rows_contract(self.said.table, {"must_be_less_than": 0})
        declare(self.root, self.said, more=never, on_failure="hold" if hold else "reject")

    def sets_aside(self, columns: Sequence[str]) -> None:
        """Declare that about every eighth row breaks a check, and is set aside."""
        eighth = eighth_contract(self.said.table, columns)
        declare(self.root, self.said, more=eighth, on_failure="quarantine")

    def always_passes(self) -> None:
        """Declare that every batch passes, however often it comes."""
        always = rows_contract(self.said.table, {"must_be_greater_than_or_equal": 0})
        declare(self.root, self.said, more=always, alone=True)

    def inputs(self) -> tuple[Path, ...]:
        """The files of the batch; () when it is not of files on this machine."""
        named = [path for path in self.batch.inputs if "://" not in path]
        if not isinstance(self.said.pipeline.source, FilesSource) or len(named) < len(
            self.batch.inputs
        ):
            return ()
        found = (Path(one) for path in named for one in glob.glob(path, recursive=True))  # noqa: PTH207 - an absolute pattern
        return tuple(sorted(path for path in found if path.is_file()))

    def runs(self, copies: Sequence[Sequence[Path]], crash: str | None = None) -> Door:
        """Several runs of the pipeline at once in one door, each of files of its own."""
        asked = {
            "pipeline": self.name,
            "inputs": [[str(path) for path in files] for files in copies],
            "heartbeat_seconds": self.heartbeat_seconds,
        }
        env = environment(os.environ) | (crash_at(self.root, crash) if crash else {})
        return call([str(self.root), json.dumps(asked)], env, module=crowd.__name__)

    def run(self, *, crash: str | None = None, root: Path | None = None) -> Door:
        """``wap run``; with a boundary, its worker is told to die there."""
        return self._door(["run", self.name, *self.batch.arguments], root or self.root, crash)

    def reject(self, run_id: str) -> Door:
        """``wap reject`` of a held run."""
        return self._door(["reject", run_id, "--reason", "a drill"], self.root, None)

    def stop(self) -> None:
        """Kill the servers that are left."""
        for root in (self.root, self.beside):
            stop_server(root)

    def _door(self, arguments: Sequence[str], root: Path, crash: str | None) -> Door:
        env = environment(os.environ) | (crash_at(root, crash) if crash else {})
        return call([*arguments, "--json", "--project", str(root)], env)


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
    base = project.state / "drill"
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    clear_up(base)
    folder = base / secrets.token_hex(4)
    folder.mkdir(mode=0o700)  # it holds copies of rows and the pipeline's settings
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = Scratch(folder, said, _absolute(project, said, batch), heartbeat_seconds)
        try:
            write_settings(project, made.root, made.beside, heartbeat_seconds)
            declare(made.root, said)
            declare(made.beside, said)
            _bring_neighbours(project, catalog, made)
            made.opened()
            made.keep()
            yield made
        finally:
            made.stop()
            if not keep:
                shutil.rmtree(folder, ignore_errors=True)


def clear_up(base: Path) -> None:
    """Remove what drills left that were killed themselves: nobody holds their lock any more."""
    for folder in base.iterdir():
        with (folder / "lock").open("a") as lock, contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for name in ("project", "beside"):
                stop_server(folder / name)
            shutil.rmtree(folder, ignore_errors=True)


def prove_scratch(project: Project, folder: Path) -> None:
    """Refuse a project that would write anywhere else than into the scratch folder.

    Raises:
        ConfigError: it would.
    """
    catalog, inside = project.catalog, str(folder.resolve())
    databases = [url.partition(":///")[2] for url in (catalog.uri, project.ledger.url)]
    folders = [catalog.warehouse.removeprefix("file://"), project.lineage.folder]
    own = all(place.startswith(f"{inside}/") for place in (*databases, *folders))
    servers = (project.temporal.address, project.runs.location)
    local = catalog.kind == "sqlite" and project.lineage.kind != "datahub"
    if not own or not local or any(servers):
        raise ConfigError(
            "a drill's project would write to other places than its own",
            where=str(project.root),
            hint="a bug: report it; nothing was drilled",
        )


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
    contracts = [parse_contract(c.text, c.path) for c in made.said.contracts]
    tables = named_in(contracts, made.said.table, catalog.tables())
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


def _files(warehouse: Path) -> set[str]:
    return {str(p.relative_to(warehouse)) for p in warehouse.rglob("*") if p.is_file()}
