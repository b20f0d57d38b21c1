"""Laws 2 and 3 in the steps: called as Temporal calls them, twice, late, or after a death."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.types import LongType, StringType

from catalog.errors import (
    CatalogUnavailableError,
    HeadMovedError,
    UnauditedError,
    UnsealedError,
)
from catalog.refs import Branch, Seal, TableName
from checks.errors import ContractError, ReportError
from checks.report import Report
from tests.unit.wap.shelf import Shelf, schema_of
from wap import evidence, verifying
from wap.activities import Activities
from wap.attempt import Attempt, working_on
from wap.errors import DecisionRefusedError
from wap.model import Ending, Rows, RunRequest, RunResult, StepFacts, Waiver
from wap.project import load_project
from wap.runs import Books, RunFolder
from wap.steps import Audited, RunRef
from wap.verifying import Records, TableProof, verify
from wap.worker import open_activities
from wap.writing import count_batch

PIPELINE = """\
table: shop.orders
source: {kind: files, path: "data/*.csv", format: csv}
write: {mode: append}
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
checks:
- duplicate: {columns: [id]}
"""


@dataclass
class Shop:
    """A project in a folder, its steps, and runs of its one pipeline."""

    steps: Activities

    @property
    def root(self):
        return self.steps.project.root

    def orders(self, name: str, *ids: int) -> None:
        lines = ["id,note", *(f"{i},n{i}" for i in ids)]
        (self.root / "data" / name).write_text("\n".join(lines) + "\n")

    def run(self, run_id: str) -> RunRef:
        return RunRef(run_id=run_id, request=RunRequest(project="p", pipeline="orders"))

    def folder(self, run: RunRef) -> RunFolder:
        return RunFolder(self.steps.project.state, run.run_id)

    def staged(self, run_id: str) -> RunRef:
        run = self.run(run_id)
        self.steps.resolve(run)
        self.steps.open_branch(run)
        self.steps.stage(run)
        return run

    def audited(self, run: RunRef) -> Audited:
        self.steps.reconcile(run)
        return self.steps.audit(run)

    def published(self, run_id: str) -> tuple[RunRef, Audited]:
        run = self.staged(run_id)
        audited = self.audited(run)
        self.steps.seal(run, audited)
        self.steps.publish(run, audited)
        return run, audited

    def table(self):
        (name,) = self.steps.catalog.tables()
        return name

    def rows(self) -> int:
        published = self.steps.catalog.published(self.table())
        return self.steps.catalog.scan(self.table(), published.snapshot.id).rows

    def data_files(self) -> set[str]:
        return {p.name for p in self.root.rglob("*.parquet")}

    def committed(self, run: RunRef) -> set[str]:
        catalog, table = self.steps.catalog, TableName.parse("shop.orders")
        staging = catalog.staging(Branch.of_run(run.run_id), table)
        files = catalog.scan(table, staging.head, staging.branch).files
        return {f.file_path.rpartition("/")[2] for f in files}


@dataclass
class Port:
    """A port of the steps, with one of its methods done otherwise."""

    inner: Any
    name: str
    method: Callable[..., Any]

    def __getattr__(self, name: str) -> Any:
        return self.method if name == self.name else getattr(self.inner, name)


@contextmanager
def opened(tmp_path: Path) -> Iterator[Shop]:
    """A shop with one file of orders."""
    files = {
        "wap.toml": '[project]\nname = "shop"\n[lineage]\nkind = "none"\n',
        "pipelines/orders.yml": PIPELINE,
        "contracts/orders.yml": CONTRACT,
    }
    (tmp_path / "data").mkdir()
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with open_activities(load_project(tmp_path, {})) as steps:
        shop = Shop(steps)
        shop.orders("1.csv", 1, 2, 3)
        yield shop


@pytest.fixture
def shop(tmp_path):
    with opened(tmp_path) as made:
        yield made


# --- what was audited is what is sealed and published -------------------------------------------


def test_what_is_published_carries_its_evidence(shop):
    run, audited = shop.published("r1")
    ((snapshot, seal),) = evidence.seals(shop.steps.catalog, shop.table())
    assert (seal.run_id, seal.audited) == ("r1", audited.head)
    assert seal.report_digest == audited.report_digest
    assert seal.source_digest == shop.folder(run).plan(0).plan.digest
    published = shop.steps.catalog.published(shop.table())
    proof = evidence.read(published.io, published.location, seal)
    assert Report.from_json(proof.report, digest=audited.report_digest).passed
    assert snapshot.id == published.snapshot.id


def test_a_pipeline_that_refuses_what_others_wrote_says_so_to_publish(shop):
    pipeline = shop.root / "pipelines/orders.yml"
    pipeline.write_text(f"{PIPELINE}on_foreign: refuse\n")
    run = shop.staged("r1")
    assert shop.steps._head(run, shop.audited(run)).sealed_only


def test_a_failing_audit_is_told_as_one(shop):
    shop.orders("2.csv", 3)
    audited = shop.audited(shop.staged("r1"))
    assert not audited.passed
    assert audited.reason


@pytest.mark.parametrize("step", ["seal", "publish"])
def test_another_report_is_neither_sealed_nor_published(shop, step):
    """A late attempt has audited again and kept its own report; the verdict was on the first."""
    run = shop.staged("r1")
    audited = shop.audited(run)
    if step == "publish":
        shop.steps.seal(run, audited)
    report = shop.folder(run).report()
    other = report.model_copy(update={"results": report.results[::-1], "declared": report.declared})
    changed = other.results[0].model_copy(update={"measured": "another figure"})
    shop.folder(run).save_report(
        other.model_copy(update={"results": (changed, *other.results[1:])})
    )
    with pytest.raises(ReportError):
        getattr(shop.steps, step)(run, audited)
    assert shop.steps.catalog.tables() == []


def test_an_audit_before_the_count_does_not_pass(shop):
    assert not shop.steps.audit(shop.staged("r1")).passed


def test_a_table_of_other_columns_does_not_pass(shop):
    run = shop.staged("r1")
    pinned = shop.folder(run).plan(0)
    other = schema_of(id=LongType(), note=LongType())
    changed = pinned.model_copy(update={"wanted_schema": other.model_dump_json()})
    (shop.folder(run).path / "plan-0.json").write_text(changed.model_dump_json())
    assert not shop.audited(run).passed


def test_the_contracts_are_those_of_the_plan(shop, monkeypatch):
    monkeypatch.chdir(shop.root)
    run = shop.staged("r1")
    before = shop.folder(run).plan(0).contracts
    (shop.root / "contracts/orders.yml").write_text(CONTRACT + "- row_count:\n")
    shop.audited(run)
    report = shop.folder(run).report()
    assert [c.path for c in report.contracts] == [c.path for c in before]
    assert not any("row_count" in name for name in report.declared)


def test_a_contract_about_no_column_stops_the_run_at_once(shop):
    text = CONTRACT.replace("name: id", "name: idd")
    (shop.root / "contracts/orders.yml").write_text(text)
    with pytest.raises(ContractError, match="no column 'idd'"):
        shop.steps.resolve(shop.run("r1"))


# --- a failed audit that a person answers for ----------------------------------------------------


def failed(shop: Shop) -> tuple[RunRef, Audited]:
    """A run whose batch holds one key twice."""
    shop.orders("2.csv", 3)
    run = shop.staged("r1")
    return run, shop.audited(run)


def proofs_of(shop: Shop) -> list[TableProof]:
    project = shop.steps.project
    return verify(shop.steps.catalog, Records(shop.steps.ledger, project.reports))


def waived(run: RunRef, audited: Audited, **changes: object) -> Audited:
    now = datetime.now(UTC)
    facts = {
        "run_id": run.run_id,
        "report_digest": audited.report_digest,
        "checks": [check.name for check in audited.failed],
        "person": "ann",
        "reason": "mended by Friday",
        "at": now,
        "until": now + timedelta(days=30),
    }
    waiver = Waiver.model_validate({**facts, **changes})
    return audited.model_copy(update={"waiver": waiver})


def test_a_failed_audit_says_what_may_be_waived(shop):
    run, audited = failed(shop)
    (check,) = audited.failed
    assert check.name.startswith("contracts/orders.yml:")
    assert check.failing_rows == 1
    assert audited.hold_seconds is None
    folder = shop.folder(run)
    folder.save_books(0, folder.books(0).model_copy(update={"counted": None}))
    assert shop.steps.audit(run).failed == (), "nobody may answer for books that do not balance"


def test_what_is_published_under_a_waiver_tells_it(shop):
    run, audited = failed(shop)
    answered = waived(run, audited)
    shop.steps.seal(run, answered)
    shop.steps.publish(run, answered)
    catalog, table = shop.steps.catalog, shop.table()
    ((snapshot, seal),) = evidence.seals(catalog, table)
    assert evidence.waiver_of(seal, "here") == answered.waiver
    published = catalog.published(table)
    proof = evidence.read(published.io, published.location, seal)
    assert proof.facts.result.waiver == answered.waiver
    assert evidence.in_force(catalog, table, datetime.now(UTC)) == (answered.waiver,)
    assert evidence.in_force(catalog, table, answered.waiver.until) == ()
    (proved,) = proofs_of(shop)
    assert proved.unsealed == ()
    assert [(w.snapshot, w.waiver, w.expired) for w in proved.waived] == [
        (snapshot.id, answered.waiver, False)
    ]


@pytest.mark.parametrize("step", ["seal", "publish"])
@pytest.mark.parametrize(
    "changes",
    [
        {"run_id": "another"},
        {"report_digest": "0" * 64},
        {"checks": []},
        {"checks": ["contracts/orders.yml:checks.other"]},
        {"person": ""},
        {"reason": " "},
    ],
)
def test_a_waiver_of_something_else_is_neither_sealed_nor_published(shop, step, changes):
    run, audited = failed(shop)
    if step == "publish":
        shop.steps.seal(run, waived(run, audited))
    with pytest.raises(UnauditedError):
        getattr(shop.steps, step)(run, waived(run, audited, **changes))
    assert shop.steps.catalog.tables() == []


def test_another_persons_word_is_not_the_one_that_was_sealed(shop):
    run, audited = failed(shop)
    shop.steps.seal(run, waived(run, audited))
    with pytest.raises(UnsealedError):
        shop.steps.publish(run, waived(run, audited, person="bob"))
    assert shop.steps.catalog.tables() == []


def test_a_waiver_that_expired_meanwhile_publishes_nothing(shop):
    run, audited = failed(shop)
    late = waived(run, audited, until=datetime(2026, 1, 1, tzinfo=UTC))
    shop.steps.seal(run, late)
    with pytest.raises(DecisionRefusedError, match="expired at 2026-01-01"):
        shop.steps.publish(run, late)
    assert shop.steps.catalog.tables() == []


@pytest.mark.parametrize(("until", "is_over"), [(1, False), (-1, True)])
def test_whether_a_waiver_has_expired_is_told_by_the_servers_clock(shop, until, is_over):
    """The worker's own may be years off, ahead or behind."""
    run, audited = failed(shop)
    there = datetime(2001, 1, 1, tzinfo=UTC) if not is_over else datetime(2091, 1, 1, tzinfo=UTC)
    signed = waived(run, audited, until=there + timedelta(hours=until))
    shop.steps.seal(run, signed)
    with working_on(Attempt("publish", begun_at=there)):
        if is_over:
            with pytest.raises(DecisionRefusedError, match="expired at 2090-12-31"):
                shop.steps.publish(run, signed)
        else:
            assert shop.steps.publish(run, signed).after is not None


def test_a_publish_that_took_effect_is_told_also_when_its_waiver_expired_since(shop):
    run, audited = failed(shop)
    late = waived(run, audited, until=datetime(2026, 1, 1, tzinfo=UTC))
    shop.steps.seal(run, late)
    shop.steps.catalog.publish([shop.steps._head(run, late)])
    assert shop.steps.publish(run, late).after is not None


def test_a_waiver_that_cannot_be_read_is_no_clean_bill(shop):
    run, audited = failed(shop)
    head = replace(
        shop.steps._head(run, waived(run, audited)), waiver=Odd(run.run_id, audited.report_digest)
    )
    catalog, report = shop.steps.catalog, shop.folder(run).report()
    digests = (report.contract_digest, report.digest, "s")
    facts = Seal(run.run_id, audited.head, *digests, waiver=head.waiver_text)
    catalog.seal(head, facts)
    catalog.publish([head])
    with pytest.raises(UnsealedError, match="cannot be read"):
        evidence.in_force(catalog, shop.table(), datetime.now(UTC))
    (told,) = verifying._unanswered(facts, report, "shop.orders")
    assert "cannot be read" in told


def test_a_run_is_closed_also_when_the_catalog_is_away(shop):
    run, audited = failed(shop)

    def away(*_: object) -> None:
        raise CatalogUnavailableError("the catalog is locked")

    result = RunResult(
        run_id="r1", pipeline="orders", table="shop.orders", ending=Ending.REJECTED,
        reason=audited.reason,
    )  # fmt: skip
    without = replace(shop.steps, catalog=Port(shop.steps.catalog, "log", away))
    closed = without.close(run, result)
    assert (shop.root / closed.report).exists()
    assert "earlier waivers: the catalog is locked" in closed.warnings[0]
    assert shop.steps.ledger.run("r1").result == closed


@dataclass(frozen=True)
class Odd:
    """A waiver of another program."""

    run_id: str
    report_digest: str
    checks: frozenset[str] = frozenset({"contracts/orders.yml:checks.duplicate"})
    person: str = "ann"
    reason: str = "why"
    text: str = "not JSON"


# --- a step that is called again -----------------------------------------------------------------


def test_a_second_attempt_goes_by_the_same_plan(shop):
    run = shop.run("r1")
    first = shop.steps.resolve(run)
    shop.orders("2.csv", 4)
    assert shop.steps.resolve(run) == first


def test_a_later_round_keeps_to_what_the_run_was_declared_by(shop):
    run = shop.run("r1")
    shop.steps.resolve(run)
    (shop.root / "contracts/orders.yml").write_text(CONTRACT + "- row_count:\n")
    shop.orders("2.csv", 4)
    later = run.model_copy(update={"round": 1})
    assert shop.steps.resolve(later).pipeline_digest == shop.folder(run).plan(0).digest
    assert shop.folder(run).plan(1).plan != shop.folder(run).plan(0).plan


def _never(*_: object) -> None:
    raise AssertionError


def test_a_second_attempt_to_stage_says_what_was_done(shop):
    """It writes no file: those of the first attempt are in a snapshot by now."""
    run = shop.staged("r1")
    again = replace(shop.steps, engine=Port(shop.steps.engine, "write", _never)).stage(run)
    assert again.rows == Rows(read=3, staged=3)
    assert shop.data_files() == shop.committed(run)
    assert shop.audited(run).passed


def test_files_of_an_attempt_that_died_are_cleared(shop):
    run = shop.run("r1")
    shop.steps.resolve(run)
    shop.steps.open_branch(run)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    dying = replace(shop.steps, catalog=Port(shop.steps.catalog, "stage", die))
    with pytest.raises(KeyboardInterrupt):
        dying.stage(run)
    (left,) = shop.root.rglob("*.parquet")
    shop.steps.stage(run)
    assert len(shop.data_files()) == 1
    assert left.name not in shop.data_files()


def test_an_attempt_that_died_behind_the_commit_finds_its_books(shop):
    run = shop.run("r1")
    shop.steps.resolve(run)
    shop.steps.open_branch(run)

    def die_after(*arguments: Any) -> None:
        shop.steps.catalog.stage(*arguments)
        raise KeyboardInterrupt

    dying = replace(shop.steps, catalog=Port(shop.steps.catalog, "stage", die_after))
    with pytest.raises(KeyboardInterrupt):
        dying.stage(run)
    assert shop.steps.stage(run).rows == Rows(read=3, staged=3)
    assert shop.audited(run).passed


# --- books ---------------------------------------------------------------------------------------


def test_the_table_is_counted_and_not_the_books(tmp_path):
    shelf, schema = Shelf(tmp_path), schema_of(id=LongType(), note=StringType())
    old = shelf.publish_rows("shop.orders", schema, [{"id": 1}, {"id": 2}])
    batch = shelf.file(schema, [{"id": 3}])
    staging = shelf.stage_files("shop.orders", schema, old, batch, batch=batch)
    said = Books(rows=Rows(read=7, staged=7, kept=4), files=1, bytes=1, removed_rows=1)
    counted = count_batch(shelf, staging, said)
    assert counted.before_rows == 2
    assert counted.counted == 1
    assert counted.candidate == 3
    assert counted.expected_candidate == 2 - 1 + 4 + 7


def test_rows_that_are_set_aside_are_in_the_books(shop):
    text = PIPELINE.replace("format: csv}", "format: csv, malformed: set_aside}")
    (shop.root / "pipelines/orders.yml").write_text(text)
    (shop.root / "data/1.csv").write_text("id,note\n1,a\nodd,b\n3,c\n")
    run = shop.staged("r1")
    assert shop.folder(run).books(0).rows == Rows(read=3, staged=2, quarantined=1)


# --- several runs, and the undo ------------------------------------------------------------------


def test_an_input_that_another_run_published_is_planned_anew(shop):
    late = shop.staged("late")
    shop.published("first")
    assert shop.steps.rebase(late).redo is not None
    assert shop.rows() == 3


def test_what_another_run_published_before_the_branch_was_opened_is_not_published(shop):
    """Main is where the branch began, and no check counts twice: nothing but the cursor tells."""
    unique = "checks:\n- duplicate: {columns: [id]}\n"
    (shop.root / "contracts/orders.yml").write_text(CONTRACT.replace(unique, ""))
    late = shop.run("late")
    shop.steps.resolve(late)
    shop.published("first")
    shop.steps.open_branch(late)
    shop.steps.stage(late)
    audited = shop.audited(late)
    assert audited.passed
    shop.steps.seal(late, audited)
    with pytest.raises(HeadMovedError):
        shop.steps.publish(late, audited)
    assert shop.steps.rebase(late).redo is not None
    assert shop.rows() == 3


def test_a_publish_that_is_called_again_says_what_was_done(shop):
    run, audited = shop.published("r1")
    assert shop.steps.publish(run, audited).after == shop.steps.publish(run, audited).after
    assert shop.rows() == 3


def test_a_drop_does_not_take_another_publish_for_its_own(shop):
    late = shop.staged("late")
    shop.published("first")
    undone = shop.steps.drop_branch(late)
    assert undone.published is None
    assert shop.rows() == 3


def test_a_late_undo_of_a_published_run_leaves_it_alone(shop):
    run, _ = shop.published("r1")
    careful = replace(shop.steps, catalog=Port(shop.steps.catalog, "drop", _never))
    undone = careful.drop_branch(run)
    assert undone.published is not None
    assert evidence.cursor(shop.steps.catalog, shop.table()) is not None


def test_a_publish_during_the_undo_is_told(shop):
    """A killed worker's publish lands after the undo has looked and before it drops the branch."""
    run = shop.staged("r1")
    audited = shop.audited(run)
    shop.steps.seal(run, audited)

    def publish_first(*arguments: Any) -> Any:
        shop.steps.publish(run, audited)
        return shop.steps.catalog.drop(*arguments)

    late = replace(shop.steps, catalog=Port(shop.steps.catalog, "drop", publish_first))
    assert late.drop_branch(run).published is not None
    assert evidence.cursor(shop.steps.catalog, shop.table()) is not None
    assert shop.rows() == 3


# --- the end of a run of which an attempt died --------------------------------------------------


def closed(shop, attempts: int) -> tuple[RunResult, bool]:
    """A published run's end, and whether a manifest that nothing refers to is left in its place."""
    run, audited = shop.published("r1")
    (folder,) = shop.root.rglob("metadata/wap/r1")
    stray = folder / "manifest-torn.avro"
    stray.write_bytes(b"Obj")
    facts = StepFacts(name="stage", started_at=datetime.now(UTC), seconds=1.0, attempts=attempts)
    shop.steps.record("r1", facts)
    result = RunResult(
        run_id="r1", pipeline="orders", table="shop.orders", ending=Ending.PUBLISHED,
        rows=Rows(read=3, staged=3, published=3), checks=audited.checks,
    )  # fmt: skip
    told = shop.steps.close(run, result)
    assert shop.rows() == 3
    return told, stray.exists()


def test_what_a_dead_attempt_left_of_a_published_run_goes_at_its_end(shop):
    told, is_left = closed(shop, attempts=2)
    assert not is_left
    assert told.warnings == ()
    assert shop.steps.catalog.verify(shop.table()) == []


def test_a_run_of_which_no_attempt_died_is_not_searched(shop):
    _, is_left = closed(shop, attempts=1)
    assert is_left


def test_a_catalog_that_is_away_at_the_end_is_a_warning_and_no_other_ending(shop):
    def away(*_: object) -> None:
        raise CatalogUnavailableError("connection refused")

    shop.steps = replace(shop.steps, catalog=Port(shop.steps.catalog, "drop", away))
    told, is_left = closed(shop, attempts=2)
    assert is_left
    assert told.ending is Ending.PUBLISHED
    assert "until `wap maintain`: connection refused" in told.warnings[0]
