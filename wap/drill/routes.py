"""The ways that a run can go, how a scratch run is made to go each, and what it must come to."""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

from wap.drill.looking import NOTHING, Expected, look
from wap.drill.processes import Door
from wap.drill.scratch import Scratch
from wap.model import Ending, ExitCode

#: So many runs are made to meet, and so often until some of them do.
UNITED_RUNS, MEETINGS = 6, 3


class Route(ABC):
    """One way through a run.

    Attributes:
        name: what the drill calls it.
        steps: those whose boundaries are drilled on it.
        ending: how each run on it ends.
    """

    name: str
    steps: tuple[str, ...]
    ending: Ending = Ending.PUBLISHED

    def expected(self, scratch: Scratch, calm: Expected) -> Expected | str:
        """What must be there at the end, or why this pipeline cannot go this way.

        Args:
            calm: what the run came to that went as declared, and nobody disturbed.
        """
        del scratch
        return calm

    @abstractmethod
    def kill(self, scratch: Scratch, crash: str) -> Door:
        """Take a run to the boundary, and kill its worker there."""

    def again(self, scratch: Scratch) -> Door:
        """Take it to its end by another worker."""
        return scratch.run()


class Published(Route):
    """As declared."""

    name = "published"
    steps: tuple[str, ...] = (
        "resolve", "open_branch", "stage", "reconcile", "audit", "seal", "publish",
        "record_lineage", "close",
    )  # fmt: skip

    def kill(self, scratch: Scratch, crash: str) -> Door:
        """See the base."""
        return scratch.run(crash=crash)


class Rejected(Route):
    """With one more contract, which no batch passes."""

    name = "rejected"
    steps: tuple[str, ...] = ("audit", "drop_branch", "close")
    ending = Ending.REJECTED
    hold = False

    def expected(self, scratch: Scratch, calm: Expected) -> Expected | str:
        """Nothing."""
        del scratch, calm
        return NOTHING

    def kill(self, scratch: Scratch, crash: str) -> Door:
        """See the base."""
        scratch.never_passes(hold=self.hold)
        return scratch.run(crash=crash)


class HeldThenRejected(Rejected):
    """The same with ``on_failure: hold``; afterwards it is rejected by hand."""

    name = "held"
    steps = ("hold",)
    ending = Ending.HELD
    hold = True


class Overtaken(Route):
    """Another run publishes the same input, through a server of its own, before this one does."""

    name = "overtaken"
    steps = ("rebase",)

    def kill(self, scratch: Scratch, crash: str) -> Door:
        """See the base."""
        first = scratch.run(crash="publish:before")
        if not first.was_killed:
            return first
        other = scratch.run(root=scratch.beside)
        return scratch.run(crash=crash) if other.code == ExitCode.PUBLISHED else other


class Followed(Route):
    """Another run publishes a copy of the batch before this one publishes its own copy.

    What this one stages depends on what main shows, so it stages its batch again.
    """

    name = "followed"
    steps = ("restage",)

    def __init__(self) -> None:
        self._late: list[Path] = []
        self._rival: list[Path] = []

    def expected(self, scratch: Scratch, calm: Expected) -> Expected | str:
        """What the runs come to when they go one after the other, and nobody disturbs them."""
        del calm
        write, files = scratch.said.pipeline.write, scratch.inputs()
        if not write.keyed and write.mode != "replace":
            return "what an append stages follows another main as it is"
        if not files or scratch.batch.interval is not None:
            return "the drill makes two more batches by copying files of this machine"
        self._late, self._rival = _copied(files, scratch.folder / "followed", 2)
        scratch.restart()
        scratch.always_passes()
        for door in (scratch.run(), scratch.run_of(self._rival), scratch.run_of(self._late)):
            if door.code != ExitCode.PUBLISHED:
                return f"copies of the batch are not published one after the other: {door.why}"
        seen = look(scratch)
        return Expected(seen.published, seen.rows, seen.aside)

    def kill(self, scratch: Scratch, crash: str) -> Door:
        """See the base."""
        scratch.always_passes()
        first = scratch.run()
        if first.code != ExitCode.PUBLISHED:
            return first
        late = scratch.run_of(self._late, crash="publish:before")
        if not late.was_killed:
            return late
        rival = scratch.run_of(self._rival, root=scratch.beside)
        if rival.code != ExitCode.PUBLISHED:
            return rival
        return scratch.run_of(self._late, crash=crash)

    def again(self, scratch: Scratch) -> Door:
        """See the base."""
        return scratch.run_of(self._late)


class SetAside(Route):
    """About every eighth row breaks a check, and goes to the quarantine table."""

    name = "quarantined"
    steps = ("quarantine", "publish")

    def __init__(self) -> None:
        self._columns: tuple[str, ...] = ()

    def expected(self, scratch: Scratch, calm: Expected) -> Expected | str:
        """What a run comes to that nobody disturbs: the rows that break it are not known before."""
        self._columns = calm.columns
        scratch.restart()
        scratch.sets_aside(self._columns)
        door, seen = scratch.run(), look(scratch)
        if door.code != ExitCode.PUBLISHED:
            return f"with an eighth of its rows set aside the batch is not published: {door.why}"
        if not seen.aside:
            return "no row of the batch was set aside: give it more rows"
        return Expected(seen.published, seen.rows, seen.aside)

    def kill(self, scratch: Scratch, crash: str) -> Door:
        """See the base."""
        scratch.sets_aside(self._columns)
        return scratch.run(crash=crash)


class United(Route):
    """Runs of copies of the batch meet at the table's keeper, which publishes them together."""

    name = "united"
    steps = ("enlist", "unite", "dissolve")

    def __init__(self) -> None:
        self._copies: list[list[Path]] = []

    def expected(self, scratch: Scratch, calm: Expected) -> Expected | str:
        """The first load and every copy, each once."""
        said, files = scratch.said.pipeline, scratch.inputs()
        if said.write.mode != "append" or said.write.keyed or said.engine == "spark":
            return "unions take runs that append, without keys, on the arrow engine"
        if not files or scratch.batch.interval is not None:
            return "the drill makes batches for a union by copying files of this machine"
        self._copies = _copied(files, scratch.folder / "copies", UNITED_RUNS)
        return Expected(calm.published * (UNITED_RUNS + 1), calm.rows * (UNITED_RUNS + 1))

    def kill(self, scratch: Scratch, crash: str) -> Door:
        """See the base; whether runs meet is a matter of moments, so they are given several."""
        door = Door(0, 0.0)
        for meeting in range(MEETINGS):
            if meeting:
                scratch.restart()
            scratch.always_passes()
            first = scratch.run()
            if first.code != ExitCode.PUBLISHED:
                return first
            door = scratch.runs(self._copies, crash)
            if door.was_killed:
                break
        return door

    def again(self, scratch: Scratch) -> Door:
        """See the base."""
        return scratch.runs(self._copies)


def _copied(files: Sequence[Path], folder: Path, times: int) -> list[list[Path]]:
    """The files several times over, each time in a folder of its own."""
    copies = []
    for number in range(times):
        made = [folder / str(number) / f"{place}-{file.name}" for place, file in enumerate(files)]
        for source, target in zip(files, made, strict=True):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)
        copies.append(made)
    return copies


class GroupPublished(Published):
    """Every table of a group, in one step."""

    steps = (
        "resolve", "check_group", "open_branch", "stage", "reconcile", "audit", "seal",
        "publish_group", "close_group", "record_lineage", "close",
    )  # fmt: skip


class GroupOvertaken(Route):
    """A run of one of its tables publishes that table's input before the group does."""

    name = "overtaken"
    steps = ("rebase",)

    def kill(self, scratch: Scratch, crash: str) -> Door:
        """See the base."""
        first = scratch.run(crash="publish_group:before")
        if not first.was_killed:
            return first
        other = scratch.run_one(scratch.beside)
        return scratch.run(crash=crash) if other.code == ExitCode.PUBLISHED else other


def routes(*, group: bool = False) -> list[Route]:
    """All of them, in the order they are drilled in; together they lead through every step."""
    if group:
        return [GroupPublished(), Rejected(), GroupOvertaken()]
    return [
        Published(), Rejected(), HeldThenRejected(), Overtaken(), Followed(), SetAside(), United(),
    ]  # fmt: skip
