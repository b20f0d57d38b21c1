"""What a run does on Nessie otherwise than on native branches: open, rebase and publish."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.table.update import TableUpdate

from catalog import moves, naming, rollback, schemas
from catalog.base import Change, Staging, TableShape
from catalog.batches import change_digest, check_names
from catalog.cleanup import delete_metadata
from catalog.commits import Decision, Done, Proposal, settle
from catalog.drafts import Draft
from catalog.errors import BranchNotFoundError, HeadMovedError
from catalog.history import Chain, head_id, head_of, is_bootstrap, summary_of
from catalog.home import check_format
from catalog.nessie_api import Ref
from catalog.nessie_cleanup import clear_new_location, delete_superseded
from catalog.nessie_commits import Publication
from catalog.nessie_home import NessieHome
from catalog.nessie_tables import PROPERTIES as ON_NESSIE
from catalog.nessie_tables import Pointed
from catalog.opening import (
    PROPERTIES,
    candidate_schema,
    check_unpublished,
    first_commit,
    was_published,
)
from catalog.places import Place
from catalog.proof import check_chain, check_main, check_members, moved, sealed_head
from catalog.publish import GONE, check_group, published_seal
from catalog.rebase import (
    SCHEMA_CHANGED,
    check_adoptable,
    check_append,
    check_not_taken,
    check_replaceable,
    ground_on,
    is_drafted,
    is_restaged,
    refused,
    summary_on,
)
from catalog.refs import MAIN, AuditedHead, Back, Branch, BranchState, Seal, Snapshot, TableName
from catalog.staging import all_there, draft_of, own_files
from catalog.views import schema_of, staging_of, state_of


def branches(home: NessieHome) -> list[BranchState]:
    """See :meth:`catalog.base.BranchCatalog.branches`."""
    states: list[BranchState] = []
    for branch in home.branches():
        for name in home.tables_of(branch):
            place = home.find(branch, name)
            if place is not None:
                visible = home.visible(name)
                states.append(state_of(place, head_id(visible.metadata, MAIN) if visible else None))
    return sorted(states, key=lambda s: (s.table, s.branch))


# --- open ---------------------------------------------------------------------------------------


def open_branch(home: NessieHome, branch: Branch, name: TableName, shape: TableShape) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.open_branch`."""
    drafts: list[Draft] = []
    made: list[Pointed] = []

    def decide() -> Decision[Staging]:
        # Main and the branch's hash first: what moves after this look makes the commit fail.
        main, (visible,) = home.main([name])
        at, id_ = home.ground(branch, name)
        place = home.find(branch, name)
        if place is not None:
            check_format(place.table, name)
            return Done(staging_of(place))
        if visible is not None:
            check_unpublished(visible, branch, name)
            check_format(visible, name)
        elif not made:
            made.append(_new_table(home, branch, name, shape, main))
        source = visible or made[0]
        if at is None:
            at, id_ = main, visible.content_id if visible is not None else None
        table = home.based(branch, source, at, id_)
        schema = source.schema() if visible is None else candidate_schema(table, name, shape)
        return [_opened(table, branch, schema, _location(visible), drafts)]

    with home.serial([name]):
        return settle(home.committer, decide, drafts)


def _opened(
    table: Pointed, branch: Branch, schema: Schema, base: str, drafts: list[Draft]
) -> Proposal:
    notes = {naming.BASE_METADATA: base}
    proposal = first_commit(table, MAIN, branch, schema, drafts, notes)
    return replace(proposal, updates=(*proposal.updates, *_as_current(table, schema)))


def _new_table(
    home: NessieHome, branch: Branch, name: TableName, shape: TableShape, main: Ref
) -> Pointed:
    """A table that nothing points to yet."""
    schema = schemas.new_schema(shape.schema, str(name))
    spec = schemas.new_spec(schema, shape.partitioning, str(name))
    warehouse = str(home.warehouse)
    new = home.catalog.on(branch.name).new_table(
        name.identifier,
        schema,
        naming.new_location(warehouse, branch, name),
        spec,
        {**PROPERTIES, **shape.properties, **ON_NESSIE},
    )
    return Pointed(
        main, None, new.name(), new.metadata, new.metadata_location, new.io, home.catalog
    )


def _as_current(table: Pointed, schema: Schema) -> list[TableUpdate]:
    """On a branch of its own the candidate's columns are the table's."""
    current = table.metadata.current_schema_id
    return [moves.set_schema(schema.schema_id)] if schema.schema_id != current else []


def _location(visible: Pointed | None) -> str:
    return visible.metadata_location if visible is not None else ""


def _based_on(chain: Chain) -> str | None:
    """The metadata file of main that the run started from, "": there was no table."""
    noted = (summary_of(s).get(naming.BASE_METADATA) for s in chain.own)
    return next((n for n in noted if n is not None), None)


# --- rebase -------------------------------------------------------------------------------------


def rebase(home: NessieHome, branch: Branch, name: TableName) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.rebase`.

    One commit to the run's branch, which otherwise stays as old as it is: it is never merged.
    """
    drafts: list[Draft] = []
    superseded: list[Place] = []

    def decide() -> Decision[Staging]:
        place = home.staged(branch, name)
        _, (visible,) = home.main([name])
        if is_drafted(place.chain, drafts) or _based_on(place.chain) == _location(visible):
            return Done(staging_of(place))
        if visible is None:
            raise refused("the published table is gone", branch, name)
        superseded.append(place)
        return [_reattached(home, visible, place, drafts)]

    with home.serial([name]):
        staging = settle(home.committer, decide, drafts)
        for place in superseded:
            _clear(home, branch, name, place)
    return staging


def restage_on(home: NessieHome, staging: Staging, change: Change, main: int) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.restage_on`; one commit to the run's branch."""
    branch, name = staging.branch, staging.table
    check_names(change)
    digest = change_digest(change)
    drafts: list[Draft] = []
    superseded: list[Place] = []

    def decide() -> Decision[Staging]:
        place = home.staged(branch, name)
        if is_drafted(place.chain, drafts) or is_restaged(place.chain, digest, main):
            return Done(staging_of(place))
        _, (visible,) = home.main([name])
        found = head_id(visible.metadata, MAIN) if visible is not None else None
        check_replaceable(place, staging, found, main)
        if visible is None:
            raise refused("the published table is gone", branch, name)
        check_format(visible, name)
        check_not_taken(visible, place.chain, branch, name)
        schema = _rebased_schema(visible, place)
        if not drafts:
            drafts.append(draft_of(visible, replace(staging, schema=schema), change, digest))
        drafts[0].summary = {**drafts[0].summary, **ground_on(visible)}
        superseded.append(place)
        return [_on_main(home, visible, place, schema, drafts[0])]

    with home.serial([name]), all_there(staging, drafts):
        restaged = settle(home.committer, decide, drafts)
        for place in superseded:
            _clear(home, branch, name, place)
    return restaged


def _clear(home: NessieHome, branch: Branch, name: TableName, old: Place) -> None:
    """Delete manifests and lists that the rebase has replaced, and a lost new table's root."""
    now = home.staged(branch, name)
    kept = {s.snapshot_id for s in now.table.metadata.snapshots}
    gone = [s for s in old.chain.own if s.snapshot_id not in kept]
    delete_metadata(home, now.table, gone)
    if old.expected is None and now.expected is not None:
        clear_new_location(home, branch, name, lambda: _taken_over(home, branch, name))


def _taken_over(home: NessieHome, branch: Branch, name: TableName) -> Sequence[DataFile] | None:
    """The run's files on main's table; None: it stages a new table (again), or nothing."""
    now = home.find(branch, name)
    if now is None or now.expected is None:
        return None
    return own_files(now.chain, now.table)


def _reattached(home: NessieHome, visible: Pointed, place: Place, drafts: list[Draft]) -> Proposal:
    branch, chain = place.branch, place.chain
    check_format(visible, place.name)
    check_append(chain, branch, place.name)
    check_not_taken(visible, chain, branch, place.name)
    _check_not_gone_back(visible, branch, place.name)
    schema = _rebased_schema(visible, place)
    if not drafts:
        files = own_files(chain, place.table)
        drafts.append(Draft(visible, branch.run_id, schema, added=files))
    drafts[0].summary = summary_on(visible, chain, branch)
    return _on_main(home, visible, place, schema, drafts[0])


def _on_main(
    home: NessieHome, visible: Pointed, place: Place, schema: Schema, draft: Draft
) -> Proposal:
    """Main's table with a snapshot on top, as what the run's branch points to."""
    metadata = visible.metadata
    draft.summary = {**draft.summary, naming.BASE_METADATA: visible.metadata_location}
    main = head_of(metadata, MAIN)
    snapshot = draft.snapshot(metadata, main, metadata.next_sequence_number())
    staged = cast("Pointed", place.table)
    table = home.based(place.branch, visible, staged.at, staged.content_id)
    new = schema.schema_id not in {s.schema_id for s in metadata.schemas}
    updates = (
        *([moves.add_schema(schema)] if new else []),
        moves.add_snapshot(snapshot),
        moves.set_branch(MAIN, snapshot),
        *_as_current(table, schema),
    )
    return Proposal(table, (), updates, drafts=(draft,))


def _rebased_schema(visible: Pointed, place: Place) -> Schema:
    """The run's schema in main's table as it is now, told by columns and field ids.

    Ids of schemas say nothing: two runs count them up on branches of their own.

    Raises:
        RebaseRefusedError: main has other columns than the run started from, and than its own.
    """
    if place.expected is None:
        check_adoptable(visible, place)
        return visible.schema()
    staged, chain, current = place.table.metadata, place.chain, visible.schema()
    own = schema_of(staged, chain.head)
    base = staged.schema_by_id(chain.base_schema_id) if chain.base_schema_id is not None else None
    if own == current:
        return current
    if base != current:
        raise refused(SCHEMA_CHANGED, place.branch, place.name)
    known = visible.metadata.schemas
    next_id = max(s.schema_id for s in known) + 1
    same = (s for s in known if s == own)
    return next(same, own.model_copy(update={"schema_id": next_id}))


# --- publish ------------------------------------------------------------------------------------


def publish(
    home: NessieHome, heads: Sequence[AuditedHead], back: Sequence[Back] = ()
) -> list[Snapshot]:
    """See :meth:`catalog.base.BranchCatalog.publish`, and ``roll_back`` for what goes back."""
    check_group(home, heads, back)

    names = [*(move.table for move in back), *(head.table for head in heads)]

    def decide() -> Decision[list[Snapshot]]:
        main, tables = home.main(names)
        while True:
            try:
                return _decided(home, heads, back, main, tables)
            except BranchNotFoundError:
                # Another attempt may have published it and left, between these two looks.
                seen = main.hash
                main, tables = home.main(names)
                if main.hash == seen:
                    raise

    with home.serial(names):
        snapshots = settle(home.committer, decide)
        if heads:
            _leave(home, snapshots, heads)
        return snapshots


def _decided(
    home: NessieHome,
    heads: Sequence[AuditedHead],
    back: Sequence[Back],
    main: Ref,
    tables: Sequence[Pointed | None],
) -> Decision[list[Snapshot]]:
    done, proposals = rollback.decided(tables[: len(back)], back)
    for head, visible in zip(heads, tables[len(back) :], strict=True):
        found = published_seal(visible, head)
        if found is not None:
            done.append(found)
        else:
            proposals.append(_publication(home, head, visible, main))
    return proposals or Done(done)


def _publication(
    home: NessieHome, audited: AuditedHead, visible: Pointed | None, at: Ref
) -> Publication:
    table = home.on_branch(audited.branch, audited.table)
    if table is None or not home.has_own(table, audited.table, audited.branch):
        raise BranchNotFoundError(
            f"there is no branch {audited.branch}",
            where=str(audited.table),
            hint=GONE,
        )
    main = head_id(visible.metadata, MAIN) if visible is not None else None
    if main != audited.expected:
        raise moved(audited, MAIN, audited.expected, main)
    sealed = sealed_head(table, MAIN, audited)
    chain = check_chain(table, audited, sealed, audited.expected or _bootstrap(table))
    if _based_on(chain) != _location(visible):
        raise HeadMovedError(
            table=str(audited.table),
            ref=MAIN,
            expected=audited.expected,
            found=main,
            hint="the table's schema or properties changed under the run; rebase the branch",
        )
    if visible is not None:
        check_main(visible, audited)
        for member in audited.members:
            _check_not_gone_back(visible, member.branch, audited.table)
    check_members(audited, lambda branch: _head_on(home, branch, audited.table))
    facts = Seal.from_summary(summary_of(sealed)).to_summary()
    return Publication(table, (), (), main=at, over=visible, branch=audited.branch, facts=facts)


def _check_not_gone_back(visible: Pointed, branch: Branch, name: TableName) -> None:
    """A run that a union has published keeps its branch here until it ends: it is there no more.

    Raises:
        BranchNotFoundError: main holds its batch, or did.
    """
    if was_published(visible, branch):
        what = f"a union has published {branch}"
        raise BranchNotFoundError(what, where=str(name), hint=GONE)


def _head_on(home: NessieHome, branch: Branch, name: TableName) -> int | None:
    place = home.find(branch, name)
    return place.chain.head.snapshot_id if place is not None else None


def _bootstrap(table: Pointed) -> int | None:
    """The empty snapshot that a run gives a table which has none."""
    return next((s.snapshot_id for s in table.metadata.snapshots if is_bootstrap(s)), None)


def _leave(home: NessieHome, snapshots: Sequence[Snapshot], heads: Sequence[AuditedHead]) -> None:
    """Take what is published off the run's branch, with all that led to it."""
    branch = heads[0].branch
    still: list[TableName] = []
    for snapshot in snapshots:
        table = home.on_branch(branch, snapshot.table)
        if table is not None and head_id(table.metadata, MAIN) == snapshot.id:
            still.append(snapshot.table)
            delete_superseded(table, branch.run_id)
    if still:
        home.leave(branch, still)
    home.sweep(branch)
