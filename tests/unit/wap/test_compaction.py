"""A compaction: what it takes, that rows stay what they are, and that it is audited as any run."""

from __future__ import annotations

from dataclasses import replace

import pyarrow.parquet as pq
import pytest

from catalog import TableName
from catalog.base import Scan
from checks.own import SAME_ROWS, SameRows, same_rows_check
from checks.report import Outcome
from tests.unit.wap.test_guard_steps import Port, shop  # noqa: F401 - a fixture
from wap import compaction, evidence
from wap.errors import ConfigError
from wap.model import RunRequest
from wap.steps import RunRef

ORDERS = TableName.parse("shop.orders")


def compacting(run_id):
    request = RunRequest(project="p", pipeline="orders", compact=True)
    return RunRef(run_id=run_id, request=request)


def staged(shop, run_id="compact-1"):  # noqa: F811 - a fixture's value
    run = compacting(run_id)
    shop.steps.resolve(run)
    shop.steps.open_branch(run)
    shop.steps.stage(run)
    return run


@pytest.fixture(autouse=True)
def _two_are_enough(monkeypatch):
    monkeypatch.setattr(compaction, "FEWEST", 2)


def loaded(shop, runs=2):  # noqa: F811
    shop.published("run-0")
    for number in range(1, runs):
        shop.orders(f"more-{number}.csv", number * 10, number * 10 + 1)
        shop.published(f"run-{number}")


def rows(shop):  # noqa: F811
    catalog = shop.steps.catalog
    published = catalog.published(ORDERS)
    files = catalog.scan(ORDERS, published.snapshot.id).files
    found = [row for f in files for row in pq.read_table(f.file_path).to_pylist()]
    return len(files), sorted((r["id"], r["note"]) for r in found)


def finished(shop, run):  # noqa: F811
    audited = shop.audited(run)
    assert audited.passed, audited.reason
    shop.steps.seal(run, audited)
    shop.steps.publish(run, audited)
    return audited


def test_small_files_become_one_with_the_same_rows(shop):  # noqa: F811
    loaded(shop)
    before = evidence.cursor(shop.steps.catalog, ORDERS)
    files, old = rows(shop)
    assert files == 2
    audited = finished(shop, staged(shop))
    assert audited.checks.failed == 0
    assert rows(shop) == (1, old)
    assert shop.steps.catalog.verify(ORDERS) == []
    assert evidence.cursor(shop.steps.catalog, ORDERS) == before
    log = shop.steps.catalog.log(ORDERS)
    assert next(s.operation for s in log if s.role == "stage") == "replace"
    report = shop.folder(compacting("compact-1")).report(audited.report_digest)
    (proof,) = (r for r in report.results if r.name == SAME_ROWS)
    assert proof.outcome is Outcome.PASSED
    assert shop.steps.resolve(compacting("compact-2")).nothing_new


def test_few_files_are_left_as_they_are(shop):  # noqa: F811
    loaded(shop, 1)
    assert shop.steps.resolve(compacting("compact-1")).nothing_new


@pytest.mark.parametrize("what", ["lost", "doubled"])
def test_rows_that_changed_on_the_way_are_not_published(shop, what):  # noqa: F811
    loaded(shop)

    def other_rows(scan, drop, staging, *, cancelled):
        files = list(scan.files)
        files = files[1:] if what == "lost" else [*files, files[1]]
        return shop_engine.carry(Scan(scan.schema, files, scan.io), drop, staging,
                                 cancelled=cancelled)  # fmt: skip

    shop_engine = shop.steps.engine
    bad = replace(shop.steps, engine=Port(shop_engine, "carry", other_rows))
    run = compacting("compact-1")
    shop.steps.resolve(run)
    shop.steps.open_branch(run)
    bad.stage(run)
    audited = shop.audited(run)
    assert not audited.passed
    assert "the same rows" in audited.reason


def test_rows_of_which_one_value_differs_are_not_the_same():
    one = SameRows(rows=2, files=2, digest="a")
    assert same_rows_check(one, replace(one, files=1)).outcome is Outcome.PASSED
    assert same_rows_check(one, replace(one, digest="b")).outcome is Outcome.FAILED
    assert same_rows_check(one, replace(one, rows=3)).outcome is Outcome.FAILED


def test_a_contract_that_the_table_breaks_by_now_stops_it(shop):  # noqa: F811
    loaded(shop)
    path = shop.root / "contracts/orders.yml"
    path.write_text(f"{path.read_text()}- row_count: {{threshold: {{must_be: 3}}}}\n")
    audited = shop.audited(staged(shop))
    assert not audited.passed
    assert audited.checks.failed == 1


def test_a_compaction_that_an_append_overtook_is_planned_anew(shop):  # noqa: F811
    loaded(shop)
    run = staged(shop)
    shop.orders("late.csv", 100)
    shop.published("late")
    assert shop.steps.rebase(run).redo is not None
    shop.steps.drop_branch(run)
    again = run.model_copy(update={"round": 1})
    shop.steps.resolve(again)
    shop.steps.open_branch(again)
    shop.steps.stage(again)
    finished(shop, again)
    files, found = rows(shop)
    assert (files, len(found)) == (1, 6)


def test_an_append_that_waited_is_rebased_onto_it(shop):  # noqa: F811
    loaded(shop)
    shop.orders("late.csv", 100)
    late = shop.staged("late")
    finished(shop, staged(shop))
    assert shop.steps.rebase(late).redo is None
    finished(shop, late)
    files, found = rows(shop)
    assert (files, len(found)) == (2, 6)
    assert shop.steps.catalog.verify(ORDERS) == []


def test_a_dropped_compaction_leaves_no_file_and_takes_none(shop):  # noqa: F811
    loaded(shop)
    files = shop.data_files()
    run = staged(shop)
    assert len(shop.data_files()) == len(files) + 1
    shop.steps.drop_branch(run)
    assert shop.data_files() == files


def test_a_file_that_is_large_or_of_another_spec_is_not_touched(shop, monkeypatch):  # noqa: F811
    loaded(shop)
    catalog = shop.steps.catalog
    published = catalog.published(ORDERS)
    files = list(catalog.scan(ORDERS, published.snapshot.id).files)
    assert len(compaction.small_files(files, published.spec.spec_id)) == len(files)
    assert compaction.small_files(files, published.spec.spec_id + 1) == []
    monkeypatch.setattr(compaction, "SMALL_BYTES", min(f.file_size_in_bytes for f in files))
    assert compaction.small_files(files, published.spec.spec_id) == []


def test_a_table_that_no_pipeline_loads_is_named(shop):  # noqa: F811
    with pytest.raises(ConfigError, match="no pipeline loads this table"):
        compaction.pipeline_of(shop.steps.project, "shop.nothing")
    assert compaction.pipeline_of(shop.steps.project, "shop.orders") == "orders"


def test_contracts_about_the_batch_alone_are_not_enough(shop):  # noqa: F811
    loaded(shop)
    path = shop.root / "contracts/orders.yml"
    path.write_text(path.read_text().replace("wap/shop/orders", "wap/shop/orders__batch"))
    with pytest.raises(ConfigError, match="every contract is about the batch"):
        shop.audited(staged(shop))
