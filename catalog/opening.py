"""Starting a branch: at a table's main, or as a new table in the hidden namespace."""

from __future__ import annotations

from pyiceberg.exceptions import NoSuchNamespaceError, TableAlreadyExistsError
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableRequirement, TableUpdate

from catalog import moves, naming, schemas
from catalog.base import Staging, TableShape
from catalog.commits import Decision, Done, Proposal, ensure_namespace, settle
from catalog.drafts import Draft
from catalog.errors import BranchExistsError, CatalogUnavailableError
from catalog.history import ancestry, head_id, head_of, is_hidden, is_own
from catalog.home import NativeHome, check_format, foreign_branch
from catalog.places import place_in
from catalog.refs import MAIN, Branch, TableName
from catalog.views import staging_of

_CREATE_TRIES = 5
_BOOTSTRAP = {naming.ROLE: "bootstrap"}

#: Properties of the tables we make. No retries by pyiceberg: its own commit retry loses refs.
_PROPERTIES = {
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
                properties={**_PROPERTIES, **shape.properties, **owner},
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
        return [_first_commit(table, branch, name, shape, drafts)]

    return settle(home.committer, decide, drafts)


def check_unpublished(table: Table, branch: Branch, name: TableName) -> None:
    """Each run is published once.

    Raises:
        BranchExistsError: main's history holds it already.
    """
    metadata = table.metadata
    if any(is_own(s, branch.run_id) for s in ancestry(metadata, head_of(metadata, MAIN))):
        where = f"{name} on {branch}"
        hint = "each run is published once; start a new run"
        raise BranchExistsError("the run is published already", where=where, hint=hint)


def _first_commit(
    table: Table, branch: Branch, name: TableName, shape: TableShape, drafts: list[Draft]
) -> Proposal:
    metadata = table.metadata
    schema = _candidate_schema(table, name, shape)
    updates: list[TableUpdate] = []
    if schema.schema_id not in {s.schema_id for s in metadata.schemas}:
        # Only added: main keeps its columns until publish sets the current schema.
        updates.append(moves.add_schema(schema))
    base, sequence_number = head_of(metadata, MAIN), metadata.next_sequence_number()
    requirements: list[TableRequirement] = [
        moves.ref_is(MAIN, head_id(metadata, MAIN)),
        moves.schema_is(metadata),
        moves.field_ids_are(metadata),
    ]
    new = [Draft(table, branch.run_id, schema, same_manifests=True)]
    if base is None:
        bootstrap = Draft(table, naming.BOOTSTRAP_FOLDER, metadata.schema(), summary=_BOOTSTRAP)
        new.append(bootstrap)
        base = bootstrap.snapshot(metadata, None, sequence_number)
        updates += _add_head(base, MAIN)
        sequence_number += 1
    else:
        requirements.append(moves.ref_is(branch.name, None))
    new[0].summary = {
        naming.RUN: branch.run_id,
        naming.ROLE: "open",
        naming.BASE: str(base.snapshot_id),
        naming.BASE_SCHEMA: str(metadata.current_schema_id),
    }
    opened = new[0].snapshot(metadata, base, sequence_number)
    drafts += new
    return Proposal(
        table, tuple(requirements), (*updates, *_add_head(opened, branch.name)), drafts=tuple(new)
    )


def _candidate_schema(table: Table, name: TableName, shape: TableShape) -> Schema:
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
