"""A seal says of the source what the main that it lies on says, and no more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.behaviors.quarantined import ORDERS, Shop, take_back
from tests.behaviors.test_quarantine import GOOD
from wap.model import Ending, RunRequest
from wap.rolling_back import rollback_targets
from wap.steps import RunRef


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    shop = Shop(tmp_path / "shop")
    shop.rows("1", *GOOD)
    shop.run("run-1")
    return shop


def test_what_was_taken_back_between_the_seal_and_its_publish_is_new_again(shop):
    shop.rows("2", "7,g,7.00,2026-01-01")
    run = RunRef(run_id="run-2", request=RunRequest(project="p", pipeline="orders"))
    with shop.steps() as steps:
        steps.resolve(run)
        steps.open_branch(run)
        steps.stage(run)
        steps.reconcile(run)
        audited = steps.audit(run)
        (shop.root / "data/orders-2.csv").rename(shop.root / "data/kept.csv")
        shop.rows("3", "8,h,8.00,2026-01-01")
        shop.run("run-3")
        steps.seal(run, audited)
        take_back(steps, rollback_targets(steps.catalog, str(ORDERS), None))
        steps.publish(run, audited)
    assert shop.ids() == [1, 2, 3, 4, 7]
    assert shop.run("run-4").ending is Ending.PUBLISHED
    assert shop.ids() == [1, 2, 3, 4, 7, 8]
