"""The port ``Ledger``: what happened, kept for people; the truth stays in the catalog's seals."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime

from wap.model import RunFacts, StepFacts


class Ledger(ABC):
    """A database of runs. Every method is idempotent: a step tried twice is one row.

    Every method may raise LedgerUnavailableError (try again).
    """

    @abstractmethod
    def migrate(self) -> None:
        """Bring the database to this version's tables; safe when several do so at once.

        Raises:
            LedgerError: the database was written by a newer version.
        """

    @abstractmethod
    def pipeline(self, name: str, digest: str, text: str) -> None:
        """Record a version of a pipeline (its resolved definition as JSON text)."""

    @abstractmethod
    def start(
        self, run_id: str, pipeline: str, table: str, at: datetime, *, version: int | None = None
    ) -> None:
        """A run has begun; ``version`` is the pipeline's, where it is kept in versions."""

    @abstractmethod
    def step(self, run_id: str, step: StepFacts) -> None:
        """A step has ended; a later attempt of the same step replaces the earlier one."""

    @abstractmethod
    def hold(self, facts: RunFacts) -> None:
        """A run waits for a person: its facts so far; a run that has ended stays as it is."""

    @abstractmethod
    def finish(self, facts: RunFacts) -> None:
        """A run has ended: result, checks and files loaded, in one transaction."""

    @abstractmethod
    def run(self, run_id: str) -> RunFacts | None:
        """One run; None when it is not known."""

    @abstractmethod
    def runs(
        self, *, pipeline: str | None = None, limit: int = 50, before: str | None = None
    ) -> Sequence[RunFacts]:
        """Runs, newest first; ``before``: only those older than the run of that id.

        A run that has not ended has ``ended_at`` None.
        """

    @abstractmethod
    def rebuild(self, facts: Sequence[RunFacts]) -> int:
        """Put runs (read from the catalog's seals) in where they are missing; returns how many."""

    @abstractmethod
    def close(self) -> None:
        """Give the connections back."""
