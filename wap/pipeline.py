"""The pipeline model: what an engineer declares for one table, and nothing else."""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

_TRANSFORM = re.compile(
    r"(?P<name>identity|year|month|day|hour|bucket|truncate)"
    r"\((?:(?P<arg>\d+),\s*)?(?P<column>.+)\)"
)


class Section(BaseModel):
    """Base of all sections: an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class FilesSource(Section):
    """Files, local or behind an fsspec URL.

    Attributes:
        path: a path or glob inside the project, or a URL such as ``s3://bucket/in/*.parquet``.
        format: of the files, before compression.
        compression: of each file; ``auto`` looks at the name's ending.
        delimiter, quote, header, null: how csv and tsv are read.
        encoding: of the text.
        malformed: what a row that cannot be read does: ``fail`` ends the run (default),
            ``set_aside`` counts it and keeps it with file, line and reason.
    """

    kind: Literal["files"]
    path: str | list[str]
    format: Literal["csv", "tsv", "json", "ndjson", "parquet"]
    compression: Literal["auto", "none", "gzip", "zip", "zstd"] = "auto"
    delimiter: str | None = Field(default=None, min_length=1, max_length=1)
    quote: str = Field(default='"', max_length=1)
    header: bool = True
    null: list[str] = Field(default_factory=lambda: [""])
    encoding: str = "utf-8"
    malformed: Literal["fail", "set_aside"] = "fail"


class Write(Section):
    """How the batch changes the table.

    Attributes:
        mode: ``append`` adds rows; ``replace`` puts them in place of all rows, of those that
            match ``where``, or of the run's data interval on ``interval``.
        keys: columns that identify a row.
        where: Iceberg row filter of what ``replace`` replaces, ``carrier = 'AA'``.
        interval: column that the run's data interval bounds.
    """

    mode: Literal["append", "replace", "merge", "history"]
    keys: list[str] = Field(default_factory=list)
    where: str | None = None
    interval: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Write:
        if self.mode in ("merge", "history"):
            msg = f"write mode {self.mode} is not available yet; use append or replace"
            raise ValueError(msg)
        if self.where is not None and self.mode != "replace":
            msg = "where belongs to write mode replace"
            raise ValueError(msg)
        if self.where is not None and self.interval is not None:
            msg = "replace either where a filter matches or a data interval, not both"
            raise ValueError(msg)
        return self


class Schema(Section):
    """What columns there are.

    Attributes:
        on_change: what a column does that appears, or is missing, in the input: ``strict``
            rejects the batch; ``evolve`` adds it to the table (a missing one is null);
            ``ignore`` leaves it out (a missing one is null).
        columns: Iceberg types by name; a column not listed has the type inferred. Nested:
            ``list<string>``, ``struct<a: int, b: string>``, ``map<string, long>``.
        required: columns that may never be null.
    """

    on_change: Literal["strict", "evolve", "ignore"] = "strict"
    columns: dict[str, str] = Field(default_factory=dict)
    required: list[str] = Field(default_factory=list)


class Freshness(Section):
    """How old the published table may get before ``wap status`` says it is late."""

    max_age_hours: float = Field(gt=0)


class Pipeline(Section):
    """One table's pipeline.

    Attributes:
        name: the file's name without its ending; not written in the file.
        table: ``namespace.table``.
        partitioning: Iceberg transforms, ``day(ts)``, ``bucket(16, id)``, or a bare column.
        contracts: contract files, relative to the project; at least one.
        owners, contact: who answers for the data.
        tags: tags by column; ``pii`` masks its values in every report.
    """

    name: str
    table: str
    description: str = ""
    source: FilesSource
    write: Write
    columns: Schema = Field(default_factory=Schema, alias="schema")
    partitioning: list[str] = Field(default_factory=list)
    contracts: list[str] = Field(min_length=1)
    owners: list[str] = Field(default_factory=list)
    contact: str | None = None
    tags: dict[str, list[str]] = Field(default_factory=dict)
    freshness: Freshness | None = None
    engine: Literal["arrow"] = "arrow"

    @field_validator("partitioning")
    @classmethod
    def _transforms(cls, value: list[str]) -> list[str]:
        for text in value:
            split_transform(text)
        return value

    @property
    def digest(self) -> str:
        """sha256 hex over the definition; contracts are counted in where they are read."""
        return hashlib.sha256(self.model_dump_json(by_alias=True).encode()).hexdigest()

    @property
    def masked(self) -> frozenset[str]:
        """Columns whose values are never shown."""
        return frozenset(c for c, tags in self.tags.items() if "pii" in map(str.lower, tags))


def split_transform(text: str) -> tuple[str, str]:
    """Split ``bucket(16, id)`` into column and Iceberg transform: ``("id", "bucket[16]")``.

    Raises:
        ValueError: not a transform Iceberg has.
    """
    match = _TRANSFORM.fullmatch(text.strip())
    if match is None:
        if "(" in text:
            msg = f"{text!r} is not a partition transform; write day(column) or bucket(16, column)"
            raise ValueError(msg)
        return text.strip(), "identity"
    name, arg, column = match["name"], match["arg"], match["column"].strip()
    if (name in ("bucket", "truncate")) != (arg is not None):
        msg = f"{text!r}: bucket and truncate take a number first, the others take none"
        raise ValueError(msg)
    return column, f"{name}[{arg}]" if arg else name
