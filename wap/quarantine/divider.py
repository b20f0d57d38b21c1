"""What dividing a batch needs: where it lies, how its parts are named, what is cleared away."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from pyiceberg.manifest import DataFile

from catalog.base import BranchCatalog, Change, Staging
from catalog.batches import KEPT_PREFIX
from catalog.refs import Branch, TableName
from wap.engines.base import AGAIN, Engine
from wap.quarantine import table as columns
from wap.runs import Books, PinnedPlan, RunFolder
from wap.sources.base import Source


@dataclass(frozen=True)
class Divider:
    """What dividing a run's batch needs.

    Attributes:
        owner: the run that the branch is named by: of a group's member the group's.
        group: tables that are published in one step with this one.
        number: the round.
        audited: the head whose audit failed.
        source: of the batch.
        temp_directory, memory_limit: of the connection that finds the rows.
    """

    run_id: str
    owner: str
    group: tuple[TableName, ...]
    number: int
    pinned: PinnedPlan
    folder: RunFolder
    audited: int
    catalog: BranchCatalog
    engine: Engine
    source: Source
    temp_directory: Path
    memory_limit: str

    @property
    def books(self) -> Books:
        """The round's, as they were counted last."""
        return self.folder.books(self.number)

    @property
    def branch(self) -> Branch:
        """The run's."""
        return Branch.of_run(self.owner)

    @property
    def prefix(self) -> str:
        """How the names of all files begin that attempts at this division write."""
        return f"{AGAIN}{self.audited}-"

    def staging(self) -> Staging:
        """The table on the run's branch.

        Raises:
            RunNotFoundError: the round is over.
        """
        staging = self.catalog.staging(self.branch, self.pinned.pipeline.table_name)
        self.folder.refuse_over(self.number)
        return staging


def new_token() -> str:
    """The name of one attempt at a division."""
    return uuid.uuid4().hex[:12]


def own_notes(staging: Staging) -> dict[str, str]:
    """What the batch said of itself when it was staged."""
    return {key: staging.notes[key] for key in ("wap.pipeline", "wap.source")}


def put(catalog: BranchCatalog, staging: Staging, change: Change) -> Staging:
    """Stage a change, in place of one that is there."""
    return (catalog.restage if staging.staged else catalog.stage)(staging, change)


def clear(divider: Divider, *more: str) -> None:
    """Delete what the division left behind: superseded files, and those of killed attempts.

    Args:
        more: how the names of files begin that it has superseded.
    """
    staging = divider.staging()
    aside = divider.catalog.staging(
        divider.branch, columns.quarantine_of(divider.pinned.pipeline.table_name)
    )
    for one in (staging, aside):
        keep = partial(_committed, divider, one)
        for of in (divider.prefix, *more):
            divider.engine.clear(one, keep, of=of)
            divider.engine.clear(one, keep, of=f"{KEPT_PREFIX}{of}")
        divider.engine.clear(one, keep)


def _committed(divider: Divider, one: Staging) -> set[str]:
    return {f.file_path for f in divider.catalog.scan(one.table, one.head, one.branch).files}


def clear_superseded(
    divider: Divider, staging: Staging, before: Sequence[DataFile], change: Change
) -> None:
    """Delete the files of the change that was there which the one in its place does not hold.

    What :func:`clear` comes to anyway is left to it.
    """
    now = {f.file_path for f in (*change.added, *change.kept)}
    # A rebase may have taken them over from where the run would have made a new table.
    end = f"/data/{divider.owner}"
    gone = {_of_one_call(f.file_path) for f in before if f.file_path not in now}
    for folder, of in sorted(gone):
        again = of.removeprefix(KEPT_PREFIX).startswith(AGAIN)
        if again or folder != staging.data_location:
            own = replace(staging, location=folder.removesuffix(end))
            divider.engine.clear(own, lambda: now, of=of)


def _of_one_call(path: str) -> tuple[str, str]:
    """A file's folder, and how its name begins like those of the same call: all but the number."""
    folder, _, name = path.rpartition("/")
    return folder, f"{name.rpartition('-')[0]}-"
