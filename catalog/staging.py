"""Staging a change on a branch, putting another in its place, and the files it consists of."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from pyiceberg.manifest import DataFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import moves, naming
from catalog.base import Change, Scan, Staging
from catalog.batches import change_digest, check_names, is_kept
from catalog.cleanup import delete_metadata
from catalog.commits import Decision, Done, Proposal, settle
from catalog.drafts import Draft, MissingFilesError, added_files
from catalog.errors import HeadMovedError, RebaseRefusedError
from catalog.history import Chain, chain_of, summary_of
from catalog.home import Home
from catalog.places import Place
from catalog.views import schema_of, staging_of


def stage(home: Home, staging: Staging, change: Change) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.stage`."""

    def next_of(place: Place, digest: str, drafts: list[Draft]) -> Proposal:
        if not drafts:
            drafts.append(draft_of(place.table, staging, change, digest))
        return _proposal(place, drafts[0])

    def check(chain: Chain) -> None:
        if chain.staged is not None or chain.head.snapshot_id != staging.head:
            raise moved(staging, chain)

    return _settled(home, staging, change, check, next_of)


def restage(home: Home, staging: Staging, change: Change) -> Staging:
    """See :meth:`catalog.base.BranchCatalog.restage`."""
    gone: list[IcebergSnapshot] = []

    def next_of(place: Place, digest: str, drafts: list[Draft]) -> Proposal:
        chain = place.chain
        if not drafts:
            drafts.append(draft_of(place.table, staging, change, digest))
            # Where the run has been rebased, the change itself tells what it stands on.
            drafts[0].summary = {**_ground_of(chain), **drafts[0].summary}
        gone[:] = _from_the_change(chain)
        return _replacing(place, drafts[0], gone)

    def check(chain: Chain) -> None:
        if chain.staged is None or chain.head.snapshot_id != staging.head:
            raise moved(staging, chain)

    restaged = _settled(home, staging, change, check, next_of)
    with home.serial([staging.table]):
        delete_metadata(home, home.staged(staging.branch, staging.table).table, gone)
    return restaged


def _settled(
    home: Home,
    staging: Staging,
    change: Change,
    check: Callable[[Chain], None],
    next_of: Callable[[Place, str, list[Draft]], Proposal],
) -> Staging:
    """Commit a change; this very one, once it is there, is the answer.

    Args:
        check: refuses to put it on a branch as it stands.
        next_of: the commit that does; it writes the draft once.
    """
    check_names(change)
    digest = change_digest(change)
    drafts: list[Draft] = []

    def decide() -> Decision[Staging]:
        place = home.staged(staging.branch, staging.table)
        staged = place.chain.staged
        if staged is not None and summary_of(staged).get(naming.CHANGE) == digest:
            return Done(staging_of(place))
        check(place.chain)
        return [next_of(place, digest, drafts)]

    with home.serial([staging.table]), all_there(staging, drafts):
        return settle(home.committer, decide, drafts)


@contextmanager
def all_there(staging: Staging, drafts: Sequence[Draft]) -> Iterator[None]:
    """See that a change takes away only what is there; what was written for it goes otherwise.

    Raises:
        RebaseRefusedError: it does not.
    """
    try:
        yield
    except MissingFilesError as exc:
        for draft in drafts:
            draft.discard()
        raise RebaseRefusedError(
            f"files to be replaced are not in the published table: {exc}",
            where=f"{staging.table} on {staging.branch}",
            hint="plan and write the batch again",
        ) from exc


def _from_the_change(chain: Chain) -> list[IcebergSnapshot]:
    """The run's snapshots from its head down to its change."""
    staged = chain.staged
    assert staged is not None  # noqa: S101 - checked before
    return list(chain.own[: chain.own.index(staged) + 1])


def _ground_of(chain: Chain) -> dict[str, str]:
    """What the change notes of main; nothing, where the run's first snapshot does."""
    noted = (naming.BASE, naming.BASE_SCHEMA, naming.BASE_METADATA)
    said = summary_of(chain.staged) if chain.staged is not None else {}
    return {key: said[key] for key in noted if key in said}


def _replacing(place: Place, draft: Draft, gone: Sequence[IcebergSnapshot]) -> Proposal:
    """Move the branch to a new snapshot beside its change, and forget what it leaves."""
    metadata, ref = place.table.metadata, place.ref
    base = metadata.snapshot_by_id(gone[-1].parent_snapshot_id or -1)
    if base is None:
        # On nothing the new change would stand for the whole table.
        raise RebaseRefusedError(
            "what the change stands on is no longer kept",
            where=f"{place.name} on {place.branch}",
            hint="plan and write the batch again",
        )
    snapshot = draft.snapshot(metadata, base, metadata.next_sequence_number())
    return Proposal(
        table=place.table,
        requirements=(moves.ref_is(ref, place.chain.head.snapshot_id),),
        updates=(
            moves.add_snapshot(snapshot),
            moves.set_branch(ref, snapshot),
            moves.remove_snapshots(gone),
        ),
        drafts=(draft,),
        run_id=place.branch.run_id,
    )


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


def draft_of(table: Table, staging: Staging, change: Change, digest: str) -> Draft:
    """The snapshot that a change is to be, on whatever it is put."""
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
        run_id=place.branch.run_id,
    )


def own_files(chain: Chain, table: Table) -> list[DataFile]:
    """The data files that the run's change added, carried-over ones included."""
    return added_files(chain.staged, table.io) if chain.staged is not None else []
