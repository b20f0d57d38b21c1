"""Rows are set aside in every write mode: what is published under their keys stays as it was."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.refs import Branch
from tests.behaviors.keyed import HistoryModel, MergeModel, rule
from tests.behaviors.quarantined import ASIDE, CONTRACT, ORDERS, Shop, drive
from tests.behaviors.test_quarantine import AMOUNT, GOOD, ID, Dead, Dying, is_clean
from wap.errors import ConfigError, QuarantineError
from wap.keyed.left import left
from wap.keyed.names import Names
from wap.model import Ending, Replay, RunRequest, RunResult
from wap.quarantine.dividing import MOST
from wap.relations import connect
from wap.steps import RunRef

MERGE = "mode: merge, keys: [id]"
LATEST = f"{MERGE}, order_by: placed, delete: {{column: op, values: [D]}}"
HISTORY = "mode: history, keys: [id], order_by: placed"
LAX = CONTRACT.replace("valid_min: 0", "valid_min: -100")
#: The key of history is there once at each time.
VERSIONS = CONTRACT.replace("columns: [id]", "columns: [id, valid_from]")
SHOWN = "select id, mail, amount::double, placed from shop.orders order by 1, 4"


def shop_of(tmp_path: Any, write: str, **more: Any) -> Shop:
    return Shop(tmp_path / "shop", write=write, **more)


def load(shop: Shop, number: int, *rows: str, more: str = "") -> RunResult:
    """A run of a file of its own."""
    shop.rows(str(number), *rows, more=more)
    return shop.run(f"run-{number}", inputs=(str(shop.root / f"data/orders-{number}.csv"),))


def relax(shop: Shop, **more: Any) -> None:
    shop.contract = LAX
    for name, value in more.items():
        setattr(shop, name, value)
    shop.declare()


# --- merge --------------------------------------------------------------------------------------


def test_a_broken_row_leaves_the_row_that_is_published_under_its_key(tmp_path):
    shop = shop_of(tmp_path, MERGE)
    load(shop, 1, *GOOD)
    result = load(
        shop, 2, "1,a,9.00,2026-01-02", "2,x,-1.00,2026-01-02", "5,e,5.00,2026-01-02",
        "6,f,-6.00,2026-01-02", "3,c,3.00,2026-01-01",
    )  # fmt: skip
    rows = result.rows
    assert result.ending is Ending.PUBLISHED
    assert (rows.read, rows.staged, rows.unchanged, rows.quarantined) == (5, 2, 1, 2)
    assert (rows.inserted, rows.updated, rows.balanced) == (1, 1, True)
    assert [(i, m, a) for i, m, a, _ in shop.see(SHOWN)] == [
        (1, "a", 9.0), (2, "b", 2.0), (3, "c", 3.0), (4, "d", 4.0), (5, "e", 5.0),
    ]  # fmt: skip
    assert shop.aside() == [(2, [AMOUNT], "run-2"), (6, [AMOUNT], "run-2")]
    assert is_clean(shop)


def test_the_books_close_over_all_that_may_become_of_a_row(tmp_path):
    shop = shop_of(tmp_path, LATEST)
    load(shop, 1, *(f"{row}," for row in GOOD), more=",op")
    result = load(
        shop, 2,
        "1,a,1.00,2026-01-01,",  # unchanged
        "2,b,2.00,2026-01-02,D",  # deleted
        "3,c,-3.00,2026-01-02,", "3,c,-3.00,2026-01-02,",  # broken, and its twin
        "4,z,9.00,2025-12-31,",  # late
        "5,e,5.00,2026-01-02,", "5,o,1.00,2026-01-01,",  # new, and an older one
        more=",op",
    )  # fmt: skip
    rows = result.rows
    assert rows.balanced
    assert (rows.read, rows.staged, rows.unchanged, rows.deleted) == (7, 1, 1, 1)
    assert (rows.quarantined, rows.deduplicated, rows.discarded) == (1, 2, 1)
    assert [(i, m, a) for i, m, a, _ in shop.see(SHOWN)] == [
        (1, "a", 1.0), (3, "c", 3.0), (4, "d", 4.0), (5, "e", 5.0),
    ]  # fmt: skip
    assert is_clean(shop)


def test_behind_a_broken_row_an_older_one_of_the_batch_counts(tmp_path):
    shop = shop_of(tmp_path, LATEST)
    load(shop, 1, *(f"{row}," for row in GOOD), more=",op")
    result = load(
        shop, 2, "2,x,-1.00,2026-01-04,", "2,y,-1.00,2026-01-03,", "2,z,7.00,2026-01-02,",
        "5,e,5.00,2026-01-02,", more=",op",
    )  # fmt: skip
    assert (result.rows.staged, result.rows.quarantined, result.rows.balanced) == (2, 2, True)
    assert shop.see("select mail, amount::double from shop.orders where id = 2") == [("z", 7.0)]
    assert sorted(shop.aside("mail, wap_row")) == [("x", "run-2-1"), ("y", "run-2-2")]
    assert is_clean(shop)


def test_broken_rows_behind_broken_rows_come_to_an_end(tmp_path):
    shop = shop_of(tmp_path, f"{MERGE}, order_by: placed", limits="max_percent: 100")
    older = [f"5,x,-1.00,2026-01-{day:02}" for day in range(1, MOST + 2)]
    result = load(shop, 1, *GOOD, *older)
    assert result.ending is Ending.REJECTED
    assert f"still after {MOST} divisions" in result.reason
    assert shop.data_files() == 0


def test_a_batch_of_which_nothing_else_changes_is_published_with_what_is_set_aside(tmp_path):
    shop = shop_of(tmp_path, MERGE)
    load(shop, 1, *GOOD)
    result = load(shop, 2, GOOD[0], "2,b,-2.00,2026-01-01")
    assert result.ending is Ending.PUBLISHED
    assert (result.rows.staged, result.rows.unchanged, result.rows.quarantined) == (0, 1, 1)
    assert shop.see("select amount::double from shop.orders where id = 2") == [(2.0,)]
    assert is_clean(shop)


def test_a_published_row_that_is_broken_itself_rejects_the_batch(tmp_path):
    shop = shop_of(tmp_path, MERGE, contract=LAX)
    load(shop, 1, *GOOD, "9,e,-5.00,2026-01-01")
    shop.contract = CONTRACT
    shop.declare()
    result = load(shop, 2, "9,f,-4.00,2026-01-02", "1,a,7.00,2026-01-02")
    assert result.ending is Ending.REJECTED
    assert "rows that are published already do" in result.reason
    assert shop.see("select mail from shop.orders where id in (1, 9)") == [("a",), ("e",)]
    assert is_clean(shop)


def test_rows_that_nothing_tells_apart_once_another_is_gone_reject_the_batch(tmp_path):
    shop = shop_of(tmp_path, LATEST)
    result = load(
        shop, 1, *(f"{row}," for row in GOOD), "2,x,-1.00,2026-01-04,", "2,y,8.00,2026-01-03,",
        "2,z,7.00,2026-01-03,", more=",op",
    )  # fmt: skip
    assert result.ending is Ending.REJECTED
    assert "the batch more than once" in result.reason
    assert shop.data_files() == 0


def test_a_batch_that_has_followed_main_is_divided_where_it_stands_now(tmp_path):
    """Another run has taken the mail that a row of the batch has; the batch is not read again."""
    once = "- duplicate: {name: A mail is there once, qualifier: mail, columns: [mail]}\n"
    shop = shop_of(tmp_path, MERGE, contract=CONTRACT + once)
    load(shop, 1, *GOOD)
    shop.rows("2", "3,c,3.50,2026-01-02", "5,z,5.00,2026-01-02", "6,f,6.00,2026-01-02")

    def other(name: str, at: str, done: list[str] = []) -> None:  # noqa: B006 - once
        if (name, at) == ("publish", "before") and not done:
            done.append(name)
            load(shop, 3, "9,z,9.00,2026-01-02", "3,c,3.25,2026-01-02")
            (shop.root / "data/orders-2.csv").unlink()

    result = shop.run("run-2", other, inputs=(str(shop.root / "data/orders-2.csv"),))
    assert result.ending is Ending.PUBLISHED
    assert (result.rows.staged, result.rows.quarantined, result.rows.balanced) == (2, 1, True)
    assert [(i, m, a) for i, m, a, _ in shop.see(SHOWN)] == [
        (1, "a", 1.0), (2, "b", 2.0), (3, "c", 3.5), (4, "d", 4.0), (6, "f", 6.0), (9, "z", 9.0),
    ]  # fmt: skip
    assert shop.aside("id, wap_run") == [(5, "run-2")]
    assert is_clean(shop)


# --- deduplicate, history, replace --------------------------------------------------------------


def test_of_rows_with_one_key_the_one_that_is_not_broken_is_added(tmp_path):
    shop = shop_of(tmp_path, "mode: append, keys: [id], deduplicate: true, order_by: placed")
    load(shop, 1, *GOOD)
    result = load(
        shop, 2, "4,x,-4.00,2026-01-09", "5,e,-5.00,2026-01-02", "5,f,5.00,2026-01-01",
        "6,g,-6.00,2026-01-02",
    )  # fmt: skip
    rows = result.rows
    assert (rows.read, rows.staged, rows.deduplicated, rows.quarantined) == (4, 1, 1, 2)
    assert [(i, m) for i, m, *_ in shop.see(SHOWN)] == [
        (1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "f"),
    ]  # fmt: skip
    assert is_clean(shop)


def test_a_broken_version_leaves_the_line_of_time_as_it_was(tmp_path):
    shop = shop_of(tmp_path, HISTORY, contract=VERSIONS)
    load(shop, 1, *GOOD)
    result = load(
        shop, 2, "1,a,-1.00,2026-01-03", "1,a,-1.00,2026-01-04", "1,a,5.00,2026-01-05",
        "2,b,6.00,2026-01-02",
    )  # fmt: skip
    rows = result.rows
    assert (rows.read, rows.staged, rows.quarantined, rows.balanced) == (4, 2, 2, True)
    line = shop.see(
        "select amount::double, valid_from, valid_to, is_current from shop.orders where id = 1"
        " order by valid_from"
    )
    first, last = date(2026, 1, 1), date(2026, 1, 5)
    assert line == [(1.0, first, last, False), (5.0, last, None, True)]
    assert shop.aside("placed, valid_from, is_current") == [
        (date(2026, 1, 3), None, None), (date(2026, 1, 4), None, None),
    ]  # fmt: skip
    assert is_clean(shop)


def test_replace_divides_what_it_adds_and_keeps_what_it_carries_over(tmp_path):
    shop = shop_of(tmp_path, "mode: replace, where: \"placed = '2026-01-02'\"")
    load(shop, 1, *GOOD, "5,e,5.00,2026-01-02", "6,f,6.00,2026-01-02")
    result = load(shop, 2, "7,g,7.00,2026-01-02", "5,e,-5.00,2026-01-02")
    rows = result.rows
    assert (rows.read, rows.staged, rows.quarantined, rows.kept) == (2, 1, 1, 4)
    assert shop.ids() == [1, 2, 3, 4, 7]
    assert shop.aside() == [(5, [AMOUNT], "run-2")]
    assert is_clean(shop)


# --- whatever is delivered ----------------------------------------------------------------------

#: Each example has keys of its own in the same table.
FIRST = itertools.count(0, 1000)
DELIVERED = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([-1, 1, 2]), st.integers(1, 6)),
    min_size=1,
    max_size=10,
    unique_by=lambda row: (row[0], row[2]),
)


@pytest.fixture(scope="module", params=["merge", "history"])
def lines(request, tmp_path_factory) -> tuple[Shop, str]:
    mode = request.param
    shop = Shop(
        tmp_path_factory.mktemp(mode) / "shop",
        write=f"mode: {mode}, keys: [id], order_by: placed",
        contract=VERSIONS if mode == "history" else CONTRACT,
        limits="max_percent: 100",
    )
    load(shop, 999_999, "999999,a,1.00,2026-01-01")
    return shop, mode


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(DELIVERED, min_size=2, max_size=2))
def test_the_table_is_what_the_rows_that_are_not_broken_make_of_it(lines, batches):
    shop, mode = lines
    first = next(FIRST)
    said = rule(mode, order_by="placed", delete=False)
    model = MergeModel(said) if mode == "merge" else HistoryModel(said)
    for number, batch in enumerate(batches):
        told = [
            {"id": first + key, "amount": float(amount), "placed": date(2026, 1, day)}
            for key, amount, day in batch
        ]
        texts = [f"{t['id']},m,{t['amount']:.2f},{t['placed']}" for t in told]
        result = load(shop, first + number, *texts)
        assert result.rows.balanced
        if result.ending is Ending.PUBLISHED:
            model.apply([row for row in told if row["amount"] > 0])
        else:
            # Of a batch that is broken as a whole nothing is left.
            assert all(row["amount"] < 0 for row in told)
        now = shop.see(
            f"select id, amount::double, placed from shop.orders"
            f" where id between {first} and {first + 3}"
        )
        rows = model.rows() if isinstance(model, HistoryModel) else model.rows.values()
        assert Counter(now) == Counter((r["id"], r["amount"], r["placed"]) for r in rows)
        aside = result.quarantine
        assert (aside.rows if aside else 0) == result.rows.quarantined
    assert is_clean(shop)


# --- crashes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("call", "table"), [("stage", ASIDE), ("restage", ORDERS)])
@pytest.mark.parametrize("write", [MERGE, 'mode: replace, where: "id >= 2"'])
def test_a_division_that_dies_is_done_by_the_next_attempt(tmp_path, write, call, table, when):
    shop = shop_of(tmp_path, write)
    load(shop, 1, *GOOD)
    shop.rows("2", "2,x,-1.00,2026-01-02", "3,y,3.50,2026-01-02", "4,d,4.00,2026-01-01")
    inputs = (str(shop.root / "data/orders-2.csv"),)
    request = RunRequest(project="p", pipeline="orders", inputs=inputs)
    run = RunRef(run_id="run-2", request=request)
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
    assert (result.ending, result.rows.quarantined) == (Ending.PUBLISHED, 1)
    assert result.rows.balanced
    assert shop.ids() == ([1, 2, 3, 4] if write == MERGE else [1, 3, 4])
    assert len(shop.aside()) == 1
    assert is_clean(shop)


def test_a_late_attempt_at_staging_deletes_nothing_of_the_division(tmp_path):
    """Taken for dead before it cleared away what it did not commit, it goes on behind the end."""
    shop = shop_of(tmp_path, MERGE)
    load(shop, 1, *GOOD)
    shop.rows("2", "2,x,-1.00,2026-01-02", "3,y,3.50,2026-01-02")
    request = RunRequest(
        project="p", pipeline="orders", inputs=(str(shop.root / "data/orders-2.csv"),)
    )
    run, seen = RunRef(run_id="run-2", request=request), []
    with shop.steps() as steps:

        def late(name: str, at: str) -> None:
            if (name, at) == ("stage", "after"):
                staging = steps.catalog.staging(Branch.of_run("run-2"), ORDERS)
                files = steps.catalog.scan(ORDERS, staging.head, staging.branch).files
                seen.append((staging, {f.file_path for f in files}))
            if (name, at) == ("seal", "before"):
                ((staging, committed),) = seen
                steps.engine.clear(staging, lambda: committed)

        result = drive(steps, run, late)
    assert result.ending is Ending.PUBLISHED
    assert [(i, a) for i, _, a, _ in shop.see(SHOWN)] == [(1, 1.0), (2, 2.0), (3, 3.5), (4, 4.0)]


class Losing:
    """A real engine, but for one row that the batch met without."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._engine, name)
        if name != "merge":
            return value

        def merge(*args: Any, **more: Any) -> Any:
            merged = value(*args, **more)
            fewer = replace(merged.became, unchanged=merged.became.unchanged - 1)
            return replace(merged, became=fewer)

        return merge


def test_a_row_that_is_lost_on_the_way_is_missed(tmp_path):
    shop = shop_of(tmp_path, MERGE)
    load(shop, 1, *GOOD)
    shop.rows("2", GOOD[0], "2,x,-1.00,2026-01-02", "3,y,3.50,2026-01-02")
    request = RunRequest(
        project="p", pipeline="orders", inputs=(str(shop.root / "data/orders-2.csv"),)
    )
    run = RunRef(run_id="run-2", request=request)
    with shop.steps() as steps:

        def loses(name: str, at: str) -> None:
            if (name, at) == ("quarantine", "before"):
                replace(steps, engine=Losing(steps.engine)).quarantine(run, steps.audit(run))

        with pytest.raises(QuarantineError, match="3 rows were divided into 1 and 1"):
            drive(steps, run, loses)
        assert steps.drop_branch(run).published is None


def test_a_row_that_is_none_of_the_batch_is_missed(tmp_path):
    shop = shop_of(tmp_path, MERGE)
    load(shop, 1, *GOOD, "6,f,-6.00,2026-01-03")
    with shop.steps() as steps:
        aside = steps.catalog.published(ASIDE)
        without = steps.catalog.scan(ASIDE, aside.snapshot.id)
        names = Names(steps.catalog.published(ORDERS).schema)
        con = connect(temp_directory=tmp_path / "tmp")
        said = rule("merge", delete=False)
        for id_, there in ((6, True), (7, False)):
            query = f"SELECT {id_} AS c0, NULL AS c1 UNION ALL SELECT 8, 0"
            if there:
                rest, twins = left(con, query, without, names, said, "here")
                assert (con.execute(rest).fetchall(), twins) == ([(8, 0)], 0)
                con.execute("DROP TABLE aside")
            else:
                with pytest.raises(QuarantineError, match="of 1 rows that were set aside 0 are"):
                    left(con, query, without, names, said, "here")
        con.close()


# --- replay -------------------------------------------------------------------------------------


def test_a_row_that_waits_takes_its_place_by_key(tmp_path):
    shop = shop_of(tmp_path, f"{MERGE}, order_by: placed", limits="max_percent: 80")
    load(shop, 1, *GOOD)
    load(shop, 2, "1,x,-1.00,2026-01-03", "2,y,-2.00,2026-01-03", "6,f,-6.00,2026-01-03",
         "7,g,7.00,2026-01-03")  # fmt: skip
    load(shop, 3, "2,z,2.50,2026-01-05")
    relax(shop)
    result = shop.run("again-1", replay=Replay())
    rows = result.rows
    assert (rows.read, rows.staged, rows.discarded, rows.quarantined) == (3, 2, 1, 0)
    assert rows.balanced
    assert [(i, m, a) for i, m, a, _ in shop.see(SHOWN)] == [
        (1, "x", -1.0), (2, "z", 2.5), (3, "c", 3.0), (4, "d", 4.0), (6, "f", -6.0), (7, "g", 7.0),
    ]  # fmt: skip
    assert shop.aside("id, wap_replayed_run") == [(1, "again-1"), (2, "again-1"), (6, "again-1")]
    assert shop.run("again-2", replay=Replay()).nothing_new
    assert is_clean(shop)


def test_rows_that_still_break_a_check_stay_and_what_is_published_stays_too(tmp_path):
    shop = shop_of(tmp_path, f"{MERGE}, order_by: placed", limits="max_percent: 80")
    load(shop, 1, *GOOD)
    load(shop, 2, "1,x,-1.00,2026-01-03", "2,y,-200.00,2026-01-03", "5,e,5.00,2026-01-03")
    relax(shop)
    rows = shop.run("again-1", replay=Replay()).rows
    assert (rows.read, rows.staged, rows.quarantined, rows.balanced) == (2, 1, 1, True)
    assert [(i, a) for i, _, a, _ in shop.see(SHOWN)] == [
        (1, -1.0), (2, 2.0), (3, 3.0), (4, 4.0), (5, 5.0),
    ]  # fmt: skip
    assert shop.aside("id, wap_replayed_run") == [(1, "again-1"), (2, None)]
    assert is_clean(shop)


def test_a_version_that_waits_takes_its_place_in_the_line(tmp_path):
    shop = shop_of(tmp_path, HISTORY, contract=VERSIONS)
    load(shop, 1, *GOOD)
    load(shop, 2, "1,a,-1.00,2026-01-03", "1,a,5.00,2026-01-05", "2,b,6.00,2026-01-02")
    file = shop.root / "corrected.csv"
    file.write_text("wap_row,amount\nrun-2-1,3.00\n")
    result = shop.run("again-1", replay=Replay(file=str(file)))
    assert result.rows.balanced
    line = shop.see(
        "select amount::double, valid_from, valid_to from shop.orders where id = 1 order by 2"
    )
    days = [date(2026, 1, day) for day in (1, 3, 5)]
    assert line == [(1.0, *days[:2]), (3.0, *days[1:]), (5.0, days[2], None)]
    assert is_clean(shop)


def test_what_may_be_older_than_what_is_published_is_replayed_by_name_only(tmp_path):
    shop = shop_of(tmp_path, MERGE)
    load(shop, 1, *GOOD)
    load(shop, 2, "1,x,-1.00,2026-01-03", "5,e,5.00,2026-01-03")
    relax(shop)
    with pytest.raises(ConfigError, match="nothing says whether a row that waits is newer"):
        shop.run("again-1", replay=Replay())
    file = shop.root / "named.csv"
    file.write_text("wap_row\nrun-2-1\n")
    result = shop.run("again-2", replay=Replay(file=str(file)))
    assert (result.rows.updated, result.rows.staged) == (1, 1)
    assert shop.see("select mail from shop.orders where id = 1") == [("x",)]
    assert is_clean(shop)


def test_waiting_rows_of_one_key_that_nothing_tells_apart_reject_the_replay(tmp_path):
    shop = shop_of(tmp_path, f"{MERGE}, order_by: placed", contract=LAX)
    load(shop, 1, *GOOD)
    shop.contract = CONTRACT
    shop.declare()
    load(shop, 2, "1,x,-1.00,2026-01-03", "5,e,5.00,2026-01-03")
    load(shop, 3, "1,y,-2.00,2026-01-03", "6,f,6.00,2026-01-03")
    relax(shop)
    run = RunRef(
        run_id="again-1", request=RunRequest(project="p", pipeline="orders", replay=Replay())
    )
    with shop.steps() as steps:
        for step in (steps.resolve, steps.open_branch):
            step(run)
        refused = steps.stage(run).refused
        steps.drop_branch(run)
    assert refused is not None
    assert "more than once" in refused
    assert {run for _, run in shop.aside("id, wap_replayed_run")} == {None}
    rows = shop.run("again-2", replay=Replay(run="run-3")).rows
    assert (rows.read, rows.updated) == (1, 1)
    assert ID not in str(shop.aside("wap_checks"))
    assert is_clean(shop)
