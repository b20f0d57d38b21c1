"""A database as a source on Spark: which rows, in how many queries, and what is an error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import Engine, create_engine, text

from catalog.errors import HeadMovedError
from tests.behaviors.conftest import read_ids
from tests.servers.postgres import Postgres
from tests.unit.wap.engines.staging import rows_of, sorted_rows, staging, write
from tests.unit.wap.test_guard_steps import Port
from wap.activities import Activities
from wap.engines.arrow import ArrowEngine
from wap.engines.spark import SparkEngine
from wap.errors import (
    BatchRefusedError,
    ConfigError,
    SourceChangedError,
    SourceError,
    SourceUnavailableError,
)
from wap.model import Rows, RunRequest
from wap.project import load_project
from wap.settings import SparkSection
from wap.source_sections import JdbcSource as Spec
from wap.sources import open_source
from wap.sources.base import Counts, Cursor, Interval, Plan, Source
from wap.spark.ports import SparkPorts
from wap.spark.relations import spark_relation
from wap.spark.session import Spark
from wap.steps import Audited, RunRef
from wap.types import from_arrow
from wap.worker import open_activities

pytestmark = pytest.mark.server

TABLE = """\
create table orders (
  id bigint primary key, customer text, amount numeric(12, 2), rate numeric, placed date,
  "At" timestamp, seen timestamptz, "time" time
)
"""
ROWS = """\
insert into orders
select i, 'c' || i, i + 0.5, 1.0000000000000000000000001, date '2026-01-01' + i::int / 10,
  timestamp '2026-03-29 02:30:00.123456' + i * interval '1 hour',
  timestamptz '2026-01-01 00:00:00.000001+02' + i * interval '1 hour', time '10:00'
from generate_series({}, {}) i
"""


@dataclass
class Shop:
    """A database of its own, and what reads it."""

    server: Postgres
    name: str
    spark: Any
    root: Path
    runs: int = 0

    @property
    def engine(self) -> Engine:
        return create_engine(self.server.url(self.name))

    def run(self, *statements: str) -> None:
        engine = self.engine
        with engine.begin() as connection:
            for statement in statements:
                connection.execute(text(statement))
        engine.dispose()

    def source(self, **more: Any) -> Source:
        spec = {"kind": "jdbc", "url": self.server.jdbc(self.name), "table": "orders"}
        named = {"user_env": "SHOP_USER", "password_env": "SHOP_WORD"}
        said = {k: v for k, v in {**spec, **named, **more}.items() if v is not None}
        return open_source(Spec.model_validate(said), self.root, spark=self.spark)

    def load(self, source: Source, plan: Plan, only: tuple[str, ...] = ()) -> tuple[Any, Counts]:
        """The rows as they are written, and the books."""
        schema = source.schema(plan)
        schema = pa.schema([schema.field(n) for n in only or schema.names])
        self.runs += 1
        where = staging(self.root, from_arrow(schema), run=f"run-{self.runs}")
        with source.open(plan, schema) as extract:
            written = write(extract, where, SparkEngine(self.spark, ArrowEngine()))
            counts = extract.finish()
        return sorted_rows(rows_of(written, where)), counts


@pytest.fixture
def shop(postgres, spark, tmp_path, monkeypatch):
    name = postgres.database()
    monkeypatch.setenv("SHOP_USER", postgres.user)
    monkeypatch.setenv("SHOP_WORD", postgres.password)
    one = Shop(postgres, name, spark, tmp_path)
    one.run(TABLE, ROWS.format(1, 40))
    yield one
    postgres.drop(name)


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in rows]


def test_each_row_above_the_cursor_is_read_once(shop):
    source = shop.source(cursor="id", partition={"column": "id", "count": 3})
    first = source.plan(None, everything=False)
    assert (first.empty, first.summary, len(first.work["slices"])) == (False, "40 rows", 3)
    shop.run(ROWS.format(41, 45))
    rows, counts = shop.load(source, first)
    assert ids(rows) == list(range(1, 41)), "what came behind the plan is for the next run"
    assert counts.read == 40
    at = datetime.fromisoformat("2026-03-29 03:30:00.123456")
    assert rows[0] == {
        "id": 1,
        "customer": "c1",
        "amount": Decimal("1.50"),
        "rate": "1.0000000000000000000000001",
        "placed": date(2026, 1, 1),
        "At": at,
        "seen": datetime(2025, 12, 31, 23, 0, 0, 1, tzinfo=UTC),
        "time": "10:00:00",
    }
    cursor = Cursor.model_validate_json(source.advance(None, first).model_dump_json())
    assert cursor.state == {"column": "id", "value": "40"}
    second = source.plan(cursor, everything=False)
    assert ids(shop.load(source, second)[0]) == list(range(41, 46))
    last = source.advance(cursor, second)
    assert source.plan(last, everything=False).empty
    # Another run that took them meanwhile, and main moved back.
    assert source.done(last, second)
    assert source.done(None, second)
    assert not source.done(cursor, second)


@pytest.mark.parametrize("column", ["seen", "At", "customer"])
def test_cursors_of_other_types(shop, column):
    source = shop.source(cursor=column)
    cursor = source.advance(None, source.plan(None, everything=False))
    shop.run(ROWS.format(9999, 9999))
    plan = source.plan(cursor, everything=False)
    assert plan.summary == "1 rows"
    assert source.plan(source.advance(cursor, plan), everything=False).empty


def test_slices_hold_each_row_once_whatever_their_bounds(shop):
    shop.run("insert into orders (id) values (0)")
    given = {"column": "amount", "count": 4, "lower": 10, "upper": 20}
    for partition in (given, {"column": "seen", "count": 3}):
        source = shop.source(partition=partition)
        plan = source.plan(None, everything=True)
        assert len(plan.work["slices"]) > 1
        rows, counts = shop.load(source, plan, only=("id",))
        assert (ids(rows), counts.read) == (list(range(41)), 41)


def test_a_query_and_an_interval(shop):
    source = shop.source(
        table=None, query="select id, seen, customer || '!' as \"od'd\" from orders where id > 3"
    )
    interval = Interval(column="seen", start="2026-01-01", end="2026-01-01T04:00:00")
    plan = source.plan(None, everything=False, interval=interval)
    rows, counts = shop.load(source, plan)
    assert (ids(rows), counts.read, counts.discarded) == ([4, 5], 2, 0)
    assert rows[0]["od'd"] == "c4!"
    assert not source.plan(source.advance(None, plan), everything=True).empty


def test_rows_that_come_between_count_and_read_are_noticed(shop):
    source = shop.source()
    plan = source.plan(None, everything=True)
    schema = source.schema(plan)
    where = staging(shop.root, from_arrow(schema))
    with source.open(plan, schema) as extract:
        opened = extract.open_frame

        def late(session: Any) -> Any:
            found = opened(session)
            shop.run(ROWS.format(50, 50))
            return found

        extract.open_frame = late
        write(extract, where, SparkEngine(shop.spark, ArrowEngine()))
        with pytest.raises(SourceChangedError, match="counted 40 rows, and 41 were read"):
            extract.finish()


def test_rows_without_a_cursor_are_not_left_out_unheard(shop):
    shop.run("insert into orders (id) values (0), (-1)")
    with pytest.raises(SourceError, match="2 rows have no value in the cursor's column 'placed'"):
        shop.source(cursor="placed").plan(None, everything=False)


def test_a_cursor_of_another_column_or_kind_is_not_read_on_from(shop):
    source = shop.source(cursor="id")
    cursor = source.advance(None, source.plan(None, everything=False))
    with pytest.raises(SourceError, match="loaded by the cursor 'id'"):
        shop.source(cursor="seen").plan(cursor, everything=False)
    with pytest.raises(SourceError, match="kind 'files'"):
        source.plan(Cursor(kind="files", state={}), everything=False)


def test_a_value_that_does_not_fit_is_named(shop):
    source = shop.source(cursor="id")
    plan = source.plan(None, everything=False)
    schema = pa.schema([("id", pa.int64()), ("customer", pa.int64())])
    where = staging(shop.root, from_arrow(schema))
    with source.open(plan, schema) as extract, pytest.raises(BatchRefusedError) as caught:
        write(extract, where, SparkEngine(shop.spark, ArrowEngine()))
    assert "column customer: 'c1' does not fit long" in caught.value.differences[0]
    assert caught.value.where.endswith("/orders")


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"cursor": "Id"}, ConfigError, "does not have: 'Id'"),
        ({"partition": {"column": "customer", "count": 2}}, ConfigError, "cannot be used"),
        ({"partition": {"column": "id", "count": 2, "lower": "x"}}, ConfigError, "no bounds"),
        ({"table": "nobody"}, SourceError, "nobody"),
        ({"table": None, "query": "select 1; drop table orders"}, ConfigError, "not one SELECT"),
        ({"table": None, "query": "drop table orders"}, ConfigError, "not one SELECT"),
        ({"table": "orders; drop table orders"}, SourceError, "does not exist"),
        ({"table": "pg_sleep(9)"}, ConfigError, "not one table"),
        ({"password_env": None}, ConfigError, "only one is named"),
        ({"password_env": "NOBODY"}, ConfigError, "NOBODY is not set"),
        ({"url": "jdbc:postgresql://127.0.0.1:1/x"}, SourceUnavailableError, "does not answer"),
        ({"url": "jdbc:nosuch://h/x"}, ConfigError, "is not known"),
        ({"driver": "no.such.Driver"}, SourceError, "driver is not there"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_read(shop, more, error, said):
    with pytest.raises(error, match=said) as caught:
        shop.source(**more).plan(None, everything=False)
    assert shop.server.password not in str(caught.value)


def test_a_wrong_password_is_an_error_that_does_not_tell_it(shop, monkeypatch):
    monkeypatch.setenv("SHOP_WORD", "wrong-word")
    with pytest.raises(SourceError, match="authentication failed") as caught:
        shop.source().plan(None, everything=True)
    assert "wrong-word" not in str(caught.value)
    assert not isinstance(caught.value, SourceUnavailableError)


def test_nothing_is_not_put_in_place_of_everything(shop):
    shop.run("delete from orders")
    with pytest.raises(SourceError, match="holds no row"):
        shop.source().plan(None, everything=True)
    assert shop.source(cursor="id").plan(None, everything=False).empty


def test_by_spark_connect(shop, spark_connect):
    """The server has the driver; the books come back from its tasks."""
    there = replace(shop, spark=Spark(SparkSection(remote=spark_connect.remote), shop.root))
    source = there.source(cursor="id", partition={"column": "id", "count": 3})
    rows, counts = there.load(source, source.plan(None, everything=False))
    assert (ids(rows), counts.read) == (list(range(1, 41)), 40)


# --- the main job --------------------------------------------------------------------------------

PIPELINE = """\
table: shop.orders
source:
  kind: jdbc
  url: {url}
  table: orders
  user_env: SHOP_USER
  password_env: SHOP_WORD
  cursor: id
  partition: {{column: id, count: 2}}
write: {{mode: append}}
schema: {{columns: {{rate: "decimal(28, 25)"}}}}
contracts: [contracts/orders.yml]
engine: spark
"""
CONTRACT = """\
dataset: wap/shop/orders
columns:
  - name: amount
    checks:
      - invalid: {valid_min: 0}
"""


@pytest.fixture
def steps(shop):
    """The steps of a project on the driver that all tests share."""
    root = shop.root / "project"
    for name, content in {
        "wap.toml": '[project]\nname = "shop"\n[lineage]\nkind = "none"\n',
        "pipelines/orders.yml": PIPELINE.format(url=shop.server.jdbc(shop.name)),
        "contracts/orders.yml": CONTRACT,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    with open_activities(load_project(root, {})) as steps:
        relation = partial(spark_relation, spark=shop.spark)
        engine = SparkEngine(shop.spark, ArrowEngine())
        yield replace(steps, spark=SparkPorts(engine, relation, shop.spark))


def run_of(name: str) -> RunRef:
    return RunRef(run_id=name, request=RunRequest(project="p", pipeline="orders"))


def staged(steps: Activities, run: RunRef) -> Audited:
    steps.open_branch(run)
    steps.stage(run)
    steps.reconcile(run)
    audited = steps.audit(run)
    steps.seal(run, audited)
    return audited


def published(steps: Activities) -> list[int]:
    (table,) = steps.catalog.tables()
    found = steps.catalog.published(table)
    assert found is not None
    return read_ids(steps.catalog.scan(table, found.snapshot.id).files, found.io)


def test_published_once_with_a_death_on_the_way_and_another_run_at_work(shop, steps):
    late, first = run_of("late"), run_of("first")
    for run in (late, first):
        assert steps.resolve(run).summary == "40 rows"
    steps.open_branch(first)

    def die_after(*arguments: Any) -> None:
        steps.catalog.stage(*arguments)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replace(steps, catalog=Port(steps.catalog, "stage", die_after)).stage(first)
    shop.run(ROWS.format(41, 43))  # the next attempt must not see them
    assert steps.stage(first).rows == Rows(read=40, staged=40)
    steps.publish(first, staged(steps, first))
    assert published(steps) == list(range(1, 41))

    # Planned before the first was published, and staged behind it.
    audited = staged(steps, late)
    with pytest.raises(HeadMovedError):
        steps.publish(late, audited)
    assert steps.rebase(late).redo is not None
    steps.drop_branch(late)
    again = late.model_copy(update={"round": 1})
    assert steps.resolve(again).summary == "3 rows"
    steps.publish(again, staged(steps, again))
    assert published(steps) == list(range(1, 44))
    assert steps.resolve(run_of("third")).nothing_new
