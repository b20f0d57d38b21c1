"""What the run of a group does as one, declared; its members go by ``steps.py``."""

# No ``from __future__ import annotations``: Temporal reads the types of arguments at run time.
from abc import ABC, abstractmethod

from temporalio import activity

from wap.model import RunResult, SnapshotMove, Value
from wap.steps import Audited, RunRef


class Ready(Value):
    """A member whose head was audited and sealed."""

    run: RunRef
    audited: Audited


class GroupSteps(ABC):
    """One method a step. Each is idempotent, and fenced by the heads of all members."""

    @activity.defn
    @abstractmethod
    def check_group(self, run: RunRef, members: list[RunRef]) -> None:
        """Refuse what the catalog cannot publish in one step; nothing is staged yet."""

    @activity.defn
    @abstractmethod
    def publish_group(self, run: RunRef, members: list[Ready]) -> list[SnapshotMove]:
        """Move main of every member's table to its sealed head, all or none."""

    @activity.defn
    @abstractmethod
    def close_group(self, run: RunRef, members: list[RunRef], result: RunResult) -> RunResult:
        """Write the group's summary, before its members are closed; returns the result with it."""
