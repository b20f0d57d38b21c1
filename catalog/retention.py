"""Which snapshots of a table may be forgotten: the rule, over refs, ancestry and seals. Pure."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from catalog.refs import Snapshot, members_in

#: Roles of a run's snapshots that its seal covers.
_BELOW_A_SEAL = ("stage", "rebase", "open")


@dataclass(frozen=True, slots=True)
class Keep:
    """What history stays, whatever else.

    Attributes:
        runs: so many of the newest published runs; at least one.
        shown_since: what main showed at any time since then; a reader may still be at it.
        made_since: what a run made since then, published or not.
        live: ids of runs that are at work; whatever they made stays, or a union made of theirs.
    """

    runs: int
    shown_since: datetime
    made_since: datetime
    live: Container[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Lineage:
    """A table's snapshots and what points to them.

    Attributes:
        snapshots: all there are, by id.
        main: main's head; None: there is no main.
        branches: heads of every other branch, foreign ones included.
        tags: snapshots that tags point to.
        left: when main stopped showing a snapshot that it showed once, as far as is known.
        unsealed: ids of main's snapshots that no seal covers.
    """

    snapshots: Mapping[int, Snapshot]
    main: int | None
    branches: Collection[int] = ()
    tags: Collection[int] = ()
    left: Mapping[int, datetime] = field(default_factory=dict)
    unsealed: Collection[int] = ()

    def ancestry(self, start: int | None) -> Iterator[Snapshot]:
        """A snapshot and its ancestors, newest first, as far as they are kept."""
        found = self.snapshots.get(start) if start is not None else None
        while found is not None:
            yield found
            found = self.snapshots.get(found.parent_id) if found.parent_id is not None else None


def expired(lineage: Lineage, keep: Keep) -> list[Snapshot]:
    """The snapshots that nothing needs any more, oldest first.

    Main's history stays in one piece, from its head down to the oldest part that is needed: by
    count, by age, by an open branch that starts there, by a live run. A published run goes as a
    whole, with its seal and what that covers, so that what is left is proved by ``verify`` as
    before. A snapshot that no seal covers never goes: that would hide it from auditors. A tag
    keeps the run that it points into.
    """
    history = list(lineage.ancestry(lineage.main))
    shown = {s.id for s in history}
    blocks = _blocks(history)
    held = _held_by_branches(lineage, shown)
    deepest = max(
        (at for at, block in enumerate(blocks)
         if any(s.id in held for s in block) or _stays(lineage, keep, blocks, at)),
        default=-1,
    )  # fmt: skip
    held |= {s.id for block in blocks[: deepest + 1] for s in block}
    held |= {id_ for tagged in lineage.tags for id_ in _block_of(lineage, blocks, tagged)}
    loose = [s for s in lineage.snapshots.values() if s.id not in shown]
    young = [s for s in loose if s.id not in held and not _is_old(lineage, keep, s)]
    held |= {id_ for s in young for id_ in _block_of(lineage, blocks, s.id)}
    gone = [s for s in lineage.snapshots.values() if s.id not in held]
    return sorted(gone, key=lambda s: (s.committed_at, s.id))


def is_cut(history: Sequence[Snapshot]) -> bool:
    """Whether main's history (newest first) once went on below its oldest snapshot."""
    if not history:
        return False
    oldest = history[-1]
    # What a run makes stands on something: the bootstrap at least.
    return oldest.parent_id is not None or oldest.role in (*_BELOW_A_SEAL, "seal")


Block = Sequence[Snapshot]


def _blocks(history: Sequence[Snapshot]) -> list[list[Snapshot]]:
    """Main's history in the pieces that go or stay together: a seal and what it covers.

    A run that was audited again where it stood has a seal on its seal.
    """
    blocks: list[list[Snapshot]] = []
    for snapshot in history:
        above = blocks[-1][-1] if blocks else None
        covered = (
            above is not None
            # A seal on a seal: the run was audited again where it stood.
            and (snapshot.role in _BELOW_A_SEAL or snapshot.role == above.role == "seal")
            and snapshot.run_id is not None
            and snapshot.run_id == above.run_id
        )
        if covered:
            blocks[-1].append(snapshot)
        else:
            blocks.append([snapshot])
    return blocks


def _held_by_branches(lineage: Lineage, history: Collection[int]) -> set[int]:
    """What branches hold: all of theirs, and the snapshot of main that they started from."""
    held: set[int] = set()
    for head in lineage.branches:
        for snapshot in lineage.ancestry(head):
            held.add(snapshot.id)
            if snapshot.id in history:
                break
    return held


def _block_of(lineage: Lineage, blocks: Sequence[Block], tagged: int) -> set[int]:
    """The tagged snapshot, and with it the run it belongs to."""
    for block in blocks:
        if any(s.id == tagged for s in block):
            return {s.id for s in block}
    return {tagged, *(s.id for s in _blocks(list(lineage.ancestry(tagged)))[0])}


def _stays(lineage: Lineage, keep: Keep, blocks: Sequence[Block], at: int) -> bool:
    """Whether main's history has to reach down to this block."""
    return (
        at < max(keep.runs, 1)
        or _left_at(lineage, blocks, at) >= keep.shown_since
        or any(_is_at_work(s, keep) for s in blocks[at])
        or any(s.id in lineage.unsealed for s in blocks[at])
    )


def _is_at_work(snapshot: Snapshot, keep: Keep) -> bool:
    """Whether a run is at work that made the snapshot, or whose batch a union put there.

    Such a member may not have heard of it yet, and looks here for what became of its batch.
    """
    runs = (snapshot.run_id, *members_in(snapshot.summary))
    return any(run is not None and run in keep.live for run in runs)


def _left_at(lineage: Lineage, blocks: Sequence[Block], at: int) -> datetime:
    """When main went on from a block; where no log tells, when the next one was sealed."""
    told = lineage.left.get(blocks[at][0].id)
    above = blocks[at - 1][0].committed_at
    return max(told, above) if told is not None else above


def _is_old(lineage: Lineage, keep: Keep, snapshot: Snapshot) -> bool:
    """Whether a snapshot that no ref reaches is of no use to anybody any more."""
    if _is_at_work(snapshot, keep):
        return False
    left = lineage.left.get(snapshot.id)
    if left is None and snapshot.run_id is not None:
        return snapshot.committed_at < keep.made_since
    return max(left or snapshot.committed_at, snapshot.committed_at) < keep.shown_since
