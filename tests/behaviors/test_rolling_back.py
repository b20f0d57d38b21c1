"""What was published together goes back together: no table of a group's run alone."""

import json
from collections.abc import Sequence

import pytest

from catalog import TableName, UnsealedError
from checks.soda import SodaAuditor
from tests.behaviors.conftest import FLIGHTS, Lake, open_lake
from wap.errors import GroupRefusedError, RunNotFoundError
from wap.homes import RunHome
from wap.quarantine.emptying import Emptying
from wap.rolling_back import Target, group_targets, roll_back, rollback_targets

PLANES = TableName.parse("nyc.planes")
AIRLINES = TableName.parse("nyc.airlines")


@pytest.fixture
def lake(tmp_path):
    opened = open_lake("sqlite", tmp_path)
    yield opened
    opened.close()


def together(lake: Lake, run_id: str, number: int, *tables: TableName) -> None:
    """A group's run that publishes one row more in each of its tables."""
    members = json.dumps(sorted(map(str, tables)))
    runs = [lake.run(run_id, table) for table in tables]
    for run in runs:
        run.open()
        run.stage([number])
        run.seal(notes={"pipeline": run.table.name, "group": "nyc", "tables": members})
    lake.catalog.publish([run.audited() for run in runs])


@pytest.fixture
def grouped(lake):
    for table in (FLIGHTS, PLANES, AIRLINES):
        lake.publish([1], table)
    together(lake, "nyc-2", 2, FLIGHTS, PLANES)
    return lake


def take_back(lake: Lake, targets: Sequence[Target]) -> None:
    emptying = Emptying(
        catalog=lake.catalog,
        auditor=SodaAuditor(),
        home=RunHome(lake.root),
        memory_limit="100MB",
        temp_directory=lake.root,
    )
    roll_back(lake.catalog, targets, emptying)


def ids(lake: Lake) -> dict[str, list[int] | None]:
    return {table.name: lake.ids(table) for table in (FLIGHTS, PLANES, AIRLINES)}


def test_one_table_of_a_group_does_not_go_back_alone(grouped):
    with pytest.raises(GroupRefusedError, match=r"nyc-2 .* with nyc\.planes") as caught:
        rollback_targets(grouped.catalog, "nyc.flights", None)
    assert caught.value.hint == "wap rollback --group nyc-2"


@pytest.mark.parametrize("run", ["nyc-2", "nyc-2.planes"])
def test_all_tables_of_a_group_go_back_together(grouped, run):
    targets = group_targets(grouped.catalog, run)
    assert [t.table for t in targets] == [FLIGHTS, PLANES]
    take_back(grouped, targets)
    assert ids(grouped) == {"flights": [1], "planes": [1], "airlines": [1]}
    with pytest.raises(RunNotFoundError):
        group_targets(grouped.catalog, run)


def test_a_later_run_of_one_table_goes_back_by_itself_and_with_the_group(grouped):
    grouped.publish([3], FLIGHTS)
    (target,) = rollback_targets(grouped.catalog, "nyc.flights", None)
    assert [s.run_id for s in target.undone] != ["nyc-2"]
    take_back(grouped, group_targets(grouped.catalog, "nyc-2"))
    assert ids(grouped) == {"flights": [1], "planes": [1], "airlines": [1]}


def test_going_back_over_a_group_in_one_table_is_refused_from_any_distance(grouped):
    grouped.publish([3], FLIGHTS)
    first = grouped.catalog.log(FLIGHTS)[-1]
    first = next(s for s in reversed(grouped.catalog.log(FLIGHTS)) if s.is_sealed)
    with pytest.raises(GroupRefusedError):
        rollback_targets(grouped.catalog, "nyc.flights", first.id)


def test_a_later_group_that_reaches_further_goes_back_first(grouped):
    together(grouped, "nyc-3", 3, PLANES, AIRLINES)
    with pytest.raises(GroupRefusedError, match=r"nyc-3 .* with nyc\.airlines") as caught:
        group_targets(grouped.catalog, "nyc-2")
    assert caught.value.hint == "wap rollback --group nyc-3"
    take_back(grouped, group_targets(grouped.catalog, "nyc-3"))
    take_back(grouped, group_targets(grouped.catalog, "nyc-2"))
    assert ids(grouped) == {"flights": [1], "planes": [1], "airlines": [1]}


def test_a_later_group_of_the_same_tables_goes_back_with_it(grouped):
    together(grouped, "nyc-3", 3, FLIGHTS, PLANES)
    take_back(grouped, group_targets(grouped.catalog, "nyc-2"))
    assert ids(grouped) == {"flights": [1], "planes": [1], "airlines": [1]}


def test_a_first_load_has_nothing_to_go_back_to(lake):
    lake.publish([1], FLIGHTS)
    together(lake, "nyc-2", 2, FLIGHTS, PLANES)
    with pytest.raises(UnsealedError, match="nothing to go back to"):
        group_targets(lake.catalog, "nyc-2")
    assert lake.ids(FLIGHTS) == [1, 2]


def test_a_table_that_goes_by_itself_is_as_before(grouped):
    grouped.publish([2], AIRLINES)
    take_back(grouped, rollback_targets(grouped.catalog, "nyc.airlines", None))
    assert ids(grouped) == {"flights": [1, 2], "planes": [1, 2], "airlines": [1]}


def test_no_such_run_is_said(grouped):
    with pytest.raises(RunNotFoundError, match="nyc-9"):
        group_targets(grouped.catalog, "nyc-9")


@pytest.mark.parametrize("members", ["", "[1]", '["x"]', "7"])
def test_members_that_cannot_be_read_are_no_members(lake, members):
    lake.publish([1])
    run = lake.run("nyc-2")
    run.open()
    run.stage([2])
    run.seal(notes={"pipeline": "flights", "group": "nyc", "tables": members})
    lake.catalog.publish([run.audited()])
    with pytest.raises(UnsealedError, match="cannot be read"):
        rollback_targets(lake.catalog, "nyc.flights", None)
