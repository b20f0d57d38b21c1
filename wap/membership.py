"""How the run of a group, and the run of each member in it, are named."""

from __future__ import annotations

#: Between the group's run and the member's pipeline; neither of them can hold it.
_BETWEEN = "."


def member_id(group_run: str, pipeline: str) -> str:
    """The run of one member: what report, ledger, lineage and run folder know."""
    return f"{group_run}{_BETWEEN}{pipeline}"


def owner_of(run_id: str) -> str:
    """The run that branch, data files and seal are named by: of a member its group's."""
    return run_id.partition(_BETWEEN)[0]


def member_of(run_id: str) -> str | None:
    """The pipeline of a member's run; None: the run is no member."""
    return run_id.partition(_BETWEEN)[2] or None
