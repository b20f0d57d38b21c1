"""A file of corrected rows: each names a row that waits in quarantine, and gives it values."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wap.errors import ConfigError, SourceChangedError, SourceError
from wap.quarantine.table import OWN, ROW
from wap.source_sections import FilesSource as Spec
from wap.sources.base import Plan
from wap.sources.files import FilesSource

_FORMATS = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".json": "json",
    ".ndjson": "ndjson",
    ".parquet": "parquet",
}
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Corrections:
    """One file, as it was when the run was planned.

    Attributes:
        path: absolute, where the worker finds it too.
        digest: sha256 hex of its content.
        columns: of the table, which it gives values for.
    """

    path: str
    digest: str
    columns: tuple[str, ...]

    @classmethod
    def planned(cls, path: str, table: Sequence[str]) -> Corrections:
        """Look at a file.

        Args:
            table: names of the table's columns.

        Raises:
            ConfigError: it does not name rows, or names columns that the table does not have.
            SourceError: it cannot be read.
        """
        source, plan = _source(path)
        names = source.schema(plan).names
        if ROW not in names:
            hint = f"give the column {ROW} of the quarantine table"
            raise ConfigError("the file does not say which rows it corrects", where=path, hint=hint)
        other = sorted(set(names) - set(table) - set(OWN))
        if other:
            hint = f"the table has {', '.join(table)}"
            raise ConfigError(f"the table has no column {other[0]!r}", where=path, hint=hint)
        return cls(path, _digest(path), tuple(n for n in names if n in set(table)))

    def laid_aside(self, schema: pa.Schema, folder: Path, cancelled: Callable[[], bool]) -> Path:
        """The rows as Parquet on this machine, in the table's types.

        Args:
            schema: the table's.
            folder: of this attempt.

        Raises:
            BatchRefusedError: a value cannot be read into its column's type.
            SourceChangedError: the file is not what was planned.
        """
        if _digest(self.path) != self.digest:
            hint = "run again; the next run takes it as it is then"
            raise SourceChangedError("the file has changed since", where=self.path, hint=hint)
        source, plan = _source(self.path)
        asked = pa.schema([pa.field(ROW, pa.string()), *(schema.field(n) for n in self.columns)])
        target = folder / "corrections.parquet"
        with (
            source.open(plan, asked, cancelled=cancelled) as extract,
            pq.ParquetWriter(target, asked) as writer,
        ):
            for batch in extract.batches():
                writer.write_batch(batch)
            extract.finish()
        return target


def _source(path: str) -> tuple[FilesSource, Plan]:
    kind = _FORMATS.get(Path(path).suffix.lower())
    if kind is None:
        hint = f"it ends in one of {', '.join(_FORMATS)}"
        raise ConfigError("the format of the file is not known", where=path, hint=hint)
    spec: Any = {"kind": "files", "path": path, "format": kind}
    source = FilesSource(Spec(**spec), Path(path).parent, (path,))
    return source, source.plan(None, everything=False)


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    try:
        with Path(path).open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except OSError as exc:
        raise SourceError(f"the file cannot be read: {exc.strerror}", where=path) from exc
    return digest.hexdigest()
