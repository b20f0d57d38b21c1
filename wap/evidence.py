"""The evidence file that lies beside a table's metadata and that its seal names by digest.

It holds what is too large for a snapshot's summary: the source cursor (which files are loaded), the
report, the facts of the run, so that the ledger can be rebuilt from the catalog alone, what the
audit went by, so that it can be repeated, and the digests of the manifests it was about.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pyiceberg.io import FileIO

from catalog import storage
from catalog.base import BranchCatalog, Staging
from catalog.commits import delete_quietly
from catalog.errors import CatalogConfigError, UnsealedError
from catalog.naming import evidence_file, evidence_folder
from catalog.refs import Seal, Snapshot, TableName
from catalog.vendor import translated
from wap.membership import member_id
from wap.model import RunFacts, Waiver
from wap.runs import Books, Member
from wap.sources.base import Cursor
from wap.versions import ContractText

#: Key of the seal's note that holds the file's sha256 (``wap.evidence`` in the summary).
NOTE = "evidence"
#: Keys of the notes that only the seals of a group's run have: its name, and its tables as JSON.
GROUP = "group"
TABLES = "tables"
#: Key of a note in its place, of a quarantine table that is published with them: the group's name.
MEMBER = "member"

_CHUNK = 1 << 20
_NAMES = TypeAdapter(list[str])


class Basis(BaseModel):
    """What an audit went by beside the snapshots and its report.

    Attributes:
        contracts: as they were written when the run began.
        columns: the declared columns in order, each with its Iceberg type as text.
        keys: columns that identify a row.
        books: the run's, without the inputs and the rows that were set aside.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    contracts: tuple[ContractText, ...]
    columns: tuple[tuple[str, str], ...]
    keys: tuple[str, ...] = ()
    books: Books


class Evidence(BaseModel):
    """Content of one evidence file.

    Attributes:
        cursor: how far the source was read once this run is published.
        facts: the run; its snapshot ``after`` is the seal that names this file.
        report: the audit's report, as JSON text.
        basis: what the audit went by; None in files of an earlier version.
        manifests: sha256 hex by location of the manifests that the run put into the table.
        members: the runs whose batches it holds, when it is a union.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    cursor: Cursor
    facts: RunFacts
    report: str
    basis: Basis | None = None
    manifests: dict[str, str] = Field(default_factory=dict)
    members: tuple[Member, ...] = ()

    def all_facts(self) -> tuple[RunFacts, ...]:
        """The facts of every run that was published by this seal."""
        if not self.members:
            return (self.facts,)
        return tuple(_facts_of(self.facts, member) for member in self.members)


def _facts_of(union: RunFacts, member: Member) -> RunFacts:
    """A member's facts: those of its union, but for what is its own."""
    rows = member.rows.model_copy(update={"published": member.rows.staged})
    result = union.result.model_copy(update={"run_id": member.run_id, "rows": rows})
    return union.model_copy(
        update={
            "result": result,
            "inputs": member.inputs,
            "steps": member.steps,
            "started_at": member.started_at,
        }
    )


def write(
    io: FileIO, location: str, run_id: str, evidence: Evidence, note: Callable[[str], None]
) -> str:
    """Write (or write again) the file; returns the sha256 hex of its content.

    Args:
        note: told where it will be, before it is there.

    Raises:
        StorageFullError, CatalogUnavailableError, CatalogConfigError: the storage refuses it.
    """
    content = evidence.model_dump_json().encode()
    digest = hashlib.sha256(content).hexdigest()
    path = evidence_file(location, run_id, digest)
    note(path)
    with translated(path), io.new_output(path).create(overwrite=True) as stream:
        stream.write(content)
    return digest


def discard(io: FileIO, location: str, run_id: str) -> None:
    """Remove the files of a run that is not published and never will be; none there is fine."""
    folder = evidence_folder(location)
    storage.abort_uploads(io, f"{folder}/{run_id}-")
    files = storage.list_files(io, folder)
    mine = [f for f in files if f.path.rsplit("/", 1)[-1].startswith(f"{run_id}-")]
    storage.delete_files(io, folder, mine)
    storage.delete_empty_folder(io, folder)


def discard_others(
    catalog: BranchCatalog, table: TableName, run_id: str, written: Collection[str]
) -> None:
    """Remove what was written for seals of a published run that never were, or gave way.

    Args:
        written: where attempts at sealing the run wrote its evidence, of any of its tables.
    """
    published = catalog.published(table)
    mine = evidence_folder(published.location) + "/" if published is not None else ""
    here = {path for path in written if mine and path.startswith(mine)}
    if published is None or len(here) < 2:  # noqa: PLR2004 - one is that of the seal
        return
    named = {
        evidence_file(published.location, run_id, seal.notes.get(NOTE, ""))
        for _, seal in seals(catalog, table)
        if seal.run_id == run_id
    }
    if named:
        for path in sorted(here - named):
            delete_quietly(published.io, path)


def read(io: FileIO, location: str, seal: Seal) -> Evidence:
    """Read the file a seal names and prove that it is the one.

    Raises:
        UnsealedError: it is missing, or its content is not what the seal states.
    """
    digest = seal.notes.get(NOTE, "")
    path = evidence_file(location, seal.run_id, digest)
    hint = "restore the file from a backup; `wap verify` lists what it belongs to"
    with translated(path):
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


def digest_of(io: FileIO, location: str) -> str | None:
    """sha256 hex of a file's content; None when it is not there."""
    source = io.new_input(location)
    if not source.exists():
        return None
    digest = hashlib.sha256()
    with source.open() as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def manifests_of(catalog: BranchCatalog, staging: Staging) -> dict[str, str]:
    """The digests of the manifests that a run adds to what main shows.

    Raises:
        UnsealedError: one of them is not there.
    """
    made_of = catalog.made_of(staging.table, staging.head, staging.branch)
    if staging.expected is not None:
        made_of -= catalog.made_of(staging.table, staging.expected)
    found = {path: digest_of(staging.io, path) for path in sorted(made_of)}
    lost = next((path for path, digest in found.items() if digest is None), None)
    if lost is not None:
        raise UnsealedError("what was audited is not there any more", where=lost)
    return {path: digest for path, digest in found.items() if digest is not None}


def seals(catalog: BranchCatalog, table: TableName) -> Iterator[tuple[Snapshot, Seal]]:
    """The seals of main, newest first."""
    yield from seals_in(catalog.log(table))


def seals_in(log: Iterable[Snapshot]) -> Iterator[tuple[Snapshot, Seal]]:
    """The seals by which runs were published, in the order of the log, newest first.

    One that another seal of the same run lies on was never published by itself: the run was audited
    again where it stood, because another table of its group had moved.
    """
    above: Snapshot | None = None
    for snapshot in log:
        again = above is not None and above.is_sealed and above.run_id == snapshot.run_id
        if snapshot.is_sealed and not again:
            yield snapshot, Seal.from_summary(snapshot.summary)
        above = snapshot


def run_of(seal: Seal) -> str:
    """The run as report and ledger know it: of a group's seal the member's."""
    if GROUP not in seal.notes and MEMBER not in seal.notes:
        return seal.run_id
    return member_id(seal.run_id, seal.notes.get("pipeline", ""))


def together(seal: Seal) -> frozenset[TableName]:
    """The tables that were published in one step with the seal's; none: it was by itself.

    Raises:
        UnsealedError: the seal names them in a way that cannot be read.
    """
    if GROUP not in seal.notes:
        return frozenset()
    try:
        named = _NAMES.validate_json(seal.notes.get(TABLES, ""))
        return frozenset(map(TableName.parse, named))
    except (ValidationError, CatalogConfigError) as exc:
        raise UnsealedError(
            "the members that a group's seal names cannot be read", where=f"run {seal.run_id}"
        ) from exc


def group_notes(name: str, tables: Iterable[str]) -> dict[str, str]:
    """What a seal says of the group that it is published with."""
    return {GROUP: name, TABLES: json.dumps(sorted(tables))}


def member_notes(name: str) -> dict[str, str]:
    """What the seal of a quarantine table says of the group that its run belongs to.

    The table itself is none of the group's: it goes back with the table whose rows it holds.
    """
    return {MEMBER: name}


def runs_of(seal: Seal) -> tuple[str, ...]:
    """The runs that a seal publishes: its own, or a union's members."""
    return seal.members or (run_of(seal),)


def waivers(catalog: BranchCatalog, table: TableName) -> Iterator[tuple[Snapshot, Waiver]]:
    """The waivers under which main was published, newest first, expired ones among them.

    Raises:
        UnsealedError: a seal tells one that cannot be read.
    """
    for snapshot, seal in seals(catalog, table):
        if seal.waiver:
            yield snapshot, waiver_of(seal, str(table))


def waiver_of(seal: Seal, where: str) -> Waiver:
    """The waiver that a seal tells of.

    Raises:
        UnsealedError: it cannot be read.
    """
    try:
        return Waiver.model_validate_json(seal.waiver)
    except ValidationError as exc:
        raise UnsealedError(
            "the waiver of a seal cannot be read", where=where, hint=f"run {seal.run_id}: {exc}"
        ) from exc


def in_force(catalog: BranchCatalog, table: TableName, now: datetime) -> tuple[Waiver, ...]:
    """The waivers that have not expired: what consumers see of the table stands by them.

    Raises:
        UnsealedError: see :func:`waivers`.
    """
    return tuple(w for _, w in waivers(catalog, table) if w.until > now)


def cursor(catalog: BranchCatalog, table: TableName) -> Cursor | None:
    """The published cursor: that of main's newest seal; None when there is none.

    Raises:
        UnsealedError: see :func:`read`; loading without it could load rows twice.
    """
    return _cursor(catalog, table, catalog.log(table))


def cursor_on(catalog: BranchCatalog, table: TableName, head: int | None) -> Cursor | None:
    """The cursor that main told when it was at a head; None: at none, or nothing was sealed yet.

    A seal made on that head goes on from there, whatever main shows by now: it is published only
    where main is at that head, and what others had published above it was taken back then.

    Args:
        head: id of the snapshot. Where main's history does not hold it any more, no seal on it is
            published, and what main tells now will do.

    Raises:
        UnsealedError: see :func:`read`.
    """
    if head is None:
        return None
    log = catalog.log(table)
    at = next((at for at, snapshot in enumerate(log) if snapshot.id == head), 0)
    return _cursor(catalog, table, log[at:])


def _cursor(catalog: BranchCatalog, table: TableName, log: Iterable[Snapshot]) -> Cursor | None:
    published, newest = catalog.published(table), next(seals_in(log), None)
    if published is None or newest is None:
        return None
    return read(published.io, published.location, newest[1]).cursor
