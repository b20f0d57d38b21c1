"""Fences of Nessie: what comes late, from others, or behind our back is not published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from catalog import (
    BranchExistsError,
    BranchNotFoundError,
    HeadMovedError,
    TableName,
)
from catalog.base import Change
from catalog.nessie_api import Meta, Put, RefGoneError
from catalog.nessie_firsts import missing
from catalog.refs import MEMBERS, Taken
from tests.behaviors.conftest import FLIGHTS, Lake
from tests.behaviors.test_catalog_maintenance import keep, replaced
from tests.integration.nessie_wire import AtTheMerge, Wire, bodies, make_lake, refs
from tests.servers.nessie import Nessie

WEATHER = TableName.parse("nyc.weather")


@pytest.fixture
def uri(nessie: Nessie) -> str:
    nessie.empty()
    return nessie.uri


@pytest.fixture
def lake(uri: str, tmp_path: Path) -> Iterator[Lake]:
    made = make_lake(tmp_path, uri)
    yield made
    made.close()


def test_a_publish_that_comes_after_the_drop_finds_nothing_to_merge(uri, lake, tmp_path):
    """The run is dropped and opened again between a publish's proof and its merge."""
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    wire = Wire()

    def drop_and_open() -> None:
        run.drop()
        assert refs(uri) == {"main"}, "nothing is left to merge"
        run.open()

    wire.lose, wire.what = 2, drop_and_open
    late = make_lake(tmp_path, uri, wire)
    audited = run.audited()
    with pytest.raises((BranchNotFoundError, HeadMovedError)):
        late.catalog.publish([audited])
    late.close()
    assert lake.ids() == [1]
    assert len(bodies(wire)) == 1, "it was at the merge"


def test_a_run_that_is_dropped_while_the_server_is_at_its_merge_is_not_published(
    uri, lake, tmp_path
):
    """The server has looked the branch up already: to it the merge is one of a hash."""
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    late = make_lake(tmp_path, uri, AtTheMerge(lose=2, what=run.drop))
    with pytest.raises(BranchNotFoundError):
        late.catalog.publish([run.audited()])
    late.close()
    assert lake.ids() == [1]
    assert lake.catalog.verify(FLIGHTS) == []
    assert refs(uri) == {"main"}
    assert not [f for f in lake.files() if f"/{run.branch.run_id}/" in f]


class AtTheFirst(AtTheMerge):
    """What befalls the merge of a table that main has not, in which request it ever comes."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/history/merge"):
            self.lose = self.changes
        return super().handle_request(request)


@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("empty", [False, True])
def test_a_first_load_that_is_dropped_while_the_server_is_at_its_merge_is_not_published(
    uri, lake, tmp_path, empty, again
):
    """Main has no such table that the drop could change; be it that another run makes it next."""
    if not empty:
        lake.publish([1], WEATHER)
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    other = lake.run()
    other.open()
    other.stage([3])

    def drop() -> None:
        run.drop()
        if again:
            other.finish()

    wire = AtTheFirst(what=drop)
    late = make_lake(tmp_path, uri, wire)
    with pytest.raises((BranchNotFoundError, HeadMovedError)):
        late.catalog.publish([run.audited()])
    late.close()
    assert len(bodies(wire)) == 1, "it was at the merge"
    assert lake.ids() == ([3] if again else None)
    other.drop()
    assert refs(uri) == {"main"}
    assert not [f for f in lake.files() if f"/{run.branch.run_id}/" in f]
    assert lake.plain.api.entries("main", "UDF") == []


def test_a_first_load_leaves_no_mark_on_main(lake):
    """Nor does one that was killed behind making it, once it is dropped."""
    run = lake.run()
    run.open()
    run.stage([1])
    run.seal()
    api = lake.plain.api
    api.commit(api.ref("main"), missing(api, [FLIGHTS.identifier]), Meta("by hand"))
    assert len(api.entries("main", "UDF")) == 1
    assert lake.catalog.tables() == []
    run.drop()
    assert api.entries("main", "UDF") == []
    lake.publish([2])
    assert api.entries("main", "UDF") == []
    assert lake.ids() == [2]


def test_a_member_that_leaves_while_the_server_is_at_the_unions_merge_is_not_published(
    uri, lake, tmp_path
):
    """Whoever drops a member drops the union's branch first."""
    lake.publish([1])
    member, union = lake.run("member"), lake.run("union")
    member.open()
    member.stage([2])
    union.open()
    files = member.catalog.batch(member.now).files
    summary = {MEMBERS: member.branch.run_id}
    union.staging = union.catalog.stage(union.now, Change(files, summary=summary))
    audited = union.audited(members=(Taken(member.branch, member.now.head),))
    union.catalog.seal(audited, union.facts(audited, members=audited.member_ids))

    def leaves() -> None:
        union.drop()
        member.drop()

    late = make_lake(tmp_path, uri, AtTheMerge(lose=2, what=leaves))
    with pytest.raises(BranchNotFoundError):
        late.catalog.publish([audited])
    late.close()
    assert lake.ids() == [1]
    assert not [f for f in lake.files() if "/member/" in f or "/union/" in f]


def test_a_late_attempt_at_a_run_that_was_published_and_expired_leaves_nothing(lake):
    """What earlier commits of main show of the run stays: whoever has their hash reads it."""
    run = lake.run()
    run.open()
    run.stage([1])
    run.finish()
    replaced(lake, [2])
    replaced(lake, [3])
    lake.catalog.expire(FLIGHTS, keep())
    before = lake.files()
    run.open()
    run.stage([9])
    assert lake.files() > before
    run.drop()
    assert lake.files() == before
    assert lake.ids() == [3]


def test_a_publish_wants_the_branch_where_it_proved_it(uri, lake, tmp_path):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    wire = Wire(lose=1, what=lambda: run.seal(notes={"evidence": "other"}) and None)
    late = make_lake(tmp_path, uri, wire)
    (published,) = late.catalog.publish([run.audited()])
    late.close()
    assert published.summary["wap.evidence"] == "other"
    assert len(bodies(wire)) == 1


def test_what_others_put_on_the_runs_branch_is_not_published(lake):
    lake.publish([1])
    lake.publish([5], WEATHER)
    run = lake.run()
    run.open()
    run.stage([2])
    foreign = lake.plain.on(run.branch.name)
    foreign.drop_table(WEATHER.identifier)
    foreign.create_table(("nyc", "smuggled"), run.now.schema)
    run.finish()
    assert lake.ids() == [1, 2]
    assert lake.ids(WEATHER) == [5]
    assert lake.catalog.tables() == [FLIGHTS, WEATHER]


def test_properties_that_changed_on_main_are_not_lost(lake):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    table = lake.plain.load_table(FLIGHTS.identifier)
    table.transaction().set_properties({"owner": "them"}).commit_transaction()
    with pytest.raises(HeadMovedError, match="main has moved") as moved:
        lake.catalog.publish([run.audited()])
    assert "properties" in moved.value.hint
    run.rebase()
    run.finish()
    assert lake.ids() == [1, 2]
    assert lake.plain.load_table(FLIGHTS.identifier).properties["owner"] == "them"


def test_a_branch_that_somebody_made_by_hand_is_left_alone(uri, lake):
    lake.publish([1])
    api = lake.plain.api
    api.create("wap/taken", api.ref("main"))
    run = lake.run("taken")
    with pytest.raises(BranchExistsError):
        run.open()
    run.drop()
    assert refs(uri) == {"main", "wap/taken"}


def test_the_same_key_changed_in_both_is_a_conflict(lake):
    """What the publish rests on: Nessie itself refuses, and moves nothing."""
    lake.publish([1])
    api = lake.plain.api
    main = api.ref("main")
    side = api.create("wap-tmp/by-hand", main)
    _, found = api.contents("main", [FLIGHTS.identifier])
    pointer = {**found[FLIGHTS.identifier], "snapshotId": 7}
    side = api.commit(side, [Put(FLIGHTS.identifier, pointer)], Meta("by hand"))
    lake.publish([2])
    with pytest.raises(Exception, match="changed in conflict"):
        api.merge(side, main, Meta("by hand"))
    with pytest.raises(RefGoneError):
        api.ref("nowhere")
    assert lake.ids() == [1, 2]
