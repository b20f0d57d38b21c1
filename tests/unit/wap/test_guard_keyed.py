"""Laws 2 and 5 for writes by key: a batch counts against the main that it has met, and no other."""

from __future__ import annotations

import pytest

from catalog.errors import HeadMovedError
from catalog.refs import TableName
from wap import compaction
from wap.activities import Activities
from wap.model import RunRequest
from wap.project import load_project
from wap.relations import connect, create_view
from wap.steps import RunRef
from wap.worker import open_activities

PIPELINE = """\
table: shop.orders
source: {kind: files, path: "data/*.csv", format: csv}
write: WRITE
schema:
  columns: {id: long, note: string}
contracts: [contracts/orders.yml]
"""
CONTRACT = """\
dataset: wap/shop/orders
columns:
- name: id
  checks:
  - missing:
"""
TABLE = TableName.parse("shop.orders")


@pytest.fixture(
    params=["{mode: merge, keys: [id]}", "{mode: append, keys: [id], deduplicate: true}"]
)
def steps(request, tmp_path):
    files = {
        "wap.toml": '[project]\nname = "shop"\n[lineage]\nkind = "none"\n',
        "pipelines/orders.yml": PIPELINE.replace("WRITE", request.param),
        "contracts/orders.yml": CONTRACT,
        "data/1.csv": "id,note\n1,a\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with open_activities(load_project(tmp_path, {})) as steps:
        publish(steps, staged(steps, "first"))
        yield steps


def run_of(name: str, path: str = "", number: int = 0) -> RunRef:
    request = RunRequest(project="p", pipeline="orders", inputs=(path,) if path else ())
    return RunRef(run_id=name, request=request, round=number)


def staged(steps: Activities, name: str, text: str = "", number: int = 0) -> RunRef:
    path = steps.project.root / f"{name}.csv"
    if text:
        path.write_text(f"id,note\n{text}\n")
    run = run_of(name, str(path) if path.exists() else "", number)
    steps.resolve(run)
    steps.open_branch(run)
    steps.stage(run)
    return run


def publish(steps: Activities, run: RunRef):
    steps.reconcile(run)
    audited = steps.audit(run)
    assert audited.passed
    steps.seal(run, audited)
    return steps.publish(run, audited)


def ids(steps: Activities, tmp_path):
    published = steps.catalog.published(TABLE)
    scan = steps.catalog.scan(TABLE, published.snapshot.id)
    with connect(temp_directory=tmp_path / "spill") as con:
        create_view(con, "s", "t", scan)
        return [row[0] for row in con.execute("SELECT id FROM s.t ORDER BY id").fetchall()]


def test_an_overtaken_batch_meets_the_new_main_before_it_is_published(steps, tmp_path):
    one, other = staged(steps, "one", "7,one"), staged(steps, "other", "7,other")
    publish(steps, one)
    with pytest.raises(HeadMovedError):
        publish(steps, other)
    # Its files could be attached to the new main as they are, and key 7 would be there twice.
    assert steps.rebase(other).redo is not None
    steps.drop_branch(other)
    publish(steps, staged(steps, "other", number=1))
    assert ids(steps, tmp_path) == [1, 7]


def test_a_step_that_is_tried_again_behind_its_commit_finds_its_books(steps):
    run = staged(steps, "one", "1,a\n8,b")
    again = steps.stage(run)
    assert again.rows.staged == 1
    assert again.rows.read == 2
    assert steps.reconcile(run).balanced


def test_a_compaction_writes_the_rows_anew_and_meets_no_key(steps, tmp_path, monkeypatch):
    monkeypatch.setattr(compaction, "FEWEST", 2)
    publish(steps, staged(steps, "one", "7,one"))
    run = RunRef(
        run_id="compact-1", request=RunRequest(project="p", pipeline="orders", compact=True)
    )
    steps.resolve(run)
    steps.open_branch(run)
    steps.stage(run)
    publish(steps, run)
    published = steps.catalog.published(TABLE)
    assert len(steps.catalog.scan(TABLE, published.snapshot.id).files) == 1
    assert ids(steps, tmp_path) == [1, 7]
