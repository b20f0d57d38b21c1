"""Where runs live: plan, books and reports in the project's folder, or where all workers reach."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from pyiceberg.io import FileIO, load_file_io

from catalog.file_io import prepared
from wap.documents import Documents, LocalDocuments, StoredDocuments
from wap.errors import LedgerError
from wap.model import Ending, RunFacts
from wap.project import Project
from wap.runs import RunFolder

#: Steps that end with the run's folder removed: nothing is noted in it behind them.
LAST_STEPS = ("close", "dissolve")
#: In a run's folder: what it waits for, as the ledger was told.
_HELD = "held.json"
#: A report's files, the one by which it is known last.
_FACES = ("report.md", "junit.xml", "report.html", "report.json")


@dataclass(frozen=True)
class RunHome:
    """The home of a project's runs.

    Attributes:
        state: the project's own folder on this machine.
        location: a URL in its place; None: only this machine is meant.
        io: reaches the location.
    """

    state: Path
    location: str | None = None
    io: FileIO | None = None

    def folder(self, run_id: str) -> RunFolder:
        """A run's folder, until the run is closed."""
        if self.io is None:
            return RunFolder(self.state, run_id)
        rejects = self._below("rejects")
        return RunFolder(self.state, run_id, self._below(f"runs/{run_id}"), rejects)

    def begin(self, run_id: str, step: str, number: int) -> None:
        """Note that an attempt at a step has begun which follows another."""
        if step not in LAST_STEPS:
            self.folder(run_id).begin(step, number)

    def runs(self) -> list[str]:
        """Ids of the runs that have a folder: those that were never closed, sorted."""
        if self.io is None:
            folder = self.state / "runs"
            return sorted(p.name for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else []
        return sorted({name.partition("/")[0] for name in self._below("runs").names()})

    def keep_held(self, facts: RunFacts) -> None:
        """Note what a run that is held waits for, where it stays until the run is closed.

        Raises:
            StoreUnavailableError: the location does not answer.
        """
        self._documents(facts.result.run_id).write(_HELD, facts.model_dump_json().encode())

    def held(self) -> list[RunFacts]:
        """What runs that are not closed yet waited for when they were held last.

        Raises:
            LedgerError: a note is damaged.
            StoreUnavailableError: the location does not answer.
        """
        noted = [(run_id, self._documents(run_id)) for run_id in self.runs()]
        return [_noted(documents, run_id) for run_id, documents in noted if documents.has(_HELD)]

    def keep_report(self, folder: Path) -> None:
        """Put a report beside the others, whoever wrote it.

        Raises:
            StoreUnavailableError: the location does not answer.
        """
        if self.io is not None:
            documents = self._below(f"reports/{folder.name}")
            for name in _FACES:
                documents.write(name, (folder / name).read_bytes())

    def fetch_report(self, run_id: str, reports: Path) -> None:
        """Bring a report that another worker wrote to this machine, unless its last one is here.

        Raises:
            StoreUnavailableError: the location does not answer.
        """
        target = LocalDocuments(reports / run_id)
        if self.io is None or _is_last(target):
            return
        documents = self._below(f"reports/{run_id}")
        for name in _FACES:
            if documents.has(name):
                target.write(name, documents.read(name))

    def reports(self) -> list[str]:
        """Run ids of the reports that lie there, sorted; [] without a location."""
        if self.io is None:
            return []
        found = self._below("reports").names()
        return [n.removesuffix("/report.json") for n in found if n.endswith("/report.json")]

    def _documents(self, run_id: str) -> Documents:
        if self.io is None:
            return LocalDocuments(self.state / "runs" / run_id)
        return self._below(f"runs/{run_id}")

    def _below(self, path: str) -> StoredDocuments:
        if self.io is None:
            msg = "this home is a folder"
            raise ValueError(msg)
        return StoredDocuments(self.io, f"{self.location}/{path}")


def _noted(documents: Documents, run_id: str) -> RunFacts:
    try:
        return RunFacts.model_validate_json(documents.read(_HELD))
    except ValidationError as exc:
        raise LedgerError(
            "the note of what a run is held for cannot be read",
            where=f"{documents.where}/{_HELD}",
            hint=f"remove that file: {run_id} then ends when its time is up",
        ) from exc


def _is_last(report: LocalDocuments) -> bool:
    """Whether a report is there that no later one replaces: a held run's is not its last."""
    if not report.has("report.json"):
        return False
    ending: str = json.loads(report.read("report.json"))["run"]["ending"]
    return ending != Ending.HELD


def open_home(project: Project) -> RunHome:
    """The home that the project's settings name."""
    location = project.runs.location
    if location is None:
        return RunHome(project.state)
    location = location.rstrip("/")
    # As the catalog reaches its warehouse: credentials, timeouts, retries.
    properties = prepared(project.catalog_properties)
    return RunHome(project.state, location, load_file_io(properties, location))
