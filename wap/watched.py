"""``Watched``: one run as its follower sees it, apart from how it is followed.

What draws it is loaded by every door, the client of Temporal only by those that start a run.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wap.model import Progress, RunRequest, RunResult


@dataclass(slots=True)
class Watched:
    """One run as its follower sees it.

    Attributes:
        request: what was asked for.
        progress: the workflow's own account; None until it has answered once.
        numbers: rows and bytes of the step that runs, from its heartbeat.
        trouble: why the step that runs is tried again; "" when it is not.
        resumed: the run was there already (a killed door left it) and is followed to its end.
        result: set once, at the end, or when the run is held and nobody need wait here.
    """

    request: RunRequest
    progress: Progress | None = None
    numbers: dict[str, int] = field(default_factory=dict)
    trouble: str = ""
    resumed: bool = False
    cancelling: bool = False
    result: RunResult | None = None
