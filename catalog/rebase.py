"""Following a main that has moved: an append re-attached, or another change put on its head."""

from __future__ import annotations

from collections.abc import Sequence

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot
from pyiceberg.table.update import TableUpdate

from catalog import moves, naming, schemas
from catalog.base import Change, Staging
from catalog.batches import change_digest, check_names
from catalog.cleanup import delete_metadata, only_of
from catalog.commits import Decision, Done, Proposal, settle
from catalog.drafts import Draft
from catalog.errors import BranchNotFoundError, HeadMovedError, RebaseRefusedError
from catalog.history import Chain, ancestry, began_at, head_id, head_of, holds, summary_of
from catalog.home import NativeHome, check_format
from catalog.places import Place, place_in
from catalog.refs import MAIN, Branch, TableName, members_in
from catalog.staging import all_there, draft_of, moved, own_files
from catalog.unstaging import delete_hidden
from catalog.views import schema_of, staging_of

SCHEMA_CHANGED = "the table's schema changed under the run"
_REDO = "plan and write the batch again on the new main"


def rebase(home: NativeHome, branch: Branch, name: TableName) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.rebase`."""
    drafts: list[Draft] = []
    superseded: list[Chain] = []

    def decide() -> Decision[Staging]:
        visible = home.visible(name)
        place = place_in(visible, branch, name) if visible is not None else None
        if visible is not None and place is not None:
            chain = place.chain
            # Done, too, when main moved once more right behind our commit: publish will see that.
            if is_drafted(chain, drafts) or (
                chain.base == head_id(visible.metadata, MAIN) and _schema_stands(visible, chain)
            ):
                return Done(staging_of(place))
            superseded.append(chain)
            return [_in_place(visible, chain, branch, name, drafts)]
        hidden = home.hidden(branch, name)
        place = place_in(hidden, branch, name) if hidden is not None else None
        if place is None:
            raise BranchNotFoundError(f"there is no branch {branch}", where=str(name))
        if visible is None:
            return Done(staging_of(place))
        return [_adopted(visible, place, drafts)]

    with home.serial([name]):
        staging = settle(home.committer, decide, drafts)
        _clear_superseded(home, name, superseded)
        if staging.expected is not None:
            delete_hidden(home, branch, name)
    return staging


def restage_on(home: NativeHome, staging: Staging, change: Change, main: int) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.restage_on`."""
    branch, name = staging.branch, staging.table
    check_names(change)
    digest = change_digest(change)
    drafts: list[Draft] = []
    superseded: list[Chain] = []

    def decide() -> Decision[Staging]:
        place = home.staged(branch, name)
        if is_drafted(place.chain, drafts) or is_restaged(place.chain, digest, main):
            return Done(staging_of(place))
        check_replaceable(place, staging, head_id(place.table.metadata, MAIN), main)
        if not _schema_stands(place.table, place.chain):
            raise refused(SCHEMA_CHANGED, branch, name)
        check_not_taken(place.table, place.chain, branch, name)
        if not drafts:
            drafts.append(draft_of(place.table, staging, change, digest))
            drafts[0].summary = {**drafts[0].summary, **ground_on(place.table)}
        superseded.append(place.chain)
        return [_moved_to_main(place.table, place.chain, branch, drafts[0])]

    with home.serial([name]), all_there(staging, drafts):
        restaged = settle(home.committer, decide, drafts)
        _clear_superseded(home, name, superseded)
    return restaged


def is_restaged(chain: Chain, digest: str, main: int) -> bool:
    """Whether this very change stands on this very head of main already."""
    staged = chain.staged
    same = staged is not None and summary_of(staged).get(naming.CHANGE) == digest
    return same and chain.base == main


def check_replaceable(place: Place, staging: Staging, found: int | None, main: int) -> None:
    """The branch must hold the change that was seen, and main must be where it was seen.

    Args:
        found: where main is.

    Raises:
        HeadMovedError: either has moved.
        RebaseRefusedError: main had no such table when the run began.
    """
    if place.chain.staged is None or place.chain.head.snapshot_id != staging.head:
        raise moved(staging, place.chain)
    if place.expected is None:
        raise refused("the run staged a new table", place.branch, place.name)
    if found != main:
        raise HeadMovedError(table=str(place.name), ref=MAIN, expected=main, found=found)


def _clear_superseded(home: NativeHome, name: TableName, superseded: list[Chain]) -> None:
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
        raise refused(SCHEMA_CHANGED, branch, name)
    check_append(chain, branch, name)
    check_not_taken(table, chain, branch, name)
    if not drafts:
        schema = schema_of(metadata, chain.head)
        drafts.append(Draft(table, branch.run_id, schema, added=own_files(chain, table)))
    drafts[0].summary = summary_on(table, chain, branch)
    return _moved_to_main(table, chain, branch, drafts[0])


def _moved_to_main(table: Table, chain: Chain, branch: Branch, draft: Draft) -> Proposal:
    """Move the branch to a snapshot on top of main's head, and forget what it leaves."""
    metadata = table.metadata
    number, time = began_at(chain.own)
    draft.summary = {**draft.summary, naming.SINCE: f"{number}/{time}"}
    main = head_of(metadata, MAIN)
    snapshot = draft.snapshot(metadata, main, metadata.next_sequence_number())
    updates: list[TableUpdate] = [
        moves.add_snapshot(snapshot),
        moves.set_branch(branch.name, snapshot),
    ]
    gone = only_of(metadata, branch, chain.own)
    if gone:
        updates.append(moves.remove_snapshots(gone))
    requirements = (*moves.refs_are(metadata), moves.schema_is(metadata))
    return Proposal(table, requirements, tuple(updates), drafts=(draft,), run_id=branch.run_id)


def is_drafted(chain: Chain, drafts: Sequence[Draft]) -> bool:
    """Whether a draft of this very rebase is what the run's branch is at now."""
    return any(draft.snapshot_id == chain.head.snapshot_id for draft in drafts)


def check_append(chain: Chain, branch: Branch, name: TableName) -> None:
    """Only an append stands on another base as it did on its own.

    Raises:
        RebaseRefusedError: the run takes files away.
    """
    if chain.staged is not None and summary_of(chain.staged).get(naming.REMOVED) != "0":
        raise refused("the run replaces published files", branch, name)


def check_not_taken(table: Table, chain: Chain, branch: Branch, name: TableName) -> None:
    """Main must not hold the batch already: on top of it every row would be there twice.

    Raises:
        RebaseRefusedError: a union has published it.
    """
    runs = [branch.run_id, *(members_in(summary_of(chain.staged)) if chain.staged else ())]
    metadata = table.metadata
    for snapshot in ancestry(metadata, head_of(metadata, MAIN)):
        if snapshot.snapshot_id == chain.base:
            return
        if any(holds(snapshot, run_id) for run_id in runs):
            raise refused("a union has published the batch", branch, name)


def check_adoptable(visible: Table, place: Place) -> IcebergSnapshot:
    """A new table's files must read in the table that another run made first; its main's head.

    Raises:
        RebaseRefusedError: they do not, or it is partitioned otherwise.
    """
    main = head_of(visible.metadata, MAIN)
    staged = place.table
    differs = schemas.fits(schema_of(staged.metadata, place.chain.head), visible.schema())
    if differs is not None:
        raise refused(differs, place.branch, place.name)
    if not schemas.same_spec(staged.spec(), visible.spec()) or main is None:
        what = "the published table is partitioned otherwise, or empty"
        raise refused(what, place.branch, place.name)
    return main


def _adopted(visible: Table, place: Place, drafts: list[Draft]) -> Proposal:
    """A new table's files, on a branch of the table that another run made first."""
    metadata, branch, chain = visible.metadata, place.branch, place.chain
    check_format(visible, place.name)
    main = check_adoptable(visible, place)
    check_not_taken(visible, chain, branch, place.name)
    if not drafts:
        files = own_files(chain, place.table)
        drafts.append(Draft(visible, branch.run_id, visible.schema(), added=files))
    drafts[0].summary = summary_on(visible, chain, branch)
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
        run_id=branch.run_id,
    )


def summary_on(table: Table, chain: Chain, branch: Branch) -> dict[str, str]:
    """What the run said when it staged, on a new base; still only opened when it did not."""
    said = summary_of(chain.staged) if chain.staged is not None else {}
    return {
        **{key: value for key, value in said.items() if key.startswith("wap.")},
        naming.RUN: branch.run_id,
        **ground_on(table),
        naming.ROLE: "rebase" if chain.staged is not None else "open",
    }


def ground_on(table: Table) -> dict[str, str]:
    """What a change that stands on main's head notes of it."""
    return {
        naming.ROLE: "rebase",
        naming.BASE: str(head_id(table.metadata, MAIN)),
        naming.BASE_SCHEMA: str(table.metadata.current_schema_id),
    }


def refused(what: str, branch: Branch, name: TableName) -> RebaseRefusedError:
    """The change has to be made again on the new main."""
    return RebaseRefusedError(what, where=f"{name} on {branch}", hint=_REDO)
