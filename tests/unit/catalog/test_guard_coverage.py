"""What a seal covers: the snapshot right below it, and only when the same run made it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from catalog.coverage import gaps
from catalog.refs import Seal, Snapshot, TableName


def snap(number: int, **summary: str) -> Snapshot:
    when = datetime(2026, 1, 1, tzinfo=UTC)
    told = {f"wap.{key}": value for key, value in summary.items()}
    return Snapshot(TableName.parse("ns.t"), number, number - 1 or None, when, "append", 0, told)


BOOT = snap(1, role="bootstrap")
SEAL = replace(snap(3), summary=Seal("a", 2, "c", "d", "s").to_summary())


def names(*log: Snapshot) -> list[int]:
    return [g.snapshot.id for g in gaps(log[::-1], lambda _a, _b: True)]


def test_a_whole_run_is_covered():
    assert names(BOOT, snap(2, role="stage", run="a"), SEAL) == []


def test_a_seal_that_stands_elsewhere():
    assert names(BOOT, snap(2, role="stage", run="a"), replace(SEAL, parent_id=1)) == [3, 2]


def test_a_seal_over_a_snapshot_without_a_role():
    assert names(BOOT, snap(2, run="a"), SEAL) == [3, 2]


def test_a_snapshot_without_a_role_below_a_stage():
    seal = replace(snap(4), summary=Seal("a", 3, "c", "d", "s").to_summary())
    assert names(BOOT, snap(2, run="a"), snap(3, role="stage", run="a"), seal) == [2]
