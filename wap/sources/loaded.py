"""The cursor of the source ``files``: which files, and which intervals of them, were loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from wap.errors import SourceError
from wap.sources.base import Cursor, Interval, Plan
from wap.sources.listing import InputFile

VERSION = 1
_KIND = "files"

Key = tuple[str, int, str]


class LoadedInterval(BaseModel):
    """An interval that was loaded, and the digest of the plan that did."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    column: str
    start: str
    end: str
    digest: str

    def overlaps(self, other: Interval) -> bool:
        """Whether rows can lie in both."""
        return self.column == other.column and self.start < other.end and other.start < self.end


class _State(BaseModel):
    model_config = ConfigDict(extra="forbid")

    files: list[Key] = []
    intervals: list[LoadedInterval] = []


@dataclass(frozen=True)
class Loaded:
    """What the published state says was loaded."""

    files: dict[str, Key]
    intervals: tuple[LoadedInterval, ...] = ()

    @classmethod
    def of(cls, cursor: Cursor | None) -> Loaded:
        """Read a cursor; None: nothing was loaded.

        Raises:
            SourceError: it is not ours, or was written by a newer version.
        """
        if cursor is None:
            return cls({})
        cursor.refuse_other(_KIND, VERSION)
        try:
            state = _State.model_validate(cursor.state)
        except ValidationError as exc:
            raise SourceError("the published cursor cannot be read") from exc
        return cls({key[0]: key for key in state.files}, tuple(state.intervals))

    def cursor(self) -> Cursor:
        """As it is published."""
        state = _State(files=sorted(self.files.values()), intervals=list(self.intervals))
        return Cursor(kind=_KIND, version=VERSION, state=state.model_dump(mode="json"))

    def new(self, found: Iterable[InputFile]) -> list[InputFile]:
        """The files that were not loaded."""
        return [f for f in found if f.path not in self.files]

    def changed(self, found: Iterable[InputFile]) -> list[InputFile]:
        """The files that were loaded when they were not what they are now."""
        return [f for f in found if self.files.get(f.path, f.key) != f.key]

    def is_exactly(self, found: Iterable[InputFile]) -> bool:
        """Whether these files, and no others, were loaded."""
        return set(self.files.values()) == {f.key for f in found}

    def has_interval(self, interval: Interval, digest: str) -> bool:
        """Whether the same input was loaded for the same interval, and nothing over it since."""
        return any(
            (i.column, i.start, i.end, i.digest)
            == (interval.column, interval.start, interval.end, digest)
            for i in self.intervals
        )

    def has_any(self, plan: Plan) -> bool:
        """Whether any of a plan's work was loaded."""
        if plan.interval is not None:
            return self.has_interval(plan.interval, plan.digest)
        planned = keys_of(plan)
        if plan.work.get("everything"):
            return bool(planned) and set(self.files.values()) == set(planned)
        return any(self.files.get(path) == (path, size, v) for path, size, v in planned)

    def is_newer(self, before: Loaded, plan: Plan, *, given: bool) -> bool:
        """Whether what was loaded since ``before`` may hold a newer state of a plan's input.

        Args:
            given: the plan's files were named by whoever started the run.
        """
        if plan.interval is not None:
            since = set(self.intervals) - set(before.intervals)
            over = any(i.overlaps(plan.interval) for i in since)
            return over or self.files != before.files
        if plan.work.get("everything") and not given:
            return self != before
        return any(
            self.files.get(key[0], key) not in (key, before.files.get(key[0]))
            for key in keys_of(plan)
        )

    def advanced(self, plan: Plan) -> Loaded:
        """What is loaded once the plan is published."""
        if plan.interval is not None:
            interval = plan.interval
            others = tuple(i for i in self.intervals if not i.overlaps(interval))
            mine = LoadedInterval(**interval.model_dump(), digest=plan.digest)
            return Loaded(self.files, (*others, mine))
        planned = {key[0]: key for key in keys_of(plan)}
        if plan.work.get("everything"):
            return Loaded(planned)
        return Loaded({**self.files, **planned}, self.intervals)


def keys_of(plan: Plan) -> list[Key]:
    """Path, size and version of each of a plan's files."""
    files: Any = plan.work["files"]
    return [(f["path"], f["size"], f["version"]) for f in files]
