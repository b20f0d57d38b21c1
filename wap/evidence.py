"""The evidence file that lies beside a table's metadata and that its seal names by digest.

It holds what is too large for a snapshot's summary: the source cursor (which files are loaded), the
report, and the facts of the run, so that the ledger can be rebuilt from the catalog alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from pydantic import BaseModel, ConfigDict, ValidationError
from pyiceberg.io import FileIO

from catalog import storage
from catalog.base import BranchCatalog
from catalog.errors import UnsealedError
from catalog.refs import Seal, Snapshot, TableName
from wap.model import RunFacts
from wap.sources.base import Cursor

#: Key of the seal's note that holds the file's sha256 (``wap.evidence`` in the summary).
NOTE = "evidence"


class Evidence(BaseModel):
    """Content of one evidence file.

    Attributes:
        cursor: how far the source was read once this run is published.
        facts: the run; its snapshot ``after`` is the seal that names this file.
        report: the audit's report, as JSON text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    cursor: Cursor
    facts: RunFacts
    report: str


def _folder(location: str) -> str:
    return f"{location.rstrip('/')}/metadata/wap-evidence"


def path_of(location: str, run_id: str, digest: str) -> str:
    """Where a run's evidence lies in a table's location.

    The digest is part of the name, so a late attempt of a step can never change a file that a seal
    already names.
    """
    return f"{_folder(location)}/{run_id}-{digest[:16]}.json"


def write(io: FileIO, location: str, run_id: str, evidence: Evidence) -> str:
    """Write (or write again) the file; returns the sha256 hex of its content."""
    content = evidence.model_dump_json().encode()
    digest = hashlib.sha256(content).hexdigest()
    with io.new_output(path_of(location, run_id, digest)).create(overwrite=True) as stream:
        stream.write(content)
    return digest


def discard(io: FileIO, location: str, run_id: str) -> None:
    """Remove the files of a run that is not published and never will be; none there is fine."""
    folder = _folder(location)
    storage.abort_uploads(io, f"{folder}/{run_id}-")
    files = storage.list_files(io, folder)
    mine = [f for f in files if f.path.rsplit("/", 1)[-1].startswith(f"{run_id}-")]
    storage.delete_files(io, folder, mine)
    storage.delete_empty_folder(io, folder)


def read(io: FileIO, location: str, seal: Seal) -> Evidence:
    """Read the file a seal names and prove that it is the one.

    Raises:
        UnsealedError: it is missing, or its content is not what the seal states.
    """
    digest = seal.notes.get(NOTE, "")
    path = path_of(location, seal.run_id, digest)
    hint = "restore the file from a backup; `wap verify` lists what it belongs to"
    source = io.new_input(path)
    if not source.exists():
        raise UnsealedError("the evidence file of a seal is missing", where=path, hint=hint)
    with source.open() as stream:
        content = stream.read()
    if hashlib.sha256(content).hexdigest() != digest:
        raise UnsealedError(
            "an evidence file is not the one that was sealed", where=path, hint=hint
        )
    try:
        return Evidence.model_validate_json(content)
    except ValidationError as exc:
        raise UnsealedError(
            "an evidence file was written by another version", where=path, hint=str(exc)
        ) from exc


def seals(catalog: BranchCatalog, table: TableName) -> Iterator[tuple[Snapshot, Seal]]:
    """The seals of main, newest first."""
    for snapshot in catalog.log(table):
        if snapshot.is_sealed:
            yield snapshot, Seal.from_summary(snapshot.summary)


def cursor(catalog: BranchCatalog, table: TableName) -> Cursor | None:
    """The published cursor: that of main's newest seal; None when there is none.

    Raises:
        UnsealedError: see :func:`read`; loading without it could load rows twice.
    """
    published = catalog.published(table)
    newest = next(seals(catalog, table), None)
    if published is None or newest is None:
        return None
    return read(published.io, published.location, newest[1]).cursor
