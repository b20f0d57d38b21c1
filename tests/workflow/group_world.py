"""A small world for the saga of a group: a main and a branch for each table, moved together."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from temporalio import activity
from temporalio.exceptions import ApplicationError

from wap.group_steps import GroupSteps, Ready
from wap.model import CheckCounts, Quarantined, Rows, RunResult, SnapshotMove
from wap.steps import (
    Audited,
    Divided,
    Opened,
    Rebased,
    Resolved,
    Restaged,
    RunRef,
    Sealed,
    Staged,
    Steps,
    Undone,
    United,
)
from wap.turns import Ticket

GROUP = ("planes", "weather", "flights")

_step = activity.defn(no_thread_cancel_exception=True)


@dataclass
class GroupWorld(Steps, GroupSteps):
    """Steps over integers, by pipeline. A branch is (base, head)."""

    names: tuple[str, ...] = GROUP
    abreast: int = 1
    main: dict[str, int] = field(default_factory=dict)
    branches: dict[str, tuple[int, int]] = field(default_factory=dict)
    sealed: dict[str, int] = field(default_factory=dict)
    #: run that published → its heads by pipeline.
    published: dict[str, dict[str, int]] = field(default_factory=dict)
    bad: frozenset[str] = frozenset()
    unfit: frozenset[str] = frozenset()
    #: rows that break a check and can be set aside, by pipeline; more than :attr:`most` cannot.
    broken: dict[str, int] = field(default_factory=dict)
    most: int = 3
    aside: dict[str, int] = field(default_factory=dict)
    nothing_new: set[str] = field(default_factory=set)
    #: those that are planned anew when main has moved, and whether another run did their work.
    redone: set[str] = field(default_factory=set)
    #: those that meet main's rows, and are staged again; what step ``restage`` answers in place.
    meets: set[str] = field(default_factory=set)
    restage_says: dict[str, Restaged] = field(default_factory=dict)
    done_meanwhile: set[str] = field(default_factory=set)
    said: tuple[str, ...] = ()
    next_id: int = 100
    #: «step» or «step member» → when, error type, how often.
    faults: dict[str, list[tuple[str, str, int]]] = field(default_factory=dict)
    during: dict[str, Callable[[], object]] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    #: what each audit saw beside it: pipeline → heads of the group's other tables.
    seen: dict[str, dict[str, int]] = field(default_factory=dict)
    closed: dict[str, RunResult] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.main = self.main or dict.fromkeys(self.names, 1)

    @property
    def untouched(self) -> bool:
        """Whether nothing of any run is left."""
        return not self.branches and set(self.main.values()) == {1}

    def count(self, *steps: str) -> list[str]:
        """The calls of these steps, in order."""
        return [call for call in self.calls if call.split()[0] in steps]

    def _new(self) -> int:
        self.next_id += 1
        return self.next_id

    def _enter(self, *names: str) -> None:
        call = " ".join(names)
        self.calls.append(call)
        for key in (names[0], call):
            if key in self.during:
                self.during[key]()
        self._fault("before", names)

    def _fault(self, when: str, names: Iterable[str]) -> None:
        step, *_ = names
        for key in dict.fromkeys((step, " ".join(names))):
            queue = self.faults.get(key, [])
            for place, (at, error, times) in enumerate(queue):
                if at == when and times > 0:
                    queue[place] = (at, error, times - 1)
                    raise ApplicationError(
                        f"{error} {when} {key}",
                        type=error,
                        non_retryable=not error.endswith("UnavailableError"),
                    )

    @_step
    def resolve(self, run: RunRef) -> Resolved:
        name = run.request.pipeline
        self._enter("resolve", name)
        self._fault("after", ("resolve", name))
        done = name in self.nothing_new or (run.round > 0 and name in self.done_meanwhile)
        return Resolved(
            table=f"nyc.{name}",
            pipeline_digest="d",
            summary="1 file",
            nothing_new=done,
            refused="does not fit" if name in self.unfit else None,
            before=self.main[name],
        )

    @_step
    def open_branch(self, run: RunRef) -> Opened:
        name = run.request.pipeline
        self._enter("open_branch", name)
        self.branches.setdefault(name, (self.main[name], self.main[name]))
        self._fault("after", ("open_branch", name))
        base, head = self.branches[name]
        return Opened(expected=base, head=head)

    @_step
    def stage(self, run: RunRef) -> Staged:
        name = run.request.pipeline
        self._enter("stage", name)
        base, head = self.branches[name]
        if base == head:
            self.branches[name] = (base, self._new())
        self._fault("after", ("stage", name))
        rows = Rows(read=5, staged=5)
        return Staged(head=self.branches[name][1], rows=rows, files=1, bytes=10)

    @_step
    def reconcile(self, run: RunRef) -> Rows:
        name = run.request.pipeline
        self._enter("reconcile", name)
        self._fault("after", ("reconcile", name))
        aside = self.aside.get(name, 0)
        return Rows(read=5, staged=5 - aside, quarantined=aside)

    @_step
    def audit(self, run: RunRef) -> Audited:
        name = run.request.pipeline
        self._enter("audit", name)
        assert run.group is not None
        assert run.group.name
        beside = [table.removeprefix("nyc.") for table in run.group.tables]
        assert name in beside
        self.seen[name] = {other: self.branches[other][1] for other in beside if other != name}
        base, head = self.branches[name]
        broken = self.broken.get(name, 0)
        passed = name not in self.bad and not broken
        self._fault("after", ("audit", name))
        return Audited(
            head=head,
            expected=base,
            passed=passed,
            report_digest=f"{name} {head}",
            checks=CheckCounts(passed=3) if passed else CheckCounts(passed=2, failed=1),
            reason="" if passed else f"{name} has 2 nulls",
            separable=bool(broken) and name not in self.bad,
        )

    @_step
    def hold(self, run: RunRef, result: RunResult) -> RunResult:
        raise AssertionError("a group is never held")

    @_step
    def seal(self, run: RunRef, audited: Audited) -> Sealed:
        name = run.request.pipeline
        self._enter("seal", name)
        self.sealed[name] = audited.head
        self._fault("after", ("seal", name))
        return Sealed(snapshot_id=audited.head)

    @_step
    def publish(self, run: RunRef, audited: Audited) -> SnapshotMove:
        raise AssertionError("no member is published by itself")

    @_step
    def rebase(self, run: RunRef) -> Rebased:
        name = run.request.pipeline
        self._enter("rebase", name)
        base, head = self.branches[name]
        if base != self.main[name]:
            if name in self.redone | self.done_meanwhile:
                return Rebased(redo="it was a replace")
            if name in self.meets:
                return Rebased(redo="it has met another main", restages=True)
            base, head = self.branches[name] = (self.main[name], self._new())
        self._fault("after", ("rebase", name))
        return Rebased(head=head, expected=base)

    @_step
    def restage(self, run: RunRef) -> Restaged:
        name = run.request.pipeline
        self._enter("restage", name)
        if name in self.restage_says:
            return self.restage_says.pop(name)
        if self.branches[name][0] != self.main[name]:
            self.branches[name] = (self.main[name], self._new())
            if name in self.aside:
                self.broken[name] = self.aside.pop(name)
        self._fault("after", ("restage", name))
        return Restaged(rows=Rows(read=5, staged=5), bytes=3, warnings=self.said)

    @_step
    async def enlist(self, run: RunRef, table: str, ticket: Ticket) -> None:
        raise NotImplementedError  # a group waits in no queue

    @_step
    def unite(self, run: RunRef, members: tuple[RunRef, ...]) -> United:
        raise NotImplementedError

    @_step
    def dissolve(self, run: RunRef) -> Undone:
        raise NotImplementedError

    @_step
    def quarantine(self, run: RunRef, audited: Audited) -> Divided:
        name = run.request.pipeline
        self._enter("quarantine", name)
        base, head = self.branches[name]
        if head == audited.head:
            if self.broken[name] > self.most:
                return Divided(refused="too many rows")
            self.aside[name] = self.broken.pop(name)
            self.branches[name] = (base, self._new())
        self._fault("after", ("quarantine", name))
        rows = self.aside[name]
        told = Quarantined(table=f"nyc.{name}__quarantine", rows=rows, checks=())
        return Divided(quarantine=told, bytes=7)

    @_step
    def drop_branch(self, run: RunRef) -> Undone:
        name = run.request.pipeline
        self._enter("drop_branch", name)
        if run.owner in self.published:
            move = SnapshotMove(before=1, after=self.published[run.owner][name])
            return Undone(removed="nothing", published=move)
        self.branches.pop(name, None)
        self.aside.pop(name, None)
        self._fault("after", ("drop_branch", name))
        return Undone(removed="1 file")

    @_step
    def record_lineage(self, run: RunRef, result: RunResult) -> str:
        self._enter("record_lineage", run.request.pipeline)
        self._fault("after", ("record_lineage", run.request.pipeline))
        return "file"

    @_step
    def close(self, run: RunRef, result: RunResult) -> RunResult:
        self._enter("close", run.request.pipeline)
        self.closed[run.request.pipeline] = result
        self._fault("after", ("close", run.request.pipeline))
        return result.model_copy(update={"report": f"reports/{run.run_id}/report.html"})

    @_step
    def check_group(self, run: RunRef, members: list[RunRef]) -> None:
        self._enter("check_group")
        assert not self.branches
        self._fault("after", ("check_group",))

    @_step
    def publish_group(self, run: RunRef, members: list[Ready]) -> list[SnapshotMove]:
        self._enter("publish_group")
        names = [member.run.request.pipeline for member in members]
        if run.run_id not in self.published:
            for name, ready in zip(names, members, strict=True):
                head = ready.audited.head
                assert self.sealed[name] == head
                beside = {n: m.audited.head for n, m in zip(names, members, strict=True)}
                del beside[name]
                assert self.seen[name] == beside
                if self.main[name] != ready.audited.expected:
                    raise ApplicationError("moved", type="HeadMovedError", non_retryable=True)
            heads = {n: m.audited.head for n, m in zip(names, members, strict=True)}
            self.main |= heads
            self.published[run.run_id] = heads
            self.branches.clear()
        self._fault("after", ("publish_group",))
        moved = self.published[run.run_id]
        return [
            SnapshotMove(before=m.audited.expected, after=moved[n])
            for n, m in zip(names, members, strict=True)
        ]

    @_step
    def close_group(self, run: RunRef, members: list[RunRef], result: RunResult) -> RunResult:
        self._enter("close_group")
        assert [m.request.pipeline for m in members] == list(self.names)
        self._fault("after", ("close_group",))
        return result.model_copy(update={"report": f"reports/{run.run_id}/report.html"})

    def all(self) -> list[Callable[..., object]]:
        names = Steps.__abstractmethods__ | GroupSteps.__abstractmethods__
        return [getattr(self, name) for name in names]


def moved_once(world: GroupWorld, *names: str) -> GroupWorld:
    """Somebody else publishes these tables while the group publishes for the first time."""

    def somebody_publishes() -> None:
        if world.calls.count("publish_group") == 1:
            world.main |= dict.fromkeys(names, 50)

    world.during["publish_group"] = somebody_publishes
    return world
