"""The port ``LineageSink``: tell the company what a run did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from wap.model import ColumnFact, RunFacts


class LineageSink(ABC):
    """Records a run. It can never fail the run: the saga only warns when it raises."""

    @abstractmethod
    def record(self, facts: RunFacts, aside: Sequence[ColumnFact] = ()) -> str:
        """Record the run once more or for the first time (idempotent); returns where it went.

        Args:
            facts: of the run.
            aside: the columns of the quarantine table, where the table has one.

        Raises:
            LineageUnavailableError: try again.
            LineageError: it is refused (a wrong token, …).
        """
