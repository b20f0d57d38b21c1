"""What goes wrong around a catalog: crashes between steps, locks, broken files, wrong settings."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from pyiceberg.exceptions import CommitFailedException

from catalog import (
    CatalogConfigError,
    CatalogUnavailableError,
    CorruptMetadataError,
    HeadMovedError,
    TableName,
    open_catalog,
    usage,
)
from catalog.base import Change
from catalog.home import NativeHome
from tests.behaviors.conftest import told

#: Crashes and files that every catalog of tables meets.
ANY = pytest.mark.kinds("sqlite", "portable", "nessie")
#: What is about a database, or about a hidden table.
SQL = pytest.mark.kinds("sqlite", "portable")


#: One transaction of a SQL catalog moves main and renames: only elsewhere is there a between.
HALF_WAY = pytest.mark.kinds("portable")


def _die_once(monkeypatch, target, name):
    """The next call of a pyiceberg method dies before it does anything."""
    original = getattr(target, name)
    left = [KeyboardInterrupt()]

    def dying(*args, **kwargs):  # noqa: ANN002, ANN003 - stands in for any method
        if left:
            raise left.pop()
        return original(*args, **kwargs)

    monkeypatch.setattr(target, name, dying)


@pytest.fixture
def half_published(lake, monkeypatch):
    """A first load whose publish died after main moved and before the table got its name."""
    run = lake.run()
    run.open()
    run.stage([1])
    run.seal()
    _die_once(monkeypatch, lake.plain, "rename_table")
    with pytest.raises(KeyboardInterrupt):
        lake.catalog.publish([run.audited()])
    assert lake.catalog.tables() == []
    return run


@HALF_WAY
@pytest.mark.glue
def test_a_publish_that_died_before_the_rename_is_completed(lake, half_published):
    audited = half_published.audited()
    (snapshot,) = lake.catalog.publish([audited])
    assert lake.ids() == [1]
    assert lake.catalog.publish([audited]) == [snapshot]
    assert lake.catalog.verify(half_published.table) == []


@HALF_WAY
@pytest.mark.glue
def test_a_publish_that_died_before_the_rename_can_be_dropped(lake, half_published):
    assert [s.branch for s in lake.catalog.branches()] == [half_published.branch]
    half_published.drop()
    assert lake.files() == set()
    assert lake.catalog.branches() == []


@pytest.mark.glue
@pytest.mark.exactly("glue")
def test_a_rename_that_died_between_its_two_halves_is_published_and_cleared(lake, monkeypatch):
    """Glue has no rename: pyiceberg makes the new entry and then drops the old one."""
    run = lake.run()
    run.open()
    run.stage([1])
    run.seal()
    _die_once(monkeypatch, lake.plain, "drop_table")
    with pytest.raises(KeyboardInterrupt):
        lake.catalog.publish([run.audited()])
    lake.catalog.publish([run.audited()])
    assert lake.ids() == [1]
    run.drop()
    assert lake.ids() == [1]
    assert lake.plain.list_namespaces() == [("nyc",)]
    assert lake.catalog.branches() == []


@pytest.mark.glue
@pytest.mark.exactly("glue")
def test_a_rename_whose_second_half_fails_is_done_again(lake, monkeypatch):
    run = lake.run()
    run.open()
    run.stage([1])
    run.seal()
    drop, left = lake.plain.drop_table, [ConnectionError("throttled")]

    def failing(identifier):
        if left:
            raise left.pop()
        drop(identifier)

    monkeypatch.setattr(lake.plain, "drop_table", failing)
    lake.catalog.publish([run.audited()])
    assert lake.ids() == [1]
    assert lake.catalog.branches() == []


@HALF_WAY
def test_a_drop_of_it_that_dies_too_is_completed(lake, half_published, monkeypatch):
    _die_once(monkeypatch, lake.plain, "drop_namespace")
    with pytest.raises(KeyboardInterrupt):
        half_published.drop()
    half_published.drop()
    assert lake.where.names() == set()


@HALF_WAY
def test_a_publish_that_is_completed_while_it_is_dropped_stays_whole(lake, half_published):
    """The drop's commit loses to the rename and leaves a metadata file that says otherwise."""
    hidden = lake.plain.list_tables("wap_staging")[0]

    def lose_to_the_rename():
        table = lake.plain.load_table(hidden)
        orphan = table.metadata_location.replace("/00004-", "/00005-")
        first = min(table.metadata.snapshots, key=lambda s: s.sequence_number)
        text = lake.where.read(table.metadata_location)
        main = str(table.current_snapshot().snapshot_id)
        lake.where.write(orphan, text.replace(main, str(first.snapshot_id)))
        lake.plain.rename_table(hidden, half_published.table.identifier)
        raise CommitFailedException("updated by another process")

    lake.faults.before = [lose_to_the_rename]
    half_published.drop()
    assert lake.ids() == [1]
    lake.plain.rename_table(half_published.table.identifier, ("nyc", "renamed"))
    half_published.drop()
    assert lake.plain.load_table("nyc.renamed").scan().to_arrow()["id"].to_pylist() == [1]


@HALF_WAY
def test_a_publish_that_died_before_the_rename_and_then_lost_the_name(lake, half_published):
    lake.publish([5])
    with pytest.raises(HeadMovedError):
        lake.catalog.publish([half_published.audited()])
    half_published.rebase()
    half_published.finish()
    assert lake.ids() == [1, 5]
    assert lake.catalog.verify(half_published.table) == []


@ANY
def test_a_run_opened_again_after_it_died_before_its_first_commit(lake):
    run = lake.run()
    lake.faults.before = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        run.open()
    assert lake.catalog.tables() == []
    run.open()
    run.stage([1])
    run.finish()
    assert lake.ids() == [1]


@ANY
def test_a_run_dropped_after_it_died_before_its_first_commit(lake):
    run = lake.run()
    lake.faults.before = [KeyboardInterrupt()]
    with pytest.raises(KeyboardInterrupt):
        run.open()
    run.drop()
    assert lake.where.names() == set()


@SQL
def test_a_create_that_died_before_the_entry_is_swept_by_drop(lake, monkeypatch):
    run = lake.run()
    run.open()
    run.write([1])
    lake.plain.drop_table(lake.plain.list_tables("wap_staging")[0])
    assert lake.files() != set()
    run.drop()
    assert lake.where.names() == set()


@ANY
def test_a_published_table_that_was_renamed_is_safe_from_a_late_drop(lake, flights):
    run = lake.run()
    run.open()
    run.stage([1])
    run.finish()
    lake.plain.rename_table(flights.identifier, ("nyc", "renamed"))
    assert run.drop().files == 0
    renamed = lake.plain.load_table(("nyc", "renamed"))
    assert renamed.scan().to_arrow()["id"].to_pylist() == [1]


@SQL
def test_a_published_table_that_was_emptied_by_hand_is_safe_from_a_late_drop(lake, flights):
    """No metadata file is left that shows it was published; it is still a table readers see."""
    run = lake.run()
    run.open()
    run.stage([1])
    run.finish()
    table = lake.plain.load_table(flights.identifier)
    first = min(table.metadata.snapshots, key=lambda s: s.sequence_number)
    table.manage_snapshots().set_current_snapshot(snapshot_id=first.snapshot_id).commit()
    for entry in lake.plain.load_table(flights.identifier).metadata.metadata_log:
        lake.where.delete(entry.metadata_file)
    run.drop()
    assert (
        lake.plain.load_table(flights.identifier).current_snapshot().snapshot_id
        == first.snapshot_id
    )
    assert lake.where.exists(first.manifest_list)


@SQL
def test_files_of_a_snapshot_that_another_run_removed_meanwhile_are_not_missed(lake, flights):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    home = NativeHome(lake.plain, lake.faults)
    seen = home.needed(flights)
    run.drop()
    used = usage.metadata_in_use(home, seen, seen.metadata.snapshots)
    assert used == usage.metadata_in_use(home, home.needed(flights), seen.metadata.snapshots[:4])
    assert usage.data_in_use(home, seen, seen.metadata.snapshots, {"x"}) == set()


@SQL
def test_a_manifest_list_that_is_missing_for_no_reason_stops_the_deletion(lake, flights):
    lake.publish([1])
    home = NativeHome(lake.plain, lake.faults)
    table = home.needed(flights)
    lake.where.delete(table.current_snapshot().manifest_list)
    with pytest.raises(FileNotFoundError):
        usage.metadata_in_use(home, table, table.metadata.snapshots)


@ANY
def test_an_adopted_first_load_is_safe_from_a_late_drop_after_a_rename(lake, flights):
    one, two = lake.run("one"), lake.run("two")
    for run, ids in ((one, [1]), (two, [2])):
        run.open()
        run.stage(ids)
    one.finish()
    two.rebase()
    two.finish()
    lake.plain.rename_table(flights.identifier, ("nyc", "renamed"))
    one.drop()
    two.drop()
    renamed = lake.plain.load_table(("nyc", "renamed"))
    assert sorted(renamed.scan().to_arrow()["id"].to_pylist()) == [1, 2]


@SQL
def test_a_rebase_that_died_before_it_cleared_the_staged_table(lake, monkeypatch, flights):
    one, two = lake.run("one"), lake.run("two")
    for run, ids in ((one, [1]), (two, [2])):
        run.open()
        run.stage(ids)
    one.finish()
    _die_once(monkeypatch, lake.plain, "drop_table")
    with pytest.raises(KeyboardInterrupt):
        two.rebase()
    two.rebase()
    two.finish()
    assert lake.ids() == [1, 2]
    assert lake.plain.list_namespaces() == [("nyc",)]


@pytest.mark.exactly("sqlite", "portable")
def test_a_locked_database_is_told_as_unavailable(lake, tmp_path):
    lake.publish([1])
    impatient = open_catalog(
        "sqlite",
        "test",
        {
            "warehouse": lake.where.url,
            **told(lake.root),
            "uri": f"sqlite:///{tmp_path / 'catalog.db'}?timeout=0.01",
        },
    )
    run = lake.run()
    run.open()
    change = run.write([2])
    holder = sqlite3.connect(tmp_path / "catalog.db")
    holder.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(CatalogUnavailableError):
            impatient.stage(run.now, Change([change]))
        assert lake.ids() == [1], "readers are not locked out"
    finally:
        holder.rollback()
        holder.close()
    impatient.stage(run.now, Change([change]))
    run.staging = lake.catalog.staging(run.branch, run.table)
    run.finish()
    assert lake.ids() == [1, 2]


#: Iceberg's own REST server asks a broken file again for minutes, and answers nothing meanwhile.
@pytest.mark.exactly("sqlite", "portable", "postgres", "nessie")
@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace('"format-version":2', '"format-version":9'),
        lambda text: text[: len(text) // 2],
        lambda text: "",
    ],
    ids=["newer", "cut", "empty"],
)
def test_metadata_that_cannot_be_read_says_so_and_stays(lake, flights, spoil):
    lake.publish([1])
    run = lake.run()
    run.open()
    path = lake.plain.load_table(flights.identifier).metadata_location
    whole = lake.where.read(path)
    lake.where.write(path, spoil(whole))
    fresh = lake.again()
    steps = [
        lambda: fresh.catalog.published(flights),
        lambda: fresh.run().open(),
        fresh.catalog.branches,
        lambda: fresh.catalog.drop(run.branch, run.table),
    ]
    if lake.kind != "nessie":  # there a branch has metadata of its own
        steps.append(lambda: fresh.catalog.staging(run.branch, run.table))
    for step in steps:
        with pytest.raises(CorruptMetadataError):
            step()
    lake.where.write(path, whole)
    assert fresh.ids() == [1]


@ANY
def test_a_missing_manifest_stops_publish(lake, flights):
    lake.publish([1])
    run = lake.run()
    run.open()
    run.stage([2])
    run.seal()
    plain, ref = lake.on_branch(run)
    table = plain.load_table(flights.identifier)
    lake.where.delete(table.metadata.snapshot_by_name(ref).manifest_list)
    with pytest.raises(CorruptMetadataError):
        lake.catalog.publish([run.audited()])
    assert lake.ids() == [1]


def test_a_database_that_is_none(tmp_path):
    (tmp_path / "catalog.db").write_bytes(b"this is no database, and long enough to be read" * 99)
    with pytest.raises(CorruptMetadataError, match="database"):
        open_catalog(
            "sqlite",
            "test",
            {"uri": f"sqlite:///{tmp_path / 'catalog.db'}", "warehouse": str(tmp_path)},
        )


@pytest.mark.parametrize(
    ("properties", "reason"),
    [
        ({}, "'uri'"),
        ({"uri": "sqlite:////tmp/x.db"}, "'warehouse'"),
        ({"uri": "postgresql://u:secret@h/db", "warehouse": "wh"}, "not a SQLite file"),
        ({"uri": "sqlite://", "warehouse": "wh"}, "not a SQLite file"),
        ({"uri": "no url", "warehouse": "wh"}, "not a database URL"),
        ({"uri": "sqlite:////tmp/x.db", "warehouse": "file:///tmp/a#b"}, "#"),
        ({"uri": "sqlite:////tmp/x.db", "warehouse": "gs://b/a?token=secret"}, "#"),
    ],
)
def test_wrong_settings_name_the_setting_and_no_secret(properties, reason):
    with pytest.raises(CatalogConfigError, match=reason) as raised:
        open_catalog("sqlite", "test", properties)
    assert "secret" not in str(raised.value)


def test_an_unknown_kind_names_the_known_ones():
    with pytest.raises(CatalogConfigError, match="sqlite"):
        open_catalog("oracle", "test", {})


@pytest.mark.exactly("sqlite", "portable")
def test_write_ahead_logging_is_on(lake, tmp_path):
    with sqlite3.connect(tmp_path / "catalog.db") as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_two_that_open_a_new_database_at_once(tmp_path):
    properties = {"uri": f"sqlite:///{tmp_path / 'new' / 'c.db'}", "warehouse": str(tmp_path / "w")}
    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(lambda _: open_catalog("sqlite", "t", properties), range(4)))
    assert [c.tables() for c in opened] == [[]] * 4


@pytest.mark.kinds("sqlite")
def test_a_group_commit_that_fails_midway_deletes_its_metadata_files(lake, monkeypatch):
    weather = TableName.parse("nyc.weather")
    lake.publish([1])
    lake.publish([1], weather)
    runs = [lake.run("both"), lake.run("both", weather)]
    for run in runs:
        run.open()
        run.stage([2])
        run.seal()
    other = lake.again()
    before = {f for f in lake.where.names() if f.endswith(".metadata.json")}
    unrelated = other.run("unrelated", weather)
    lake.faults.before = [unrelated.open]
    lake.catalog.publish([r.audited() for r in runs])
    after = {f for f in lake.where.names() if f.endswith(".metadata.json")}
    assert len(after - before) == 3, "one of the other run, one for each table, none that lost"
    assert lake.ids() == [1, 2]
    assert lake.ids(weather) == [1, 2]
