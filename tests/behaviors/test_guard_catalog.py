"""Law 2 where it is rarely reached: first loads, half-done publishes, and moves during a commit."""

from __future__ import annotations

import pytest
from pyiceberg.types import NestedField, StringType

from catalog import (
    BranchExistsError,
    BranchNotFoundError,
    CatalogError,
    HeadMovedError,
    UnsealedError,
)
from catalog.drafts import Draft
from catalog.moves import add_schema, add_snapshot, ref_is, set_branch
from catalog.naming import hidden_identifier
from catalog.refs import MAIN, TableName

pytestmark = pytest.mark.kinds("sqlite", "portable", "nessie")
#: Where the branch is a ref of the table that main shows.
NATIVE = pytest.mark.kinds("sqlite", "portable")
#: Only here is main moved before the table has its name.
HALF_WAY = pytest.mark.kinds("portable")

EXTRA = NestedField(3, "tail", StringType(), required=False)


@pytest.fixture
def run(lake):
    """A run that staged [2] on top of a published [1]."""
    lake.publish([1])
    run = lake.run("suspect")
    run.open()
    run.stage([2])
    return run


@pytest.fixture
def first(lake):
    """A run that staged [1] for a table that is not there yet; the test must not publish it."""
    run = lake.run("first")
    run.open()
    run.stage([1])
    yield run
    assert lake.ids() is None


@pytest.fixture
def half_published(lake, first, monkeypatch):
    """The publish of a first load that died before the table got its name."""
    first.seal()

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(lake.plain, "rename_table", die)
        with pytest.raises(KeyboardInterrupt):
            lake.catalog.publish([first.audited()])
    return first


def _forge(lake, run, below, schema=None, ref=None, **draft: object):
    """Put a hand-made snapshot on the branch, as any pyiceberg client could."""
    plain, on = lake.on_branch(run)
    ref, identifier = ref or on, _staged_as(lake, run)
    table = plain.load_table(identifier)
    metadata = table.metadata
    made = Draft(table, "forged", schema or table.schema(), **draft)
    parent = metadata.snapshot_by_id(below)
    snapshot = made.snapshot(metadata, parent, metadata.next_sequence_number())
    asserted = ref_is(ref, metadata.refs[ref].snapshot_id)
    moves = (add_snapshot(snapshot), set_branch(ref, snapshot))
    plain.commit_table(table, (asserted,), moves)
    return snapshot.snapshot_id


def _staged_as(lake, run) -> tuple[str, ...]:
    """What the table is called where the run stages it."""
    hidden = hidden_identifier(run.branch, run.table)
    is_hidden = lake.kind != "nessie" and lake.plain.table_exists(hidden)
    return hidden if is_hidden else run.table.identifier


# --- first loads --------------------------------------------------------------------------------


def test_a_first_load_without_a_seal(lake, first):
    with pytest.raises(UnsealedError, match="no seal"):
        lake.catalog.publish([first.audited()])


def test_a_first_load_that_expects_a_head(lake, first):
    first.seal()
    with pytest.raises(HeadMovedError) as moved:
        lake.catalog.publish([first.audited(expected=7)])
    assert (moved.value.expected, moved.value.found) == (7, None)


def test_a_foreign_snapshot_in_a_first_load(lake, first, report):
    smuggled = first.write([666], "batch-smuggled")
    foreign = _forge(lake, first, first.now.head, added=[smuggled])
    mine = {"wap.run": first.branch.run_id, "wap.role": "stage"}
    head = _forge(lake, first, foreign, same_manifests=True, summary=mine)
    audited = first.audited(head=head, report=report(head))
    summary = first.facts(audited).to_summary()
    _forge(lake, first, head, same_manifests=True, summary=summary)
    with pytest.raises(UnsealedError, match="by this run alone"):
        lake.catalog.publish([audited])


@HALF_WAY
def test_a_half_done_publish_of_another_audit(lake, half_published, report):
    other = half_published.audited(report=report(half_published.now.head, digest="e" * 64))
    with pytest.raises(CatalogError):
        lake.catalog.publish([other])


@HALF_WAY
def test_a_half_done_publish_that_shows_more(lake, half_published):
    audited = half_published.audited()
    smuggled = half_published.write([666], "batch-smuggled")
    summary = half_published.facts(audited).to_summary()
    _forge(lake, half_published, audited.head, ref=MAIN, added=[smuggled], summary=summary)
    with pytest.raises(UnsealedError, match="other files"):
        lake.catalog.publish([audited])


# --- seals --------------------------------------------------------------------------------------


def test_a_seal_that_shows_other_columns(lake, run, make_schema):
    plain, _ = lake.on_branch(run)
    table = plain.load_table(run.table.identifier)
    other = make_schema(EXTRA).model_copy(update={"schema_id": 7})
    plain.commit_table(table, (), (add_schema(other),))
    audited = run.audited()
    summary = run.facts(audited).to_summary()
    _forge(lake, run, audited.head, other, same_manifests=True, summary=summary)
    with pytest.raises(UnsealedError):
        lake.catalog.publish([audited])
    assert lake.ids() == [1]


def test_a_seal_does_not_take_the_place_of_another_heads(lake, run, report):
    sealed = run.seal()
    older = run.now.expected
    audited = run.audited(head=older, report=report(older))
    with pytest.raises(HeadMovedError) as moved:
        lake.catalog.seal(audited, run.facts(audited))
    assert moved.value.found == sealed.id


def test_rollback_to_a_seal_that_is_not_published(lake, run):
    sealed = run.seal()
    with pytest.raises(UnsealedError, match="not in main's history"):
        lake.catalog.rollback(run.table, sealed.id, expected=run.now.expected)
    assert lake.ids() == [1]


# --- between the last look and the commit -------------------------------------------------------


def test_columns_that_change_during_the_publish(lake, run):
    run.seal()

    def rename() -> None:
        table = lake.again().plain.load_table(run.table.identifier)
        table.update_schema().rename_column("carrier", "airline").commit()

    lake.faults.before = [rename]
    with pytest.raises(HeadMovedError) as moved:
        lake.catalog.publish([run.audited()])
    assert "schema" in moved.value.hint
    assert lake.ids() == [1]


def _moved_back(lake, run):
    """Somebody sets the branch back to main's head, which takes no new snapshot."""

    def move() -> None:
        plain, ref = lake.again().on_branch(run)
        table = plain.load_table(run.table.identifier)
        back = set_branch(ref, table.snapshot_by_id(run.now.expected))
        plain.commit_table(table, (), (back,))

    return move


def test_a_branch_that_moves_while_it_is_sealed(lake, run):
    audited = run.audited()
    lake.faults.before = [_moved_back(lake, run)]
    # Where the branch has metadata of its own, to show main's head is not to be opened.
    gone = BranchNotFoundError if lake.kind == "nessie" else BranchExistsError
    with pytest.raises(gone):
        lake.catalog.seal(audited, run.facts(audited))
    plain, ref = lake.on_branch(run)
    refs = plain.load_table(run.table.identifier).metadata.refs
    assert refs[ref].snapshot_id == run.now.expected


def test_a_branch_that_moves_during_the_publish(lake, run):
    run.seal()
    lake.faults.before = [_moved_back(lake, run)]
    with pytest.raises(BranchNotFoundError if lake.kind == "nessie" else UnsealedError):
        lake.catalog.publish([run.audited()])
    assert lake.ids() == [1]


@NATIVE
def test_a_snapshot_that_a_ref_moves_to_during_the_rebase_stays(lake, run):
    staged = run.now.head
    identifier = run.table.identifier
    kept = lake.plain.load_table(identifier)
    kept.manage_snapshots().create_branch(run.now.expected, "kept").commit()
    lake.publish([3])

    def move() -> None:
        plain = lake.again().plain
        table = plain.load_table(identifier)
        plain.commit_table(table, (), (set_branch("kept", table.snapshot_by_id(staged)),))

    lake.faults.before = [move]
    run.rebase()
    metadata = lake.plain.load_table(identifier).metadata
    assert metadata.refs["kept"].snapshot_id == staged
    assert metadata.snapshot_by_id(staged) is not None
    assert run.batch_ids() == [2]


@pytest.mark.kinds("sqlite", "rest", "nessie")
def test_a_group_of_which_one_moves_during_the_commit_moves_nothing(lake, run, flights):
    other = TableName.parse("nyc.planes")
    lake.publish([1], other)
    second = lake.run("suspect", other)
    second.open()
    second.stage([2])
    for each in (run, second):
        each.seal()
    elsewhere = lake.again()
    lake.faults.before = [lambda: elsewhere.publish([3], other)]
    with pytest.raises(HeadMovedError):
        lake.catalog.publish([run.audited(), second.audited()])
    assert lake.ids(flights) == [1]
    assert lake.ids(other) == [1, 3]
