"""What every reader gives: batches, the rows it refused, and where they stood."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import pyarrow as pa

from wap.errors import BatchRefusedError
from wap.sources.base import Reject
from wap.sources.listing import InputFile

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Parsed:
    """A stretch of one file, read.

    Attributes:
        batches: rows in the schema asked for.
        records: how many there were, counted apart from the parser; rejects included.
        rejects: what could not be read, in the order of lines; each is one record.
    """

    batches: list[pa.RecordBatch]
    records: int
    rejects: list[Reject] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """Rows in all batches."""
        return sum(len(batch) for batch in self.batches)


class Input(Protocol):
    """One input as it was planned: a file, or some offsets of a topic."""

    @property
    def path(self) -> str:
        """How messages name it."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes it the same input with the same content."""

    def now(self) -> Input:
        """The same input as it is now."""


Some_contra = TypeVar("Some_contra", bound=Input, contravariant=True)


class InputReader(Protocol[Some_contra]):
    """Reads inputs of one kind."""

    def read(self, file: Some_contra, schema: pa.Schema, progress: Progress) -> Iterator[Parsed]:
        """An input's rows in the schema's types: columns by name, others left out."""


class Reader(Protocol):
    """Reads the files of one format."""

    def schema(self, files: list[InputFile]) -> pa.Schema:
        """The schema of the files together, inferred."""

    def read(self, file: InputFile, schema: pa.Schema, progress: Progress) -> Iterator[Parsed]:
        """A file's rows in the schema's types: columns by name, others left out."""


def same_columns(first: Sequence[str], other: Sequence[str], path: str, other_path: str) -> None:
    """Refuse files of one plan that do not have the same columns (their order may differ).

    Raises:
        BatchRefusedError: they differ; names both files.
    """
    if set(first) == set(other):
        return
    missing = [f"- {name}: only in {path}" for name in first if name not in other]
    extra = [f"+ {name}: only in {other_path}" for name in other if name not in first]
    raise BatchRefusedError(
        f"{path} and {other_path} do not have the same columns",
        differences=(*missing, *extra),
        where=other_path,
        hint="load them in separate runs, or correct the file",
    )


def refuse_missing(wanted: Sequence[str], found: Sequence[str], path: str) -> None:
    """Refuse a file that lacks columns which are asked for.

    Raises:
        BatchRefusedError: names them.
    """
    missing = [name for name in wanted if name not in found]
    if missing:
        raise BatchRefusedError(
            "the file lacks columns",
            differences=tuple(f"- {name}: not in {path}" for name in missing),
            where=path,
        )
