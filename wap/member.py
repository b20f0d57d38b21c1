"""One table of a group's run, as far as it is, and what is told of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from wap.model import CheckCounts, Ending, Quarantined, Rows, RunResult, SnapshotMove
from wap.steps import Audited, Resolved, RunRef


@dataclass
class Member:
    """One table of the group, as far as it is.

    Attributes:
        resolved: None before its first step is done.
        opened: whether it may have a branch; its undo is registered then.
        staged: whether its batch lies on the branch, on the main that it was opened or rebased on.
        redo: why its batch could not be staged again on the main that it met; "": it could.
        reason: why it keeps the group from being published; "" when it does not.
        published: how main moved; None: it did not.
        quarantine: what was set aside of its batch.
    """

    run: RunRef
    resolved: Resolved | None = None
    opened: bool = False
    staged: bool = False
    rows: Rows = field(default_factory=Rows)
    checks: CheckCounts = field(default_factory=CheckCounts)
    audited: Audited | None = None
    quarantine: Quarantined | None = None
    redo: str = ""
    reason: str = ""
    published: SnapshotMove | None = None
    warnings: dict[str, None] = field(default_factory=dict)
    bytes_written: int = 0

    @property
    def name(self) -> str:
        """The pipeline's."""
        return self.run.request.pipeline

    @property
    def table(self) -> str:
        """The table's name; "" before it is known."""
        return self.resolved.table if self.resolved else ""

    @property
    def takes_part(self) -> bool:
        """Whether it has something to publish; else it is a published neighbour like any other."""
        return self.resolved is None or not self.resolved.nothing_new

    def warn(self, warnings: Sequence[str]) -> None:
        """Keep each warning once."""
        self.warnings.update(dict.fromkeys(warnings))


def told(member: Member, ending: Ending, reason: str, seconds: float) -> RunResult:
    """What became of one member: the group's ending, and its own reason where it has one."""
    before = member.resolved.before if member.resolved else None
    published = ending is Ending.PUBLISHED
    nothing_new = published and member.published is None
    rows = member.rows
    if member.published is not None:
        rows = rows.model_copy(update={"published": rows.staged})
    if ending is Ending.REJECTED:
        reason = member.reason or f"the group was rejected: {reason}"
    return RunResult(
        run_id=member.run.run_id,
        pipeline=member.name,
        table=member.table,
        ending=ending,
        reason=reason,
        nothing_new=nothing_new,
        rows=Rows() if nothing_new else rows,
        snapshot=member.published or SnapshotMove(before=before, after=before),
        checks=CheckCounts() if nothing_new else member.checks,
        seconds=seconds,
        warnings=tuple(member.warnings),
        quarantine=member.quarantine if member.published else None,
    )


def total(kind: Callable[..., Any], values: Sequence[Any]) -> Any:
    """All counts added up, key by key."""
    every = [value.model_dump() for value in values]
    return kind(**{key: sum(one[key] for one in every) for key in (every[0] if every else {})})
