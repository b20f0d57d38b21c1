"""Clean-up of a table: what is forgotten and deleted, and above all what is not."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from catalog import CatalogError, HeadMovedError, UnsupportedError, storage
from catalog.retention import Keep, is_cut

#: Where others can get at the tables: not in memory.
TABLES = pytest.mark.kinds("sqlite", "portable", "nessie")
#: Where branches and tags are refs of the table.
REFS = pytest.mark.kinds("sqlite", "portable")
NATIVE = pytest.mark.kinds("memory", "sqlite", "portable")

#: Nothing is too young for it.
LATER = datetime.now(UTC) + timedelta(days=1)
ROWS = pa.table({"id": [666], "carrier": ["XX"]})


def keep(runs=1, *, shown_since=LATER, made_since=LATER, live=frozenset()):
    return Keep(runs, shown_since, made_since, live)


def sweep(lake, table, *, before=LATER, live=(), forgotten=(), dry_run=False):
    return lake.catalog.sweep(
        table, before=before, live=lambda: frozenset(live), forgotten=forgotten, dry_run=dry_run
    )


def now():
    """This moment, as coarse as Iceberg's clock."""
    told = datetime.now(UTC)
    return told.replace(microsecond=told.microsecond // 1000 * 1000)


def tick():
    """The next moment that this clock tells from what was before."""
    began = now()
    while now() == began:
        pass
    return now()


def replaced(lake, ids):
    """A run that takes all published files away."""
    published = lake.catalog.published(lake.run().table)
    files = lake.catalog.scan(published.snapshot.table, published.snapshot.id).files
    run = lake.run()
    run.open()
    run.stage(ids, removed=list(files))
    return run.finish()


def data_files(lake):
    return {f for f in lake.files() if f.endswith(".parquet")}


# --- expiry -------------------------------------------------------------------------------------


def test_the_newest_runs_stay_whole_and_proved(lake, flights):
    seals = [lake.publish([i]) for i in range(5)]
    gone = lake.catalog.expire(flights, keep(runs=2))
    log = lake.catalog.log(flights)
    assert [s.id for s in log if s.is_sealed] == [seals[4].id, seals[3].id]
    assert {s.id for s in seals[:3]} < {s.id for s in gone}
    assert lake.ids() == [0, 1, 2, 3, 4]
    assert lake.catalog.verify(flights) == []
    assert is_cut(log)
    assert lake.catalog.expire(flights, keep(runs=2)) == []
    lake.publish([5])
    assert lake.ids() == [0, 1, 2, 3, 4, 5]
    assert lake.catalog.verify(flights) == []


@pytest.mark.embedded
def test_a_run_that_was_sealed_on_its_own_seal_stays_whole(lake, flights):
    """Another attempt audits the branch as it finds it: its head is a seal already."""
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    run.staging = lake.catalog.staging(run.branch, run.table)
    run.finish()
    lake.publish([3])
    lake.catalog.expire(flights, keep(runs=2))
    assert lake.catalog.verify(flights) == []
    lake.catalog.expire(flights, keep(runs=1))
    assert lake.catalog.verify(flights) == []


def test_a_rebase_over_a_replace_leaves_history_readable(lake, flights):
    """What the run had of its old base is needed by the snapshots of that base."""
    first = lake.publish([1])
    other, run = lake.run(), lake.run()
    other.open()
    run.open()
    run.stage([2])
    other.stage([9], removed=list(lake.catalog.scan(flights, first.id).files))
    last = other.finish()
    run.rebase()
    lake.catalog.rollback(flights, first.id, last.id)
    assert lake.ids() == [1]


@pytest.mark.embedded
def test_a_run_that_was_sealed_again_where_it_stood_is_one_run(lake, flights):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    inner = run.seal()
    run.staging = lake.catalog.staging(run.branch, run.table)
    run.digest = "e" * 64
    outer = run.finish()
    lake.catalog.expire(flights, keep(runs=1))
    assert [s.id for s in lake.catalog.log(flights) if s.is_sealed] == [outer.id, inner.id]
    assert lake.catalog.verify(flights) == []


def test_an_expired_run_that_is_opened_late_and_dropped_takes_nothing_from_main(lake, flights):
    run = lake.run()
    run.open()
    run.stage([1])
    run.finish()
    lake.publish([2])
    lake.publish([3])
    lake.catalog.expire(flights, keep())
    run.open()
    run.drop()
    assert lake.ids() == [1, 2, 3]
    assert lake.catalog.verify(flights) == []


@pytest.mark.kinds("nessie")
def test_a_late_drop_leaves_what_earlier_commits_of_main_show(lake, flights):
    """Whoever has the hash of such a commit reads the table as it was, expired or not."""
    run = lake.run()
    run.open()
    run.stage([1])
    run.finish()
    then = lake.plain.load_table(flights.identifier).metadata_location
    replaced(lake, [2])
    lake.publish([3])
    lake.catalog.expire(flights, keep())
    run.drop()
    table = lake.plain.at(lake.plain.load_table(flights.identifier), then)
    assert table.scan().to_arrow()["id"].to_pylist() == [1]


@pytest.mark.embedded
def test_a_history_that_was_never_cut_begins_with_its_bootstrap(lake, flights):
    lake.publish([1])
    assert not is_cut(lake.catalog.log(flights))
    assert lake.catalog.expire(flights, keep(runs=9)) == []


@pytest.mark.embedded
def test_what_main_showed_lately_stays_however_old_it_is(lake, flights):
    first, second = lake.publish([1]), lake.publish([2])
    lately = tick()
    third = lake.publish([3])
    gone = lake.catalog.expire(flights, keep(shown_since=lately))
    assert first.id in {s.id for s in gone}
    sealed = [s.id for s in lake.catalog.log(flights) if s.is_sealed]
    assert sealed == [third.id, second.id], "a reader may be at what main has just left"


@pytest.mark.embedded
def test_a_dry_run_names_the_same_and_changes_nothing(lake, flights):
    for i in range(3):
        lake.publish([i])
    before = lake.catalog.log(flights)
    named = lake.catalog.expire(flights, keep(), dry_run=True)
    assert lake.catalog.log(flights) == before
    assert [s.id for s in lake.catalog.expire(flights, keep())] == [s.id for s in named]


def test_a_waiting_run_keeps_its_ground_and_gets_in(lake, flights):
    base = lake.publish([1])
    waiting = lake.run()
    waiting.open()
    waiting.stage([100])
    for i in range(2, 5):
        lake.publish([i])
    lake.catalog.expire(flights, keep())
    if lake.kind != "nessie":  # there it is in the metadata of the run's own branch
        assert base.id in {s.id for s in lake.catalog.log(flights)}
    assert waiting.candidate_ids() == [1, 100]
    waiting.rebase()
    assert waiting.candidate_ids() == [1, 2, 3, 4, 100]
    waiting.finish()
    assert lake.ids() == [1, 2, 3, 4, 100]
    assert lake.catalog.verify(flights) == []


@pytest.mark.embedded
def test_a_sealed_run_that_waits_is_published_or_told_to_rebase(lake, flights):
    lake.publish([1])
    lake.publish([2])
    run = lake.run()
    run.open()
    run.stage([3])
    audited = run.audited()
    run.seal()
    lake.catalog.expire(flights, keep())
    try:
        lake.catalog.publish([audited])
    except CatalogError:
        assert lake.kind == "nessie", "where main's metadata file is what it was staged on"
        run.rebase()
        run.finish()
    assert lake.ids() == [1, 2, 3]
    assert lake.catalog.verify(flights) == []


@pytest.mark.embedded
def test_what_a_live_run_made_stays(lake, flights):
    lake.publish([1])
    run = lake.run("at-work")
    run.open()
    run.stage([2])
    seal = run.finish()
    lake.publish([3])
    lake.catalog.expire(flights, keep(live={"at-work"}))
    assert seal.id in {s.id for s in lake.catalog.log(flights)}
    lake.catalog.expire(flights, keep())
    assert seal.id not in {s.id for s in lake.catalog.log(flights)}


@pytest.mark.embedded
@TABLES
def test_a_snapshot_that_no_seal_covers_is_not_hidden_from_auditors(lake, flights):
    lake.publish([1])
    lake.plain.load_table(flights.identifier).append(ROWS)
    for i in range(3):
        lake.publish([i])
    foreign = [s.id for s in lake.catalog.verify(flights)]
    assert len(foreign) == 1
    lake.catalog.expire(flights, keep())
    assert [s.id for s in lake.catalog.verify(flights)] == foreign


@REFS
def test_a_tag_keeps_the_run_it_points_into_and_no_more(lake, flights):
    seals = [lake.publish([i]) for i in range(5)]
    table = lake.plain.load_table(flights.identifier)
    table.manage_snapshots().create_tag(seals[1].id, "year-end").commit()
    lake.catalog.expire(flights, keep())
    metadata = lake.plain.load_table(flights.identifier).metadata
    assert metadata.refs["year-end"].snapshot_id == seals[1].id
    audited = int(seals[1].summary["wap.audited"])
    assert metadata.snapshot_by_id(audited) is not None, "an audit of it can be repeated"
    assert metadata.snapshot_by_id(seals[2].id) is None
    sweep(lake, flights)
    assert (
        lake.plain.load_table(flights.identifier).scan(snapshot_id=seals[1].id).to_arrow().num_rows
        == 2
    )


@pytest.mark.embedded
@REFS
def test_a_foreign_branch_keeps_what_it_stands_on(lake, flights):
    base = lake.publish([1])
    table = lake.plain.load_table(flights.identifier)
    table.manage_snapshots().create_branch(base.id, "somebody").commit()
    lake.plain.load_table(flights.identifier).append(ROWS, branch="somebody")
    for i in range(2, 5):
        lake.publish([i])
    lake.catalog.expire(flights, keep())
    sweep(lake, flights)
    table = lake.plain.load_table(flights.identifier)
    assert sorted(table.scan().use_ref("somebody").to_arrow()["id"].to_pylist()) == [1, 666]
    assert lake.ids() == [1, 2, 3, 4]


@REFS
def test_a_ref_that_moves_under_an_expiry_is_not_lost(lake, flights):
    first = lake.publish([1])
    head = [lake.publish([i]) for i in range(2, 4)][-1]
    other = lake.again()

    def move_back():
        other.catalog.rollback(flights, first.id, head.id)

    lake.faults.before.append(move_back)
    lake.catalog.expire(flights, keep())
    assert lake.ids() == [1]
    assert lake.catalog.published(flights).snapshot.id == first.id


@pytest.mark.embedded
@TABLES
def test_an_expiry_whose_answer_is_lost_has_happened(lake, flights):
    for i in range(3):
        lake.publish([i])
    named = lake.catalog.expire(flights, keep(), dry_run=True)
    lake.faults.after.append(ConnectionError("the answer was lost"))
    assert [s.id for s in lake.catalog.expire(flights, keep())] == [s.id for s in named]
    assert lake.catalog.verify(flights) == []


@pytest.mark.embedded
@TABLES
def test_an_expiry_that_loses_its_race_is_made_again(lake, flights):
    for i in range(3):
        lake.publish([i])
    other = lake.again()
    lake.faults.before.append(lambda: other.publish([9]))
    lake.catalog.expire(flights, keep())
    assert lake.ids() == [0, 1, 2, 9]
    assert len([s for s in lake.catalog.log(flights) if s.is_sealed]) == 1
    assert lake.catalog.verify(flights) == []


@pytest.mark.embedded
@TABLES
def test_expiries_and_publishes_side_by_side_lose_nothing(lake, flights):
    lake.publish([0])
    other = lake.again()
    done = threading.Event()

    def expiring():
        while not done.is_set():
            other.catalog.expire(flights, keep())
        other.catalog.expire(flights, keep())

    with ThreadPoolExecutor(1) as beside:
        told = beside.submit(expiring)
        try:
            for i in range(1, 6):
                run = lake.run()
                run.open()
                run.stage([i])
                published_at_last(run)
        finally:
            done.set()
        told.result()
    assert lake.ids() == [0, 1, 2, 3, 4, 5]
    assert lake.catalog.verify(flights) == []
    assert len([s for s in lake.catalog.log(flights) if s.is_sealed]) == 1


def published_at_last(run):
    """A run as the saga does it: main that has moved means rebase, audit, and again."""
    while True:
        try:
            return run.finish()
        except HeadMovedError:
            run.rebase()


@pytest.mark.embedded
@REFS
def test_snapshots_that_a_rollback_left_go_with_time(lake, flights):
    first, second = lake.publish([1]), lake.publish([2])
    lake.catalog.rollback(flights, first.id, second.id)
    lately = now() - timedelta(minutes=1)
    assert lake.catalog.expire(flights, keep(shown_since=lately)) == []
    gone = lake.catalog.expire(flights, keep())
    assert second.id in {s.id for s in gone}
    assert lake.ids() == [1]
    sweep(lake, flights)
    assert len(data_files(lake)) == 1


# --- compaction ---------------------------------------------------------------------------------


@TABLES
def test_a_change_that_keeps_the_rows_is_told_as_such(lake, flights):
    lake.publish([1])
    published = lake.publish([2])
    old = list(lake.catalog.scan(flights, published.id).files)
    run = lake.run()
    run.open()
    kept = [run.write([1, 2], "kept-0")]
    run.stage([], removed=old, kept=kept, same_rows=True)
    run.finish()
    told = next(s for s in lake.catalog.log(flights) if s.role == "stage")
    assert told.operation == "replace"
    assert told.summary["total-records"] == "2"
    assert (lake.ids(), len(old)) == ([1, 2], 2)
    assert lake.catalog.verify(flights) == []
    again = lake.again()
    assert again.ids() == [1, 2]


# --- files --------------------------------------------------------------------------------------


@pytest.mark.storage
def test_only_files_that_nothing_needs_are_deleted(lake, flights):
    lake.publish([1])
    waiting = lake.run()
    waiting.open()
    waiting.stage([2])
    before = lake.where.names()
    left = lake.run("left-by-a-zombie")
    left.staging = lake.catalog.staging(waiting.branch, flights)
    for name in ("data/left-by-a-zombie/a.parquet", "data/left-by-a-zombie/b.txt"):
        location = f"{left.now.location}/{name}"
        with left.now.io.new_output(location).create() as stream:
            stream.write(b"nobody's")
    assert sweep(lake, flights, before=now() - timedelta(hours=1)) == [], "grace"
    assert sweep(lake, flights, live={"left-by-a-zombie"}) == [], "a live run"
    (named,) = sweep(lake, flights, dry_run=True)
    assert (named.size, named.kind) == (8, "data")
    assert len(lake.where.names()) == len(before) + 2
    assert sweep(lake, flights) == [named]
    kept = {f.rpartition("/")[2] for f in lake.where.names() - before}
    assert kept == {"b.txt"}, "what Iceberg's writers do not make is not ours to judge"
    assert sweep(lake, flights) == []
    assert waiting.candidate_ids() == [1, 2]
    waiting.finish()
    assert lake.ids() == [1, 2]


@pytest.mark.embedded
def test_a_run_with_a_branch_is_at_work_whoever_else_knows_it(lake, flights):
    lake.publish([1])
    run = lake.run()
    run.open()
    file = run.write([2])
    assert sweep(lake, flights) == []
    assert run.now.io.new_input(file.file_path).exists()


@pytest.mark.embedded
def test_a_run_that_ends_while_files_are_looked_at_keeps_its_own(lake, flights):
    """Listed first, then asked who is at work, then the table is read."""
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])

    def finished():
        run.finish()
        return frozenset()

    assert lake.catalog.sweep(flights, before=LATER, live=finished) == []
    assert lake.ids() == [1, 2]


@pytest.mark.embedded
@NATIVE
def test_files_of_forgotten_snapshots_go(lake, flights):
    lake.publish([1])
    replaced(lake, [2])
    replaced(lake, [3])
    dry = sweep(
        lake, flights, dry_run=True,
        forgotten=[s.id for s in lake.catalog.expire(flights, keep(), dry_run=True)],
    )  # fmt: skip
    assert sweep(lake, flights) == [], "main's history still shows them"
    lake.catalog.expire(flights, keep())
    gone = sweep(lake, flights)
    assert {f.path for f in dry} <= {f.path for f in gone}
    assert [f.kind for f in gone].count("data") == 1
    assert len(data_files(lake)) == 2, "the last run began where the one before it ended"
    assert lake.ids() == [3]
    assert lake.catalog.verify(flights) == []


@pytest.mark.embedded
@pytest.mark.exactly("nessie")
def test_on_nessie_a_commit_that_can_be_read_keeps_its_files(lake, flights):
    lake.publish([1])
    old = lake.plain.api.ref("main")
    replaced(lake, [2])
    lake.catalog.expire(flights, keep())
    files = data_files(lake)
    sweep(lake, flights)
    assert data_files(lake) == files
    _, found = lake.plain.api.contents(f"main@{old.hash}", [flights.identifier])
    location = found[flights.identifier]["metadataLocation"]
    then = lake.plain.at(lake.plain.load_table(flights.identifier), location)
    assert then.scan().to_arrow()["id"].to_pylist() == [1]


@pytest.mark.embedded
@REFS
def test_a_metadata_file_that_lost_its_race_goes_and_the_current_one_stays(lake, flights):
    lake.publish([1])
    table = lake.plain.load_table(flights.identifier)
    current = table.metadata_location
    folder = current.rsplit("/", 1)[0]
    with table.io.new_input(current).open() as stream:
        content = stream.read()
    for name in ("00099-lost.metadata.json", "00099-half.metadata.json"):
        with table.io.new_output(f"{folder}/{name}").create() as stream:
            stream.write(content if "lost" in name else content[:40])
    gone = sweep(lake, flights)
    assert [f.path.rsplit("/", 1)[1] for f in gone] == ["00099-lost.metadata.json"]
    assert lake.again().ids() == [1]


@pytest.mark.embedded
@REFS
def test_a_place_that_two_tables_share_is_left_alone(lake, flights):
    lake.publish([1])
    table = lake.plain.load_table(flights.identifier)
    lake.plain.create_table("nyc.nested", ROWS.schema, location=f"{table.location()}/nested")
    lake.plain.load_table("nyc.nested").append(ROWS)
    with pytest.raises(UnsupportedError, match="another table"):
        sweep(lake, flights)
    assert lake.plain.load_table("nyc.nested").scan().to_arrow().num_rows == 1


@pytest.mark.embedded
@TABLES
def test_a_sweep_that_dies_half_way_is_finished_by_the_next(lake, flights, monkeypatch):
    lake.publish([1])
    staging = lake.run("dead").open()
    for name in "abc":
        with staging.io.new_output(f"{staging.location}/data/gone/{name}.parquet").create() as out:
            out.write(b"x")
    lake.run("dead").drop()
    before = lake.ids()
    real = storage.delete_files

    def dying(io, location, files):
        real(io, location, list(files)[:1])
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "delete_files", dying)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            sweep(lake, flights)
    monkeypatch.undo()
    assert [f.path.rsplit("/", 1)[1] for f in sweep(lake, flights)] == ["c.parquet"]
    assert lake.ids() == before


@pytest.mark.embedded
def test_a_table_that_is_not_published_is_named(lake, flights):
    with pytest.raises(CatalogError, match="no such table"):
        lake.catalog.expire(flights, keep())
    with pytest.raises(CatalogError, match="no such table"):
        sweep(lake, flights)
