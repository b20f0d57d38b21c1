"""What a division of a batch does, as the run's folder keeps it until the run is closed."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from wap.model import Quarantined, Rows


class Met(BaseModel):
    """What a batch came to that met the published rows by key.

    Attributes:
        rows: what became of its rows; ``discarded`` are those that came late.
        removed: rows of the published files that lose or change one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    rows: Rows
    removed: int


class Division(BaseModel):
    """What one division of a batch does.

    Attributes:
        told: the rows that it sets aside, or that a replay leaves in the quarantine table.
        removed: rows of the quarantine table's files that it writes anew.
        kept: those of them that it carries over as they are.
        met: what the rest came to, where rows meet by key; None: where they do not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    told: Quarantined
    removed: int = 0
    kept: int = 0
    met: Met | None = None
