"""How a batch's rows meet the published ones by key, and what became of them. Pure values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pyiceberg.types import BooleanType, LongType, PrimitiveType, StringType

from wap.pipeline import Write

_TYPES: dict[type, PrimitiveType] = {bool: BooleanType(), int: LongType(), str: StringType()}


@dataclass(frozen=True, slots=True)
class Marks:
    """The column that marks deletes, and its values that do."""

    column: str
    values: Sequence[bool | int | str]

    @property
    def kind(self) -> PrimitiveType:
        """The type that the column is read in: that of the values."""
        return _TYPES[type(self.values[0])]


@dataclass(frozen=True, slots=True)
class Rule:
    """How a batch's rows meet the published ones.

    Attributes:
        keys: columns that identify a row.
        order_by: which of several rows with the same keys is the later one.
        marks: which rows delete.
        recorded: history keeps the second time axis too.
        at: the time of the run.
    """

    mode: Literal["append", "merge", "history"]
    keys: tuple[str, ...]
    at: datetime
    order_by: str | None = None
    marks: Marks | None = None
    recorded: bool = False

    @classmethod
    def of(cls, write: Write, at: datetime) -> Rule:
        """The rule of a pipeline whose ``write`` is keyed."""
        if write.mode == "replace":
            msg = "replace does not meet rows by key"
            raise ValueError(msg)
        marks = Marks(write.delete.column, tuple(write.delete.values)) if write.delete else None
        return cls(write.mode, tuple(write.keys), at, write.order_by, marks, write.recorded)


@dataclass(frozen=True, slots=True)
class Became:
    """What became of a batch's rows, as :class:`wap.model.Rows` counts them.

    Attributes:
        late: rows older than what is published.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    deduplicated: int = 0
    late: int = 0
