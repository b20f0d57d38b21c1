"""Which snapshots of main a seal covers: the rule behind ``verify`` and before a publish. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from catalog.errors import UnsealedError
from catalog.refs import Seal, Snapshot

_BELOW_A_SEAL = ("stage", "rebase", "open")

#: ``foreign``: no run of ours made it; ``unsealed``: a run made it that was never sealed, because
#: its audit failed, it was rolled back, or somebody moved main to it; ``seal``: a seal that proves
#: nothing; ``expired``: a seal whose audited snapshot is no longer kept.
Kind = Literal["foreign", "unsealed", "seal", "expired"]


@dataclass(frozen=True, slots=True)
class Gap:
    """A snapshot of main that no seal covers, and why."""

    snapshot: Snapshot
    kind: Kind
    reason: str


def gaps(log: Sequence[Snapshot], shows_same: Callable[[int, int], bool]) -> list[Gap]:
    """The snapshots of a log (newest first) that no seal covers.

    Args:
        log: main's ancestry.
        shows_same: whether two snapshots are made of the same files.
    """
    bare: list[Gap] = []
    covering: str | None = None
    for position, snapshot in enumerate(log):
        below = log[position + 1] if position + 1 < len(log) else None
        if snapshot.role == "seal":
            broken = _broken(snapshot, below, shows_same)
            covering = snapshot.run_id if broken is None else None
            if broken is not None:
                bare.append(broken)
        elif _is_bootstrap(snapshot):
            covering = None
        elif covering is None or not _is_below(snapshot, covering):
            covering = None
            bare.append(_uncovered(snapshot))
    return bare


def taint(log: Sequence[Snapshot]) -> list[Gap]:
    """What of main's history may be told from its metadata alone to have gone past the gate.

    No file is read, so it is cheap enough for every publish. The oldest seal that is kept counts
    as whole: that what it stands on has expired is no run's fault.
    """
    return [gap for gap in gaps(log, lambda _one, _other: True) if gap.kind != "expired"]


def check_ground(log: Sequence[Snapshot], *, where: str, sealed_only: bool) -> list[Gap]:
    """What of main a run may build on although nobody sealed it: what others wrote.

    Args:
        log: main's ancestry, newest first.
        where: the table, for messages.
        sealed_only: it may not build on that either.

    Raises:
        UnsealedError: main holds a snapshot of a run that failed or was never sealed, or a seal
            that proves nothing; or one that somebody else wrote, where only sealed ones will do.
    """
    found = taint(log)
    bad = [gap for gap in found if sealed_only or gap.kind != "foreign"]
    if not bad:
        return found
    first, more = bad[0], len(bad) - 1
    listed = f"{first.snapshot.id}: {first.reason}" + (f" (and {more} more)" if more else "")
    raise UnsealedError(
        f"main itself is tainted by snapshot {listed}",
        where=where,
        hint="`wap verify` names each; `wap rollback` goes back to a sealed snapshot",
    )


def _broken(
    seal: Snapshot, below: Snapshot | None, shows_same: Callable[[int, int], bool]
) -> Gap | None:
    """Why the seal covers nothing: it must be about the snapshot below it, and hide no other."""
    try:
        facts = Seal.from_summary(seal.summary)
    except UnsealedError:
        return Gap(seal, "seal", "it calls itself a seal and lacks a seal's facts")
    if below is None:
        return Gap(seal, "expired", "the snapshot that it seals is no longer kept")
    about_it = (
        below.id == seal.parent_id == facts.audited
        and below.run_id == facts.run_id
        # A run that is audited again where it stands is sealed again; each seal is looked at.
        and below.role in (*_BELOW_A_SEAL, "seal")
    )
    if not about_it:
        return Gap(seal, "seal", "it is not about the snapshot it stands on")
    if not shows_same(seal.id, below.id):
        return Gap(seal, "seal", "it shows other files than the snapshot that was audited")
    return None


def _uncovered(snapshot: Snapshot) -> Gap:
    if snapshot.run_id is not None and snapshot.role is not None:
        reason = f"no seal covers it: run {snapshot.run_id} failed, or never came to its seal"
        return Gap(snapshot, "unsealed", reason)
    return Gap(snapshot, "foreign", "no seal covers it: no run of this catalog made it")


def _is_below(snapshot: Snapshot, run_id: str) -> bool:
    return snapshot.run_id == run_id and snapshot.role in _BELOW_A_SEAL


def _is_bootstrap(snapshot: Snapshot) -> bool:
    return (
        snapshot.role == "bootstrap"
        and snapshot.parent_id is None
        and snapshot.summary.get("total-records", "0") == "0"
    )
