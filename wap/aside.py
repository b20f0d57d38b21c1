"""A batch that lies aside on this machine until its run ends, so that it can meet another main."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.typedef import Record

from wap.documents import StoredDocuments
from wap.engines.base import Written
from wap.runs import Reject, RunFolder
from wap.sources.base import Counts
from wap.sources.base import Reject as Refused

#: So many of the rows that were set aside are shown in the report.
SHOWN_REJECTS = 20
_NOTE = "batch.json"


class LaidFile(BaseModel):
    """A Parquet file of the batch: its place in the folder, bytes and rows."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str
    size: int
    rows: int


class Laid(BaseModel):
    """What lies aside, and what the source counted when it was read.

    Attributes:
        columns: of the files, an Iceberg schema as JSON text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    files: tuple[LaidFile, ...]
    columns: str
    read: int
    rejected: int
    discarded: int
    rejects: tuple[Reject, ...] = ()

    @property
    def counts(self) -> Counts:
        """The source's books."""
        rejects = [Refused(r.file, r.line, r.reason) for r in self.rejects]
        return Counts(self.read, self.rejected, self.discarded, rejects=rejects)


def name_of(number: int) -> str:
    """How the names of the folders begin in which attempts of a round lay the batch aside."""
    return f"aside-{number}-"


def note(folder: Path, written: Written, columns: Schema, counts: Counts) -> None:
    """Say that the batch lies in the folder; the last thing that is written there.

    Args:
        folder: where its files are, however deep.
        columns: what they were written in.
        counts: the source's books, complete.
    """
    laid = Laid(
        files=tuple(
            LaidFile(
                path=str(_local(file).relative_to(folder)),
                size=file.file_size_in_bytes,
                rows=file.record_count,
            )
            for file in written.files
        ),
        columns=columns.model_dump_json(),
        read=counts.read,
        rejected=counts.rejected,
        discarded=counts.discarded,
        rejects=rejects_of(counts),
    )
    temporary = folder / f".{_NOTE}.{os.getpid()}"
    temporary.write_text(laid.model_dump_json())
    temporary.replace(folder / _NOTE)


def share(documents: StoredDocuments, place: Path) -> None:
    """Bring a batch that lies aside to where all workers reach, its note last.

    Args:
        documents: the run's; they go when it ends.
        place: the folder where the batch lies.

    Raises:
        StoreUnavailableError: the location does not answer.
    """
    laid = Laid.model_validate_json((place / _NOTE).read_text())
    for name in (*(file.path for file in laid.files), _NOTE):
        documents.write_file(f"{place.name}/{name}", place / name)


def bring(
    folder: RunFolder, number: int, columns: Schema, temp: Path
) -> tuple[Written, Counts] | None:
    """The batch of a round and its books, from wherever it lies; None: nowhere.

    Args:
        folder: the run's.
        number: of the round.
        columns: what it has to be in.
        temp: takes it where another worker has laid it aside.

    Raises:
        StoreUnavailableError: the location does not answer.
    """
    found = find(folder.scratch, number, columns)
    if found is not None or folder.shared is None:
        return found
    _fetch(folder.shared, number, temp)
    return find(temp, number, columns)


def _fetch(documents: StoredDocuments, number: int, temp: Path) -> None:
    for name in documents.names():
        place, _, last = name.rpartition("/")
        if last != _NOTE or not place.startswith(name_of(number)):
            continue
        with contextlib.suppress(FileNotFoundError, ValidationError):  # it is read again
            laid = Laid.model_validate_json(documents.read(name))
            for file in (*(file.path for file in laid.files), _NOTE):
                documents.read_file(f"{place}/{file}", temp / place / file)
            return


def find(scratch: Path, number: int, columns: Schema) -> tuple[Written, Counts] | None:
    """The batch of a round and its books; None: it does not lie here, or not as it was laid.

    Args:
        scratch: the run's folder on this machine.
        number: of the round.
        columns: what it has to be in.
    """
    for place in sorted(scratch.glob(f"{name_of(number)}*/{_NOTE}")):
        try:
            laid = Laid.model_validate_json(place.read_text())
            if laid.columns == columns.model_dump_json():
                return Written(list(_whole(place.parent, laid))), laid.counts
        except (OSError, ValidationError, ValueError, pa.ArrowException):
            continue  # an attempt was killed over it, or somebody was at it: it is read again
    return None


def _whole(folder: Path, laid: Laid) -> Iterator[DataFile]:
    """The files, each as long and with as many rows as it was written.

    Raises:
        OSError, ValueError, pa.ArrowException: one is not.
    """
    for file in laid.files:
        path = folder / file.path
        rows = pq.read_metadata(path).num_rows
        if (path.stat().st_size, rows) != (file.size, file.rows):
            msg = f"{path} is not as it was written"
            raise ValueError(msg)
        yield DataFile.from_args(
            content=DataFileContent.DATA,
            file_path=f"file://{path}",
            file_format=FileFormat.PARQUET,
            partition=Record(),
            record_count=file.rows,
            file_size_in_bytes=file.size,
        )


def _local(file: DataFile) -> Path:
    return Path(file.file_path.removeprefix("file://"))


def rejects_of(counts: Counts) -> tuple[Reject, ...]:
    """The first rows that the source set aside, for the report."""
    return tuple(
        Reject(file=r.file, line=r.line, reason=r.reason) for r in counts.rejects[:SHOWN_REJECTS]
    )
