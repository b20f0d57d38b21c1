"""Who is at work and who is dead: the judgement, with what Temporal told given by hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest

from tests.unit.wap.test_guard_steps import Port, shop  # noqa: F401 - a fixture
from wap.liveness import AtWork, Ended, mark_of
from wap.maintenance import _Work
from wap.project import load_project
from wap.workflow import run_id_of

RUN = "orders-20260102-030405-9f3c21ab"
NOW = datetime.now(UTC)


@dataclass
class Told:
    """What Temporal says, as a server with these runs would."""

    open: frozenset[str] = frozenset()
    over: dict[str, Ended] = field(default_factory=dict)

    def at_work(self) -> AtWork:
        return AtWork(self.open)

    def ended(self, run_id: str) -> Ended | None:
        return self.over.get(run_id)


def states(shop, told, *, now=NOW, dry_run=True):  # noqa: F811 - a fixture's value
    work = _Work(shop.steps.project, shop.steps, told, now, dry_run)
    return {r.run_id: (r.state, r.action) for r in work.runs(None)}


def test_the_mark_is_what_the_run_is_named_by():
    execution = "019ae1c2-77a8-7b11-93f4-1d2e9f3c21ab"
    name = run_id_of("my orders", execution, NOW)
    assert name in AtWork(frozenset({mark_of(execution)}))
    assert name not in AtWork(frozenset({"00000000"}))
    for other in ("9f3c21ab", "data", "orders-9f3c21ab", None, f"{name}/x"):
        assert other not in AtWork(frozenset({mark_of(execution)}))


def test_a_live_run_is_kept_whatever_else_is_told_of_it(shop):  # noqa: F811
    shop.staged(RUN)
    told = Told(frozenset({"9f3c21ab"}), {RUN: Ended(NOW - timedelta(days=9), "terminated")})
    assert states(shop, told, now=NOW + timedelta(days=9)) == {RUN: ("at_work", "kept")}


def test_a_run_that_ended_waits_out_its_grace(shop):  # noqa: F811
    shop.staged(RUN)
    told = Told(over={RUN: Ended(NOW - timedelta(minutes=59), "terminated")})
    assert states(shop, told) == {RUN: ("ended", "kept")}
    late = NOW + timedelta(minutes=2)
    assert states(shop, told, now=late) == {RUN: ("ended", "removed")}
    assert shop.data_files(), "a dry run"
    assert states(shop, told, now=late, dry_run=False) == {RUN: ("ended", "removed")}
    assert not shop.data_files()
    assert states(shop, told, now=late) == {}


def test_a_run_that_temporal_does_not_know_is_removed_if_it_was_ours_and_is_old(shop):  # noqa: F811
    run = shop.staged(RUN)
    late = datetime.now(UTC) + timedelta(hours=25)
    assert states(shop, Told(), now=late - timedelta(hours=2)) == {RUN: ("lost", "kept")}
    assert states(shop, Told(), now=late) == {RUN: ("lost", "removed")}
    shop.folder(run).remove()
    assert states(shop, Told(), now=late) == {RUN: ("stranger", "kept")}


def test_what_never_got_a_branch_leaves_its_folder(shop):  # noqa: F811
    run = shop.run(RUN)
    shop.steps.resolve(run)
    late = datetime.now(UTC) + timedelta(hours=25)
    assert states(shop, Told(), now=late, dry_run=False) == {RUN: ("lost", "removed")}
    assert not shop.folder(run).path.exists()
    assert shop.steps.ledger.run(RUN).ended_at is not None


def test_a_clean_up_that_dies_between_undo_and_ledger_is_finished_by_the_next(shop):  # noqa: F811
    shop.staged(RUN)
    told = Told(over={RUN: Ended(NOW - timedelta(days=1), "terminated")})

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    dying = replace(shop.steps, ledger=Port(shop.steps.ledger, "finish", die))
    work = _Work(shop.steps.project, dying, told, NOW, dry_run=False)
    with pytest.raises(KeyboardInterrupt):
        work.runs(None)
    assert not shop.data_files()
    assert shop.steps.ledger.run(RUN).ended_at is None
    assert states(shop, told, dry_run=False) == {RUN: ("ended", "removed")}
    assert shop.steps.ledger.run(RUN).ended_at is not None
    assert states(shop, told) == {}


def test_the_probe_of_a_doctor_that_was_killed_goes(shop):  # noqa: F811
    shop.staged("doctor-0123abcd")
    shop.folder(shop.run("doctor-0123abcd")).remove()
    late = datetime.now(UTC) + timedelta(hours=25)
    assert states(shop, Told(), now=late) == {"doctor-0123abcd": ("lost", "removed")}


def test_only_runs_of_the_tables_that_are_named_are_looked_at(shop):  # noqa: F811
    shop.staged(RUN)
    work = _Work(shop.steps.project, shop.steps, Told(), NOW, dry_run=True)
    assert work.runs([]) == []


def test_a_published_run_that_was_not_closed_is_told_as_published(shop):  # noqa: F811
    shop.published(RUN)
    told = Told(over={RUN: Ended(NOW - timedelta(days=1), "terminated")})
    assert states(shop, told, dry_run=False) == {RUN: ("ended", "published")}
    assert shop.rows() == 3
    assert shop.steps.ledger.run(RUN).result.ending.value == "published"


@pytest.mark.parametrize("key", ["grace_hours", "keep_runs"])
def test_no_setting_lets_everything_go(tmp_path, key):
    (tmp_path / "wap.toml").write_text(f"[maintain]\n{key} = 0\n")
    with pytest.raises(Exception, match=key):
        load_project(tmp_path, {})
