"""What every ledger does, on SQLite and on Postgres."""

from __future__ import annotations

import multiprocessing
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import make_url

from wap.errors import LedgerError, LedgerUnavailableError, NotInstalledError
from wap.ledger import open_ledger
from wap.ledger.base import Ledger
from wap.ledger.database import HEAD, Database
from wap.ledger.tables import metadata
from wap.model import (
    CheckCounts,
    CheckFact,
    ColumnFact,
    Ending,
    FailedCheck,
    Held,
    InputFact,
    Rows,
    RunFacts,
    RunRequest,
    RunResult,
    SnapshotMove,
    StepFacts,
)

AT = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


@pytest.fixture
def ledger(url: str) -> Iterator[Ledger]:
    opened = open_ledger(url)
    opened.migrate()
    yield opened
    opened.close()


@pytest.fixture
def select(url: str) -> Iterator[Callable[[str], list[Any]]]:
    """What an auditor's own SQL sees."""
    engine = sa.create_engine(url)

    def ask(sql: str) -> list[Any]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql))]

    yield ask
    engine.dispose()


def step(name: str, second: int, **changes: Any) -> StepFacts:
    at = AT + timedelta(seconds=second)
    return StepFacts(name=name, started_at=at, seconds=1.5, **changes)


def check(name: str, **changes: Any) -> CheckFact:
    facts: dict[str, Any] = {
        "name": name, "kind": "missing", "column": "id", "title": "id is never missing",
        "expected": "0 rows", "measured": "3 of 7 rows", "value": 3.0, "failing_rows": 3,
        "blocking": True, "outcome": "failed",
    }  # fmt: skip
    return CheckFact(**{**facts, **changes})


def full(run_id: str = "flights-1", **changes: Any) -> RunFacts:
    """Facts in which every field differs from its default."""
    result = RunResult(
        run_id=run_id,
        pipeline="flights",
        table="nyc.flights",
        ending=Ending.REJECTED,
        reason="id is «missing»",
        error_type="ContractError",
        nothing_new=True,
        rows=Rows(read=2**40, staged=7, quarantined=1, deduplicated=2, discarded=3, kept=4,
                  published=5),
        snapshot=SnapshotMove(before=2**62, after=-(2**62)),
        checks=CheckCounts(passed=1, failed=2, warned=3, not_evaluated=4),
        report="reports/r.html",
        seconds=12.25,
        warnings=("w",),
        incomplete=("i",),
    )  # fmt: skip
    facts = RunFacts(
        result=result,
        pipeline_digest="a" * 64,
        pipeline_version=7,
        source_kind="files",
        source_location="data/flights-*.csv",
        source_columns=(ColumnFact(name="Id", type="int"),),
        columns=(ColumnFact(name="id", type="long", tags=("pii",)),),
        owners=("data-eng",),
        contact="#data",
        write_mode="replace",
        inputs=(InputFact(path="z.csv", bytes=2**40, version="e1"), InputFact(path="a.csv")),
        checks=(
            check("c.yml:columns.id.checks.missing"),
            check(
                "b", column=None, value=None, failing_rows=None, blocking=False, outcome="warned"
            ),
        ),
        report_digest="b" * 64,
        contract_digest="c" * 64,
        steps=(
            step("stage", 0, attempts=3, cpu_seconds=0.5, peak_memory_bytes=2**33),
            step("audit", 9),
        ),
        location="file:///warehouse/flights",
        started_at=AT,
        ended_at=AT + timedelta(minutes=1),
    )
    return facts.model_copy(update=changes)


def minimal(run_id: str, at: datetime = AT, pipeline: str = "flights") -> RunFacts:
    return RunFacts(
        result=RunResult(run_id=run_id, pipeline=pipeline, table="n.t", ending=Ending.PUBLISHED),
        pipeline_digest="d",
        source_kind="files",
        source_location="x",
        started_at=at,
        ended_at=at,
    )


def test_a_run_is_read_back_as_it_was_told(ledger):
    ledger.finish(full())
    ledger.finish(minimal("flights-0"))
    assert ledger.run("flights-1") == full()
    assert ledger.run("flights-0") == minimal("flights-0")


def test_an_unknown_run_is_none(ledger):
    assert ledger.run("nobody") is None
    assert list(ledger.runs()) == []


def test_a_run_that_goes_on_has_no_end(ledger):
    ledger.start("r", "flights", "nyc.flights", AT, version=3)
    ledger.step("r", step("stage", 1))
    run = ledger.run("r")
    assert run is not None
    assert run.pipeline_version == 3
    assert (run.ended_at, run.started_at, run.result.reason) == (None, AT, "running")
    assert run.steps == (step("stage", 1),)
    assert [r.run_id for r in ledger.runs()] == ["r"]


def test_what_is_told_twice_is_one_row(ledger, select):
    for _ in range(2):
        ledger.pipeline("flights", "d1", "{}")
        ledger.start("flights-1", "flights", "nyc.flights", AT)
        ledger.step("flights-1", step("stage", 0))
        ledger.finish(full())
    assert ledger.run("flights-1") == full()
    counts = {
        t: select(f"SELECT count(*) FROM {t}")[0][0]
        for t in metadata.tables
        if not t.startswith("version")
    }
    assert counts == {"pipelines": 1, "runs": 1, "steps": 2, "checks": 2, "files": 2}


def test_a_later_attempt_of_a_step_replaces_the_earlier_one(ledger):
    ledger.start("r", "p", "n.t", AT)
    ledger.step("r", step("stage", 0))
    ledger.step("r", step("stage", 5, attempts=2, cpu_seconds=1.0, peak_memory_bytes=3))
    run = ledger.run("r")
    assert run is not None
    assert run.steps == (step("stage", 5, attempts=2, cpu_seconds=1.0, peak_memory_bytes=3),)


def held(run_id: str = "flights-1") -> RunFacts:
    """A run that waits for a person."""
    facts = full(run_id)
    waiting = Held(
        workflow_id="wap-p-flights-1", request=RunRequest(project="p", pipeline="flights"),
        report_digest="r", since=AT, until=AT + timedelta(days=3),
        checks=(FailedCheck(name="c.yml:id", title="id", measured="3 rows", failing_rows=3),),
    )  # fmt: skip
    told = facts.result.model_copy(update={"ending": Ending.HELD, "held": waiting})
    return facts.with_result(told).model_copy(update={"ended_at": None})


def test_a_held_run_is_told_until_it_ends(ledger):
    ledger.start("flights-1", "flights", "nyc.flights", AT)
    for _ in range(2):
        ledger.hold(held())
        assert ledger.run("flights-1") == held()
    ledger.finish(full())
    assert ledger.run("flights-1") == full()


def test_a_hold_that_comes_late_does_not_undo_the_end(ledger):
    ledger.finish(full())
    ledger.hold(held())
    assert ledger.run("flights-1") == full()


def test_a_second_finish_leaves_nothing_of_the_first(ledger):
    ledger.finish(full())
    again = full(checks=(check("only"),), inputs=())
    ledger.finish(again)
    assert ledger.run("flights-1") == again


def test_a_start_that_comes_late_does_not_undo_the_end(ledger):
    ledger.finish(full())
    ledger.start("flights-1", "flights", "nyc.flights", AT + timedelta(days=1))
    assert ledger.run("flights-1") == full()


def test_runs_are_listed_newest_first_by_pipeline_and_at_most_so_many(ledger):
    for n in range(5):
        ledger.finish(minimal(f"r{n}", AT + timedelta(hours=n), "odd" if n % 2 else "even"))
    assert [r.run_id for r in ledger.runs()] == ["r4", "r3", "r2", "r1", "r0"]
    assert [r.run_id for r in ledger.runs(limit=2)] == ["r4", "r3"]
    assert [r.run_id for r in ledger.runs(pipeline="odd")] == ["r3", "r1"]
    assert [r.run_id for r in ledger.runs(pipeline="nobody")] == []


def test_runs_are_listed_page_by_page(ledger):
    for n in range(5):
        ledger.finish(minimal(f"r{n}", AT + timedelta(hours=n // 2)))  # two at one moment
    pages, last = [], None
    while page := ledger.runs(limit=2, before=last):
        pages.append([r.run_id for r in page])
        last = page[-1].run_id
    assert pages == [["r4", "r3"], ["r2", "r1"], ["r0"]]
    assert list(ledger.runs(before="nobody")) == []


def test_moments_are_moments_whatever_zone_they_came_in(ledger, select):
    there = datetime(2026, 1, 2, 8, 34, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    ledger.finish(minimal("r", there))
    run = ledger.run("r")
    assert run is not None
    assert run.started_at == there
    assert str(select("SELECT started_at FROM runs")[0][0]).startswith("2026-01-02 03:04:00")


def test_versions_of_a_pipeline_are_kept_side_by_side(ledger, select):
    ledger.pipeline("flights", "d1", '{"v": 1}')
    ledger.pipeline("flights", "d2", '{"v": 2}')
    ledger.pipeline("flights", "d1", '{"v": "told again"}')
    found = select("SELECT digest, definition FROM pipelines ORDER BY digest")
    assert found == [("d1", '{"v": 1}'), ("d2", '{"v": 2}')]


def test_figures_can_be_asked_for_in_sql(ledger, select):
    ledger.finish(full())
    assert select(
        "SELECT ending, rows_read, rows_published, snapshot_before, checks_failed, "
        "pipeline_version FROM runs"
    ) == [("rejected", 2**40, 5, 2**62, 2, 7)]
    steps = select("SELECT name, attempts, cpu_seconds, peak_memory_bytes FROM steps ORDER BY 2")
    assert steps == [("audit", 1, None, None), ("stage", 3, 0.5, 2**33)]
    assert select("SELECT path, bytes FROM files ORDER BY path") == [
        ("a.csv", None),
        ("z.csv", 2**40),
    ]


def test_rebuild_puts_in_what_is_missing_and_nothing_else(ledger):
    ledger.finish(full())
    ledger.start("killed", "flights", "nyc.flights", AT)
    told = [full(source_kind="other"), minimal("lost"), minimal("lost"), minimal("killed")]
    assert ledger.rebuild(told) == 2
    assert ledger.run("flights-1") == full()
    assert ledger.run("lost") == minimal("lost")
    assert ledger.run("killed") == minimal("killed")
    assert ledger.rebuild(told) == 0
    assert ledger.rebuild([]) == 0


def test_a_ledger_that_was_deleted_is_rebuilt_from_the_facts(ledger, tmp_path):
    told = [full(), minimal("r2")]
    fresh = open_ledger(f"sqlite:///{tmp_path}/fresh.db")
    fresh.migrate()
    with closing(fresh):
        assert fresh.rebuild(told) == 2
        assert [fresh.run(f.run_id) for f in told] == told


def test_finish_is_all_or_nothing(ledger, select):
    broken = full(inputs=(InputFact.model_construct(path=None, bytes=1, version="v"),))
    with pytest.raises(LedgerError):
        ledger.finish(broken)
    assert ledger.run("flights-1") is None
    assert select("SELECT count(*) FROM checks") == [(0,)]


def test_a_step_of_a_run_nobody_started_is_refused(ledger):
    with pytest.raises(LedgerError, match=r"(?i)foreign key"):
        ledger.step("nobody", step("stage", 0))


def test_threads_write_side_by_side_and_lose_nothing(ledger):
    def one(n: int) -> None:
        ledger.start(f"r{n}", "p", "n.t", AT)
        ledger.finish(full(run_id=f"r{n}"))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(24)))
    runs = ledger.runs(limit=100)
    assert sorted(r.run_id for r in runs) == sorted(f"r{n}" for n in range(24))
    assert all(len(r.checks) == len(r.inputs) == len(r.steps) == 2 for r in runs)


def first_use(url: str, run_id: str) -> None:
    """What each of several processes does that start at once."""
    with closing(open_ledger(url)) as opened:
        opened.migrate()
        opened.finish(full(run_id))


def test_processes_that_start_at_once_make_the_tables_once(url):
    names = [f"r{n}" for n in range(4)]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(first_use, [url] * 4, names))
    with closing(open_ledger(url)) as opened:
        assert sorted(r.run_id for r in opened.runs()) == names


def test_the_usual_start_does_not_import_alembic(ledger, monkeypatch):
    for name in [m for m in sys.modules if m.partition(".")[0] == "alembic"]:
        monkeypatch.setitem(sys.modules, name, None)
    ledger.migrate()


def test_the_migrations_make_the_tables_the_code_knows(ledger, url):
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), metadata)
    engine.dispose()
    assert differences == []


def test_head_is_the_newest_migration():
    config = Config()
    folder = Path(sys.modules[open_ledger.__module__].__file__ or "").parent / "migrations"
    config.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def execute(url: str, sql: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(sa.text(sql))
    engine.dispose()


def test_a_newer_ledger_is_refused_and_left_alone(ledger, url, select):
    execute(url, "UPDATE alembic_version SET version_num = '9999'")
    with closing(open_ledger(url)) as opened, pytest.raises(LedgerError, match="newer version"):
        opened.migrate()
    assert select("SELECT version_num FROM alembic_version") == [("9999",)]


def test_facts_of_another_version_are_a_clear_error(ledger, url):
    ledger.finish(full())
    execute(url, """UPDATE runs SET facts = '{"unheard_of": 1}'""")
    with pytest.raises(LedgerError, match="rebuild it from the seals"):
        ledger.run("flights-1")


def test_a_reader_sees_one_state_whatever_is_written_meanwhile(ledger, url):
    database = Database(url)
    with database.read() as connection:
        before = connection.execute(sa.text("SELECT count(*) FROM runs")).scalar()
        ledger.finish(full())
        assert connection.execute(sa.text("SELECT count(*) FROM runs")).scalar() == before
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT count(*) FROM runs")).scalar() == 1
    database.close()


def test_a_ledger_of_the_first_version_is_brought_to_this_one(url):
    """Its runs are kept; whoever comes first migrates, the others wait and find it done."""
    config = Config()
    folder = Path(sys.modules[open_ledger.__module__].__file__ or "").parent / "migrations"
    config.set_main_option("script_location", str(folder))
    database = Database(url)
    database._prepare_sqlite()
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            sa.text(
                "INSERT INTO runs (run_id, pipeline, table_name, started_at) "
                "VALUES ('old', 'flights', 'nyc.flights', '2026-01-02 03:04:05.678901')"
            )
        )
    database.close()
    names = [f"r{n}" for n in range(4)]
    with ProcessPoolExecutor(4, mp_context=multiprocessing.get_context("fork")) as pool:
        list(pool.map(first_use, [url] * 4, names))
    with closing(open_ledger(url)) as opened:
        assert sorted(r.run_id for r in opened.runs()) == ["old", *names]
        old = opened.run("old")
        assert old is not None
        assert (old.started_at, old.pipeline_version) == (AT, None)


def test_a_database_error_quotes_no_row(ledger):
    secret = InputFact.model_construct(path=None, bytes=1, version="hunter2")
    with pytest.raises(LedgerError) as caught:
        ledger.finish(full(inputs=(secret,)))
    assert "hunter2" not in str(caught.value)


def test_a_full_pool_is_worth_another_try(ledger, url):
    database = Database(url)
    database.engine.pool._timeout = 0.01  # type: ignore[attr-defined]
    with ExitStack() as held:
        for _ in range(15):
            held.enter_context(database.read())
        with pytest.raises(LedgerUnavailableError, match="in use"), database.read():
            pass
    database.close()


# --- Postgres alone -------------------------------------------------------------------------------


def test_a_restarted_postgres_does_not_break_a_warm_ledger(postgres):
    name = postgres.database()
    with closing(open_ledger(postgres.url(name))) as warm:
        warm.migrate()
        warm.finish(minimal("r1"))
        postgres.stop()
        with pytest.raises(LedgerUnavailableError):
            warm.finish(minimal("r2"))
        postgres.restart()
        warm.finish(minimal("r2"))
        postgres.restart()
        warm.finish(minimal("r3"))  # at the first try: a dead connection is not used
        assert [r.run_id for r in warm.runs()] == ["r3", "r2", "r1"]
    postgres.drop(name)


def test_a_connection_that_is_cut_in_a_transaction_is_worth_another_try(postgres):
    name = postgres.database()
    database, killer = Database(postgres.url(name)), sa.create_engine(postgres.url(name))

    def cut_off() -> None:
        with database.write() as connection:
            pid = connection.execute(sa.text("SELECT pg_backend_pid()")).scalar()
            with killer.connect() as other:
                other.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": pid})
            connection.execute(sa.text("SELECT 1"))

    with pytest.raises(LedgerUnavailableError):
        cut_off()
    killer.dispose()
    database.close()
    postgres.drop(name)


def test_postgres_is_opened_with_psycopg_whatever_the_default_is(postgres):
    name = postgres.database()
    url = postgres.url(name).replace("postgresql+psycopg://", "postgresql://")
    database = Database(url)
    assert database.engine.driver == "psycopg"
    with database.read() as connection:
        assert connection.execute(sa.text("SELECT 1")).scalar() == 1
    database.close()
    postgres.drop(name)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda url: url.set(password="hunter2"),  # noqa: S106 - a wrong one
        lambda url: url.set(database="nowhere", query={"sslpassword": "hunter2"}),
    ],
    ids=["password", "database"],
)
def test_a_door_that_stays_shut_is_not_tried_again(postgres, wrong):
    url = wrong(make_url(postgres.url("postgres"))).render_as_string(hide_password=False)
    with closing(open_ledger(url)) as opened, pytest.raises(LedgerError) as caught:
        opened.migrate()
    assert not isinstance(caught.value, LedgerUnavailableError)
    assert "hunter2" not in str(caught.value)
    assert postgres.password not in str(caught.value)


def test_tables_that_postgres_does_not_have_are_a_clear_error(postgres):
    name = postgres.database()
    with (
        closing(open_ledger(postgres.url(name))) as opened,
        pytest.raises(LedgerError, match="start once with migrations"),
    ):
        opened.runs()
    postgres.drop(name)


def test_columns_hold_what_they_must_in_postgres(postgres):
    name = postgres.database()
    with closing(open_ledger(postgres.url(name))) as opened:
        opened.migrate()
    engine = sa.create_engine(postgres.url(name))
    with engine.connect() as connection:
        found = connection.execute(
            sa.text(
                "SELECT column_name, data_type FROM information_schema.columns "
                "WHERE table_schema = 'public'"
            )
        ).all()
    engine.dispose()
    postgres.drop(name)
    moments = {t for c, t in found if c.endswith("_at") or c == "first_seen"}
    large = {t for c, t in found if c.startswith(("rows_", "snapshot_")) or c.endswith("bytes")}
    assert moments == {"timestamp with time zone"}
    assert large == {"bigint"}


# --- SQLite alone ---------------------------------------------------------------------------------


def test_a_locked_ledger_is_worth_another_try(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    with closing(open_ledger(url)) as opened:
        opened.migrate()
    engine = sa.create_engine(url)
    impatient = open_ledger(f"{url}?timeout=0")
    with closing(impatient), engine.connect() as holder:
        holder.exec_driver_sql("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailableError, match="locked"):
            impatient.finish(full())
        assert impatient.run("flights-1") is None, "a reader does not wait for a writer"
        holder.rollback()
        impatient.finish(full())
    engine.dispose()


def test_someone_who_reads_locks_no_run_out(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db?timeout=0"
    engine = sa.create_engine(url)
    with closing(open_ledger(url)) as opened:
        opened.migrate()
        with engine.connect() as auditor:
            auditor.exec_driver_sql("BEGIN")
            auditor.exec_driver_sql("SELECT * FROM runs").all()
            opened.finish(full())
        assert opened.run("flights-1") == full()
    engine.dispose()


@pytest.mark.parametrize(
    "content", [b"this is not a database, but long enough to look at" * 50], ids=["garbage"]
)
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path, content):
    file = tmp_path / "ledger.db"
    file.write_bytes(content)
    with closing(open_ledger(f"sqlite:///{file}")) as opened, pytest.raises(LedgerError) as caught:
        opened.migrate()
    assert not isinstance(caught.value, LedgerUnavailableError)
    assert file.read_bytes() == content


def test_tables_that_were_never_made_are_a_clear_error(tmp_path):
    with closing(open_ledger(f"sqlite:///{tmp_path}/l.db")) as opened:
        with pytest.raises(LedgerError, match="start once with migrations") as caught:
            opened.runs()
        assert not isinstance(caught.value, LedgerUnavailableError)


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("not a url with hunter2", LedgerError),
        ("mysql://u:hunter2@h/d", LedgerError),
        ("postgresql://u:word@hunter2@h/d", LedgerError),  # an @ that is not %40
        ("postgresql://u:word@:hunter2@h/d", LedgerError),
        ("postgresql://u:p@h:hunter2/d", LedgerError),
        ("sqlite://", LedgerError),
        ("sqlite:///:memory:", LedgerError),
        ("postgresql+hunter://u:hunter2@h/d", NotInstalledError),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_its_password(url, error):
    with pytest.raises(error) as caught:
        open_ledger(url).migrate()
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))
