"""Which snapshots of a log a seal covers."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from catalog.coverage import gaps
from catalog.refs import Seal, Snapshot, TableName

TABLE = TableName.parse("ns.t")


def snap(number: int, role: str | None = None, run: str | None = None, **more: str) -> Snapshot:
    summary = {k: v for k, v in {"wap.role": role, "wap.run": run}.items() if v is not None}
    when = datetime(2026, 1, 1, tzinfo=UTC)
    parent = number - 1 if number > 1 else None
    return Snapshot(TABLE, number, parent, when, "append", 0, {**summary, **more})


def seal(number: int, run: str, audited: int | None = None) -> Snapshot:
    facts = Seal(run, audited or number - 1, "c", "d", "s").to_summary()
    return snap(number, **facts)


def names(log: list[Snapshot], *, same: bool = True) -> list[int]:
    return [g.snapshot.id for g in gaps(log[::-1], lambda _a, _b: same)]


BOOT = snap(1, "bootstrap")


def a_run(start: int, run: str) -> list[Snapshot]:
    return [snap(start, "open", run), snap(start + 1, "stage", run), seal(start + 2, run)]


def test_an_empty_log():
    assert names([]) == []


def test_runs_on_a_bootstrap():
    assert names([BOOT, *a_run(2, "a"), *a_run(5, "b")]) == []


def test_a_rebased_run():
    assert names([BOOT, snap(2, "rebase", "a"), seal(3, "a")]) == []


@pytest.mark.parametrize("place", [2, 5, 8])
def test_a_foreign_snapshot_is_named_wherever_it_is(place):
    runs = [[snap(2), *a_run(3, "a"), *a_run(6, "b")], [*a_run(2, "a"), snap(5), *a_run(6, "b")]]
    runs.append([*a_run(2, "a"), *a_run(5, "b"), snap(8)])
    log = next([BOOT, *r] for r in runs if r[place - 2].run_id is None)
    assert names(log) == [place]


def test_a_foreign_snapshot_between_stage_and_seal_breaks_the_seal():
    log = [BOOT, snap(2, "open", "a"), snap(3, "stage", "a"), snap(4), seal(5, "a")]
    assert names(log) == [5, 4, 3, 2]


def test_a_run_without_a_seal():
    assert names([BOOT, snap(2, "open", "a"), snap(3, "stage", "a")]) == [3, 2]


def test_a_seal_covers_its_own_run_only():
    log = [BOOT, snap(2, "stage", "other"), snap(3, "stage", "a"), seal(4, "a")]
    assert names(log) == [2]


def test_a_seal_about_another_snapshot():
    assert names([BOOT, snap(2, "stage", "a"), seal(3, "a", audited=1)]) == [3, 2]


def test_a_seal_of_a_seal_is_looked_at_like_any():
    log = [BOOT, snap(2, "stage", "a"), seal(3, "a"), seal(4, "a")]
    assert names(log) == []
    assert names(log, same=False) == [4, 3, 2]
    assert names([BOOT, snap(2, "stage", "a"), seal(3, "b"), seal(4, "a")]) == [4, 3, 2]


def test_a_seal_of_another_run():
    assert names([BOOT, snap(2, "stage", "a"), seal(3, "b")]) == [3, 2]


def test_a_seal_that_shows_other_files():
    assert names([BOOT, snap(2, "stage", "a"), seal(3, "a")], same=False) == [3, 2]


def test_a_seal_with_a_fact_missing_or_odd():
    for broken in ({"wap.report": ""}, {"wap.audited": "two"}):
        summary = {**Seal("a", 2, "c", "d", "s").to_summary(), **broken}
        log = [BOOT, snap(2, "stage", "a"), snap(3, **summary)]
        assert names(log) == [3, 2]


def test_a_seal_with_nothing_below_it():
    assert names([seal(1, "a", audited=9)]) == [1]


def test_a_bootstrap_must_be_first_and_empty():
    assert names([snap(1), snap(2, "bootstrap")]) == [2, 1]
    assert names([snap(1, "bootstrap", **{"total-records": "5"})]) == [1]
