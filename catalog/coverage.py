"""Which snapshots of main a seal covers: the rule behind ``verify``. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from catalog.errors import UnsealedError
from catalog.refs import Seal, Snapshot

_BELOW_A_SEAL = ("stage", "rebase", "open")


def uncovered(log: Sequence[Snapshot], shows_same: Callable[[int, int], bool]) -> list[Snapshot]:
    """The snapshots of a log (newest first) that no seal covers.

    Args:
        log: main's ancestry.
        shows_same: whether two snapshots are made of the same files.
    """
    bare: list[Snapshot] = []
    covering: str | None = None
    for position, snapshot in enumerate(log):
        below = log[position + 1] if position + 1 < len(log) else None
        if snapshot.role == "seal":
            covering = snapshot.run_id if _is_whole(snapshot, below, shows_same) else None
            if covering is None:
                bare.append(snapshot)
        elif _is_bootstrap(snapshot):
            covering = None
        elif covering is None or not _is_below(snapshot, covering):
            covering = None
            bare.append(snapshot)
    return bare


def _is_whole(
    seal: Snapshot, below: Snapshot | None, shows_same: Callable[[int, int], bool]
) -> bool:
    """Whether the seal is about the snapshot right below it and hides nothing of its own."""
    try:
        facts = Seal.from_summary(seal.summary)
    except (UnsealedError, ValueError):
        return False
    return (
        below is not None
        and below.id == seal.parent_id == facts.audited
        and below.run_id == facts.run_id
        and below.role in _BELOW_A_SEAL
        and shows_same(seal.id, below.id)
    )


def _is_below(snapshot: Snapshot, run_id: str) -> bool:
    return snapshot.run_id == run_id and snapshot.role in _BELOW_A_SEAL


def _is_bootstrap(snapshot: Snapshot) -> bool:
    return (
        snapshot.role == "bootstrap"
        and snapshot.parent_id is None
        and snapshot.summary.get("total-records", "0") == "0"
    )
