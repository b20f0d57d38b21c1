"""Re-attaching an append's own files to a main that has moved; no data file is rewritten."""

from __future__ import annotations

from pyiceberg.table import Table
from pyiceberg.table.update import TableUpdate

from catalog import moves, naming, schemas
from catalog.base import Staging
from catalog.cleanup import delete_metadata, only_of
from catalog.commits import Decision, Done, Proposal, settle
from catalog.drafts import Draft
from catalog.errors import BranchNotFoundError, RebaseRefusedError
from catalog.history import Chain, head_id, head_of, run_chain, summary_of
from catalog.home import Home, check_format
from catalog.refs import MAIN, Branch, TableName
from catalog.staging import own_files
from catalog.unstaging import delete_hidden
from catalog.views import schema_of, staging_of

_REDO = "plan and write the batch again on the new main"


def rebase(home: Home, branch: Branch, name: TableName) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.rebase`."""
    drafts: list[Draft] = []
    superseded: list[Chain] = []

    def decide() -> Decision[Staging]:
        visible = home.visible(name)
        chain = run_chain(visible, branch) if visible is not None else None
        if visible is not None and chain is not None:
            if chain.base == head_id(visible.metadata, MAIN) and _schema_stands(visible, chain):
                return Done(staging_of(visible, branch, name))
            superseded.append(chain)
            return [_in_place(visible, chain, branch, name, drafts)]
        hidden = home.hidden(branch, name)
        chain = run_chain(hidden, branch) if hidden is not None else None
        if hidden is None or chain is None:
            raise BranchNotFoundError(f"there is no branch {branch}", where=str(name))
        if visible is None:
            return Done(staging_of(hidden, branch, name))
        return [_adopted(visible, hidden, chain, branch, name, drafts)]

    with home.serial([name]):
        staging = settle(home.committer, decide, drafts)
        _clear_superseded(home, name, superseded)
        if staging.expected is not None:
            delete_hidden(home, branch, name)
    return staging


def _clear_superseded(home: Home, name: TableName, superseded: list[Chain]) -> None:
    """Delete manifests and lists of the run's snapshots that the rebase has replaced."""
    for chain in superseded:
        now = home.needed(name)
        kept = {s.snapshot_id for s in now.metadata.snapshots}
        gone = [s for s in chain.own if s.snapshot_id not in kept]
        delete_metadata(home, now, gone)


def _schema_stands(table: Table, chain: Chain) -> bool:
    """Whether the table's current schema is the one the run grew its own from, or its own."""
    current = table.metadata.current_schema_id
    return current in (chain.base_schema_id, chain.head.schema_id)


def _in_place(
    table: Table, chain: Chain, branch: Branch, name: TableName, drafts: list[Draft]
) -> Proposal:
    metadata = table.metadata
    check_format(table, name)
    if not _schema_stands(table, chain):
        raise _refused("the table's schema changed under the run", branch, name)
    if chain.staged is not None and summary_of(chain.staged).get(naming.REMOVED) != "0":
        raise _refused("the run replaces published files", branch, name)
    if not drafts:
        schema = schema_of(metadata, chain.head)
        drafts.append(Draft(table, branch.run_id, schema, added=own_files(chain, table)))
    drafts[0].summary = _summary(table, chain, branch)
    main = head_of(metadata, MAIN)
    snapshot = drafts[0].snapshot(metadata, main, metadata.next_sequence_number())
    updates: list[TableUpdate] = [
        moves.add_snapshot(snapshot),
        moves.set_branch(branch.name, snapshot),
    ]
    gone = only_of(metadata, branch, chain.own)
    if gone:
        updates.append(moves.remove_snapshots(gone))
    schema_id = moves.schema_is(metadata)
    return Proposal(
        table, (*moves.refs_are(metadata), schema_id), tuple(updates), drafts=(drafts[0],)
    )


def _adopted(
    visible: Table,
    hidden: Table,
    chain: Chain,
    branch: Branch,
    name: TableName,
    drafts: list[Draft],
) -> Proposal:
    """A new table's files, on a branch of the table that another run made first."""
    metadata = visible.metadata
    check_format(visible, name)
    main = head_of(metadata, MAIN)
    differs = schemas.fits(schema_of(hidden.metadata, chain.head), visible.schema())
    if differs is not None:
        raise _refused(differs, branch, name)
    if not schemas.same_spec(hidden.spec(), visible.spec()) or main is None:
        raise _refused("the published table is partitioned otherwise, or empty", branch, name)
    if not drafts:
        files = own_files(chain, hidden)
        drafts.append(Draft(visible, branch.run_id, visible.schema(), added=files))
    drafts[0].summary = _summary(visible, chain, branch)
    snapshot = drafts[0].snapshot(metadata, main, metadata.next_sequence_number())
    return Proposal(
        visible,
        (
            moves.ref_is(MAIN, main.snapshot_id),
            moves.ref_is(branch.name, None),
            moves.schema_is(metadata),
        ),
        (
            moves.add_snapshot(snapshot),
            moves.set_branch(branch.name, snapshot),
        ),
        drafts=(drafts[0],),
    )


def _summary(table: Table, chain: Chain, branch: Branch) -> dict[str, str]:
    """What the run said when it staged, on a new base; still only opened when it did not."""
    said = summary_of(chain.staged) if chain.staged is not None else {}
    return {
        **{key: value for key, value in said.items() if key.startswith("wap.")},
        naming.RUN: branch.run_id,
        naming.ROLE: "rebase" if chain.staged is not None else "open",
        naming.BASE: str(head_id(table.metadata, MAIN)),
        naming.BASE_SCHEMA: str(table.metadata.current_schema_id),
    }


def _refused(what: str, branch: Branch, name: TableName) -> RebaseRefusedError:
    return RebaseRefusedError(what, where=f"{name} on {branch}", hint=_REDO)
