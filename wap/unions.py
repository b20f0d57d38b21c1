"""Unions: the batches of several runs staged as one, on a branch of its own; no row is written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from pyiceberg.manifest import DataFile

from catalog.base import BranchCatalog, Change, Published, Staging
from catalog.errors import BranchNotFoundError
from catalog.refs import MEMBERS, Branch, TableName, Taken
from wap import evidence
from wap.compaction import is_compaction
from wap.homes import RunHome
from wap.model import Rows
from wap.quarantine.table import is_replay
from wap.runs import Books, Member, Members, PinnedPlan, RunFolder
from wap.sources.base import Plan, Source
from wap.steps import RunRef
from wap.writing import shape_of

#: What a run reads, by its plan.
SourceOf = Callable[[RunRef, PinnedPlan], Source]


def unites(pinned: PinnedPlan) -> bool:
    """Whether a union may take the run's batch: what it adds stands on any main as it is."""
    return (
        pinned.pipeline.write.mode == "append"
        and not pinned.pipeline.write.keyed
        and pinned.engine == "arrow"
        and pinned.plan.interval is None
        and pinned.refused is None
        and not is_compaction(pinned)
        # What such a run has in its quarantine table goes with it alone.
        and pinned.pipeline.quarantine_limits is None
        and not is_replay(pinned)
    )


def plans_of(folder: RunFolder, pinned: PinnedPlan) -> tuple[Plan, ...]:
    """What a run reads: its plan, or those of a union's members."""
    members = folder.members() if is_union(pinned) else ()
    return tuple(member.plan for member in members) or (pinned.plan,)


def is_union(pinned: PinnedPlan) -> bool:
    """Whether the plan is a union's."""
    return "members" in pinned.plan.work


def taken_by(folder: RunFolder, pinned: PinnedPlan) -> tuple[Taken, ...]:
    """The branches whose batches a union holds; () for any other run."""
    members = folder.members() if is_union(pinned) else ()
    return tuple(Taken(Branch.of_run(m.run_id), m.head) for m in members)


def has_left(catalog: BranchCatalog, table: TableName, taken: Sequence[Taken]) -> str | None:
    """A run that is no longer where a union has taken its batch from; None: all are there."""
    for one in taken:
        try:
            head = catalog.staging(one.branch, table).head
        except BranchNotFoundError:
            head = None
        if head != one.head:
            return one.branch.run_id
    return None


def unite(
    catalog: BranchCatalog,
    home: RunHome,
    union: RunRef,
    runs: Sequence[RunRef],
    source_of: SourceOf,
) -> tuple[str, ...]:
    """Stage the batches of those runs that go together; returns their ids, none where under two.

    Raises:
        BranchNotFoundError: one of them has left meanwhile.
        CatalogError: see the port.
    """
    folder = home.folder(union.run_id)
    if not folder.has_plan(0):
        chosen = list(_chosen(catalog, home, runs, source_of))
        if len(chosen) < 2:  # noqa: PLR2004 - one is no union
            return ()
        members = tuple(member for member, _ in chosen)
        # First of all: whoever drops a member's branch from here on drops the union's, too.
        for member in members:
            home.folder(member.run_id).note_union(union.run_id)
        folder.save_members(Members(members=members))
        folder.save_books(0, _books(members))
        folder.pin(0, _plan(chosen[0][1], members))
    pinned, members = folder.plan(0), folder.members()
    table = pinned.pipeline.table_name
    staging = catalog.open_branch(Branch.of_run(union.run_id), table, shape_of(pinned))
    if not staging.staged:
        catalog.stage(staging, _change(catalog, table, pinned, members))
    return tuple(member.run_id for member in members)


def _chosen(
    catalog: BranchCatalog, home: RunHome, runs: Sequence[RunRef], source_of: SourceOf
) -> Iterator[tuple[Member, PinnedPlan]]:
    """The runs that go together: alike, and none has read what another one, or main, has."""
    first: PinnedPlan | None = None
    cursor, published = None, None
    for run in runs:
        folder = home.folder(run.run_id)
        if not folder.has_plan(run.round) or not folder.has_books(run.round):
            continue
        pinned = folder.plan(run.round)
        table = pinned.pipeline.table_name
        if first is None:
            cursor, published = evidence.cursor(catalog, table), catalog.published(table)
        staging = _staged(catalog, run, table)
        alike = first is None or _is_alike(pinned, first)
        if not (unites(pinned) and alike and _fits(staging, published)):
            continue
        source = source_of(run, pinned)
        if source.done(cursor, pinned.plan):
            continue
        cursor, first = source.advance(cursor, pinned.plan), first or pinned
        assert staging is not None  # noqa: S101 - it fits
        yield _member(run, folder, pinned, staging), pinned


def _staged(catalog: BranchCatalog, run: RunRef, table: TableName) -> Staging | None:
    try:
        return catalog.staging(Branch.of_run(run.run_id), table)
    except BranchNotFoundError:
        return None


def _is_alike(one: PinnedPlan, other: PinnedPlan) -> bool:
    """Whether two runs are declared alike, so that one audit is the audit of both."""
    return (one.digest, one.wanted_schema) == (other.digest, other.wanted_schema)


def _fits(staging: Staging | None, published: Published | None) -> bool:
    """Whether the batch is staged in the table as it is: a column more is the run's own affair."""
    return (
        staging is not None
        and published is not None
        and staging.staged
        and staging.expected is not None
        and staging.schema == published.schema
        and staging.spec == published.spec
    )


def _member(run: RunRef, folder: RunFolder, pinned: PinnedPlan, staging: Staging) -> Member:
    books = folder.books(run.round)
    return Member(
        run_id=run.run_id,
        round=run.round,
        head=staging.head,
        plan=pinned.plan,
        rows=books.rows,
        inputs=books.inputs,
        bytes=books.bytes,
        started_at=pinned.started_at,
        steps=folder.steps(),
    )


def _plan(first: PinnedPlan, members: Sequence[Member]) -> PinnedPlan:
    """The union's own plan: what its members have read."""
    digests = [member.plan.digest for member in members]
    plan = Plan(
        kind=first.plan.kind,
        work={"members": [member.run_id for member in members]},
        digest=hashlib.sha256(json.dumps(digests).encode()).hexdigest(),
        empty=False,
        summary=f"{len(members)} runs",
    )
    return first.model_copy(update={"plan": plan, "started_at": datetime.now(UTC)})


def _books(members: Sequence[Member]) -> Books:
    """The members' books, added up."""
    rows = {
        name: sum(getattr(member.rows, name) for member in members) for name in Rows.model_fields
    }
    return Books(
        rows=Rows(**rows),
        files=0,
        bytes=0,
        inputs=tuple(one for member in members for one in member.inputs),
    )


def _change(
    catalog: BranchCatalog, table: TableName, pinned: PinnedPlan, members: Sequence[Member]
) -> Change:
    return Change(
        added=[file for member in members for file in _files(catalog, table, member)],
        summary={
            "wap.pipeline": pinned.pipeline.name,
            "wap.source": pinned.plan.digest,
            MEMBERS: " ".join(member.run_id for member in members),
        },
    )


def _files(catalog: BranchCatalog, table: TableName, member: Member) -> Sequence[DataFile]:
    staging = catalog.staging(Branch.of_run(member.run_id), table)
    return catalog.batch(staging).files
