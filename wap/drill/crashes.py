"""The crash drill: kill the worker at every boundary of every step, and see what is there then."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from wap.declared import Declared
from wap.drill.crash import When
from wap.drill.looking import Expected, Seen, look, wrong_with
from wap.drill.making import scratch_of, scratch_of_group
from wap.drill.model import Boundary, CrashDrill
from wap.drill.processes import Door
from wap.drill.routes import Route, routes
from wap.drill.scratch import Batch, Scratch
from wap.errors import ConfigError, WapError
from wap.model import Ending, ExitCode
from wap.ports import open_ports
from wap.project import Project

_WHENS: tuple[When, ...] = ("before", "after")

#: Told of each boundary: what came of it, how many were drilled, of how many.
Told = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Place:
    """Where one kill is to happen."""

    route: Route
    step: str
    when: When

    @property
    def boundary(self) -> str:
        """``stage:after``."""
        return f"{self.step}:{self.when}"


def places(wanted: Collection[str], *, group: bool = False) -> list[Place]:
    """The boundaries to drill, in the order of a run.

    Args:
        wanted: steps (``stage``) or boundaries (``stage:after``); empty: all.
        group: of the run of a group.

    Raises:
        ConfigError: one of them is neither.
    """
    ways = routes(group=group)
    every = [Place(r, step, when) for r in ways for step in r.steps for when in _WHENS]
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
        return _drill(project, scratch, chosen, told, keep=keep)


def drill_group(
    project: Project,
    group: str,
    *,
    boundaries: Collection[str] = (),
    heartbeat_seconds: float | None = None,
    keep: bool = False,
    told: Told,
) -> CrashDrill:
    """The same for the run of a group, whose tables are published together.

    Raises:
        ConfigError, ContractError: no such boundary, or no such group.
        WapError: the group does not publish although nobody disturbs it.
    """
    chosen = places(boundaries, group=True)
    beat = heartbeat_seconds or project.temporal.heartbeat_seconds
    with (
        open_ports(project) as ports,
        scratch_of_group(
            project, ports.catalog, group, heartbeat_seconds=beat, keep=keep
        ) as scratch,
    ):
        return _drill(project, scratch, chosen, told, keep=keep)


def _drill(
    project: Project, scratch: Scratch, chosen: list[Place], told: Told, *, keep: bool
) -> CrashDrill:
    calm, door = _undisturbed(scratch)
    expected, absent = _expected(scratch, chosen, calm)
    chosen = [place for place in chosen if place.route in expected]
    done: list[Boundary] = []
    for place in chosen:
        done.append(_drilled(scratch, place, expected[place.route]))
        told(_line(done[-1]), len(done), len(chosen))
    return CrashDrill(
        rows=calm.rows,
        seconds=door.seconds,
        heartbeat_seconds=scratch.heartbeat_seconds,
        boundaries=tuple(done),
        notes=(*_notes(project, scratch, keep=keep), *absent),
    )


def _undisturbed(scratch: Scratch) -> tuple[Expected, Door]:
    """What every killed run must come to: what the one comes to that nobody kills."""
    door = scratch.run()
    seen = look(scratch)
    if door.code != ExitCode.PUBLISHED or seen.published != len(scratch.drilled):
        raise WapError(
            f"the pipeline does not publish although nobody disturbs it: {door.why}",
            where=f"{scratch.where}, on an empty scratch table",
            hint="drill with a batch that passes: --source FILE, or --start and --end",
        )
    return Expected(seen.published, seen.rows, seen.aside, seen.columns), door


def _expected(
    scratch: Scratch, chosen: Collection[Place], calm: Expected
) -> tuple[dict[Route, Expected], list[str]]:
    """What each chosen route must come to, and which are not drilled, for people.

    Raises:
        ConfigError: none of them can be.
    """
    found: dict[Route, Expected] = {}
    absent: list[str] = []
    for route in dict.fromkeys(place.route for place in chosen):
        expected = route.expected(scratch, calm)
        if isinstance(expected, str):
            absent.append(f"not drilled, {route.name}: {expected}")
        else:
            found[route] = expected
    if not found:
        raise ConfigError("; ".join(absent), where=scratch.where)
    return found, absent


def _drilled(scratch: Scratch, place: Place, expected: Expected) -> Boundary:
    scratch.restart()
    route = place.route
    killed = route.kill(scratch, place.boundary)
    if not killed.was_killed:
        said = f"the worker was not killed there, it ended with code {killed.code}: {killed.why}"
        return Boundary(scenario=route.name, step=place.step, when=place.when, ok=False, said=said)
    again = route.again(scratch)
    wrong = _wrong_end(scratch, route, again)
    seen = look(scratch)
    wrong += wrong_with(seen, expected)
    return Boundary(
        scenario=route.name,
        step=place.step,
        when=place.when,
        ending=str(again.result.get("ending", "")),
        published=_times(seen, expected),
        rows=seen.rows,
        aside=seen.aside,
        branches=seen.branches,
        files=seen.files,
        folders=seen.folders,
        seconds=round(again.seconds, 3),
        ok=not wrong,
        said="; ".join(wrong),
    )


def _times(seen: Seen, expected: Expected) -> int:
    """How often main holds each batch; where they are not all there alike, how many it holds."""
    return 1 if expected.published and seen.published == expected.published else seen.published


def _wrong_end(scratch: Scratch, route: Route, again: Door) -> list[str]:
    """What is wrong with how the run ended."""
    ended = again.result.get("ending")
    wrong = (
        [] if ended == route.ending else [f"it ended {ended or again.said!r}, not {route.ending}"]
    )
    if left := again.result.get("incomplete"):
        wrong.append(f"not undone: {'; '.join(left)}")
    if route.ending is Ending.HELD and not wrong:
        decided = scratch.reject(str(again.result["run_id"]))
        if decided.result.get("ending") != Ending.REJECTED:
            wrong.append(
                f"rejected by hand it ended {decided.result.get('ending') or decided.said!r}"
            )
    return wrong


def _line(done: Boundary) -> str:
    if not done.ok:
        return f"{done.name} WRONG: {done.said}"
    times = "published once" if done.published else "not published"
    return f"{done.name} {done.ending}, {times}, {done.seconds:.1f} s"


def _notes(project: Project, scratch: Scratch, *, keep: bool) -> Iterator[str]:
    kinds = ", ".join(sorted({said.pipeline.source.kind for said in scratch.drilled}))
    whose = "the pipelines' sources" if scratch.group else "the pipeline's source"
    yield f"read: {whose} ({kinds}); written: scratch tables, SQLite on a folder"
    if project.catalog.kind != "sqlite" or "://" in project.catalog.warehouse:
        yield f"not drilled: this project's {project.catalog.kind} catalog and its warehouse"
    if project.temporal.address is not None:
        yield "not drilled: the given Temporal server and its workers; a packaged one ran instead"
    if keep:
        yield f"kept: {scratch.folder}"
