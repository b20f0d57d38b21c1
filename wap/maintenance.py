"""``wap maintain``: what dead runs left goes, old snapshots are forgotten, unused files deleted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from catalog import storage
from catalog.base import BranchCatalog, Litter
from catalog.errors import (
    BranchExistsError,
    BranchNotFoundError,
    CatalogError,
    TableNotFoundError,
)
from catalog.refs import Branch, Snapshot, TableName
from catalog.retention import Keep
from wap import doors
from wap.activities import Activities
from wap.doctor import PROBE
from wap.errors import WapError
from wap.history import sealed_facts
from wap.liveness import AtWork, Liveness
from wap.membership import owner_of
from wap.model import Ending, RunRequest, RunResult, Value
from wap.project import Project
from wap.steps import RunRef, Undone
from wap.undoing import take_over, undo_run
from wap.worker import open_activities


class RunUpkeep(Value):
    """A run that has left something, or may yet.

    Attributes:
        state: ``at_work``; ``ended`` (its workflow is over); ``lost`` (it was ours, and Temporal
            knows it no more); ``stranger`` (nothing here knows it, so it stays).
        action: ``removed``, ``kept``, ``published`` (main holds its seal, so it is not undone) or
            ``failed``.
        files, bytes: data files on the branch when it was looked at.
        said: why, for people.
    """

    run_id: str
    tables: tuple[str, ...]
    state: str
    action: str
    files: int
    bytes: int
    said: str


class TableUpkeep(Value):
    """One table.

    Attributes:
        snapshots: how many are left in main's history.
        expired: how many were forgotten.
        data, manifests, metadata, statistics: unused files by kind.
        bytes: of all of them together.
        error: why the table was left as it is; "" when nothing went wrong.
    """

    table: str
    snapshots: int = 0
    expired: int = 0
    data: int = 0
    manifests: int = 0
    metadata: int = 0
    statistics: int = 0
    bytes: int = 0
    error: str = ""


class Upkeep(Value):
    """What was done, or in a dry run what would be."""

    dry_run: bool
    runs: tuple[RunUpkeep, ...]
    tables: tuple[TableUpkeep, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing went wrong."""
        return not any(t.error for t in self.tables) and all(
            r.action != "failed" for r in self.runs
        )


def maintain(
    project: Project,
    names: Sequence[str] = (),
    *,
    dry_run: bool = False,
    now: datetime | None = None,
) -> Upkeep:
    """Clear up after runs that are no more, and in tables (all by default).

    Args:
        project: whose catalog and Temporal server are meant.
        names: tables; a run that left something in one of them is among the runs then.
        dry_run: only tell what would be removed.
        now: what ages are counted from, by default this moment.

    Raises:
        TableNotFoundError: a table that is named is not published.
        TemporalUnavailableError: it cannot be told which runs are at work; nothing is removed.
    """
    with doors.server_of(project) as server, open_activities(project) as steps:
        liveness = Liveness(project, server)
        tables = _tables(steps.catalog, names)
        work = _Work(project, steps, liveness, now or datetime.now(UTC), dry_run)
        runs = work.runs(tables if names else None)
        return Upkeep(
            dry_run=dry_run,
            runs=tuple(runs),
            tables=tuple(work.table(table) for table in tables),
        )


def _tables(catalog: BranchCatalog, names: Sequence[str]) -> list[TableName]:
    known = catalog.tables()
    wanted = [TableName.parse(name) for name in names]
    for table in wanted:
        if table not in known:
            hint = f"published: {', '.join(map(str, known)) or 'none yet'}"
            raise TableNotFoundError("no such published table", where=str(table), hint=hint)
    return wanted or known


@dataclass(frozen=True)
class _Left:
    """What is known of a run that has left something.

    Attributes:
        folders: names of those it has here: its own, or one for each member of a group.
    """

    run_id: str
    tables: frozenset[TableName]
    since: datetime | None
    folders: tuple[str, ...]

    @property
    def is_ours(self) -> bool:
        """Whether it was a run of this project."""
        return bool(self.folders)


@dataclass(frozen=True)
class _Work:
    """One clean-up of a project, as of one moment."""

    project: Project
    steps: Activities
    liveness: Liveness
    now: datetime
    dry_run: bool

    # --- runs -----------------------------------------------------------------------------------

    def runs(self, wanted: Sequence[TableName] | None) -> list[RunUpkeep]:
        """Judge every run that has a branch or a folder, and undo those that are dead."""
        # What is left is looked at first: a run that begins meanwhile is not among it.
        left = [one for one in self._left() if wanted is None or one.tables & set(wanted)]
        at_work = self.liveness.at_work()
        return [self._run(one, at_work) for one in left]

    def _left(self) -> list[_Left]:
        states = self.steps.catalog.branches()
        folders: dict[str, list[str]] = {}
        for name in self.steps.home.runs():
            folders.setdefault(owner_of(name), []).append(name)
        found = []
        for run_id in sorted(folders.keys() | {state.branch.run_id for state in states}):
            own = [s for s in states if s.branch.run_id == run_id]
            tables = {s.table for s in own}
            times = [s.created_at for s in own if s.created_at is not None]
            for folder in map(self.steps.home.folder, folders.get(run_id, ())):
                if folder.has_plan(0) and folder.damage() is None:
                    plan = folder.plan(0)
                    tables.add(TableName.parse(plan.pipeline.table))
                    times.append(plan.started_at)
            since = max(times, default=None)
            known = tuple(folders.get(run_id, ()))
            found.append(_Left(run_id, frozenset(tables), since, known))
        return found

    def _run(self, left: _Left, at_work: AtWork) -> RunUpkeep:
        state, said = self._judged(left, at_work)
        files, size = self._size(left)
        dead = state in ("ended", "lost") and not said
        action = "removed" if dead else "kept"
        if dead and not self.dry_run:
            action, said = self._undo(left)
        return RunUpkeep(
            run_id=left.run_id,
            tables=tuple(sorted(map(str, left.tables))),
            state=state,
            action=action,
            files=files,
            bytes=size,
            said=said,
        )

    def _judged(self, left: _Left, at_work: AtWork) -> tuple[str, str]:
        """The run's state, and why it is kept; "": it is dead for long enough."""
        settings = self.project.maintain
        if left.run_id in at_work:
            return "at_work", "its workflow is open"
        ended = self.liveness.ended(left.run_id)
        if ended is not None:
            wait = timedelta(hours=settings.abandoned_hours)
            young = ended.at > self.now - wait
            return "ended", f"{ended.how} less than {_hours(wait)} ago" if young else ""
        if not left.is_ours and not left.run_id.startswith(PROBE):
            return "stranger", "neither this Temporal server nor this project's runs know it"
        wait = timedelta(hours=max(settings.grace_hours, settings.abandoned_hours))
        if left.since is not None and left.since > self.now - wait:
            return "lost", f"Temporal does not know it; it began less than {_hours(wait)} ago"
        return "lost", ""

    def _size(self, left: _Left) -> tuple[int, int]:
        """Data files of the run's branch and their bytes."""
        count = size = 0
        for table in left.tables:
            try:
                staging = self.steps.catalog.staging(Branch.of_run(left.run_id), table)
            except (BranchNotFoundError, BranchExistsError):
                continue  # nothing is staged, or not by this run: its undo says so
            found = storage.list_files(staging.io, staging.data_location)
            count, size = count + len(found), size + sum(f.size for f in found)
        return count, size

    def _undo(self, left: _Left) -> tuple[str, str]:
        """Undo the run by the way of every other, and close it; what came of it."""
        try:
            folder = self.steps.home.folder(left.run_id)
            undone = {
                table: undo_run(self.steps.catalog, left.run_id, table, folder=folder)
                for table in sorted(left.tables)
            }
            for name in left.folders or (left.run_id,):
                self._close(name, undone)
        except (CatalogError, WapError) as exc:
            return "failed", str(exc)
        if any(one.published is not None for one in undone.values()):
            return "published", "main holds its seal; only its folder is cleared"
        return "removed", "; ".join(one.removed for one in undone.values())

    def _close(self, run_id: str, undone: dict[TableName, Undone]) -> None:
        """Tell report and ledger how the run ended, and remove its folder."""
        folder = self.steps.home.folder(run_id)
        if not folder.has_plan(0) or folder.damage() is not None or folder.members():
            folder.remove()  # a union is no run of its own to ledger and reports
            return
        rounds = 0
        while folder.has_plan(rounds + 1):
            rounds += 1
        pinned = folder.plan(rounds)
        request = RunRequest(project=self.project.id, pipeline=pinned.pipeline.name)
        run = RunRef(run_id=run_id, request=request, round=rounds)
        result = RunResult(
            run_id=run_id,
            pipeline=pinned.pipeline.name,
            table=pinned.pipeline.table,
            ending=Ending.ROLLED_BACK,
            reason="its workflow was ended from outside; undone by `wap maintain`",
        )
        table = TableName.parse(pinned.pipeline.table)
        if table in undone and undone[table].published is not None:
            take_over(self.steps.catalog, run_id, table, folder)
            facts = sealed_facts(self.steps.catalog, table)
            result = next(f.result for f in facts if f.run_id == run_id)
        self.steps.close(run, result)

    # --- tables ---------------------------------------------------------------------------------

    def table(self, table: TableName) -> TableUpkeep:
        """Forget old snapshots, then delete what nothing needs any more."""
        catalog, settings = self.steps.catalog, self.project.maintain
        old = self.now - timedelta(hours=settings.grace_hours)
        keep = Keep(
            runs=settings.keep_runs,
            shown_since=self.now - timedelta(days=settings.keep_days),
            made_since=old,
            live=self.liveness.at_work(),
        )
        gone: list[Snapshot] = []
        try:
            gone = catalog.expire(table, keep, dry_run=self.dry_run)
            litter = catalog.sweep(
                table,
                before=old,
                live=self.liveness.at_work,
                forgotten=[s.id for s in gone],
                dry_run=self.dry_run,
            )
            left = {s.id for s in catalog.log(table)} - {s.id for s in gone}
        except CatalogError as exc:
            return TableUpkeep(table=str(table), expired=len(gone), error=str(exc))
        return TableUpkeep(
            table=str(table),
            snapshots=len(left),
            expired=len(gone),
            data=_count(litter, "data"),
            manifests=_count(litter, "manifest"),
            metadata=_count(litter, "metadata"),
            statistics=_count(litter, "statistics"),
            bytes=sum(one.size for one in litter),
        )


def _count(litter: Sequence[Litter], kind: str) -> int:
    return sum(one.kind == kind for one in litter)


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:g} h"
