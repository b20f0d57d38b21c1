"""What only looks: tables, logs, branches, and the files of a snapshot."""

from __future__ import annotations

from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import naming
from catalog.base import Covered, Published, Scan, Staging
from catalog.drafts import live_files, manifests_of
from catalog.errors import (
    CatalogConfigError,
    SchemaConflictError,
    TableNotFoundError,
    UnsealedError,
)
from catalog.history import Chain, ancestry, chain_of, head_id, head_of, is_bootstrap, value_of
from catalog.home import Home, NativeHome
from catalog.manifests import manifests_in
from catalog.places import place_in
from catalog.refs import MAIN, Branch, BranchState, Seal, Snapshot, TableName
from catalog.staging import batch_of
from catalog.views import published_of, schema_of, staging_of, state_of


def tables(home: Home) -> list[TableName]:
    """See :meth:`catalog.base.BranchCatalog.tables`."""
    return home.names()


def published(home: Home, name: TableName) -> Published | None:
    """See :meth:`catalog.base.BranchCatalog.published`."""
    table = home.visible(name)
    return published_of(table, name) if table is not None else None


def log(home: Home, name: TableName) -> list[Snapshot]:
    """See :meth:`catalog.base.BranchCatalog.log`."""
    table = home.visible(name)
    if table is None or published_of(table, name) is None:
        return []
    metadata = table.metadata
    return [value_of(name, s) for s in ancestry(metadata, head_of(metadata, MAIN))]


def branches(home: NativeHome) -> list[BranchState]:
    """See :meth:`catalog.base.BranchCatalog.branches`."""
    states: list[BranchState] = []
    for identifier in home.identifiers():
        table = home.load(identifier)
        if table is not None:
            states += _states(table)
    return sorted(states, key=lambda s: (s.table, s.branch))


def _states(table: Table) -> list[BranchState]:
    """The staging branches of one table; refs that no run of ours made are not among them."""
    identifier = table.name()
    if identifier[:-1] == (naming.STAGING_NAMESPACE,):
        owner = table.properties.get(naming.TABLE_PROPERTY, "")
        names = [table.properties.get(naming.BRANCH_PROPERTY, "")]
        name = TableName.parse(owner) if owner else None
    else:
        names = list(table.metadata.refs)
        name = TableName(identifier[:-1], identifier[-1])
    found = []
    for branch in filter(None, map(_branch, names)):
        place = place_in(table, branch, name) if name is not None else None
        if place is not None:
            found.append(state_of(place, head_id(table.metadata, MAIN)))
    return found


def _branch(ref: str) -> Branch | None:
    try:
        return Branch(ref)
    except CatalogConfigError:
        return None  # main, or a foreign ref that no branch of ours could be called


def staging(home: Home, branch: Branch, name: TableName) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.staging`."""
    return staging_of(home.staged(branch, name))


def scan(
    home: Home,
    name: TableName,
    snapshot_id: int,
    branch: Branch | None,
    row_filter: BooleanExpression | None,
) -> Scan:
    """See :meth:`catalog.base.BranchCatalog.scan`."""
    table, snapshot = _snapshot(home, name, snapshot_id, branch)
    schema = schema_of(table.metadata, snapshot)
    if row_filter is None:
        return Scan(schema=schema, files=live_files(snapshot, table.io), io=table.io)
    return Scan(schema=schema, files=_matching(table, snapshot, row_filter, name), io=table.io)


def _matching(
    table: Table, snapshot: IcebergSnapshot, row_filter: BooleanExpression, name: TableName
) -> list[DataFile]:
    """The files that may hold matching rows, by their partitions and column bounds."""
    manifests_in(snapshot, table.io)  # pyiceberg's own reading below does not prove it whole
    try:
        tasks = table.scan(row_filter=row_filter, snapshot_id=snapshot.snapshot_id).plan_files()
        files = [(task.file, task.delete_files) for task in tasks]
    except (ValueError, TypeError) as exc:
        hint = "name columns of the table, and values of their types"
        raise SchemaConflictError(f"the filter: {exc}", where=str(name), hint=hint) from exc
    return [f for file, deletes in files for f in (file, *deletes)]


def _snapshot(
    home: Home, name: TableName, snapshot_id: int, branch: Branch | None
) -> tuple[Table, IcebergSnapshot]:
    for table in home.holders(branch, name):
        found = table.metadata.snapshot_by_id(snapshot_id)
        if found is not None:
            return table, found
    raise TableNotFoundError(
        f"no snapshot {snapshot_id}",
        where=str(name),
        hint="it was dropped, or has expired; look at the log",
    )


def made_of(home: Home, name: TableName, snapshot_id: int, branch: Branch | None) -> frozenset[str]:
    """See :meth:`catalog.base.BranchCatalog.made_of`."""
    table, snapshot = _snapshot(home, name, snapshot_id, branch)
    return frozenset(path for path, _ in manifests_of(snapshot, table.io))


def covered(home: Home, name: TableName, seal_id: int) -> Covered:
    """See :meth:`catalog.base.BranchCatalog.covered`."""
    table, sealed = _snapshot(home, name, seal_id, None)
    value = value_of(name, sealed)
    if not value.is_sealed:
        raise UnsealedError(f"snapshot {seal_id} is no seal", where=str(name))
    facts = Seal.from_summary(value.summary)
    table, head = _snapshot(home, name, facts.audited, None)
    chain = chain_of(table.metadata, head, facts.run_id)
    if chain is None:
        what = f"the seal {seal_id} stands on a snapshot that its run did not make"
        raise UnsealedError(what, where=str(name))
    return Covered(
        seal=value,
        head=head.snapshot_id,
        expected=_published_base(table, chain),
        schema=schema_of(table.metadata, head),
        batch=batch_of(table, chain),
        location=table.location(),
        io=table.io,
    )


def _published_base(table: Table, chain: Chain) -> int | None:
    """What main showed before; a new table's empty first snapshot was never shown."""
    base = table.metadata.snapshot_by_id(chain.base) if chain.base is not None else None
    return None if base is not None and is_bootstrap(base) else chain.base
