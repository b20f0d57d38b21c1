"""A door for several runs of one pipeline at once: ``python -m wap.drill.crowd ROOT ASKED``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from wap.doors import run_requests
from wap.model import Ending, RunRequest
from wap.project import Project, load_project
from wap.watched import Watched


def main(root: str, asked: str) -> int:
    """Run them to their ends and print what came of them, as one document."""
    project = load_project(Path(root), os.environ)
    watched = run_requests(
        project, _requests(project, asked), changed=_unheard, server_found=_unheard
    )
    results = [one.result for one in watched if one.result is not None]
    endings = sorted({result.ending.value for result in results})
    told = {
        "ending": ", ".join(endings),
        "reason": "; ".join(result.reason for result in results if result.reason),
        "incomplete": [left for result in results for left in result.incomplete],
    }
    print(json.dumps(told), flush=True)  # noqa: T201 - what the drill reads
    return 0 if endings == [Ending.PUBLISHED.value] and len(results) == len(watched) else 1


def _requests(project: Project, asked: str) -> list[RunRequest]:
    wanted = json.loads(asked)
    return [
        RunRequest(
            project=project.id,
            pipeline=wanted["pipeline"],
            inputs=tuple(inputs),
            heartbeat_seconds=wanted["heartbeat_seconds"],
        )
        for inputs in wanted["inputs"]
    ]


def _unheard(_: Sequence[Watched] | object) -> None:
    """Nobody watches this door."""


if __name__ == "__main__":
    # As every door of ours leaves: the SDK can abort an interpreter that is finishing.
    os._exit(main(*sys.argv[1:]))
