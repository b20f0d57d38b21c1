"""Scratch projects: a pipeline with tables, server and ledger of its own, made to be crashed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from wap.declared import Declared
from wap.drill import crowd
from wap.drill.crash import crash_at
from wap.drill.declaring import declare, eighth_contract, rows_contract
from wap.drill.processes import Door, call, environment, stop_server
from wap.errors import ConfigError
from wap.project import Project, load_project
from wap.source_sections import FilesSource
from wap.sources.listing import list_inputs


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
    """A scratch project for one pipeline; see :func:`wap.drill.making.scratch_of`.

    Attributes:
        folder: holds the project, its copy to begin anew from, and a second project beside it
            that writes to the same table through a server of its own.
        said: the pipeline as the real project declares it; of a group its last one.
        group: the group's name; "" when one pipeline is drilled by itself.
        members: all pipelines of the group.
    """

    folder: Path
    said: Declared
    batch: Batch
    heartbeat_seconds: float
    group: str = ""
    members: tuple[Declared, ...] = ()

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

    @property
    def drilled(self) -> tuple[Declared, ...]:
        """The pipelines that are run."""
        return self.members or (self.said,)

    @property
    def where(self) -> str:
        """What is drilled, for people."""
        return f"group {self.group}" if self.group else f"pipeline {self.name}"

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
        files = list_inputs(self.root, named, from_user=True)
        return tuple(Path(file.location) for file in files)

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
        asked = ["--group", self.group] if self.group else [self.name, *self.batch.arguments]
        return self._door(["run", *asked], root or self.root, crash)

    def run_of(
        self, files: Sequence[Path], *, crash: str | None = None, root: Path | None = None
    ) -> Door:
        """``wap run`` of the pipeline, of other files than the batch's."""
        asked = Batch(tuple(map(str, files))).arguments
        return self._door(["run", self.name, *asked], root or self.root, crash)

    def run_one(self, root: Path) -> Door:
        """``wap run`` of one pipeline of the group by itself."""
        return self._door(["run", self.drilled[0].pipeline.name], root, None)

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


def _files(warehouse: Path) -> set[str]:
    return {str(p.relative_to(warehouse)) for p in warehouse.rglob("*") if p.is_file()}
