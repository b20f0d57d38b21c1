"""Snapshots and tables of the memory catalog: plain values and one mutable table."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import wraps
from typing import Any, TypeVar, cast

from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema

from catalog import elsewhere, naming, orphans, schemas, storage
from catalog.base import Change, Covered, Scan
from catalog.batches import is_kept
from catalog.coverage import check_ground
from catalog.errors import (
    BranchExistsError,
    HeadMovedError,
    RebaseRefusedError,
    UnsealedError,
)
from catalog.proof import check_members, check_one_change
from catalog.refs import (
    MAIN,
    AuditedHead,
    Back,
    Branch,
    Role,
    Seal,
    Snapshot,
    TableName,
    members_in,
)
from catalog.retention import Lineage
from catalog.storage import StoredFile

_ids = itertools.count(1001)


F = TypeVar("F", bound=Callable[..., Any])


def locked(method: F) -> F:
    """A method that holds its object's one lock."""

    @wraps(method)
    def held(self: Any, *args: Any, **kwargs: Any) -> Any:
        with self._lock:
            return method(self, *args, **kwargs)

    return cast("F", held)


@dataclass(frozen=True)
class Shows:
    """What a snapshot shows.

    Attributes:
        own: the files that its run added.
        replaces: whether it took files of its parent away.
        change: digest of the staged change, None where none was staged.
    """

    schema: Schema
    files: tuple[DataFile, ...] = ()
    own: tuple[DataFile, ...] = ()
    replaces: bool = False
    change: str | None = None


@dataclass(frozen=True)
class Node:
    """A snapshot and what it shows."""

    value: Snapshot
    shows: Shows

    @property
    def schema(self) -> Schema:
        """The snapshot's schema."""
        return self.shows.schema

    @property
    def files(self) -> tuple[DataFile, ...]:
        """All files it shows."""
        return self.shows.files


@dataclass
class MemoryTable:
    """A table; it is published when main has moved beyond the bootstrap."""

    name: TableName
    schema: Schema
    known: list[Schema]
    spec: PartitionSpec
    location: str
    properties: dict[str, str]
    nodes: dict[int, Node] = field(default_factory=dict)
    refs: dict[str, int] = field(default_factory=dict)
    #: Seals that main was at.
    heads: list[int] = field(default_factory=list)

    def ancestry(self, ref: str) -> Iterator[Node]:
        """The ref's snapshots, newest first."""
        return self.ancestry_of(self.refs.get(ref))

    def ancestry_of(self, snapshot_id: int | None) -> Iterator[Node]:
        """A snapshot and those below it, newest first."""
        found = snapshot_id
        while found is not None:
            yield self.nodes[found]
            found = self.nodes[found].value.parent_id

    def shown(self) -> Iterator[Node]:
        """What main shows, and what it showed before it was rolled back, as far as that is kept."""
        for head in (self.refs[MAIN], *(h for h in self.heads if h in self.nodes)):
            yield from self.ancestry_of(head)

    def publish(self, audited: AuditedHead, sealed: Node) -> None:
        """Move main to a seal; the branches go that its batch could be published from again."""
        self.refs[MAIN], self.schema = sealed.value.id, sealed.schema
        self.heads.append(sealed.value.id)
        for branch in (audited.branch, *(m.branch for m in audited.members)):
            del self.refs[branch.name]

    def own(self, branch: Branch) -> list[Node]:
        """The run's snapshots on its branch, newest first; [] without a branch."""
        nodes = self.ancestry(branch.name)
        return list(itertools.takewhile(lambda n: n.value.run_id == branch.run_id, nodes))

    def forget(self, ids: Collection[int]) -> None:
        """Drop snapshots; a history that went on below them ends there."""
        for id_ in ids:
            del self.nodes[id_]
        for id_, node in self.nodes.items():
            if node.value.parent_id in ids:
                self.nodes[id_] = replace(node, value=replace(node.value, parent_id=None))

    def add(
        self,
        ref: str,
        role: Role,
        summary: Mapping[str, str],
        shows: Shows,
        parent: Node | None = None,
    ) -> Node:
        """A new snapshot on top of ``parent``, and the ref on it."""
        rows = sum(f.record_count for f in shows.files)
        totals = {"total-records": str(rows), "total-data-files": str(len(shows.files))}
        value = Snapshot(
            table=self.name,
            id=next(_ids),
            parent_id=parent.value.id if parent is not None else None,
            committed_at=datetime.now(UTC),
            operation="overwrite" if shows.replaces else "append",
            schema_id=shows.schema.schema_id,
            summary={**summary, **totals, naming.ROLE: role},
        )
        node = Node(value, shows)
        paths = (file.file_path for file in shows.own)
        self.properties |= naming.outside(paths, self.location, self.properties)
        self.nodes[value.id] = node
        self.refs[ref] = value.id
        return node


def lineage_of(table: MemoryTable, unsealed: Collection[Snapshot]) -> Lineage:
    """The table's snapshots as the rule of expiry sees them."""
    return Lineage(
        snapshots={id_: node.value for id_, node in table.nodes.items()},
        main=table.refs[MAIN],
        branches=[head for ref, head in table.refs.items() if ref != MAIN],
        unsealed=[s.id for s in unsealed],
    )


def unused_files(
    table: MemoryTable,
    io: FileIO,
    before: datetime,
    live: Callable[[], Container[str]],
    forgotten: Collection[int],
) -> list[StoredFile]:
    """Old files in the table's place that no snapshot shows and no run is at work on."""
    busy = {branch.run_id for branch in branches_of(table)}
    listed = storage.list_files(io, table.location)
    outside = elsewhere.files_in(io, elsewhere.noted_in(table.properties))
    # Listed first, asked then, looked at last: see ``catalog.orphans``.
    old = [f for f in listed if orphans.is_old(f, before)]
    at_work = orphans.Busy(live(), busy)
    idle = orphans.without_busy(old, table.location, at_work)
    idle += [f for p, found in outside.items() for f in orphans.idle_at(p, found, before, at_work)]
    shown = [n for n in table.nodes.values() if n.value.id not in forgotten]
    summaries = (n.value.summary for n in shown)
    used = orphans.evidence_in_use(io, table.location, idle, summaries)
    return storage.without(idle, used | {f.file_path for n in shown for f in n.files})


def branches_of(table: MemoryTable) -> list[Branch]:
    """The staging branches that runs have in a table."""
    return [b for b in (Branch(r) for r in table.refs if r != MAIN) if table.own(b)]


def change_of(own: Sequence[Node]) -> Node | None:
    """The snapshot that holds the run's change, None before it is staged."""
    return next((n for n in own if n.value.role in ("stage", "rebase")), None)


def check_rebase(target: MemoryTable, branch: Branch, change: Node | None, where: str) -> None:
    """What a run staged must stand on main as it is, and not be in it already.

    Raises:
        RebaseRefusedError: it takes files away, or a union has published it.
    """
    if change is not None and change.shows.replaces:
        raise RebaseRefusedError("the run replaces published files", where=where)
    check_not_taken(target, branch, change, where)


def check_unpublished(table: MemoryTable, branch: Branch, where: str) -> None:
    """Each run is published once, also when that was rolled back.

    Raises:
        BranchExistsError: main holds it already, or did.
    """
    if any(n.value.holds(branch.run_id) for n in table.shown()):
        hint = "each run is published once; start a new run"
        what = "the run is published already, or was and is rolled back"
        raise BranchExistsError(what, where=where, hint=hint)


def check_not_taken(target: MemoryTable, branch: Branch, change: Node | None, where: str) -> None:
    """Main must not hold what a run staged already.

    Raises:
        RebaseRefusedError: a union has published it.
    """
    runs = [branch.run_id, *(members_in(change.value.summary) if change is not None else ())]
    if any(n.value.holds(run_id) for n in target.ancestry(MAIN) for run_id in runs):
        raise RebaseRefusedError("a union has published the batch", where=where)


def changed(change: Change, base: Node, schema: Schema, digest: str, where: str) -> Shows:
    """What a change makes of a snapshot.

    Raises:
        RebaseRefusedError: it takes files away that are not there.
    """
    removed = {f.file_path for f in change.removed}
    if removed - {f.file_path for f in base.files}:
        what = "files to be replaced are not in the published table"
        raise RebaseRefusedError(what, where=where)
    added = (*change.added, *change.kept)
    files = (*(f for f in base.files if f.file_path not in removed), *added)
    return Shows(schema, files, added, bool(removed), digest)


def check_followed(
    table: MemoryTable, visible: MemoryTable | None, own: Sequence[Node], main: int, where: str
) -> None:
    """What a run puts on main's head: a table that was there when it began, as it was seen.

    Raises:
        RebaseRefusedError: the run staged a new table, or the schema changed beneath it.
        HeadMovedError: main has moved.
    """
    if table is not visible:
        raise RebaseRefusedError("the run staged a new table", where=where)
    if table.refs[MAIN] != main:
        raise moved(table.name, MAIN, main, table.refs[MAIN])
    if not schema_stands(table, own):
        raise RebaseRefusedError("the table's schema changed under the run", where=where)


def stands(target: MemoryTable, source: MemoryTable, own: Sequence[Node]) -> bool:
    """Whether a run's snapshots stand on main as it is."""
    same_base = target is source and own[-1].value.parent_id == target.refs[MAIN]
    return same_base and schema_stands(target, own)


def rebased_schema(
    target: MemoryTable, source: MemoryTable, own: Sequence[Node], where: str
) -> Schema:
    """The schema of what a run staged, on main as it is.

    Raises:
        RebaseRefusedError: the two do not go together.
    """
    if target is source:
        if not schema_stands(target, own):
            raise RebaseRefusedError("the table's schema changed under the run", where=where)
        return own[0].schema
    differs = schemas.fits(own[0].schema, target.schema)
    if differs is None and not schemas.same_spec(source.spec, target.spec):
        differs = "the published table is partitioned otherwise"
    if differs is not None:
        raise RebaseRefusedError(differs, where=where)
    return target.schema


def audited_by(sealed: Node) -> int:
    """The snapshot that a seal is about.

    Raises:
        UnsealedError: it is no seal.
    """
    if not sealed.value.is_sealed:
        raise UnsealedError(f"snapshot {sealed.value.id} is no seal", where=str(sealed.value.table))
    return Seal.from_summary(sealed.value.summary).audited


def covered(table: MemoryTable, sealed: Node, head: Node, io: FileIO) -> Covered:
    """What a seal covers; see the port."""
    own = list(
        itertools.takewhile(
            lambda n: n.value.run_id == sealed.value.run_id, table.ancestry_of(head.value.id)
        )
    )
    if not own:
        what = f"the seal {sealed.value.id} stands on a snapshot that its run did not make"
        raise UnsealedError(what, where=str(table.name))
    change, base = change_of(own), table.nodes.get(own[-1].value.parent_id or -1)
    files = [f for f in change.shows.own if not is_kept(f.file_path)] if change else []
    return Covered(
        seal=sealed.value,
        head=head.value.id,
        expected=base.value.id if base is not None and base.value.role != "bootstrap" else None,
        schema=head.schema,
        batch=Scan(head.schema, files, io),
        location=table.location,
        io=io,
    )


def schema_stands(table: MemoryTable, own: Sequence[Node]) -> bool:
    """Whether the current schema is the one the run grew its own from, or its own."""
    based = next(s for n in own if (s := n.value.summary.get(naming.BASE_SCHEMA)) is not None)
    return table.schema.schema_id in (int(based), own[0].schema.schema_id)


def audit_of(audited: AuditedHead) -> tuple[object, ...]:
    """Run, head, report, waiver and members of an audit: what its seal must tell."""
    told = (audited.branch.run_id, audited.head, audited.report.digest, audited.waiver_text)
    return (*told, audited.member_ids)


def told_by(seal: Seal) -> tuple[object, ...]:
    """The same of a seal."""
    return seal.run_id, seal.audited, seal.report_digest, seal.waiver, seal.members


def is_about(snapshot: Snapshot, audited: AuditedHead) -> bool:
    """Whether a snapshot is the seal of this audit."""
    if not snapshot.is_sealed:
        return False
    return told_by(Seal.from_summary(snapshot.summary)) == audit_of(audited)


def moved(name: TableName, ref: str, expected: int | None, found: int | None) -> HeadMovedError:
    """A ref is not where the caller saw it."""
    return HeadMovedError(table=str(name), ref=ref, expected=expected, found=found)


def earlier_seal(table: MemoryTable, move: Back) -> Node:
    """Where main of the table goes back to, or is already.

    Raises:
        HeadMovedError: main is not where it was seen.
        UnsealedError: it is no seal of main's history.
    """
    if table.refs[MAIN] == move.to:
        return table.nodes[move.to]
    if table.refs[MAIN] != move.expected:
        raise moved(move.table, MAIN, move.expected, table.refs[MAIN])
    node = next((n for n in table.ancestry(MAIN) if n.value.id == move.to), None)
    if node is None or not node.value.is_sealed:
        what = f"snapshot {move.to} is no seal of main's history"
        raise UnsealedError(what, where=str(move.table))
    return node


def check_sealed(
    table: MemoryTable, own: Sequence[Node], audited: AuditedHead, expected: int
) -> None:
    """The guards of publish: see :mod:`catalog.proof`."""
    where, head = f"{audited.table} on {audited.branch}", own[0]
    if head.value.role != "seal" and head.value.id != audited.head:
        raise moved(audited.table, audited.branch.name, audited.head, head.value.id)
    below = table.nodes.get(audited.head)
    if below is None or not is_about(head.value, audited):
        raise UnsealedError("the head has no seal of this audit", where=where)
    if head.files != below.files or head.value.parent_id != audited.head:
        raise UnsealedError("the seal shows other files", where=where)
    if own[-1].value.parent_id != expected:
        what = f"the seal does not descend from main's snapshot {expected} by this run alone"
        raise UnsealedError(what, where=where)
    if not schema_stands(table, own):
        raise moved(audited.table, MAIN, audited.expected, table.refs[MAIN])
    check_one_change([n.value.role for n in own], audited)
    log = [n.value for n in table.ancestry(MAIN)]
    check_ground(log, where=where, sealed_only=audited.sealed_only)
    check_members(audited, lambda branch: table.refs.get(branch.name))
