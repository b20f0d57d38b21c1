"""Law 2, guard by guard: each test offers publish something that was not audited."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from catalog import (
    BranchExistsError,
    BranchNotFoundError,
    HeadMovedError,
    RebaseRefusedError,
    UnsealedError,
)
from catalog.drafts import Draft
from catalog.moves import add_snapshot, ref_is, set_branch

#: What is judged here was read already: no server has a say in it.
pytestmark = pytest.mark.embedded
#: Where a forger can get at the tables: not in memory.
FORGED = pytest.mark.kinds("sqlite", "portable", "nessie")
#: Where the branch is a ref of the table that main shows.
NATIVE = pytest.mark.kinds("sqlite", "portable")


@pytest.fixture
def run(lake):
    """A run that staged [2] on top of a published [1]; the test must leave main at [1]."""
    lake.publish([1])
    run = lake.run("suspect")
    run.open()
    run.stage([2])
    yield run
    assert lake.ids() == [1]
    assert len(lake.catalog.log(run.table)) in (4, 5)


def test_no_seal(run):
    with pytest.raises(UnsealedError, match="seal"):
        run.catalog.publish([run.audited()])


def test_a_seal_for_another_report(run, report):
    run.seal()
    other = run.audited(report=report(run.now.head, digest="e" * 64))
    with pytest.raises(UnsealedError):
        run.catalog.publish([other])


def test_sealing_with_another_report(run):
    audited = run.audited()
    with pytest.raises(UnsealedError):
        run.catalog.seal(audited, run.facts(audited, report_digest="e" * 64))


def test_sealing_for_another_run(run):
    audited = run.audited()
    with pytest.raises(UnsealedError):
        run.catalog.seal(audited, run.facts(audited, run_id="somebody-else"))


def test_sealing_another_head(run):
    audited = run.audited()
    with pytest.raises(UnsealedError):
        run.catalog.seal(audited, replace(run.facts(audited), audited=audited.head + 1))


def test_sealing_without_the_waiver_that_the_head_stands_by(run):
    audited = run.waived()
    for text in ("", "another"):
        with pytest.raises(UnsealedError, match="waiver"):
            run.catalog.seal(audited, run.facts(audited, waiver=text))


def test_sealing_with_a_waiver_that_nobody_gave(run):
    audited = run.audited()
    with pytest.raises(UnsealedError, match="waiver"):
        run.catalog.seal(audited, run.facts(audited, waiver="another"))


def test_a_seal_that_tells_no_waiver(run):
    run.seal()
    with pytest.raises(UnsealedError):
        run.catalog.publish([run.waived()])


def test_a_seal_that_tells_a_waiver_for_an_audit_that_passed(run):
    audited = run.waived()
    run.catalog.seal(audited, run.facts(audited))
    with pytest.raises(UnsealedError):
        run.catalog.publish([run.audited()])


def test_sealing_with_a_fact_missing(run):
    audited = run.audited()
    with pytest.raises(UnsealedError):
        run.catalog.seal(audited, run.facts(audited, source_digest=""))


def test_an_audit_of_an_older_head(run, report):
    opened = run.catalog.scan(run.table, run.now.expected)
    older = run.now.expected
    audited = run.audited(head=older, report=report(older))
    assert opened.rows == 1
    with pytest.raises(HeadMovedError):
        run.catalog.seal(audited, run.facts(audited))
    with pytest.raises((HeadMovedError, UnsealedError)):
        run.catalog.publish([audited])


def test_another_head_than_was_sealed(run, report):
    sealed = run.seal()
    audited = run.audited(head=sealed.id, report=report(sealed.id))
    with pytest.raises(UnsealedError):
        run.catalog.publish([audited])


def test_a_wrong_expectation_of_main(run):
    run.seal()
    for expected in (None, 7, run.now.head):
        with pytest.raises(HeadMovedError) as moved:
            run.catalog.publish([run.audited(expected=expected)])
        assert moved.value.ref == "main"
        assert moved.value.expected == expected


def test_a_branch_that_was_dropped(run):
    run.seal()
    run.drop()
    with pytest.raises(BranchNotFoundError):
        run.catalog.publish([run.audited()])


def test_a_branch_of_another_run(lake, run):
    run.seal()
    thief = replace(run, branch=type(run.branch).of_run("thief"))
    with pytest.raises(BranchNotFoundError):
        run.catalog.publish([thief.audited()])


# --- what only a forger with direct access to the table could do --------------------------------


def _forge(lake, run, below, **draft: object):
    """Put a hand-made snapshot on the branch, as any pyiceberg client could."""
    plain, ref = lake.on_branch(run)
    table = plain.load_table(run.table.identifier)
    metadata = table.metadata
    made = Draft(table, run.branch.run_id, table.schema(), **draft)
    parent = metadata.snapshot_by_id(below)
    snapshot = made.snapshot(metadata, parent, metadata.next_sequence_number())
    head = metadata.refs[ref].snapshot_id
    plain.commit_table(
        table, (ref_is(ref, head),), (add_snapshot(snapshot), set_branch(ref, snapshot))
    )
    return snapshot.snapshot_id


@FORGED
def test_a_seal_that_shows_more_than_was_audited(lake, run):
    audited = run.audited()
    smuggled = run.write([666], "batch-smuggled")
    summary = run.facts(audited).to_summary()
    _forge(lake, run, audited.head, added=[smuggled], summary=summary)
    with pytest.raises(UnsealedError, match="other files"):
        run.catalog.publish([audited])


@FORGED
def test_a_seal_that_does_not_stand_on_the_audited_head(lake, run):
    audited = run.audited()
    summary = run.facts(audited).to_summary()
    _forge(lake, run, audited.expected, same_manifests=True, summary=summary)
    with pytest.raises(UnsealedError, match="stand on"):
        run.catalog.publish([audited])


@FORGED
def test_a_foreign_snapshot_below_the_audited_head(lake, run, report):
    smuggled = run.write([666], "batch-smuggled")
    foreign = _forge(lake, run, run.now.head, added=[smuggled])
    mine = {"wap.run": run.branch.run_id, "wap.role": "stage"}
    head = _forge(lake, run, foreign, same_manifests=True, summary=mine)
    audited = run.audited(head=head, report=report(head))
    summary = run.facts(audited).to_summary()
    _forge(lake, run, head, same_manifests=True, summary=summary)
    with pytest.raises(UnsealedError, match="by this run alone"):
        run.catalog.publish([audited])


@FORGED
def test_a_branch_without_a_root(lake, run, report):
    """What pyiceberg leaves behind when it appends to a branch that was removed (trap 2)."""
    mine = {"wap.run": run.branch.run_id, "wap.role": "stage"}
    plain, ref = lake.on_branch(run)
    table = plain.load_table(run.table.identifier)
    made = Draft(table, run.branch.run_id, table.schema(), [run.write([9], "b")], summary=mine)
    root = made.snapshot(table.metadata, None, table.metadata.next_sequence_number())
    plain.commit_table(table, (), (add_snapshot(root), set_branch(ref, root)))
    audited = run.audited(head=root.snapshot_id, report=report(root.snapshot_id))
    run.catalog.seal(audited, run.facts(audited))
    with pytest.raises(UnsealedError, match="descend"):
        run.catalog.publish([audited])


@FORGED
def test_a_foreign_append_on_the_branch(lake, run):
    rows = pa.table({"id": [666], "carrier": ["XX"]})
    plain, ref = lake.on_branch(run)
    plain.load_table(run.table.identifier).append(rows, branch=ref)
    audited = run.audited()
    with pytest.raises(BranchExistsError):
        run.catalog.seal(audited, run.facts(audited))
    with pytest.raises(HeadMovedError) as moved:
        run.catalog.publish([audited])
    assert moved.value.ref == run.branch.name
    with pytest.raises(BranchExistsError):
        run.drop()


@FORGED
def test_a_foreign_append_after_the_seal(lake, run):
    run.seal()
    rows = pa.table({"id": [666], "carrier": ["XX"]})
    plain, ref = lake.on_branch(run)
    plain.load_table(run.table.identifier).append(rows, branch=ref)
    with pytest.raises(HeadMovedError):
        run.catalog.publish([run.audited()])


@FORGED
def test_columns_that_changed_under_the_run(lake, run):
    run.seal()
    table = lake.plain.load_table(run.table.identifier)
    table.update_schema().rename_column("carrier", "airline").commit()
    with pytest.raises(HeadMovedError) as moved:
        run.catalog.publish([run.audited()])
    assert "schema" in moved.value.hint
    with pytest.raises(RebaseRefusedError, match="schema"):
        run.rebase()


@NATIVE
def test_another_table_of_the_same_name(lake, run):
    """What was staged stays with its own table, under whatever name."""
    run.seal()
    before = lake.plain.load_table(run.table.identifier)
    lake.plain.rename_table(run.table.identifier, ("nyc", "old"))
    with pytest.raises(BranchNotFoundError):
        run.catalog.publish([run.audited()])
    lake.plain.rename_table(("nyc", "old"), run.table.identifier)
    assert lake.plain.load_table(run.table.identifier).metadata == before.metadata
