"""When main's seal proves the published rows to the next audit, and when it does not."""

from __future__ import annotations

import json
from contextlib import contextmanager

import pytest

from catalog import Branch
from checks.report import Report
from tests.behaviors.published import CONTRACT, ORDERS, PIPELINE, Template
from wap.auditing import contracts_of
from wap.model import RunRequest
from wap.project import load_project
from wap.relations import audit_relation
from wap.standing import Standing, standing_of
from wap.steps import RunRef
from wap.worker import open_activities


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template(tmp_path_factory.mktemp("sqlite"), None)


@pytest.fixture
def shop(template: Template):
    return template.again()


@contextmanager
def staged(shop, *ids: int, run_id="r3", more=""):
    """A run of orders that waits for its audit, and its steps; ``more`` joins each line."""
    shop.rows(f"orders-{run_id}.csv", *ids)
    file = shop.root / f"data/orders-{run_id}.csv"
    file.write_text(file.read_text().replace("\n", f"{more}\n"))
    run = RunRef(run_id=run_id, request=RunRequest(project="shop", pipeline="orders"))
    with open_activities(load_project(shop.root, {})) as steps:
        steps.resolve(run)
        steps.open_branch(run)
        steps.stage(run)
        steps.reconcile(run)
        yield run, steps


def standing(run, steps, *, worth=1) -> Standing:
    pinned = steps.home.folder(run.run_id).plan(0)
    now = steps.catalog.staging(Branch.of_run(run.run_id), ORDERS)
    return standing_of(steps.catalog, now, contracts_of(pinned), worth=worth)


def test_the_seal_of_main_proves_the_published_rows(shop, tmp_path):
    with staged(shop, 50) as (run, steps):
        found = standing(run, steps)
        assert found.run_id == "r2"
        assert found.results["contracts/orders.yml:columns.id.checks.missing"].tested_rows == 20
        now = steps.catalog.staging(Branch.of_run("r3"), ORDERS)
        with audit_relation(
            steps.catalog, now, temp_directory=tmp_path, standing=found
        ) as relation:
            assert relation.earlier == found.results
            assert relation.earlier_run == "r2"


def test_few_published_rows_are_looked_at_again(shop):
    with staged(shop, 50) as (run, steps):
        assert standing(run, steps, worth=20).results
        assert not standing(run, steps, worth=21).results


def test_contracts_of_another_text_prove_nothing(shop):
    (shop.root / "contracts/orders.yml").write_text(CONTRACT + "- row_count:\n")
    with staged(shop, 50) as (run, steps):
        assert not standing(run, steps).results


def test_columns_that_were_others_prove_nothing(shop):
    text = PIPELINE.format(name="orders", foreign="say")
    text = text.replace("mail: string,", "mail: string, note: string,")
    (shop.root / "pipelines/orders.yml").write_text(text)
    with staged(shop, 50, more=",note") as (run, steps):
        assert not standing(run, steps).results


def test_rows_that_somebody_else_added_are_looked_at(shop):
    with shop.looking() as (looking, _):
        table = looking.catalog.iceberg.load_table(ORDERS.identifier)
        table.append(table.scan(limit=1).to_arrow())
    with staged(shop, 50) as (run, steps):
        assert not standing(run, steps).results


def test_main_that_moved_meanwhile_proves_nothing(shop):
    with staged(shop, 50) as (_, steps):
        shop.rows("orders-r4.csv", 60)
        pinned = steps.home.folder("r3").plan(0)
        before = steps.catalog.staging(Branch.of_run("r3"), ORDERS)
        assert shop.run("r4").snapshot.after is not None
        assert not standing_of(steps.catalog, before, contracts_of(pinned), worth=1).results


@pytest.mark.parametrize("how", ["gone", "changed"])
def test_evidence_that_is_not_the_sealed_one_proves_nothing(shop, how):
    with staged(shop, 50) as (run, steps):
        assert standing(run, steps).results
        (file,) = (shop.root / "warehouse").rglob("wap-evidence/r2-*.json")
        if how == "gone":
            file.unlink()
        else:
            file.write_text(file.read_text().replace('"r2"', '"r1"'))
        assert not standing(run, steps).results


def test_a_seal_under_a_waiver_proves_nothing(shop):
    """What a person answered for was not good, and is none of the next run's."""
    with staged(shop, 50) as (run, steps):
        assert standing(run, steps).results
    shop.forge('"wap.role":"seal"', '"wap.waiver":"{}","wap.role":"seal"')
    with open_activities(load_project(shop.root, {})) as steps:
        assert not standing(run, steps).results


def test_a_candidate_that_lacks_a_published_file_is_looked_at_whole(shop, tmp_path):
    """Such as one that replaces, merges or compacts."""
    text = PIPELINE.format(name="orders", foreign="say")
    (shop.root / "pipelines/orders.yml").write_text(text.replace("mode: append", "mode: merge"))
    with staged(shop, 5) as (run, steps):
        found = standing(run, steps)
        assert found.results
        now = steps.catalog.staging(Branch.of_run("r3"), ORDERS)
        with audit_relation(
            steps.catalog, now, temp_directory=tmp_path, standing=found
        ) as relation:
            assert not relation.earlier


def test_the_audit_by_parts_is_sealed_and_repeats_whole(shop):
    """Three appends of a table that is worth it: each is audited by parts, and again as a whole."""
    shop.rows("customers-2.csv", *range(100, 600_100))
    shop.run("c2", "customers")
    for number in (3, 4):
        shop.rows(f"customers-{number}.csv", *range(700_000 + number * 10, 700_010 + number * 10))
        shop.run(f"c{number}", "customers")
        report = _report(shop, f"c{number}")
        (missing,) = [r for r in report.results if r.name.endswith("id.checks.missing")]
        assert missing.tested_rows == 600_100 + (number - 2) * 10
        assert f"proved by run c{number - 1}" in missing.message
        again = shop.reaudit(f"c{number}")
        assert again.equal, again.differences


def _report(shop, run_id) -> Report:
    (file,) = (shop.root / "warehouse").rglob(f"wap-evidence/{run_id}-*.json")
    return Report.from_json(json.loads(file.read_text())["report"])
