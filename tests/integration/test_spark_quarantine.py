"""Rows of what Spark wrote and audited are set aside, and the rest is audited by Spark again."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.behaviors.quarantined import Shop, drive
from tests.behaviors.test_quarantine import AMOUNT, GOOD, ID, ONCE, is_clean
from wap.engines.arrow import ArrowEngine
from wap.engines.spark import SparkEngine
from wap.model import Ending, RunRequest, RunResult
from wap.spark.relations import spark_relation
from wap.steps import RunRef

pytestmark = pytest.mark.server


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path / "shop", more="engine: spark\n")


def load(shop: Shop, spark: Any, number: int, *rows: str) -> RunResult:
    shop.rows(str(number), *rows)
    inputs = (str(shop.root / f"data/orders-{number}.csv"),)
    request = RunRequest(project="p", pipeline="orders", inputs=inputs)
    ports = {
        "engine": SparkEngine(spark, ArrowEngine()),
        "relation": partial(spark_relation, spark=spark),
        "spark": spark,
    }
    with shop.steps() as steps:
        on_spark = replace(steps, spark=replace(steps.spark, **ports))
        return drive(on_spark, RunRef(run_id=f"run-{number}", request=request))


def test_broken_rows_of_an_append_are_set_aside(shop, spark):
    load(shop, spark, 1, *GOOD)
    result = load(
        shop, spark, 2, ",e,5.00,2026-01-01", "6,f,-6.00,2026-01-01", "4,x,9.00,2026-01-01",
        "7,g,7.00,2026-01-01", "8,h,8.00,2026-01-01", "9,i,9.00,2026-01-01",
    )  # fmt: skip
    assert result.ending is Ending.PUBLISHED
    rows = result.rows
    assert (rows.read, rows.staged, rows.quarantined, rows.balanced) == (6, 3, 3, True)
    assert shop.ids() == [1, 2, 3, 4, 7, 8, 9]
    told = {(i, tuple(checks)) for i, checks, _ in shop.aside()}
    assert told == {(None, (ID,)), (6, (AMOUNT,)), (4, (ONCE,))}
    assert is_clean(shop)


def test_a_merge_leaves_the_published_row(shop, spark):
    shop.write = "mode: merge, keys: [id]"
    shop.declare()
    load(shop, spark, 1, *GOOD)
    result = load(shop, spark, 2, "2,x,-2.00,2026-01-01", "3,y,3.50,2026-01-01")
    assert (result.rows.staged, result.rows.quarantined) == (1, 1)
    assert shop.see("select id, mail from shop.orders where id in (2, 3) order by 1") == [
        (2, "b"), (3, "y"),
    ]  # fmt: skip
    assert is_clean(shop)


def test_a_condition_in_sparks_own_sql_rejects_the_batch(shop, spark):
    shop.batch = (
        "dataset: wap/shop/orders__batch\ncolumns: []\nchecks:\n"
        "- failed_rows: {name: Short, expression: \"mail RLIKE '^zz'\"}\n"
    )
    shop.declare()
    result = load(shop, spark, 1, *GOOD, "5,zz,5.00,2026-01-01")
    assert result.ending is Ending.REJECTED
    assert "which rows break" in result.reason
    assert shop.data_files() == 0
