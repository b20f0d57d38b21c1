"""A quarantine table that is made by itself: empty, audited, sealed, and part of no run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from catalog.errors import UnsupportedError
from catalog.refs import Capabilities
from tests.behaviors.quarantined import ASIDE, ORDERS, Shop
from tests.behaviors.test_quarantine import GOOD, Dead, Dying, Unable, is_clean
from wap import evidence
from wap.quarantine.table import OWN
from wap.worker import emptying_of


@pytest.fixture
def shop(tmp_path) -> Shop:
    shop = Shop(tmp_path / "shop", write="mode: append")
    shop.rows("1", *GOOD)
    shop.run("run-1")
    return shop


def test_it_has_its_tables_columns_and_takes_the_rows_of_the_next_run(shop):
    with shop.steps() as steps:
        emptying = emptying_of(steps.project, steps.catalog)
        made = emptying.make(ORDERS)
        assert emptying.make(ORDERS) is None
        published = steps.catalog.published(ASIDE)
        assert published.snapshot == made
        names = [field.name for field in published.schema.fields]
        assert names == [*OWN, "id", "mail", "amount", "placed"]
        ((_, seal),) = evidence.seals(steps.catalog, ASIDE)
        assert seal.notes["quarantine"] == "shop.orders"
    assert is_clean(shop)
    shop.rows("2", "7,g,7.00,2026-01-01", "8,h,-8.00,2026-01-01")
    shop.run("run-2")
    assert shop.aside("id, wap_run") == [(8, "run-2")]
    assert is_clean(shop)


def test_before_there_is_a_table_its_columns_come_with_its_rows(tmp_path):
    shop = Shop(tmp_path / "shop")
    with shop.steps() as steps:
        emptying_of(steps.project, steps.catalog).make(ORDERS)
        names = [field.name for field in steps.catalog.published(ASIDE).schema.fields]
    assert names == list(OWN)
    shop.rows("1", *GOOD, "6,f,-6.00,2026-01-01")
    shop.run("run-1")
    assert shop.aside("id, amount::double") == [(6, -6.0)]
    assert is_clean(shop)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("call", ["open_branch", "stage", "seal"])
def test_where_it_fails_main_lists_no_such_table_and_nothing_is_left(shop, call, when):
    with shop.steps() as steps:
        dying = Dying(steps.catalog, call, when, str(ASIDE))
        with pytest.raises(Dead):
            replace(emptying_of(steps.project, steps.catalog), catalog=dying).make(ORDERS)
        assert dying.died
        assert steps.catalog.tables() == [ORDERS]
        assert steps.catalog.branches() == []
        assert steps.home.runs() == []
    assert is_clean(shop)


def test_a_catalog_without_one_commit_for_both_has_no_use_for_it(shop):
    can = Capabilities(atomic_groups=False, staged_schema=True, rollback=True)
    with shop.steps() as steps:
        unable = replace(
            emptying_of(steps.project, steps.catalog), catalog=Unable(steps.catalog, can)
        )
        with pytest.raises(UnsupportedError):
            unable.make(ORDERS)
        assert steps.catalog.tables() == [ORDERS]
