"""Starting a branch: at a table's main, or as a new table in the hidden namespace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from pyiceberg.exceptions import NoSuchNamespaceError, TableAlreadyExistsError
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableUpdate

from catalog import moves, naming, schemas
from catalog.base import Staging, TableShape
from catalog.commits import Decision, Done, Proposal, ensure_namespace, settle
from catalog.drafts import Draft
from catalog.errors import BranchExistsError, CatalogUnavailableError
from catalog.history import ancestry, head_id, head_of, holds, is_hidden, shown, summary_of
from catalog.home import NativeHome, check_format, foreign_branch
from catalog.places import place_in
from catalog.refs import MAIN, Branch, TableName, members_in
from catalog.views import staging_of

_CREATE_TRIES = 5
_BOOTSTRAP = {naming.ROLE: "bootstrap"}

#: Properties of the tables we make. No retries by pyiceberg: its own commit retry loses refs.
PROPERTIES = {
    "format-version": "2",
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
}


def open_branch(home: NativeHome, branch: Branch, name: TableName, shape: TableShape) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.open_branch`."""
    with home.serial([name]):
        visible = home.visible(name)
        place = place_in(visible, branch, name) if visible is not None else None
        if place is not None:
            return staging_of(place)
        table = home.hidden(branch, name) or visible or _create(home, branch, name, shape)
        return _start(home, branch, name, shape, table.name())


def _create(home: NativeHome, branch: Branch, name: TableName, shape: TableShape) -> Table:
    """A new table in the hidden namespace; main stays empty until the first commit."""
    schema = schemas.new_schema(shape.schema, str(name))
    spec = schemas.new_spec(schema, shape.partitioning, str(name))
    warehouse = home.warehouse
    identifier = naming.hidden_identifier(branch, name)
    owner = {naming.TABLE_PROPERTY: str(name), naming.BRANCH_PROPERTY: branch.name}
    for _ in range(_CREATE_TRIES):
        ensure_namespace(home.catalog, identifier[:-1])
        try:
            return home.catalog.create_table(
                identifier,
                schema,
                location=naming.new_location(warehouse, branch, name) if warehouse else None,
                partition_spec=spec,
                properties={**PROPERTIES, **shape.properties, **owner},
            )
        except TableAlreadyExistsError:
            return home.catalog.load_table(identifier)
        except NoSuchNamespaceError:
            continue  # the last other staged table went, and the namespace with it
    raise CatalogUnavailableError("the staging namespace comes and goes", where=str(name))


def _start(
    home: NativeHome,
    branch: Branch,
    name: TableName,
    shape: TableShape,
    identifier: tuple[str, ...],
) -> Staging:
    """Commit the branch's first snapshot; a table without any gets its bootstrap with it."""
    drafts: list[Draft] = []

    def decide() -> Decision[Staging]:
        table = home.committer.load(identifier)
        check_format(table, name)
        place = place_in(table, branch, name)
        if place is not None:
            return Done(staging_of(place))
        if branch.name in table.metadata.refs:
            raise foreign_branch(branch, name)
        check_unpublished(table, branch, name)
        schema = candidate_schema(table, name, shape)
        return [_first_commit(table, branch, schema, drafts)]

    return settle(home.committer, decide, drafts)


def check_unpublished(table: Table, branch: Branch, name: TableName) -> None:
    """Each run is published once, also when that was rolled back.

    Raises:
        BranchExistsError: main holds it already, or did.
    """
    if was_published(table, branch):
        where = f"{name} on {branch}"
        hint = "each run is published once; start a new run"
        what = "the run is published already, or was and is rolled back"
        raise BranchExistsError(what, where=where, hint=hint)


def was_published(table: Table, branch: Branch) -> bool:
    """Whether main shows, or showed once, what the run published, by itself or by a union.

    A server may forget what main showed before a snapshot that expires. A union's seal that no ref
    reaches tells it, too: what was never published goes with its drop, before a member begins anew.
    """
    metadata = table.metadata
    if any(holds(s, branch.run_id) for s in shown(metadata)):
        return True
    unions = [s for s in metadata.snapshots if _is_sealed_with(s, branch)]
    return bool(unions) and bool({s.snapshot_id for s in unions} - _reached(metadata))


def _is_sealed_with(snapshot: IcebergSnapshot, branch: Branch) -> bool:
    summary = summary_of(snapshot)
    return summary.get(naming.ROLE) == "seal" and branch.run_id in members_in(summary)


def _reached(metadata: TableMetadata) -> set[int]:
    heads = (metadata.snapshot_by_name(ref) for ref in metadata.refs)
    return {s.snapshot_id for head in heads for s in ancestry(metadata, head)}


def _first_commit(table: Table, branch: Branch, schema: Schema, drafts: list[Draft]) -> Proposal:
    metadata = table.metadata
    free = [moves.ref_is(branch.name, None)] if head_of(metadata, MAIN) is not None else []
    proposal = first_commit(table, branch.name, branch, schema, drafts)
    return replace(proposal, requirements=(*proposal.requirements, *free))


def first_commit(
    table: Table,
    ref: str,
    branch: Branch,
    schema: Schema,
    drafts: list[Draft],
    notes: Mapping[str, str] | None = None,
) -> Proposal:
    """A branch's first snapshot on main's head; a table without any gets its bootstrap with it.

    Args:
        table: main's, as loaded.
        ref: what the branch is called in the metadata.
        branch: the run's.
        schema: what it stages with; only added: main keeps its columns until publish.
        drafts: takes the snapshots that were written.
        notes: further entries for the snapshot's summary.
    """
    metadata = table.metadata
    updates: list[TableUpdate] = []
    if schema.schema_id not in {s.schema_id for s in metadata.schemas}:
        updates.append(moves.add_schema(schema))
    base, sequence_number = head_of(metadata, MAIN), metadata.next_sequence_number()
    new = [Draft(table, branch.run_id, schema, same_manifests=True)]
    if base is None:
        bootstrap = Draft(table, naming.BOOTSTRAP_FOLDER, metadata.schema(), summary=_BOOTSTRAP)
        new.append(bootstrap)
        base = bootstrap.snapshot(metadata, None, sequence_number)
        updates += _add_head(base, MAIN)
        sequence_number += 1
    new[0].summary = {
        naming.RUN: branch.run_id,
        naming.ROLE: "open",
        naming.BASE: str(base.snapshot_id),
        naming.BASE_SCHEMA: str(metadata.current_schema_id),
        **(notes or {}),
    }
    opened = new[0].snapshot(metadata, base, sequence_number)
    drafts += new
    requirements = (
        moves.ref_is(MAIN, head_id(metadata, MAIN)),
        moves.schema_is(metadata),
        moves.field_ids_are(metadata),
    )
    return Proposal(
        table,
        requirements,
        (*updates, *_add_head(opened, ref)),
        drafts=tuple(new),
        run_id=branch.run_id,
    )


def candidate_schema(table: Table, name: TableName, shape: TableShape) -> Schema:
    """The schema a run stages with: the table's own, grown into the shape.

    Raises:
        SchemaConflictError: it cannot grow so, or the shape is partitioned otherwise.
    """
    if is_hidden(table):
        return table.schema()
    metadata, where = table.metadata, str(name)
    schemas.check_partitioning(table.schema(), table.spec(), shape.partitioning, where)
    return schemas.grown(
        table.schema(), metadata.schemas, metadata.last_column_id, shape.schema, where
    )


def _add_head(snapshot: IcebergSnapshot, ref: str) -> tuple[TableUpdate, TableUpdate]:
    return (
        moves.add_snapshot(snapshot),
        moves.set_branch(ref, snapshot),
    )
