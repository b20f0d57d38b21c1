"""``MemoryCatalog``: the port in dictionaries, for tests and trials; data files are real files."""

from __future__ import annotations

import itertools
import tempfile
import threading
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from pyiceberg.expressions import BooleanExpression
from pyiceberg.expressions.visitors import bind
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.schema import Schema

from catalog import naming, orphans, schemas, storage
from catalog.base import (
    BranchCatalog,
    Change,
    Covered,
    Litter,
    Published,
    Scan,
    Staging,
    TableShape,
)
from catalog.batches import change_digest, check_names, is_kept
from catalog.errors import (
    BranchExistsError,
    BranchNotFoundError,
    SchemaConflictError,
    TableNotFoundError,
    UnsealedError,
    UnsupportedError,
)
from catalog.nodes import (
    MemoryTable,
    Node,
    Shows,
    audit_of,
    audited_by,
    branches_of,
    change_of,
    changed,
    check_followed,
    check_not_taken,
    check_rebase,
    check_sealed,
    check_unpublished,
    covered,
    earlier_seal,
    is_about,
    lineage_of,
    locked,
    moved,
    rebased_schema,
    stands,
    told_by,
    unused_files,
)
from catalog.refs import (
    MAIN,
    AuditedHead,
    Back,
    Branch,
    BranchState,
    Capabilities,
    Dropped,
    Role,
    Seal,
    Snapshot,
    TableName,
)
from catalog.retention import Keep, expired
from catalog.rollback import check_together


def open_memory(name: str, properties: Mapping[str, str]) -> MemoryCatalog:
    """A catalog that ends with the process.

    Args:
        name: the catalog's name.
        properties: ``warehouse``, a local path; without it, a new folder for temporary files.
    """
    return MemoryCatalog(name, properties.get("warehouse"))


class MemoryCatalog(BranchCatalog):
    """Every method holds one lock, so each is one step."""

    capabilities = Capabilities(atomic_groups=True, staged_schema=True, rollback=True)

    def __init__(self, name: str = "memory", warehouse: str | None = None) -> None:
        self.name = name
        self._warehouse = str(Path(warehouse or tempfile.mkdtemp(prefix="wap-")).absolute())
        self._io = PyArrowFileIO()
        self._lock = threading.RLock()
        self._visible: dict[TableName, MemoryTable] = {}
        self._new: dict[tuple[Branch, TableName], MemoryTable] = {}

    # --- looking --------------------------------------------------------------------------------

    @locked
    def tables(self) -> list[TableName]:
        """See the port."""
        return sorted(self._visible)

    @locked
    def published(self, table: TableName) -> Published | None:
        """See the port."""
        found = self._visible.get(table)
        if found is None:
            return None
        head = found.nodes[found.refs[MAIN]]
        if head.value.role == "bootstrap":
            return None
        return Published(head.value, found.schema, found.spec, found.location, self._io)

    @locked
    def log(self, table: TableName) -> list[Snapshot]:
        """See the port."""
        if self.published(table) is None:
            return []
        return [node.value for node in self._visible[table].ancestry(MAIN)]

    @locked
    def branches(self) -> list[BranchState]:
        """See the port."""
        places = [(b, t) for t, table in self._visible.items() for b in branches_of(table)]
        states = [self._state(branch, table) for branch, table in [*places, *self._new]]
        return sorted(states, key=lambda s: (s.table, s.branch))

    def _state(self, branch: Branch, name: TableName) -> BranchState:
        table, own = self._staged(branch, name)
        new = (branch, name) in self._new
        return BranchState(
            branch=branch,
            table=name,
            head=own[0].value.id,
            base=None if new else own[-1].value.parent_id,
            main=None if new else table.refs[MAIN],
            created_at=own[-1].value.committed_at,
        )

    @locked
    def staging(self, branch: Branch, table: TableName) -> Staging:
        """See the port."""
        found, own = self._staged(branch, table)
        return Staging(
            branch=branch,
            table=table,
            expected=None if (branch, table) in self._new else own[-1].value.parent_id,
            head=own[0].value.id,
            staged=change_of(own) is not None,
            schema=own[0].schema,
            spec=found.spec,
            location=found.location,
            io=self._io,
            properties=dict(found.properties),
            notes=dict(change.value.summary) if (change := change_of(own)) else {},
        )

    @locked
    def scan(
        self,
        table: TableName,
        snapshot_id: int,
        branch: Branch | None = None,
        *,
        row_filter: BooleanExpression | None = None,
    ) -> Scan:
        """See the port. No bounds are looked at, so a filter leaves every file in."""
        found, node = self._node(table, snapshot_id, branch)
        schema = found.schema if snapshot_id == found.refs[MAIN] else node.schema
        if row_filter is not None:
            try:
                bind(schema, row_filter, case_sensitive=True)
            except (ValueError, TypeError) as exc:
                hint = "name columns of the table, and values of their types"
                raise SchemaConflictError(
                    f"the filter: {exc}", where=str(table), hint=hint
                ) from exc
        return Scan(schema, node.files, self._io)

    @locked
    def batch(self, staging: Staging) -> Scan:
        """See the port."""
        table, own = self._staged(staging.branch, staging.table)
        if staging.head not in table.nodes:
            raise moved(staging.table, staging.branch.name, staging.head, own[0].value.id)
        pinned = list(itertools.dropwhile(lambda n: n.value.id != staging.head, own))
        change = change_of(pinned)
        files = [f for f in change.shows.own if not is_kept(f.file_path)] if change else []
        return Scan(table.nodes[staging.head].schema, files, self._io)

    @locked
    def made_of(
        self, table: TableName, snapshot_id: int, branch: Branch | None = None
    ) -> frozenset[str]:
        """See the port."""
        return frozenset(f.file_path for f in self._node(table, snapshot_id, branch)[1].files)

    @locked
    def covered(self, table: TableName, seal_id: int) -> Covered:
        """See the port."""
        found, sealed = self._node(table, seal_id, None)
        return covered(found, sealed, self._node(table, audited_by(sealed), None)[1], self._io)

    # --- staging --------------------------------------------------------------------------------

    @locked
    def open_branch(self, branch: Branch, table: TableName, shape: TableShape) -> Staging:
        """See the port."""
        where = f"{table} on {branch}"
        found = self._visible.get(table)
        if found is None or (branch, table) in self._new:
            if (branch, table) not in self._new:
                self._new[branch, table] = self._create(branch, table, shape)
            return self.staging(branch, table)
        if branch.name in found.refs:
            if not found.own(branch):
                raise BranchExistsError("a ref of that name is not this run's", where=where)
            return self.staging(branch, table)
        check_unpublished(found, branch, where)
        schemas.check_partitioning(found.schema, found.spec, shape.partitioning, str(table))
        last = max(s.highest_field_id for s in found.known)
        schema = schemas.grown(found.schema, found.known, last, shape.schema, str(table))
        if schema not in found.known:
            found.known.append(schema)
        self._open(found, branch, schema)
        return self.staging(branch, table)

    def _create(self, branch: Branch, name: TableName, shape: TableShape) -> MemoryTable:
        schema = schemas.new_schema(shape.schema, str(name))
        table = MemoryTable(
            name=name,
            schema=schema,
            known=[schema],
            spec=schemas.new_spec(schema, shape.partitioning, str(name)),
            location=naming.new_location(self._warehouse, branch, name),
            properties=dict(shape.properties),
        )
        table.add(MAIN, "bootstrap", {}, Shows(schema))
        self._open(table, branch, schema)
        return table

    def _open(self, table: MemoryTable, branch: Branch, schema: Schema) -> None:
        main = table.nodes[table.refs[MAIN]]
        summary = {
            naming.RUN: branch.run_id,
            naming.BASE_SCHEMA: str(table.schema.schema_id),
        }
        table.add(branch.name, "open", summary, Shows(schema, main.files), main)

    @locked
    def stage(self, staging: Staging, change: Change) -> Staging:
        """See the port."""
        return self._put(staging, change, again=False)

    @locked
    def restage(self, staging: Staging, change: Change) -> Staging:
        """See the port."""
        return self._put(staging, change, again=True)

    def _put(self, staging: Staging, change: Change, *, again: bool) -> Staging:
        """Put a change on the branch, or in place of the one that is there."""
        check_names(change)
        branch, name = staging.branch, staging.table
        table, own = self._staged(branch, name)
        staged, digest = change_of(own), change_digest(change)
        if staged is not None and staged.shows.change == digest:
            return self.staging(branch, name)
        if (staged is not None) is not again or own[0].value.id != staging.head:
            raise moved(name, branch.name, staging.head, own[0].value.id)
        gone = own[: own.index(staged) + 1] if staged is not None else []
        base = table.nodes[gone[-1].value.parent_id or -1] if gone else own[0]
        shows = changed(change, base, own[0].schema, digest, f"{name} on {branch}")
        noted = {k: v for n in gone for k, v in n.value.summary.items() if k == naming.BASE_SCHEMA}
        summary = {**noted, **change.summary, naming.RUN: branch.run_id}
        for node in gone:
            del table.nodes[node.value.id]
        table.add(branch.name, "stage", summary, shows, base)
        return self.staging(branch, name)

    @locked
    def restage_on(self, staging: Staging, change: Change, main: int) -> Staging:
        """See the port."""
        check_names(change)
        branch, name, where = staging.branch, staging.table, f"{staging.table} on {staging.branch}"
        table, own = self._staged(branch, name)
        staged, digest = change_of(own), change_digest(change)
        same = staged is not None and staged.shows.change == digest
        if same and own[-1].value.parent_id == main:
            return self.staging(branch, name)
        if staged is None or own[0].value.id != staging.head:
            raise moved(name, branch.name, staging.head, own[0].value.id)
        check_followed(table, self._visible.get(name), own, main, where)
        check_not_taken(table, branch, staged, where)
        shows = changed(change, table.nodes[main], own[0].schema, digest, where)
        summary = {**change.summary, naming.RUN: branch.run_id}
        summary |= {naming.BASE_SCHEMA: str(table.schema.schema_id)}
        for node in own:
            del table.nodes[node.value.id]
        table.add(branch.name, "rebase", summary, shows, table.nodes[main])
        return self.staging(branch, name)

    @locked
    def rebase(self, branch: Branch, table: TableName) -> Staging:
        """See the port."""
        where = f"{table} on {branch}"
        source, own = self._staged(branch, table)
        target = self._visible.get(table)
        if target is None or stands(target, source, own):
            return self.staging(branch, table)
        change = change_of(own)
        schema = rebased_schema(target, source, own, where)
        check_rebase(target, branch, change, where)
        main = target.nodes[target.refs[MAIN]]
        said = change.value.summary if change is not None else {}
        summary = {k: v for k, v in said.items() if k.startswith("wap.")}
        summary |= {
            naming.RUN: branch.run_id,
            naming.BASE_SCHEMA: str(target.schema.schema_id),
        }
        added = change.shows.own if change is not None else ()
        digest = change.shows.change if change is not None else None
        shows = Shows(schema, (*main.files, *added), added, change=digest)
        for node in own:
            source.nodes.pop(node.value.id, None)
        role: Role = "rebase" if change is not None else "open"
        target.add(branch.name, role, summary, shows, main)
        self._new.pop((branch, table), None)
        return self.staging(branch, table)

    # --- sealing and publishing -----------------------------------------------------------------

    @locked
    def seal(self, audited: AuditedHead, seal: Seal) -> Snapshot:
        """See the port."""
        where = f"{audited.table} on {audited.branch}"
        if told_by(seal) != audit_of(audited) or not Seal.in_summary(seal.to_summary()):
            what = "the seal is about another audit or waiver, or lacks a fact"
            raise UnsealedError(what, where=where)
        table, own = self._staged(audited.branch, audited.table)
        head, below = own[0], table.nodes.get(audited.head)
        on_top = head.value.role == "seal" and head.value.parent_id == audited.head
        if on_top and head.value.summary.items() >= seal.to_summary().items():
            return head.value
        if below is None or not (on_top or head is below):
            raise moved(audited.table, audited.branch.name, audited.head, head.value.id)
        if on_top:
            del table.nodes[head.value.id]
        shows = Shows(below.schema, below.files)
        ref = audited.branch.name
        return table.add(ref, "seal", seal.to_summary(), shows, below).value

    @locked
    def publish(self, heads: Sequence[AuditedHead]) -> list[Snapshot]:
        """See the port."""
        if len({h.branch for h in heads}) > 1:
            what = "tables that are published in one step are staged on one branch"
            raise UnsupportedError(what, hint="stage them by one run")
        if len({h.table for h in heads}) != len(heads):
            raise UnsupportedError("one table cannot be published twice in one step")
        # All are proven before any is moved: one step for all.
        return [snapshot for move in [self._prove(h) for h in heads] for snapshot in [move()]]

    def _prove(self, audited: AuditedHead) -> Callable[[], Snapshot]:
        visible = self._visible.get(audited.table)
        done = [n.value for n in visible.ancestry(MAIN)] if visible is not None else []
        for snapshot in done:
            if is_about(snapshot, audited):
                return lambda: snapshot
        table, own = self._staged(audited.branch, audited.table)
        new = table is not visible
        found = visible.refs[MAIN] if visible is not None else None
        if found != audited.expected:
            raise moved(audited.table, MAIN, audited.expected, found)
        check_sealed(table, own, audited, table.refs[MAIN])
        head = own[0]

        def move() -> Snapshot:
            if new:
                self._visible[audited.table] = self._new.pop((audited.branch, audited.table))
            table.publish(audited, head)
            return head.value

        return move

    @locked
    def roll_back(self, moves: Sequence[Back], heads: Sequence[AuditedHead] = ()) -> list[Snapshot]:
        """See the port."""
        check_together(moves, [h.table for h in heads], atomic_groups=True)
        # All are proven before any is moved.
        tables = [self._needed(move.table) for move in moves]
        proven = [(t, earlier_seal(t, m)) for t, m in zip(tables, moves, strict=True)]
        published = self.publish(heads)
        for found, node in proven:
            found.refs[MAIN], found.schema = node.value.id, node.schema
        return [*(node.value for _, node in proven), *published]

    # --- undoing --------------------------------------------------------------------------------

    @locked
    def drop(self, branch: Branch, table: TableName) -> Dropped:
        """See the port."""
        found = self._visible.get(table)
        new = self._new.pop((branch, table), None)
        removed = new is not None
        locations = {naming.new_location(self._warehouse, branch, table)}
        if found is not None:
            if branch.name in found.refs:
                if not found.own(branch):
                    where = f"{table} on {branch}"
                    raise BranchExistsError("a ref of that name is not this run's", where=where)
                del found.refs[branch.name]
                removed = True
            self._forget(found, branch)
            locations.discard(found.location)
            locations.add(f"{found.location}/data/{branch.run_id}")
        used = {f.file_path for n in (found.nodes.values() if found else ()) for f in n.files}
        files = size = 0
        for location in sorted(locations):
            stale = storage.without(storage.list_files(self._io, location), used)
            count, freed = storage.delete_files(self._io, location, stale)
            storage.delete_empty_folder(self._io, location)
            files, size = files + count, size + freed
        return Dropped(branch=removed, files=files, bytes=size)

    def _forget(self, table: MemoryTable, branch: Branch) -> None:
        """Drop the run's snapshots that no ref reaches or main showed, and schemas only of them."""
        reached = {n.value.id for ref in table.refs for n in table.ancestry(ref)}
        reached |= {n.value.id for n in table.shown()}
        for node in list(table.nodes.values()):
            if node.value.run_id == branch.run_id and node.value.id not in reached:
                del table.nodes[node.value.id]
        used = {n.schema.schema_id for n in table.nodes.values()} | {table.schema.schema_id}
        table.known = [s for s in table.known if s.schema_id in used]

    # --- clearing up ----------------------------------------------------------------------------

    @locked
    def expire(self, table: TableName, keep: Keep, *, dry_run: bool = False) -> list[Snapshot]:
        """See the port."""
        found = self._needed(table)
        gone = expired(lineage_of(found, self.verify(table)), keep)
        if not dry_run:
            found.forget({s.id for s in gone})
        return gone

    @locked
    def sweep(
        self,
        table: TableName,
        *,
        before: datetime,
        live: Callable[[], Container[str]],
        forgotten: Collection[int] = (),
        dry_run: bool = False,
    ) -> list[Litter]:
        """See the port."""
        found = self._needed(table)
        doomed = unused_files(found, self._io, before, live, forgotten)
        if not dry_run:
            storage.delete_files(self._io, found.location, doomed)
            storage.delete_folders_left_empty(self._io, found.location, doomed)
        return orphans.litter_of(doomed)

    def _needed(self, name: TableName) -> MemoryTable:
        found = self._visible.get(name)
        if found is None:
            raise TableNotFoundError("no such table is published", where=str(name))
        return found

    # --- small things ---------------------------------------------------------------------------

    def _staged(self, branch: Branch, name: TableName) -> tuple[MemoryTable, list[Node]]:
        for table in (self._visible.get(name), self._new.get((branch, name))):
            own = table.own(branch) if table is not None else []
            if table is not None and own:
                return table, own
        raise BranchNotFoundError(f"there is no branch {branch}", where=str(name))

    def _node(
        self, name: TableName, snapshot_id: int, branch: Branch | None
    ) -> tuple[MemoryTable, Node]:
        new = self._new.get((branch, name)) if branch is not None else None
        for table in (self._visible.get(name), new):
            if table is not None and snapshot_id in table.nodes:
                return table, table.nodes[snapshot_id]
        raise TableNotFoundError(f"no snapshot {snapshot_id}", where=str(name))
