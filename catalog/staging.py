"""Staging a change on a branch, and the files it consists of."""

from __future__ import annotations

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table

from catalog import moves, naming
from catalog.base import Change, Scan, Staging
from catalog.batches import change_digest, check_names, is_kept
from catalog.commits import Decision, Done, Proposal, settle
from catalog.drafts import Draft, MissingFilesError, added_files
from catalog.errors import HeadMovedError, RebaseRefusedError
from catalog.history import Chain, chain_of, summary_of
from catalog.home import Home
from catalog.places import Place
from catalog.views import schema_of, staging_of


def stage(home: Home, staging: Staging, change: Change) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.stage`."""
    check_names(change)
    digest = change_digest(change)
    drafts: list[Draft] = []

    def decide() -> Decision[Staging]:
        place = home.staged(staging.branch, staging.table)
        if _is_staged(place.chain, staging, digest):
            return Done(staging_of(place))
        if not drafts:
            drafts.append(_draft(place.table, staging, change, digest))
        return [_proposal(place, drafts[0])]

    with home.serial([staging.table]):
        try:
            return settle(home.committer, decide, drafts)
        except MissingFilesError as exc:
            for draft in drafts:
                draft.discard()
            raise RebaseRefusedError(
                f"files to be replaced are not in the published table: {exc}",
                where=f"{staging.table} on {staging.branch}",
                hint="plan and write the batch again",
            ) from exc


def batch(home: Home, staging: Staging) -> Scan:
    """See :meth:`catalog.base.BranchCatalog.batch`."""
    place = home.staged(staging.branch, staging.table)
    table, chain = place.table, place.chain
    head = table.metadata.snapshot_by_id(staging.head)
    pinned = chain_of(table.metadata, head, staging.branch.run_id) if head is not None else None
    if head is None or pinned is None:
        raise moved(staging, chain)
    return batch_of(table, pinned)


def batch_of(table: Table, chain: Chain) -> Scan:
    """The files that hold what a run added, carried-over ones left out, in its head's schema."""
    return Scan(
        schema=schema_of(table.metadata, chain.head),
        files=[f for f in own_files(chain, table) if not is_kept(f.file_path)],
        io=table.io,
    )


def moved(staging: Staging, chain: Chain) -> HeadMovedError:
    """The branch is not where the caller saw it."""
    return HeadMovedError(
        table=str(staging.table),
        ref=staging.branch.name,
        expected=staging.head,
        found=chain.head.snapshot_id,
        hint="another attempt of this run was faster; read the branch again",
    )


def _is_staged(chain: Chain, staging: Staging, digest: str) -> bool:
    """Whether this very change is on the branch; another one, or a moved head, is an error."""
    if chain.staged is not None and summary_of(chain.staged).get(naming.CHANGE) == digest:
        return True
    if chain.staged is not None or chain.head.snapshot_id != staging.head:
        raise moved(staging, chain)
    return False


def _draft(table: Table, staging: Staging, change: Change, digest: str) -> Draft:
    return Draft(
        table=table,
        run_id=staging.branch.run_id,
        schema=staging.schema,
        added=[*change.added, *change.kept],
        removed=change.removed,
        same_rows=change.same_rows,
        summary={
            **change.summary,
            naming.RUN: staging.branch.run_id,
            naming.ROLE: "stage",
            naming.CHANGE: digest,
            naming.KEPT: str(len(change.kept)),
            naming.REMOVED: str(len(change.removed)),
            naming.DATA: staging.data_location,
        },
    )


def _proposal(place: Place, draft: Draft) -> Proposal:
    """Move the branch from the head we saw to a new snapshot."""
    metadata, ref, parent = place.table.metadata, place.ref, place.chain.head
    snapshot = draft.snapshot(metadata, parent, metadata.next_sequence_number())
    return Proposal(
        table=place.table,
        requirements=(moves.ref_is(ref, parent.snapshot_id),),
        updates=(
            moves.add_snapshot(snapshot),
            moves.set_branch(ref, snapshot),
        ),
        drafts=(draft,),
    )


def own_files(chain: Chain, table: Table) -> list[DataFile]:
    """The data files that the run's change added, carried-over ones included."""
    return added_files(chain.staged, table.io) if chain.staged is not None else []
