"""The port ``LineageSink``: tell the company what a run did."""

from __future__ import annotations

from abc import ABC, abstractmethod

from wap.model import RunFacts


class LineageSink(ABC):
    """Records a run. It can never fail the run: the saga only warns when it raises."""

    @abstractmethod
    def record(self, facts: RunFacts) -> str:
        """Record the run once more or for the first time (idempotent); returns where it went.

        Raises:
            LineageUnavailableError: try again.
            LineageError: it is refused (a wrong token, …).
        """
