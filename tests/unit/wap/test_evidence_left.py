"""Evidence that no seal names: of attempts that died, and of seals that gave way to another."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from catalog.errors import HeadMovedError
from catalog.retention import Keep
from tests.unit.wap.test_guard_steps import Port, opened, proofs_of
from wap.model import Ending, RunRequest, RunResult
from wap.steps import RunRef

LATER = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def shop(tmp_path):
    with opened(tmp_path) as made:
        yield made


def evidence(shop, run_id):
    return {p.name for p in shop.root.rglob(f"wap-evidence/{run_id}-*.json")}


def publish(shop, run, audited):
    move = shop.steps.publish(run, audited)
    result = RunResult(
        run_id=run.run_id,
        pipeline="orders",
        table="shop.orders",
        ending=Ending.PUBLISHED,
        snapshot=move,
    )
    shop.steps.close(run, result)


def other(shop, run_id, id_):
    """A whole run of another input."""
    (shop.root / f"{run_id}.csv").write_text(f"id,note\n{id_},m\n")
    request = RunRequest(project="p", pipeline="orders", inputs=(f"{run_id}.csv",))
    run = RunRef(run_id=run_id, request=request)
    for step in (shop.steps.resolve, shop.steps.open_branch, shop.steps.stage):
        step(run)
    audited = shop.audited(run)
    shop.steps.seal(run, audited)
    publish(shop, run, audited)


def unproved(shop):
    return [one for table in proofs_of(shop) for one in table.unsealed]


def died_at_the_seal(shop, run, audited):
    def die(audited, facts):
        raise KeyboardInterrupt(audited, facts)

    dying = replace(shop.steps, catalog=Port(shop.steps.catalog, "seal", die))
    with pytest.raises(KeyboardInterrupt):
        dying.seal(run, audited)


def test_an_attempt_at_the_seal_that_died_leaves_none(shop):
    run = shop.staged("r1")
    audited = shop.audited(run)
    died_at_the_seal(shop, run, audited)
    shop.steps.seal(run, audited)
    assert len(evidence(shop, "r1")) == 2
    publish(shop, run, audited)
    assert len(evidence(shop, "r1")) == 1
    assert unproved(shop) == []


def test_a_seal_that_gave_way_to_that_of_another_main_leaves_none(shop):
    other(shop, "first", 8)
    late = shop.staged("late")
    audited = shop.audited(late)
    shop.steps.seal(late, audited)
    other(shop, "second", 9)
    with pytest.raises(HeadMovedError):
        shop.steps.publish(late, audited)
    shop.steps.rebase(late)
    again = shop.audited(late)
    shop.steps.seal(late, again)
    publish(shop, late, again)
    assert len(evidence(shop, "late")) == 1
    assert unproved(shop) == []


def test_what_nobody_tells_of_any_more_is_swept(shop):
    """The closing attempt has died too, or a late one wrote behind it."""
    run, _ = shop.published("r1")
    kept = evidence(shop, "r1")
    (file,) = shop.root.rglob("wap-evidence/r1-*.json")
    stray = file.with_name(f"r1-{'0' * 16}.json")
    stray.write_text("{}")
    foreign = file.with_name("notes.json")
    foreign.write_text("{}")
    catalog, table = shop.steps.catalog, shop.table()

    def sweep(live):
        return catalog.sweep(table, before=LATER, live=lambda: frozenset(live))

    assert sweep([run.run_id]) == []
    assert [f.path for f in sweep([])] == [str(stray)]
    assert evidence(shop, "r1") == kept
    assert foreign.exists()
    assert unproved(shop) == []


def test_evidence_of_a_run_that_is_forgotten_stays(shop):
    """It is what an auditor has of it."""
    shop.published("r1")
    for number, run_id in ((8, "r2"), (9, "r3")):
        other(shop, run_id, number)
    catalog, table = shop.steps.catalog, shop.table()
    catalog.expire(table, Keep(1, LATER, LATER))
    assert "r1" not in {s.run_id for s in catalog.log(table)}
    catalog.sweep(table, before=LATER, live=frozenset)
    assert evidence(shop, "r1")
    assert unproved(shop) == []
