"""Postgres goes away while a run is at work: the run goes on where it can, and nothing is lost."""

from __future__ import annotations

import pytest

from wap.errors import LedgerUnavailableError
from wap.model import Ending, RunRequest, RunResult
from wap.project import load_project
from wap.steps import RunRef
from wap.worker import open_activities

FILES = {
    "wap.toml": '[lineage]\nkind = "none"\n',
    "pipelines/orders.yml": """\
table: shop.orders
source: {kind: files, path: "data/*.csv", format: csv}
write: {mode: append}
contracts: [contracts/orders.yml]
""",
    "contracts/orders.yml": "dataset: wap/shop/orders\ncolumns: []\nchecks:\n- row_count:\n",
    "data/1.csv": "id,note\n1,a\n2,b\n",
}


@pytest.mark.server
def test_a_postgres_that_goes_and_comes_back_under_a_run(postgres, tmp_path):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    name = postgres.database()
    project = load_project(tmp_path, {"WAP_LEDGER__URL": postgres.url(name)})
    run = RunRef(run_id="r1", request=RunRequest(project="p", pipeline="orders"))
    with open_activities(project) as steps:
        steps.resolve(run)
        postgres.stop()
        with pytest.raises(LedgerUnavailableError):  # which Temporal tries again
            steps.resolve(run)
        steps.open_branch(run)
        steps.stage(run)
        rows = steps.reconcile(run)
        audited = steps.audit(run)
        steps.seal(run, audited)
        move = steps.publish(run, audited)
        result = RunResult(
            run_id="r1", pipeline="orders", table="shop.orders", ending=Ending.PUBLISHED,
            rows=rows.model_copy(update={"published": 2}), snapshot=move,
        )  # fmt: skip
        with pytest.raises(LedgerUnavailableError):
            steps.close(run, result)
        assert (project.reports / "r1" / "report.html").exists()
        postgres.restart()
        closed = steps.close(run, result)
        told = steps.ledger.run("r1")
    assert told is not None
    assert told.result == closed
    assert (told.result.rows.published, len(told.checks)) == (2, 3)
    postgres.drop(name)
