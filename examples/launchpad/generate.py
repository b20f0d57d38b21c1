"""Make the Launchpad events anew: ``python generate.py``; the same bytes every time."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

_START = datetime(2024, 1, 1, tzinfo=UTC)
_MONTHS = (1, 2, 3)
_PER_MONTH = 120
_KINDS = {
    "bug_created": "launchpad:bug",
    "bug_commented": "launchpad:bug",
    "merge_proposed": "launchpad:merge-proposal",
    "review_approved": "launchpad:merge-proposal",
}


def events(chance: random.Random, month: int) -> list[dict[str, object]]:
    """One month's events in order of time; comments and reviews have a parent event."""
    made: list[dict[str, object]] = []
    first = _START.replace(month=month)
    for n in range(_PER_MONTH):
        at = first + timedelta(minutes=330 * n + chance.randrange(300))
        kind = chance.choice(sorted(_KINDS))
        starts = kind in ("bug_created", "merge_proposed") or not made
        parent = None if starts else chance.choice(made)["id"]
        event: dict[str, object] = {
            "id": f"lp-{month:02d}-{n:04d}",
            "parent_id": parent,
            "week": at.strftime("%G-W%V"),
            "employee_id": f"e{chance.randrange(1, 13):03d}",
            "type": kind,
            "time_utc": at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            "source_kind_id": _KINDS[kind],
            "relation_properties": {
                "project": chance.choice(("juju", "maas", "snapd")),
                "url": f"https://bugs.launchpad.net/bugs/{month * 1000 + n}",
            },
            "metrics": [{"name": "minutes", "value": float(chance.randrange(1, 90))}],
        }
        made.append(event)
    return made


def generate(folder: Path) -> None:
    """Write one file a month into the folder."""
    chance = random.Random(2024)  # noqa: S311 - made-up data, no secret
    folder.mkdir(exist_ok=True)
    for month in _MONTHS:
        lines = (json.dumps(event) + "\n" for event in events(chance, month))
        (folder / f"events-2024-{month:02d}.ndjson").write_bytes("".join(lines).encode())


if __name__ == "__main__":
    generate(Path(__file__).resolve().parent / "landing")
