"""A batch that meets another main without being read again, as if its run had come later."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pyiceberg.io import load_file_io
from pyiceberg.types import StringType

from catalog.errors import CatalogError, CatalogUnavailableError, HeadMovedError
from catalog.refs import Branch, TableName
from tests.unit.wap.test_guard_steps import Port
from wap import compaction
from wap.activities import Activities
from wap.attempt import Attempt, working_on
from wap.errors import EngineError, RunNotFoundError, SourceChangedError
from wap.homes import RunHome
from wap.model import Rows, RunRequest
from wap.project import load_project
from wap.runs import RunFolder
from wap.steps import Audited, RunRef
from wap.worker import open_activities

PIPELINE = """\
table: shop.orders
source: {kind: files, path: "data/*.csv", format: csv}
write: WRITE
schema:
  columns: {id: long, note: string, on: date}
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
FIRST = "1,a 2,b 3,c"


@dataclass(frozen=True)
class Case:
    """A write mode, what two runs of it bring, and what main shows when both are published."""

    write: str
    rival: str
    late: str
    shows: str
    op: bool = False


CASES = {
    "replace": Case("{mode: replace}", "5,r", "7,l 8,l", "7,l 8,l"),
    "where": Case("{mode: replace, where: \"note = 'a'\"}", "5,a 6,x", "7,a", "2,b 3,c 6,x 7,a"),
    "where_nothing_was": Case("{mode: replace, where: \"note = 'z'\"}", "5,z", "7,z",
                              "1,a 2,b 3,c 7,z"),
    "append": Case("{mode: append, keys: [id], deduplicate: true}", "7,r 2,r", "7,l 8,l 8,l",
                   "1,a 2,b 3,c 7,r 8,l"),
    "merge": Case("{mode: merge, keys: [id], delete: {column: op, values: [D]}}",
                  "2,r,U 4,r,U 5,r,U", "2,l,U 4,,D 6,l,U 3,c,U 9,,D",
                  "1,a 2,l 3,c 5,r 6,l", op=True),
    "history": Case("{mode: history, keys: [id]}", "2,r 4,r", "2,l 4,r 6,l",
                    "1,a 2,b 2,l 2,r 3,c 4,r 4,r 6,l"),
    "recorded": Case("{mode: history, keys: [id], order_by: on, recorded: true}", "2,r 4,r",
                     "2,l 6,l", "1,a 2,b 2,l 2,r 3,c 4,r 6,l"),
}  # fmt: skip


@dataclass
class Shop:
    """A project of one pipeline, its steps, and runs of it, one file each."""

    steps: Activities
    op: bool = False
    day: int = 1

    @property
    def root(self) -> Path:
        return self.steps.project.root

    def deliver(self, name: str, rows: str) -> Path:
        """Each delivery is about a later day."""
        self.day += 1
        lines = ["id,note,on" + (",op" if self.op else "")]
        for row in rows.split():
            id_, note, *op = row.split(",")
            values = [id_, note, "" if op == ["D"] else f"2026-01-{self.day:02}", *op]
            lines.append(",".join(values if self.op else values[:3]))
        path = self.root / f"{name}.csv"
        path.write_text("\n".join(lines) + "\n")
        return path

    def run(self, name: str, *paths: Path, number: int = 0, **more: Any) -> RunRef:
        given = tuple(map(str, paths))
        request = RunRequest(project="p", pipeline="orders", inputs=given, **more)
        return RunRef(run_id=name, request=request, round=number)

    def staged(self, run: RunRef) -> RunRef:
        resolved = self.steps.resolve(run)
        assert not resolved.nothing_new
        self.steps.open_branch(run)
        assert self.steps.stage(run).refused is None
        return run

    def loaded(self, name: str, rows: str) -> RunRef:
        return self.staged(self.run(name, self.deliver(name, rows)))

    def audited(self, run: RunRef) -> Audited:
        assert self.steps.reconcile(run).balanced
        audited = self.steps.audit(run)
        assert audited.passed, audited.reason
        self.steps.seal(run, audited)
        return audited

    def publish(self, run: RunRef) -> Audited:
        audited = self.audited(run)
        self.steps.publish(run, audited)
        return audited

    def overtaken(self, late: str, rival: str) -> RunRef:
        """A run that was audited when another one published, and whose input is gone since."""
        path = self.deliver("rival", rival)
        run = self.loaded("late", late)
        audited = self.audited(run)
        self.publish(self.staged(self.run("rival", path)))
        (self.root / "late.csv").unlink()
        with pytest.raises(HeadMovedError):
            self.steps.publish(run, audited)
        return run

    def restaged(self, run: RunRef) -> Rows:
        rebased = self.steps.rebase(run)
        assert rebased.restages, rebased.redo
        restaged = self.steps.restage(run)
        assert (restaged.redo, restaged.refused) == (None, None)
        return restaged.rows

    def staging(self, run: RunRef) -> Any:
        return self.steps.catalog.staging(Branch.of_run(run.run_id), TABLE)

    def rows(self) -> list[dict[str, Any]]:
        """What main shows."""
        published = self.steps.catalog.published(TABLE)
        files = self.steps.catalog.scan(TABLE, published.snapshot.id).files
        return [row for f in files for row in pq.read_table(f.file_path).to_pylist()]

    def shows(self) -> str:
        told = [r for r in self.rows() if r.get("recorded_to") is None]
        return " ".join(sorted(f"{r['id']},{r['note']}" for r in told))

    def data_files(self, run: RunRef) -> set[str]:
        """The run's files on disk, wherever they lie."""
        return {p.name for p in self.root.rglob(f"warehouse/**/data/{run.run_id}/*") if p.is_file()}

    def committed(self, run: RunRef) -> set[str]:
        staging = self.staging(run)
        files = self.steps.catalog.scan(TABLE, staging.head, staging.branch).files
        here = [f.file_path for f in files if f"/data/{run.run_id}/" in f.file_path]
        return {path.rpartition("/")[2] for path in here}

    def aside(self, run: RunRef) -> list[Path]:
        """What lies aside of the run."""
        scratch = self.steps.project.state / "runs" / run.run_id / "scratch"
        return [p for p in scratch.rglob("*") if p.is_file()]

    def otherwise(self, port: str, name: str, method: Any) -> Activities:
        """The steps with one method of a port done otherwise."""
        return replace(self.steps, **{port: Port(getattr(self.steps, port), name, method)})


@contextmanager
def opened(root: Path, case: Case, more: str = "") -> Iterator[Shop]:
    files = {
        "wap.toml": f'[project]\nname = "shop"\n[lineage]\nkind = "none"\n{more}',
        "pipelines/orders.yml": PIPELINE.replace("WRITE", case.write),
        "contracts/orders.yml": CONTRACT,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(exist_ok=True, parents=True)
        (root / name).write_text(text)
    with open_activities(load_project(root, {})) as steps:
        shop = Shop(steps, case.op)
        first = " ".join(f"{row},U" for row in FIRST.split()) if case.op else FIRST
        shop.publish(shop.loaded("first", first))
        yield shop


@pytest.fixture(params=CASES)
def case(request) -> Case:
    return CASES[request.param]


@pytest.fixture
def shop(case, tmp_path):
    with opened(tmp_path, case) as shop:
        yield shop


def of(*names: str):
    return pytest.mark.parametrize("case", [CASES[n] for n in names], ids=names)


def test_it_is_as_if_the_run_had_come_after_its_rival(shop, case, tmp_path):
    run = shop.overtaken(case.late, case.rival)
    rows = shop.restaged(run)
    assert shop.data_files(run) == shop.committed(run)
    audited = shop.publish(run)
    assert audited.expected == shop.steps.catalog.log(TABLE)[2].id
    assert shop.shows() == case.shows
    assert shop.steps.catalog.verify(TABLE) == []
    assert shop.steps.catalog.branches() == []
    with opened(tmp_path / "after", case) as calm:
        rival, late = calm.deliver("rival", case.rival), calm.deliver("late", case.late)
        calm.publish(calm.staged(calm.run("rival", rival)))
        other = calm.staged(calm.run("late", late))
        assert calm.steps.reconcile(other) == rows
        calm.publish(other)
        own = {"valid_from", "valid_to", "recorded_from", "recorded_to"}
        told = [
            sorted(str({k: v for k, v in row.items() if k not in own}) for row in one.rows())
            for one in (shop, calm)
        ]
        assert told[0] == told[1]


@of("where", "merge")
def test_main_that_moves_again_and_again_is_met_each_time(shop, case):
    run = shop.overtaken(case.late, case.rival)
    for number in (1, 2):
        shop.restaged(run)
        audited = shop.audited(run)
        more = "1,a,U" if case.op else "90,m"
        shop.publish(shop.loaded(f"more-{number}", more))
        with pytest.raises(HeadMovedError):
            shop.steps.publish(run, audited)
    shop.restaged(run)
    assert shop.data_files(run) == shop.committed(run)
    shop.publish(run)
    assert shop.steps.catalog.verify(TABLE) == []
    assert (
        {"2,l", "6,l"} < set(shop.shows().split()) if case.op else "7,a 90,m 90,m" in shop.shows()
    )


@of("where", "merge")
def test_twice_is_once(shop, case):
    run = shop.overtaken(case.late, case.rival)
    rows = shop.restaged(run)
    head, files = shop.staging(run).head, shop.data_files(run)
    again = shop.steps.restage(run)
    assert (again.rows, again.redo) == (rows, None)
    assert (shop.staging(run).head, shop.data_files(run)) == (head, files)


@of("where", "merge")
def test_an_attempt_that_dies_before_its_commit_is_done_over(shop, case):
    run = shop.overtaken(case.late, case.rival)
    head = shop.staging(run).head

    def dies(*_: object) -> None:
        raise CatalogUnavailableError("killed")

    with pytest.raises(CatalogUnavailableError):
        shop.otherwise("catalog", "restage_on", dies).restage(run)
    assert shop.staging(run).head == head
    shop.restaged(run)
    assert shop.data_files(run) == shop.committed(run)
    shop.publish(run)
    assert shop.shows() == case.shows


@of("where", "merge")
def test_an_attempt_that_dies_behind_its_commit_is_cleared_up(shop, case):
    run = shop.overtaken(case.late, case.rival)

    def dies(*_: object, **__: object) -> None:
        raise EngineError("killed")

    with pytest.raises(EngineError):
        shop.otherwise("engine", "clear", dies).restage(run)
    head = shop.staging(run).head
    assert shop.data_files(run) > shop.committed(run)
    shop.restaged_rows = shop.steps.restage(run).rows
    assert shop.staging(run).head == head
    assert shop.data_files(run) == shop.committed(run)
    assert shop.steps.reconcile(run).balanced
    shop.publish(run)
    assert shop.shows() == case.shows


@of("where", "merge")
def test_books_of_an_attempt_that_lost_are_never_the_runs(shop, case):
    """A late attempt has met an older main, and writes its books down after the other's commit."""
    run = shop.overtaken(case.late, case.rival)
    real = shop.steps.catalog

    def late(staging: Any, change: Any, main: int) -> Any:
        shop.publish(shop.loaded("more", "1,m,U 50,m,U" if case.op else "50,a 51,a"))
        assert shop.steps.restage(run).redo is None
        return real.restage_on(staging, change, main)

    rows = shop.otherwise("catalog", "restage_on", late).restage(run).rows
    assert shop.steps.reconcile(run) == rows
    assert rows.balanced
    shop.publish(run)
    assert real.verify(TABLE) == []


@of("where", "merge")
def test_a_rival_right_before_the_commit_is_met_too(shop, case):
    run = shop.overtaken(case.late, case.rival)
    real, once = shop.steps.catalog, []

    def faster(staging: Any, change: Any, main: int) -> Any:
        if not once:
            once.append(shop.publish(shop.loaded("more", "60,m,U" if case.op else "60,m")))
        return real.restage_on(staging, change, main)

    assert shop.otherwise("catalog", "restage_on", faster).restage(run).redo is None
    assert shop.data_files(run) == shop.committed(run)
    shop.publish(run)
    assert "60,m" in shop.shows()
    assert set(case.shows.split()) <= set(shop.shows().split())


@of("where")
def test_a_run_that_is_told_to_stop_follows_main_no_more(shop, case):
    """It is told so while main moves once more between two tries."""
    run = shop.overtaken(case.late, case.rival)
    real, tries = shop.steps.catalog, []

    def faster(staging: Any, change: Any, main: int) -> Any:
        tries.append(main)
        with working_on(Attempt()):
            shop.publish(shop.loaded("more", "60,m"))
        return real.restage_on(staging, change, main)

    head = shop.staging(run).head
    told = working_on(Attempt("restage", stopped=lambda: bool(tries)))
    with told, pytest.raises(EngineError, match="cancelled"):
        shop.otherwise("catalog", "restage_on", faster).restage(run)
    assert (len(tries), shop.staging(run).head) == (1, head)


@of("replace", "merge")
def test_an_attempt_of_an_earlier_round_deletes_nothing_of_the_next_one(shop, case):
    """It sleeps behind its commit, before it clears up, until the run is planned anew."""
    first = shop.loaded("late", case.late)
    anew = first.model_copy(update={"round": 1})

    def late(*arguments: Any, **more: Any) -> None:
        if shop.steps.catalog.log(TABLE)[0].run_id != "rival":
            shop.publish(shop.loaded("rival", case.rival))
            shop.steps.drop_branch(first)
            shop.staged(anew)
        shop.steps.engine.clear(*arguments, **more)

    with pytest.raises(CatalogError):
        shop.otherwise("engine", "clear", late).stage(first)
    assert shop.data_files(anew) == shop.committed(anew) != set()
    shop.publish(anew)
    assert set(case.shows.split()) <= set(shop.shows().split())


@of("replace", "where")
def test_an_attempt_at_restaging_of_an_earlier_round_leaves_the_next_one_alone(shop, case):
    """It sleeps before its commit until the run is planned anew, and main has moved again."""
    first = shop.overtaken(case.late, case.rival)
    path = shop.deliver("late", "7,a 8,a")  # mended since: another version of the same file
    anew = first.model_copy(update={"round": 1})
    real, heads = shop.steps.catalog, []

    def late(staging: Any, change: Any, main: int) -> Any:
        if not heads:
            shop.steps.drop_branch(first)
            shop.staged(anew)
            shop.publish(shop.loaded("more", "60,m"))
            heads.append(shop.staging(anew).head)
        return real.restage_on(staging, change, main)

    with pytest.raises(RunNotFoundError, match="planned anew"):
        shop.otherwise("catalog", "restage_on", late).restage(first)
    assert shop.staging(anew).head == heads[0]
    shop.restaged(anew)
    shop.publish(anew)
    (read,) = RunFolder(shop.steps.project.state, "late").books(1).inputs
    assert read.bytes == path.stat().st_size
    assert {"7,a", "8,a"} <= set(shop.shows().split())


@of("append", "merge")
def test_an_attempt_of_an_earlier_round_puts_nothing_on_the_next_ones_branch(shop, case):
    """It sleeps before its first look at the branch; the next round's first attempt dies."""
    (shop.root / "data").mkdir()
    shop.deliver("data/one", "20,l,U")
    first = shop.run("late")
    shop.steps.resolve(first)
    shop.steps.open_branch(first)
    anew, real = first.model_copy(update={"round": 1}), shop.steps.catalog

    def dies(*_: object) -> None:
        raise CatalogUnavailableError("killed")

    def late(*arguments: Any) -> Any:
        shop.steps.drop_branch(first)
        shop.deliver("data/two", "21,l,U")
        shop.steps.resolve(anew)
        shop.steps.open_branch(anew)
        with pytest.raises(CatalogUnavailableError):
            shop.otherwise("catalog", "stage", dies).stage(anew)
        return real.staging(*arguments)

    with pytest.raises(RunNotFoundError, match="planned anew"):
        shop.otherwise("catalog", "staging", late).stage(first)
    shop.steps.stage(anew)
    shop.publish(anew)
    assert {"20,l", "21,l"} <= set(shop.shows().split())


@of("where", "merge")
def test_an_attempt_at_staging_that_comes_late_changes_and_deletes_nothing(shop, case):
    run = shop.loaded("late", case.late)
    old = shop.staging(run)
    keep = {f.file_path for f in shop.steps.catalog.scan(TABLE, old.head, old.branch).files}
    audited = shop.audited(run)
    shop.publish(shop.loaded("rival", case.rival))
    with pytest.raises(HeadMovedError):
        shop.steps.publish(run, audited)
    shop.restaged(run)
    head, files = shop.staging(run).head, shop.committed(run)
    shop.steps.engine.clear(old, lambda: keep)  # what the attempt would do behind its commit
    assert shop.steps.stage(run).head == head
    assert files <= shop.data_files(run)
    shop.publish(run)


@of("merge")
@pytest.mark.parametrize("harm", ["gone", "no note", "cut off", "swapped", "a note cut off"])
def test_a_batch_that_does_not_lie_there_as_it_was_laid_is_read_again(shop, case, harm):
    path = shop.deliver("late", case.late)
    run = shop.staged(shop.run("late", path))
    shop.publish(shop.loaded("rival", case.rival))
    lies = shop.aside(run)
    (parquet,) = (p for p in lies if p.suffix == ".parquet")
    (note,) = (p for p in lies if p.name == "batch.json")
    if harm == "gone":
        parquet.unlink()
    elif harm == "no note":
        note.unlink()
    elif harm == "cut off":
        parquet.write_bytes(parquet.read_bytes()[:-1])
    elif harm == "swapped":
        pq.write_table(pq.read_table(parquet).slice(0, 1), parquet)
    else:
        note.write_text(note.read_text()[:-2])
    head = shop.staging(run).head
    assert shop.steps.rebase(run).restages
    assert shop.steps.restage(run).redo == "the batch does not lie aside any more"
    assert shop.staging(run).head == head
    shop.steps.drop_branch(run)
    again = shop.staged(shop.run("late", path, number=1))
    assert len([p for p in shop.aside(again) if p.name == "batch.json"]) == 1
    assert shop.steps.reconcile(again).balanced


@of("merge")
def test_what_lies_aside_goes_with_the_run_and_holds_the_batch_alone(shop, case):
    run = shop.overtaken(case.late, case.rival)
    assert {p.suffix for p in shop.aside(run)} == {".parquet", ".json"}
    shop.restaged(run)
    assert {p.suffix for p in shop.aside(run)} == {".parquet", ".json"}


@of("replace", "merge")
def test_an_input_that_another_run_published_is_not_published_again(shop, case):
    path = shop.deliver("late", case.late)
    run = shop.staged(shop.run("late", path))
    shop.publish(shop.staged(shop.run("rival", path)))
    assert (shop.steps.rebase(run).restages, shop.steps.rebase(run).redo is None) == (False, False)
    assert shop.steps.restage(run).redo == "another run published the same input"


@of("merge")
def test_a_compaction_does_not_keep_a_batch_from_meeting_main(shop, case, monkeypatch):
    monkeypatch.setattr(compaction, "FEWEST", 2)
    shop.publish(shop.loaded("more", "40,m,U"))
    run = shop.loaded("late", case.late)
    compacting = shop.run("compact-1", compact=True)
    shop.publish(shop.staged(compacting))
    shop.restaged(run)
    shop.publish(run)
    assert shop.shows() == "1,a 2,l 3,c 40,m 6,l"


@of("merge")
def test_a_compaction_that_was_overtaken_is_planned_anew(shop, case, monkeypatch):
    monkeypatch.setattr(compaction, "FEWEST", 2)
    shop.publish(shop.loaded("more", "40,m,U"))
    run = shop.staged(shop.run("compact-1", compact=True))
    shop.publish(shop.loaded("rival", case.rival))
    rebased = shop.steps.rebase(run)
    assert (rebased.restages, rebased.redo is None) == (False, False)


@of("history", "recorded")
def test_what_is_written_down_later_says_a_later_time(shop, case):
    """The run was planned before its rival, which was faster, and comes after it all the same.

    No key is in both: where one is, its versions are kept in order anyhow.
    """
    run = shop.loaded("late", "6,l 8,l")
    shop.publish(shop.loaded("rival", case.rival))
    shop.restaged(run)
    shop.publish(run)
    assert_later(shop, "recorded_from" if "recorded" in case.write else "valid_from")


def assert_later(shop: Shop, time: str) -> None:
    """What the late run wrote down says a later time than anything of its rival's."""
    theirs, ours = ([r[time] for r in shop.rows() if r["note"] == who] for who in "rl")
    assert min(ours) > max(theirs)


@of("history")
def test_a_batch_staged_on_what_was_published_behind_its_plan_comes_after_it(shop, case):
    path = shop.deliver("late", "6,l 8,l")
    run = shop.run("late", path)
    shop.steps.resolve(run)
    shop.publish(shop.loaded("rival", case.rival))
    shop.steps.open_branch(run)
    shop.steps.stage(run)
    shop.publish(run)
    assert_later(shop, "valid_from")


@of("merge")
def test_a_key_that_main_holds_twice_by_now_rejects_the_batch(shop, case):
    run = shop.loaded("late", case.late)
    foreign = shop.steps.catalog.iceberg.load_table(TABLE.identifier)
    foreign.append(foreign.scan().to_arrow())
    assert shop.steps.rebase(run).restages
    restaged = shop.steps.restage(run)
    assert "more than once" in (restaged.refused or "")


@of("replace", "merge")
def test_a_schema_that_changed_beneath_the_run_is_planned_anew(shop, case):
    run = shop.loaded("late", case.late)
    foreign = shop.steps.catalog.iceberg.load_table(TABLE.identifier)
    with foreign.update_schema() as change:
        change.add_column("more", StringType())
    foreign.append(foreign.scan(limit=1).to_arrow())
    assert shop.steps.rebase(run).restages
    assert "schema" in (shop.steps.restage(run).redo or "")


# --- what may be older than what others have published --------------------------------------------


@of("replace")
def test_all_there_is_is_read_again_when_another_run_has_read_it_since(shop, case):
    (shop.root / "data").mkdir()
    shop.deliver("data/one", "1,a")
    run = shop.staged(shop.run("late"))
    shop.deliver("data/two", "2,b")
    shop.publish(shop.staged(shop.run("rival")))
    assert not shop.steps.rebase(run).restages
    assert "newer" in (shop.steps.restage(run).redo or "")


INTERVAL = Case("{mode: replace, interval: on}", "", "", "")


@pytest.mark.parametrize("case", [INTERVAL], ids=["interval"])
@pytest.mark.parametrize(("start", "restages"), [("2026-02-02", False), ("2026-03-01", True)])
def test_an_interval_is_read_again_when_another_run_has_loaded_a_part_of_it(shop, start, restages):
    (shop.root / "data").mkdir()
    text = "id,note,on\n1,x,2026-02-01\n2,x,2026-02-02\n3,x,2026-03-01\n"
    (shop.root / "data/all.csv").write_text(text)
    run = shop.staged(shop.run("late", interval=("2026-02-01", "2026-02-03")))
    shop.publish(shop.staged(shop.run("rival", interval=(start, "2026-03-02"))))
    assert shop.steps.rebase(run).restages is restages
    assert (shop.steps.restage(run).redo is None) is restages
    if restages:
        shop.publish(run)
        assert shop.shows() == "1,a 1,x 2,b 2,x 3,c 3,x"


@of("merge")
def test_a_file_that_another_run_loaded_in_another_version_is_not_put_over_it(shop, case):
    path = shop.deliver("late", case.late)
    run = shop.staged(shop.run("late", path))
    shop.deliver("late", "2,newer,U")
    shop.publish(shop.staged(shop.run("rival", path)))
    assert not shop.steps.rebase(run).restages
    assert "newer" in (shop.steps.restage(run).redo or "")
    shop.steps.drop_branch(run)
    # As before: who delivers it thrice has to say so by a new name.
    shop.deliver("late", "2,newest,U")
    with pytest.raises(SourceChangedError):
        shop.steps.resolve(shop.run("late", path, number=1))


def shared(shop: Shop) -> list[Path]:
    """Make the shop's runs live where workers meet that share no disk; its files afterwards."""
    place = shop.root / "everywhere"
    home = RunHome(shop.steps.home.state, f"file://{place}", load_file_io({}))
    shop.steps = replace(shop.steps, home=home)
    return [p for p in place.rglob("*") if p.is_file()]


@of("append", "merge", "history")
def test_a_batch_is_met_by_a_worker_that_shares_no_disk(shop, case):
    shared(shop)
    run = shop.overtaken(case.late, case.rival)
    assert shop.aside(run) == []
    assert [p.name for p in shared(shop) if p.name == "batch.json" and "late" in p.parts]
    rows = shop.restaged(run)
    assert shop.aside(run) == []
    shop.publish(run)
    assert shop.shows() == case.shows
    assert rows.balanced
    shop.steps.home.folder(run.run_id).remove()
    assert not [p for p in shared(shop) if "late" in p.parts]


@of("merge")
@pytest.mark.parametrize("harm", ["gone", "no note", "cut off"])
def test_a_shared_batch_that_is_not_whole_is_read_again(shop, case, harm):
    shared(shop)
    run = shop.overtaken(case.late, case.rival)
    (parquet,) = (p for p in shared(shop) if p.suffix == ".parquet" and "late" in p.parts)
    (note,) = (p for p in shared(shop) if p.name == "batch.json" and "late" in p.parts)
    if harm == "cut off":
        parquet.write_bytes(parquet.read_bytes()[:-1])
    else:
        (parquet if harm == "gone" else note).unlink()
    assert shop.steps.rebase(run).restages
    assert shop.steps.restage(run).redo == "the batch does not lie aside any more"
