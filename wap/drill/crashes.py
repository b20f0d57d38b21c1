"""The crash drill: kill the worker at every boundary of every step, and see what is there then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from catalog.base import BranchCatalog
from wap.declared import Declared
from wap.drill.crash import When
from wap.drill.model import Boundary, CrashDrill
from wap.drill.processes import Door
from wap.drill.scratch import Batch, Scratch, scratch_of
from wap.errors import ConfigError, WapError
from wap.model import Ending, ExitCode
from wap.project import Project
from wap.worker import open_ports

_WHENS: tuple[When, ...] = ("before", "after")
#: The ways through a run, and the steps whose boundaries lie on each; together all steps but those
#: of unions and of a batch staged again, for which several runs must meet, and the one that sets
#: rows aside.
SCENARIOS = {
    "published": (
        "resolve", "open_branch", "stage", "reconcile", "audit", "seal", "publish",
        "record_lineage", "close",
    ),
    "rejected": ("audit", "drop_branch", "close"),
    "held": ("hold",),
    "overtaken": ("rebase",),
}  # fmt: skip
#: Long after everything: a file of any age counts as left over.
_LATER = timedelta(days=365)

#: Told of each boundary: what came of it, how many were drilled, of how many.
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one kill is to happen."""

    scenario: str
    step: str
    when: When

    @property
    def boundary(self) -> str:
        return f"{self.step}:{self.when}"


@dataclass(frozen=True, slots=True)
class _Seen:
    """What lies in the scratch tables after a run."""

    published: int
    rows: int
    unproved: int
    branches: int
    files: int
    folders: int


def places(wanted: Collection[str]) -> list[_Place]:
    """The boundaries to drill, in the order of a run.

    Args:
        wanted: steps (``stage``) or boundaries (``stage:after``); empty: all.

    Raises:
        ConfigError: one of them is neither.
    """
    every = [
        _Place(s, step, when) for s, steps in SCENARIOS.items() for step in steps for when in _WHENS
    ]
    steps = sorted({p.step for p in every})
    known = {*steps, *(p.boundary for p in every)}
    for text in wanted:
        if text not in known:
            raise ConfigError(
                f"{text!r} names no boundary of a step",
                hint=f"write STEP, STEP:before or STEP:after; steps: {', '.join(steps)}",
            )
    return [p for p in every if not wanted or p.step in wanted or p.boundary in wanted]


def drill_crashes(
    project: Project,
    said: Declared,
    batch: Batch,
    *,
    boundaries: Collection[str] = (),
    heartbeat_seconds: float | None = None,
    keep: bool = False,
    told: Told,
) -> CrashDrill:
    """Run a pipeline on scratch tables, once undisturbed and once with a kill at each boundary.

    Args:
        batch: what is read in place of all of the pipeline's source.
        boundaries: see :func:`places`.
        heartbeat_seconds: of the scratch runs; by default the project's own.
        keep: leave the scratch folder there.
        told: hears of each boundary.

    Raises:
        ConfigError: no such boundary.
        WapError: the pipeline does not publish although nobody disturbs it.
    """
    chosen = places(boundaries)
    beat = heartbeat_seconds or project.temporal.heartbeat_seconds
    with (
        open_ports(project) as ports,
        scratch_of(
            project, ports.catalog, said, batch, heartbeat_seconds=beat, keep=keep
        ) as scratch,
    ):
        rows, calm = _undisturbed(scratch)
        done: list[Boundary] = []
        for place in chosen:
            done.append(_drilled(scratch, place, rows))
            told(_line(done[-1]), len(done), len(chosen))
        notes = tuple(_notes(project, scratch, keep=keep))
    return CrashDrill(
        rows=rows, seconds=calm.seconds, heartbeat_seconds=beat, boundaries=tuple(done), notes=notes
    )


def _undisturbed(scratch: Scratch) -> tuple[int, Door]:
    """What every killed run must come to: the rows of the one that nobody kills."""
    door = scratch.run()
    seen = look(scratch)
    if door.code != ExitCode.PUBLISHED or seen.published != 1:
        raise WapError(
            f"the pipeline does not publish although nobody disturbs it: "
            f"{door.result.get('reason') or door.said}",
            where=f"pipeline {scratch.name}, on an empty scratch table",
            hint="drill with a batch that passes: --source FILE, or --start and --end",
        )
    return seen.rows, door


def _drilled(scratch: Scratch, place: _Place, rows: int) -> Boundary:
    scratch.restart()
    killed = _killed(scratch, place)
    if not killed.was_killed:
        said = f"the worker was not killed there, it ended with code {killed.code}: {killed.said}"
        return Boundary(
            scenario=place.scenario, step=place.step, when=place.when, ok=False, said=said
        )
    again, wrong = _recovered(scratch, place)
    seen = look(scratch)
    wrong += _wrong(place, seen, rows)
    return Boundary(
        scenario=place.scenario,
        step=place.step,
        when=place.when,
        ending=str(again.result.get("ending", "")),
        published=seen.published,
        rows=seen.rows,
        branches=seen.branches,
        files=seen.files,
        folders=seen.folders,
        seconds=round(again.seconds, 3),
        ok=not wrong,
        said="; ".join(wrong),
    )


def _killed(scratch: Scratch, place: _Place) -> Door:
    """Take a run to the place, and kill its worker there."""
    if place.scenario in ("rejected", "held"):
        scratch.never_passes(hold=place.scenario == "held")
    if place.scenario != "overtaken":
        return scratch.run(crash=place.boundary)
    # Killed once before its publish, so that another run can publish the same input meanwhile.
    first = scratch.run(crash="publish:before")
    if not first.was_killed:
        return first
    other = scratch.run(root=scratch.beside)
    return scratch.run(crash=place.boundary) if other.code == ExitCode.PUBLISHED else other


def _recovered(scratch: Scratch, place: _Place) -> tuple[Door, list[str]]:
    """Run it again, and what is wrong with how it ends."""
    again = scratch.run()
    expected = _ENDINGS[place.scenario]
    ended = again.result.get("ending")
    wrong = [] if ended == expected else [f"it ended {ended or again.said!r}, not {expected}"]
    if left := again.result.get("incomplete"):
        wrong.append(f"not undone: {'; '.join(left)}")
    if place.scenario == "held" and not wrong:
        decided = scratch.reject(str(again.result["run_id"]))
        if decided.result.get("ending") != Ending.REJECTED:
            wrong.append(
                f"rejected by hand it ended {decided.result.get('ending') or decided.said!r}"
            )
    return again, wrong


_ENDINGS = {
    "published": Ending.PUBLISHED,
    "rejected": Ending.REJECTED,
    "held": Ending.HELD,
    "overtaken": Ending.PUBLISHED,
}


def look(scratch: Scratch) -> _Seen:
    """What main shows and what was left over, read by this process."""
    with open_ports(scratch.opened()) as ports:
        catalog, table = ports.catalog, scratch.said.table
        try:
            published = catalog.published(table)
            rows = catalog.scan(table, published.snapshot.id).rows if published else 0
            return _Seen(
                published=sum(s.is_sealed for s in catalog.log(table)),
                rows=rows,
                unproved=len(catalog.gaps(table)) if published else 0,
                branches=len(catalog.branches()),
                files=_left_files(scratch, catalog, is_published=published is not None),
                folders=sum(1 for _ in (scratch.root / ".wap/runs").glob("*")),
            )
        finally:
            catalog.close()


def _left_files(scratch: Scratch, catalog: BranchCatalog, *, is_published: bool) -> int:
    """Files that nothing refers to; while no table is published, each that came is one."""
    if not is_published:
        return len(scratch.files() - scratch.kept_files())
    later = datetime.now(UTC) + _LATER
    return len(catalog.sweep(scratch.said.table, before=later, live=frozenset, dry_run=True))


def _wrong(place: _Place, seen: _Seen, rows: int) -> list[str]:
    """What is not as it must be."""
    times = 1 if _ENDINGS[place.scenario] is Ending.PUBLISHED else 0
    found = [
        (seen.published != times, f"main holds it {seen.published} times, not {times}"),
        (seen.rows != rows * times, f"main shows {seen.rows:,} rows, not {rows * times:,}"),
        (seen.unproved > 0, f"{seen.unproved} snapshots of main are not proved"),
        (seen.branches > 0, f"{seen.branches} staging branches are left"),
        (seen.files > 0, f"{seen.files} files are left that nothing refers to"),
        (seen.folders > 0, f"{seen.folders} folders of runs are left"),
    ]
    return [text for is_wrong, text in found if is_wrong]


def _line(done: Boundary) -> str:
    if not done.ok:
        return f"{done.name} WRONG: {done.said}"
    times = "published once" if done.published else "not published"
    return f"{done.name} {done.ending}, {times}, {done.seconds:.1f} s"


def _notes(project: Project, scratch: Scratch, *, keep: bool) -> Iterator[str]:
    kind = scratch.said.pipeline.source.kind
    yield f"read: the pipeline's source ({kind}); written: scratch tables, SQLite on a folder"
    if project.catalog.kind != "sqlite" or "://" in project.catalog.warehouse:
        yield f"not drilled: this project's {project.catalog.kind} catalog and its warehouse"
    if project.temporal.address is not None:
        yield "not drilled: the given Temporal server and its workers; a packaged one ran instead"
    if keep:
        yield f"kept: {scratch.folder}"
