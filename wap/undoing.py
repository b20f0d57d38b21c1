"""The undo of a run: its branch and files go, unless main turns out to hold its batch."""

from __future__ import annotations

from catalog.base import BranchCatalog
from catalog.errors import CatalogError
from catalog.refs import Branch, Seal, Snapshot, TableName
from checks.report import Report
from wap import evidence
from wap.model import Ending, RunResult, SnapshotMove
from wap.quarantine.beside import table_of
from wap.quarantine.table import is_replay
from wap.runs import PinnedPlan, RunFolder
from wap.steps import Undone

_PUBLISHED = "nothing: the run is published"


def undo_run(
    catalog: BranchCatalog,
    run_id: str,
    table: TableName,
    before: int | None = None,
    folder: RunFolder | None = None,
) -> Undone:
    """Remove the branch and everything the run wrote, unless it is published.

    Of a run that a union published only the batch stays, which is the union's now.

    Args:
        catalog: where the branch is.
        run_id: the run.
        table: the table that it staged.
        before: what main showed when the run was planned, for the answer.
        folder: the run's, which names the unions that may hold the batch.
    """
    _drop_unions(catalog, table, folder)
    move = published_move(catalog, run_id, table, before)
    if move is not None:
        _clear_joined(catalog, run_id, table)
        return Undone(removed=_PUBLISHED, published=move)
    dropped = catalog.drop(Branch.of_run(run_id), table)
    # A union that was begun until now is dropped here; one that is begun later finds no branch of
    # ours any more, and is not published.
    _drop_unions(catalog, table, folder)
    # Without its branch no late publish can succeed, so this answer is the last.
    move = published_move(catalog, run_id, table, before)
    if move is not None:
        return Undone(removed=_PUBLISHED, published=move)
    _discard_evidence(catalog, run_id, table)
    if folder is not None:
        folder.clear_scratch()
    return Undone(removed=f"{dropped.files} files, {dropped.bytes:,} bytes")


def undo_without_plan(catalog: BranchCatalog, run_id: str, folder: RunFolder) -> Undone:
    """The same of a run whose folder is gone or damaged: the catalog says which tables it staged.

    They are published in one commit, so they go together, too.
    """
    staged = sorted(s.table for s in catalog.branches() if s.branch.run_id == run_id)
    undone = {table: undo_run(catalog, run_id, table, folder=folder) for table in staged}
    for one in undone.values():
        if one.published is not None:
            return one
    if undone:
        return Undone(removed="; ".join(f"{t}: {one.removed}" for t, one in undone.items()))
    for table in catalog.tables():
        move = published_move(catalog, run_id, table)
        if move is not None:
            return Undone(removed=_PUBLISHED, published=move)
    return Undone(removed="nothing: no branch of the run is there")


def published_move(
    catalog: BranchCatalog, run_id: str, table: TableName, before: int | None = None
) -> SnapshotMove | None:
    """The move of main when main holds this run's seal, or that of a union with its batch."""
    found = _seal_of(catalog, run_id, table)
    return SnapshotMove(before=before, after=found[0].id) if found is not None else None


def dissolve(catalog: BranchCatalog, folder: RunFolder, union: str) -> Undone:
    """Undo a union unless main holds it, and remove its folder; what is its members' stays."""
    undone = Undone(removed="nothing: it was never staged")
    if folder.has_plan(0):
        pinned = folder.plan(0)
        undone = undo_run(catalog, union, pinned.pipeline.table_name, pinned.before)
        if undone.published is not None:
            clear_up(catalog, union, pinned, folder)
    folder.remove()
    return undone


def clear_up(
    catalog: BranchCatalog,
    run_id: str,
    pinned: PinnedPlan,
    folder: RunFolder,
    result: RunResult | None = None,
) -> tuple[str, ...]:
    """Remove what attempts that were killed, and what gave way, left of a published run.

    Args:
        result: what the run came to; None: it is known to be published.

    Returns:
        What is left all the same, for people: it is in nobody's way.
    """
    if result and result.ending is not Ending.PUBLISHED:
        return ()
    aside = table_of(pinned, replay=is_replay(pinned))
    tables = [table for table in (pinned.pipeline.table_name, aside) if table is not None]
    # Rows that were set aside of a batch which then was whole again are in no main.
    disturbed = folder.was_disturbed() or folder.was_undivided()
    written = folder.evidence()
    try:
        for table in tables:
            if disturbed:
                catalog.drop(Branch.of_run(run_id), table)
            if len(written) > len(tables):
                evidence.discard_others(catalog, table, run_id, written)
    except CatalogError as exc:
        said = f"files of attempts that died may be left, until `wap maintain`: {exc.what}"
        return (said,)
    return ()


def take_over(catalog: BranchCatalog, run_id: str, table: TableName, folder: RunFolder) -> None:
    """Keep the audit by which a union was published as the run's own, when it holds its batch.

    Raises:
        UnsealedError, ReportError: the union's evidence is missing, or damaged.
    """
    found, published = _seal_of(catalog, run_id, table), catalog.published(table)
    if found is None or published is None or found[1].run_id == run_id:
        return
    proof = evidence.read(published.io, published.location, found[1])
    report = Report.from_json(proof.report, digest=found[1].report_digest)
    folder.save_report(report.model_copy(update={"run_id": run_id}))
    mine = next((m for m in proof.members if m.run_id == run_id), None)
    if mine is not None and proof.basis is not None and folder.has_books(mine.round):
        seen = proof.basis.books
        totals = {"before_rows": seen.before_rows, "candidate": seen.candidate}
        folder.save_books(mine.round, folder.books(mine.round).model_copy(update=totals))


def _drop_unions(catalog: BranchCatalog, table: TableName, folder: RunFolder | None) -> None:
    """See that no union can publish the batch any more; one that has done so stays."""
    for union in folder.unions() if folder is not None else ():
        if published_move(catalog, union, table) is None:
            catalog.drop(Branch.of_run(union), table)


def _clear_joined(catalog: BranchCatalog, run_id: str, table: TableName) -> None:
    """Remove the branch that a union has taken the batch from, and the seal made for it alone."""
    found = _seal_of(catalog, run_id, table)
    if found is not None and found[1].run_id != run_id:
        catalog.drop(Branch.of_run(run_id), table)
        _discard_evidence(catalog, run_id, table)


def _discard_evidence(catalog: BranchCatalog, run_id: str, table: TableName) -> None:
    published = catalog.published(table)
    if published is not None:
        evidence.discard(published.io, published.location, run_id)


def _seal_of(catalog: BranchCatalog, run_id: str, table: TableName) -> tuple[Snapshot, Seal] | None:
    """The seal of the run, or of a union that holds its batch."""
    for snapshot, seal in evidence.seals(catalog, table):
        if run_id == seal.run_id or run_id in seal.members:
            return snapshot, seal
    return None
