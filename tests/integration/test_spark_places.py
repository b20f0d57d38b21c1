"""Spark, pyiceberg and DuckDB beside us, wherever tables lie: each reads what the other wrote.

By default on each of the catalogs once, on a folder or in S3; ``--catalogs=all`` takes all ten.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from catalog import HeadMovedError
from tests.behaviors.places import wanted_for
from tests.e2e.places import open_place
from tests.integration.lakehouse import (
    ENGINES,
    FIRST,
    Lakehouse,
    in_order,
    open_lakehouse,
    orders,
)

pytestmark = [
    pytest.mark.server,
    pytest.mark.exactly("sqlite", "postgres", "rest", "nessie"),
    pytest.mark.by_default("sqlite", "postgres-s3", "rest", "nessie-s3", "nessie-postgres"),
]

FIRST_IDS, SECOND_IDS, THIRD_IDS = range(1, 91), range(91, 121), range(121, 131)
BY_SPARK, BY_SPARK_WIDER, BY_PYICEBERG, IN_A_RACE = 1000, 2000, 3000, 4000


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "house" in metafunc.fixturenames:
        metafunc.parametrize("house", wanted_for(metafunc), indirect=True, scope="module")


@pytest.fixture(scope="module")
def house(request, tmp_path_factory, spark) -> Iterator[Lakehouse]:
    """Both engines have published the same two files, the second with a column more."""
    root = tmp_path_factory.mktemp("house")
    place = open_place(request, request.param, root)
    with open_lakehouse(root, place, spark) as house:
        for name, table in (
            ("1", orders(FIRST_IDS, FIRST)),
            ("2", orders(SECOND_IDS)),
        ):
            house.deliver(name, table)
            for engine in ENGINES:
                house.run(engine, f"{engine}-{name}")
        yield house


def published() -> list[dict[str, object]]:
    first = [{**row, "note": None} for row in in_order(orders(FIRST_IDS, FIRST))]
    return [*first, *in_order(orders(SECOND_IDS))]


def verdict(house: Lakehouse, run_id: str) -> list[tuple[object, ...]]:
    results = house.reports[run_id].results
    return [(r.kind, r.column, r.outcome, r.measured, r.failing_rows) for r in results]


@pytest.mark.parametrize("engine", ENGINES)
def test_published_rows_are_the_same_for_everybody(house, engine):
    want = published()
    assert house.by_us(engine) == want
    assert house.by_spark(engine) == want
    assert house.by_pyiceberg(engine) == want
    assert house.by_duckdb(engine) == want
    assert house.unsealed(engine) == []
    assert not [f for f in house.place.files() if "scratch-" in f]


def test_both_engines_lay_files_out_alike_and_come_to_one_verdict(house):
    for run in ("1", "2"):
        assert verdict(house, f"arrow-{run}") == verdict(house, f"spark-{run}")
    found = []
    for engine in ENGINES:
        tasks = house.plain(engine).scan().plan_files()
        found.append(sorted((str(t.file.partition), t.file.record_count) for t in tasks))
    assert found[0] == found[1]
    assert len(found[0]) == 6


@pytest.mark.by_default("postgres-s3", "nessie-postgres")
def test_a_bad_batch_is_rejected_by_both_and_leaves_nothing(house):
    bad = house.deliver("bad", orders(range(500, 520), price=-1))
    before = house.place.files()
    for engine in ENGINES:
        run, audited = house.audited(engine, f"{engine}-bad")
        assert not audited.passed
        assert not house.reports[run.run_id].passed
        house.steps.drop_branch(run)
    assert verdict(house, "arrow-bad") == verdict(house, "spark-bad")
    assert [f for f in house.place.files() if f not in before] == []
    bad.unlink()


def test_what_others_write_is_read_named_and_published_upon(house):
    """Spark and pyiceberg write to main by themselves; then a run of ours, on Spark, comes."""
    with house.consumer() as session:
        table = "shop.shop.spark"
        copied = "select id + {0}, * except (id) from {1} where id <= 3"
        session.sql(f"insert into {table} {copied.format(BY_SPARK, table)}")
        session.sql(f"alter table {table} add column channel string")
        wider = "select id + {0}, * except (id, channel), 'web' from {1} where id <= 3"
        session.sql(f"insert into {table} {wider.format(BY_SPARK_WIDER, table)}")
    before = house.plain("spark").scan(row_filter="id <= 3").to_arrow()
    ids = [row["id"] + BY_PYICEBERG for row in before.to_pylist()]
    house.append("spark", before.set_column(0, before.schema.field("id"), [ids]))

    foreign = [s.id for s in house.log("spark")][-3:]
    assert house.unsealed("spark") == foreign
    few = {row["id"]: row for row in published()[:3]}
    want = [{**row, "channel": None} for row in published()]
    for start, channel in ((BY_SPARK, None), (BY_SPARK_WIDER, "web"), (BY_PYICEBERG, None)):
        want += [{**row, "id": i + start, "channel": channel} for i, row in few.items()]
    for read in (house.by_us, house.by_spark, house.by_pyiceberg, house.by_duckdb):
        assert read("spark") == want, read.__name__

    third = house.deliver("3", orders(THIRD_IDS))
    house.run("spark", "spark-3")
    third.unlink()
    want += [{**row, "channel": None} for row in in_order(orders(THIRD_IDS))]
    want.sort(key=lambda row: row["id"])
    for read in (house.by_us, house.by_spark, house.by_pyiceberg, house.by_duckdb):
        assert read("spark") == want, read.__name__
    assert house.unsealed("spark") == foreign


@pytest.mark.by_default("sqlite", "rest", "nessie-s3")
def test_a_run_that_meets_sparks_own_append_is_rebased_and_audited_again(house):
    third = house.deliver("3", orders(THIRD_IDS))
    run, audited = house.audited("arrow", "arrow-3")
    house.steps.seal(run, audited)
    with house.consumer() as session:
        table = "shop.shop.arrow"
        session.sql(f"insert into {table} select id + {IN_A_RACE}, * except (id) from {table} "
                    "where id <= 3")  # fmt: skip
    with pytest.raises(HeadMovedError):
        house.steps.publish(run, audited)
    rebased = house.steps.rebase(run)
    assert rebased.redo is None
    house.publish(run, house.audit_again(run))
    third.unlink()
    few = [{**row, "id": row["id"] + IN_A_RACE} for row in published()[:3]]
    want = [*published(), *in_order(orders(THIRD_IDS)), *few]
    for read in (house.by_us, house.by_spark, house.by_pyiceberg, house.by_duckdb):
        assert read("arrow") == want, read.__name__
    assert len(house.unsealed("arrow")) == 1
