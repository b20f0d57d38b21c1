"""Rows that break a check are set aside; the rest is audited again; both are published at once."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, replace
from typing import Any

import pytest

from catalog.base import Change
from catalog.errors import UnauditedError
from catalog.refs import Branch, Capabilities
from tests.behaviors.quarantined import ASIDE, BATCH, CONTRACT, ORDERS, Shop, drive
from wap.activities import Activities
from wap.cli.show import pending_line
from wap.engines.arrow import ArrowEngine
from wap.errors import ConfigError, QuarantineError
from wap.model import Ending, Quarantined, RunRequest, RunResult
from wap.ports import open_ports
from wap.project import load_project
from wap.quarantine.pending import Pending, Reason
from wap.quarantine.table import NOTE, OWN
from wap.status import overview
from wap.steps import RunRef

GOOD = ("1,a,1.00,2026-01-01", "2,b,2.00,2026-01-01", "3,c,3.00,2026-01-01", "4,d,4.00,2026-01-01")
ID = "contracts/orders.yml:columns.id.checks.missing"
AMOUNT = "contracts/orders.yml:columns.amount.checks.invalid"
ONCE = "contracts/orders.yml:checks.duplicate"
MAIL = "contracts/batch.yml:columns.mail.checks.missing"
LESS = "Nothing costs less than nothing"
PLACED = "contracts/batch.yml:checks.failed_rows"


@pytest.fixture
def shop(tmp_path) -> Shop:
    return Shop(tmp_path / "shop")


def is_clean(shop: Shop) -> bool:
    """Main is proved, no branch is left, and no data file that nobody shows."""
    for proof in shop.prove():
        assert (proof.unsealed, proof.notes) == ((), ()), proof.table
    with shop.steps() as steps:
        assert steps.catalog.branches() == []
        shown = {
            file.file_path
            for table in steps.catalog.tables()
            for snapshot in steps.catalog.log(table)
            for file in steps.catalog.scan(table, snapshot.id).files
        }
    return shop.data_files() == len(shown)


def test_broken_rows_are_set_aside_and_the_rest_is_published(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01", "6,f,-6.00,2026-01-01")
    result = shop.run("run-1")
    assert result.ending is Ending.PUBLISHED
    rows = result.rows
    assert (rows.read, rows.staged, rows.quarantined, rows.published) == (6, 4, 2, 4)
    assert rows.balanced
    assert shop.ids() == [1, 2, 3, 4]
    assert sorted(shop.aside("id, wap_checks, wap_run, wap_reason, amount"), key=str) == [
        (6, [AMOUNT], "run-1", "Nothing costs less than nothing", pytest.approx(-6)),
        (None, [ID], "run-1", "Every order has an id", pytest.approx(5)),
    ]
    assert result.quarantine.table == str(ASIDE)
    assert {(c.name, c.rows) for c in result.quarantine.checks} == {(AMOUNT, 1), (ID, 1)}
    assert is_clean(shop)


def test_a_row_that_breaks_several_checks_is_there_once_with_all_of_them(shop):
    shop.rows("1", *GOOD, ",,-5.00,1999-01-01")
    result = shop.run("run-1")
    assert result.rows.quarantined == 1
    assert shop.aside("wap_row, wap_checks, wap_reason, wap_replayed_run") == [
        (
            "run-1-1",
            [PLACED, MAIL, AMOUNT, ID],
            f"Placed in this century; Somebody ordered it; {LESS}; Every order has an id",
            None,
        )
    ]
    assert sum(c.rows for c in result.quarantine.checks) == 4


def test_of_rows_with_one_key_none_is_taken_for_the_right_one(shop):
    shop.rows("1", *GOOD)
    shop.run("run-1")
    shop.rows("2", "4,x,4.00,2026-01-02", "5,e,5.00,2026-01-02", "5,y,5.50,2026-01-02",
              "6,f,6.00,2026-01-02", "7,g,7.00,2026-01-02", "8,h,8.00,2026-01-02")  # fmt: skip
    result = shop.run("run-2")
    assert result.ending is Ending.PUBLISHED
    assert shop.ids() == [1, 2, 3, 4, 6, 7, 8]
    assert sorted(shop.aside("id, mail")) == [(4, "x"), (5, "e"), (5, "y")]
    assert {c.name for c in result.quarantine.checks} == {ONCE}
    assert is_clean(shop)


def test_a_batch_without_a_broken_row_makes_no_quarantine_table(shop):
    shop.rows("1", *GOOD)
    result = shop.run("run-1")
    assert (result.rows.quarantined, result.quarantine) == (0, None)
    with shop.steps() as steps:
        assert steps.catalog.tables() == [ORDERS]


def test_later_runs_add_to_the_quarantine_table(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    shop.run("run-1")
    shop.rows("2", "11,a,1.00,2026-01-01", ",f,6.00,2026-01-01")
    shop.run("run-2")
    assert shop.aside("wap_row, mail") == [("run-1-1", "e"), ("run-2-1", "f")]
    assert shop.ids() == [1, 2, 3, 4, 11]
    assert is_clean(shop)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ("max_percent: 30", "2 of 6 rows (33.33 %) break a check, at most 30 % are set aside"),
        ("max_percent: 50, max_rows: 1", "2 rows break a check, at most 1 are set aside"),
    ],
)
def test_more_than_the_limit_is_rejected_and_leaves_nothing(tmp_path, limits, said):
    shop = Shop(tmp_path / "shop", limits=limits)
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01", "6,f,-6.00,2026-01-01")
    result = shop.run("run-1")
    assert result.ending is Ending.REJECTED
    assert said in result.reason
    assert shop.data_files() == 0
    with shop.steps() as steps:
        assert (steps.catalog.tables(), steps.catalog.branches()) == ([], [])


def test_exactly_the_limit_is_set_aside(tmp_path):
    shop = Shop(tmp_path / "shop", limits="max_percent: 20, max_rows: 1")
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    assert shop.run("run-1").rows.quarantined == 1


@pytest.mark.parametrize(
    "check",
    [
        "row_count: {threshold: {must_be_greater_than: 5}}",
        "failed_rows: {query: select * from shop.orders where id = 4}",
        "aggregate: {function: max, threshold: {must_be_less_than: 4}}",
    ],
)
def test_a_check_that_names_no_rows_rejects_the_batch(tmp_path, check):
    if check.startswith("aggregate"):
        text = CONTRACT.replace(
            "  - missing: {name: Every", f"  - {check}\n  - missing: {{name: Every"
        )
    else:
        text = f"{CONTRACT}- {check}\n"
    shop = Shop(tmp_path / "shop", contract=text)
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    result = shop.run("run-1")
    assert result.ending is Ending.REJECTED
    assert shop.data_files() == 0


def test_what_is_left_must_pass_too(tmp_path):
    """Four of five rows are enough for the first audit; without the broken one they are not."""
    contract = CONTRACT.replace(
        "checks:\n- dup", "checks:\n- row_count: {threshold: {must_be: 5}}\n- dup"
    )
    shop = Shop(tmp_path / "shop", contract=contract)
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    result = shop.run("run-1")
    assert result.ending is Ending.REJECTED
    assert "row" in result.reason
    assert shop.data_files() == 0
    with shop.steps() as steps:
        assert (steps.catalog.tables(), steps.catalog.branches()) == ([], [])


def test_published_rows_that_break_a_check_reject_the_batch(shop):
    shop.contract = CONTRACT.replace("valid_min: 0", "valid_min: -100")
    shop.declare()
    shop.rows("1", *GOOD, "9,e,-5.00,2026-01-01")
    shop.run("run-1")
    shop.contract = CONTRACT
    shop.declare()
    shop.rows("2", "11,a,1.00,2026-01-01")
    result = shop.run("run-2")
    assert result.ending is Ending.REJECTED
    assert "no row of the batch breaks a check" in result.reason
    assert is_clean(shop)


def test_malformed_rows_are_told_apart_from_those_set_aside(tmp_path):
    shop = Shop(tmp_path / "shop", source=", malformed: set_aside")
    shop.rows("1", *GOOD, "x,e,5.00,2026-01-01", ",f,6.00,2026-01-01")
    result = shop.run("run-1")
    assert (result.rows.read, result.rows.staged, result.rows.quarantined) == (6, 4, 2)
    assert result.rows.balanced
    assert result.quarantine.rows == 1
    assert is_clean(shop)


def test_the_report_tells_how_many_and_why(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    result = shop.run("run-1")
    folder = (shop.root / result.report).parent
    story = json.loads((folder / "report.json").read_text())["run"]
    assert story["aside"] == {
        "table": str(ASIDE), "rows": 1, "checks": [["Every order has an id", 1]],
    }  # fmt: skip
    for name in ("report.html", "report.md"):
        assert (
            "1 row in shop.orders\\_\\_quarantine".replace("\\", "\\" * name.endswith("md"))
            in (folder / name).read_text()
        )


def test_the_status_tells_how_many_wait_and_why(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01", "6,f,-6.00,2026-01-01", "7,g,-7.00,2026-01-01")
    shop.run("run-1")
    project = load_project(shop.root, {})
    with open_ports(project) as ports:
        told, aside = overview(project, ports.catalog, ports.ledger, None, 5).tables
    assert aside.waiting is None
    assert told.waiting == Pending(
        table=str(ASIDE),
        rows=3,
        reasons=(Reason(reason=LESS, rows=2), Reason(reason="Every order has an id", rows=1)),
    )
    assert pending_line(told.table, told.waiting) == (
        f"shop.orders: 3 rows wait in {ASIDE} ({LESS}: 2; Every order has an id: 1)"
    )


def test_the_lineage_has_both_tables(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    run = RunRef(run_id="run-1", request=RunRequest(project="p", pipeline="orders"))
    with shop.steps() as steps:

        def told(name: str, at: str) -> None:
            if (name, at) == ("publish", "after"):
                aside = Quarantined(table=str(ASIDE), rows=1, checks=())
                result = RunResult(
                    run_id="run-1", pipeline="orders", table=str(ORDERS),
                    ending=Ending.PUBLISHED, quarantine=aside,
                )  # fmt: skip
                steps.record_lineage(run, result)

        drive(steps, run, told)
    (file,) = (shop.root / "lineage").glob("*.json")
    records = [r for r in json.loads(file.read_text()) if f"{ASIDE}," in r["entityUrn"]]
    (schema,) = (r for r in records if r["aspectName"] == "schemaMetadata")
    fields = [f["fieldPath"] for f in schema["aspect"]["json"]["fields"]]
    assert fields == [*OWN, "id", "mail", "amount", "placed"]


# --- crashes ------------------------------------------------------------------------------------


class Dead(BaseException):
    """The worker died here."""


class Dying:
    """A real catalog of which one call is the worker's last: before its effect, or behind it."""

    def __init__(self, catalog: Any, call: str, when: str, table: str) -> None:
        self._catalog, self._call, self._when, self._table = catalog, call, when, table
        self.died = False

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._catalog, name)
        if name != self._call or self.died:
            return value

        def call(*args: Any) -> Any:
            about = args[0].table if hasattr(args[0], "table") else args[1]
            if str(about) != self._table:
                return value(*args)
            if self._when == "before":
                self.died = True
                raise Dead
            value(*args)
            self.died = True
            raise Dead

        return call


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("call", "table"),
    [("open_branch", ASIDE), ("stage", ASIDE), ("restage", ORDERS), ("batch", ORDERS)],
)
def test_a_division_that_dies_is_done_by_the_next_attempt(shop, call, table, when):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01", "6,f,-6.00,2026-01-01")
    run = RunRef(run_id="run-1", request=RunRequest(project="p", pipeline="orders"))
    with shop.steps() as steps:

        def dies(name: str, at: str) -> None:
            if (name, at) != ("quarantine", "before"):
                return
            audited = steps.audit(run)
            dying = Dying(steps.catalog, call, when, str(table))
            with pytest.raises(Dead):
                replace(steps, catalog=dying).quarantine(run, audited)
            assert dying.died

        result = drive(steps, run, dies)
    assert (result.ending, result.rows.quarantined) == (Ending.PUBLISHED, 2)
    assert shop.ids() == [1, 2, 3, 4]
    assert len(shop.aside()) == 2
    assert is_clean(shop)


def test_a_late_attempt_changes_nothing(shop):
    """The first attempt is taken for dead, and goes on when the second one is done."""
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    run = RunRef(run_id="run-1", request=RunRequest(project="p", pipeline="orders"))
    with shop.steps() as steps:

        def late(name: str, at: str) -> None:
            if (name, at) == ("seal", "before"):
                branch = Branch.of_run("run-1")
                heads = [steps.catalog.staging(branch, t).head for t in (ORDERS, ASIDE)]
                audited = steps.audit(run)
                # What it was told: the head that was audited before the division.
                assert steps.quarantine(run, audited.model_copy(update={"head": 1})).refused is None
                assert [steps.catalog.staging(branch, t).head for t in (ORDERS, ASIDE)] == heads

        result = drive(steps, run, late)
    assert result.ending is Ending.PUBLISHED
    assert is_clean(shop)


@pytest.mark.parametrize("step", ["quarantine", "seal", "publish"])
def test_a_run_that_is_undone_leaves_neither_table(shop, step):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    run = RunRef(run_id="run-1", request=RunRequest(project="p", pipeline="orders"))

    def dies(name: str, at: str) -> None:
        if (name, at) == (step, "after" if step != "publish" else "before"):
            raise Dead

    with shop.steps() as steps:
        with pytest.raises(Dead):
            drive(steps, run, dies)
        assert steps.drop_branch(run).published is None
        assert (steps.catalog.tables(), steps.catalog.branches()) == ([], [])
    assert not [p for p in (shop.root / "warehouse").rglob("*") if p.is_file()]


def test_an_undo_behind_the_publish_says_so(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    run = RunRef(run_id="run-1", request=RunRequest(project="p", pipeline="orders"))

    def dies(name: str, at: str) -> None:
        if (name, at) == ("publish", "after"):
            raise Dead

    with shop.steps() as steps:
        with pytest.raises(Dead):
            drive(steps, run, dies)
        assert steps.drop_branch(run).published is not None
    assert len(shop.aside()) == 1
    assert shop.ids() == [1, 2, 3, 4]


# --- races --------------------------------------------------------------------------------------


def once(step: str, at: str, work: Any) -> Any:
    """A hook that does something at one boundary, the first time."""
    done: list[str] = []

    def hook(name: str, when: str) -> None:
        if (name, when) == (step, at) and not done:
            done.append(name)
            work()

    return hook


def test_when_main_moves_both_tables_are_rebased_and_audited_again(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")

    def other() -> None:
        shop.rows("2", "11,a,1.00,2026-01-01", ",f,6.00,2026-01-01")
        shop.run("run-2", inputs=(str(shop.root / "data/orders-2.csv"),))

    inputs = (str(shop.root / "data/orders-1.csv"),)
    result = shop.run("run-1", once("publish", "before", other), inputs=inputs)
    assert result.ending is Ending.PUBLISHED
    assert shop.ids() == [1, 2, 3, 4, 11]
    assert sorted(shop.aside("wap_row, mail")) == [("run-1-1", "e"), ("run-2-1", "f")]
    assert is_clean(shop)


def test_rows_that_only_the_moved_main_breaks_are_set_aside_too(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01", "6,f,6.00,2026-01-01")

    def other() -> None:
        shop.rows("2", "2,z,9.00,2026-01-01", "22,z,9.00,2026-01-01")
        shop.run("run-2", inputs=(str(shop.root / "data/orders-2.csv"),))

    inputs = (str(shop.root / "data/orders-1.csv"),)
    result = shop.run("run-1", once("publish", "before", other), inputs=inputs)
    assert result.ending is Ending.PUBLISHED
    assert (result.rows.staged, result.rows.quarantined) == (4, 2)
    assert result.rows.balanced
    assert shop.ids() == [1, 2, 3, 4, 6, 22]
    assert sorted(shop.aside("mail, wap_row, wap_checks")) == [
        ("b", "run-1-2", [ONCE]), ("e", "run-1-1", [ID]),
    ]  # fmt: skip
    assert {(c.name, c.rows) for c in result.quarantine.checks} == {(ID, 1), (ONCE, 1)}
    assert is_clean(shop)


def test_the_limit_counts_all_divisions_of_a_run(tmp_path):
    shop = Shop(tmp_path / "shop", limits="max_percent: 20")
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01", "6,f,6.00,2026-01-01")

    def other() -> None:
        shop.rows("2", "2,z,9.00,2026-01-01")
        shop.run("run-2", inputs=(str(shop.root / "data/orders-2.csv"),))

    inputs = (str(shop.root / "data/orders-1.csv"),)
    result = shop.run("run-1", once("publish", "before", other), inputs=inputs)
    assert result.ending is Ending.REJECTED
    assert "2 of 6 rows" in result.reason
    assert shop.ids() == [2]
    assert is_clean(shop)


# --- guards -------------------------------------------------------------------------------------


def test_a_check_that_names_no_rows_is_told_before_anything_is_divided(tmp_path):
    shop = Shop(
        tmp_path / "shop", contract=f"{CONTRACT}- row_count: {{threshold: {{must_be: 9}}}}\n"
    )
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    called: list[str] = []
    result = shop.run("run-1", lambda name, _: called.append(name))
    assert result.ending is Ending.REJECTED
    assert "quarantine" not in called


class Losing(ArrowEngine):
    """An engine that loses a row of what it is asked for."""

    table = ""

    def write_query(self, con: Any, query: str, staging: Any, *args: Any, **more: Any) -> Any:
        if staging.table.name == self.table:
            query = f"SELECT * FROM ({query}) LIMIT (SELECT count(*) - 1 FROM ({query}))"
        return super().write_query(con, query, staging, *args, **more)


@pytest.mark.parametrize("half", ["rest", "aside"])
def test_a_row_that_an_engine_loses_is_missed(shop, half):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01", "6,f,-6.00,2026-01-01")
    engine = Losing()
    engine.table = {"rest": ORDERS, "aside": ASIDE}[half].name
    run = RunRef(run_id="run-1", request=RunRequest(project="p", pipeline="orders"))
    with shop.steps() as steps, pytest.raises(QuarantineError):
        drive(replace(steps, engine=engine), run)


def divided(steps: Activities, run: RunRef) -> None:
    """A run up to its division, and not audited again."""
    steps.resolve(run)
    steps.open_branch(run)
    steps.stage(run)
    steps.reconcile(run)
    assert steps.quarantine(run, steps.audit(run)).refused is None
    steps.reconcile(run)


def test_halves_of_two_attempts_are_not_published(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    run = RunRef(run_id="run-1", request=RunRequest(project="p", pipeline="orders"))
    with shop.steps() as steps:
        divided(steps, run)
        aside = steps.catalog.staging(Branch.of_run("run-1"), ASIDE)
        other = Change(steps.catalog.batch(aside).files[:0], summary={NOTE: "another"})
        steps.catalog.restage(aside, other)
        with pytest.raises(QuarantineError, match="two attempts"):
            steps.audit(run)


def test_a_quarantine_table_that_lacks_a_row_is_not_published(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    run = RunRef(run_id="run-1", request=RunRequest(project="p", pipeline="orders"))
    with shop.steps() as steps:
        divided(steps, run)
        aside = steps.catalog.staging(Branch.of_run("run-1"), ASIDE)
        steps.catalog.restage(aside, Change((), summary={NOTE: aside.notes[NOTE]}))
        audited = steps.audit(run)
        assert (audited.passed, audited.separable, audited.failed) == (False, False, ())
        with pytest.raises(UnauditedError):
            steps.publish(run, audited)


@dataclass
class Unable:
    """A real catalog that can do less."""

    catalog: Any
    capabilities: Capabilities

    def __getattr__(self, name: str) -> Any:
        return getattr(self.catalog, name)


@pytest.mark.parametrize("able", ["none", "new"])
def test_a_catalog_that_cannot_is_refused_before_anything_is_written(shop, able):
    shop.rows("1", *GOOD)
    can = Capabilities(
        able == "new", staged_schema=True, rollback=True, new_in_groups=able != "new"
    )
    with shop.steps() as steps:
        run = RunRef(run_id="run-1", request=RunRequest(project="p", pipeline="orders"))
        with pytest.raises(ConfigError, match="cannot publish"):
            replace(steps, catalog=Unable(steps.catalog, can)).resolve(run)
        assert steps.catalog.branches() == []


def test_a_ledger_that_tells_of_another_quarantine_is_found(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    shop.run("run-1")
    with sqlite3.connect(shop.root / ".wap" / "ledger.db") as ledger:
        ((facts,),) = ledger.execute("select facts from runs").fetchall()
        changed = {**json.loads(facts), "quarantine_report": "0" * 64}
        ledger.execute("update runs set facts = ?", [json.dumps(changed)])
    found = {p.table: [u.code for u in p.unsealed] for p in shop.prove()}
    assert found == {"shop.orders": [], "shop.orders__quarantine": ["ledger"]}


# --- what it goes with --------------------------------------------------------------------------


def test_a_column_that_is_added_later_is_in_the_quarantine_table_too(shop):
    shop.rows("1", *GOOD, ",e,5.00,2026-01-01")
    shop.run("run-1")
    text = (shop.root / "pipelines/orders.yml").read_text()
    text = text.replace("schema:\n", "schema:\n  on_change: evolve\n")
    (shop.root / "pipelines/orders.yml").write_text(text)
    (shop.root / "data/orders-2.csv").write_text(
        "id,mail,amount,placed,note\n21,a,1.00,2026-01-01,x\n,b,2.00,2026-01-01,y\n"
    )
    shop.run("run-2")
    assert shop.aside("wap_row, note") == [("run-1-1", None), ("run-2-1", "y")]
    assert is_clean(shop)


def test_a_partitioned_table_keeps_its_partitions(tmp_path):
    shop = Shop(tmp_path / "shop")
    path = shop.root / "pipelines/orders.yml"
    path.write_text(path.read_text() + "partitioning: [month(placed)]\n")
    shop.rows("1", *GOOD, "7,g,7.00,2026-02-01", ",e,5.00,2026-02-01")
    assert shop.run("run-1").ending is Ending.PUBLISHED
    assert shop.ids() == [1, 2, 3, 4, 7]
    assert len(shop.aside()) == 1
    assert is_clean(shop)


def test_a_table_with_a_column_of_ours_is_refused_before_anything_is_written(shop):
    (shop.root / "data/orders-1.csv").write_text(
        "id,mail,amount,placed,WAP_row\n,a,1,2026-01-01,x\n"
    )
    with pytest.raises(ConfigError, match="wap_row"):
        shop.run("run-1")
    assert shop.data_files() == 0


def test_reference_data_of_another_table_can_set_rows_aside(shop):
    (shop.root / "pipelines/people.yml").write_text(
        "table: shop.people\nsource: {kind: files, path: data/people.csv, format: csv}\n"
        "write: {mode: append}\ncontracts: [contracts/people.yml]\n"
    )
    (shop.root / "contracts/people.yml").write_text(
        "dataset: wap/shop/people\ncolumns: [{name: mail}]\nchecks: [{row_count: }]\n"
    )
    (shop.root / "data/people.csv").write_text("mail\na\nb\nc\n")
    shop.batch = BATCH.replace(
        "  - missing: {name: Somebody ordered it}",
        "  - invalid:\n      name: The customer is known\n      valid_reference_data:\n"
        "        dataset: wap/shop/people\n        column: mail",
    )
    shop.declare()
    with shop.steps() as steps:
        request = RunRequest(project="p", pipeline="people")
        drive(steps, RunRef(run_id="people-1", request=request))
    shop.rows("1", *GOOD)
    result = shop.run("run-1")
    assert (shop.ids(), shop.aside("id")) == ([1, 2, 3], [(4,)])
    assert result.ending is Ending.PUBLISHED
