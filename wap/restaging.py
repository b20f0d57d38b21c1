"""A batch staged again on a main that has moved, from what its run has of it: no source is read.

Of a ``replace`` the staged files are the batch, of rows that meet by key it lies aside. What main
shows now is met anew, and one commit puts what comes of it in the place of what was staged.

Where rows were set aside, a ``replace`` stays divided: both halves follow main. By key the batch is
whole again, since which of its rows count depends on main; its next audit divides it anew. What
the quarantine table's branch holds until then is nobody's; it goes with the next division, or with
the run.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from pyiceberg.manifest import DataFile

from catalog.base import BranchCatalog, Change, Scan, Staging
from catalog.batches import KEPT_PREFIX
from catalog.errors import HeadMovedError, RebaseRefusedError
from catalog.refs import Branch
from wap import aside, attempt
from wap.compaction import is_compaction
from wap.engines.base import AGAIN, Engine, refuse_cancelled
from wap.engines.met import laid_aside, schema_aside
from wap.planning import said_of_main
from wap.quarantine.beside import is_divided, staging_beside, told
from wap.quarantine.table import NOTE as DIVISIONS
from wap.quarantine.table import quarantine_of
from wap.runs import Books, Followed, PinnedPlan, RunFolder
from wap.steps import Restaged
from wap.writing import books_of, meet, notes_of, replaced_on, rule_on

#: Note of a change that was made on a moved main: which attempt did, and so which books are its.
NOTE = "wap.followed"
#: Main may move so often while one attempt meets it.
_TRIES = 10
#: Names that one call gives its files differ behind this.
_NUMBERED = re.compile(r"^(?:kept-|batch-|again-).*-(?=\d+\.parquet$)")


def meets_published(pinned: PinnedPlan) -> bool:
    """Whether what a run stages depends on the rows that main shows: it is no plain append."""
    return pinned.pipeline.write.keyed or pinned.pipeline.write.mode == "replace"


def can_follow(pinned: PinnedPlan, staging: Staging) -> bool:
    """Whether such a batch can be staged again."""
    return staging.staged and staging.expected is not None and not is_compaction(pinned)


def books_told(folder: RunFolder, number: int, staging: Staging) -> Books:
    """The books of what is staged: of the attempt that committed it, whatever others wrote."""
    token = staging.notes.get(NOTE)
    return folder.books(number) if token is None else folder.followed(token).books


def follow(
    pinned: PinnedPlan,
    folder: RunFolder,
    number: int,
    branch: Branch,
    *,
    engine: Engine,
    catalog: BranchCatalog,
    overtaken: Callable[[], str | None],
) -> Restaged:
    """Put a round's batch on main's head, or say why it is planned anew; idempotent.

    Args:
        overtaken: why what others have published must not be met with the batch as it is, or None.

    Raises:
        BatchRefusedError: the rows cannot meet those that main shows now.
        RunNotFoundError: the round is over.
        CatalogError, EngineError, RelationError: see the ports.
    """
    return _Following(pinned, folder, number, branch, engine, catalog, overtaken).follow()


@dataclass(frozen=True)
class _Following:
    """What it takes."""

    pinned: PinnedPlan
    folder: RunFolder
    number: int
    branch: Branch
    engine: Engine
    catalog: BranchCatalog
    overtaken: Callable[[], str | None]

    def follow(self) -> Restaged:
        for _ in range(_TRIES):
            refuse_cancelled(attempt.cancelled)
            try:
                why = self._refused()
                return self._done() if why is None else Restaged(redo=why)
            except HeadMovedError:
                continue
            except RebaseRefusedError as exc:
                return Restaged(redo=exc.what)
        return Restaged(redo=f"main moved {_TRIES} times while the batch met it")

    def _refused(self) -> str | None:
        """Have the batch on main's head; why it is planned anew in place of that, or None.

        Raises:
            HeadMovedError: main has moved meanwhile.
            RebaseRefusedError: the batch cannot stand there.
        """
        staging = self._staging()
        main = self._main()
        if main is None or not can_follow(self.pinned, staging):
            return "the batch cannot be staged on another main as it is"
        if staging.expected == main:
            return None
        # Asked behind the look at main: what is published later is met by publish.
        why = self.overtaken()
        if why is not None:
            return why
        return None if self._moved(staging, main) else "the batch does not lie aside any more"

    def _staging(self) -> Staging:
        staging = self.catalog.staging(self.branch, self.pinned.pipeline.table_name)
        self.folder.refuse_over(self.number)
        return staging

    def _main(self) -> int | None:
        published = self.catalog.published(self.pinned.pipeline.table_name)
        return published.snapshot.id if published is not None else None

    def _moved(self, staging: Staging, main: int) -> bool:
        """Make the change on main and commit it; False: the batch is not here."""
        again = f"{AGAIN}main-{staging.head}"
        keyed = self.pinned.pipeline.write.keyed
        made = (self._met if keyed else self._replaced)(staging, main, again)
        if made is None:
            return False
        change, books, written = made
        token = uuid.uuid4().hex[:12]
        failed = [f"{again}-", f"{KEPT_PREFIX}{again}-"]
        gone = [*failed, *_superseded(self._own(staging), change)]
        # Before the commit: whoever finds it must find its books.
        self.folder.save_followed(
            token, Followed(books=books, written=written, superseded=tuple(gone))
        )
        summary = {**notes_of(self.pinned), NOTE: token}
        if is_divided(staging) and not keyed:
            summary[DIVISIONS] = staging.notes[DIVISIONS]
        self.catalog.restage_on(
            staging, Change(change.added, change.removed, change.kept, summary), main
        )
        return True

    def _replaced(
        self, staging: Staging, main: int, again: str
    ) -> tuple[Change, Books, int] | None:
        """The staged files in place of what they replace on main."""
        scan, kept = replaced_on(self.pinned, self.engine, self.catalog, staging, main, again=again)
        added = self.catalog.batch(staging).files
        beside = staging_beside(self.catalog, staging)
        aside_too = self.catalog.batch(beside).files if beside is not None else ()
        old = books_told(self.folder, self.number, staging)
        books = old.model_copy(
            update={
                "rows": old.rows.model_copy(update={"kept": kept.rows}),
                "files": len(added) + len(aside_too) + len(kept.files),
                "bytes": sum(f.file_size_in_bytes for f in (*added, *aside_too)) + kept.bytes,
                "removed_rows": scan.rows,
            }
        )
        return Change(added, scan.files, kept.files), books, kept.bytes

    def _met(self, staging: Staging, main: int, again: str) -> tuple[Change, Books, int] | None:
        """What becomes of the batch that lies aside when it meets main; None: it does not."""
        rule = rule_on(self.pinned, self.catalog, main)
        columns = schema_aside(staging.schema, rule)
        with laid_aside(self.folder.scratch, "spill-") as temp:
            found = aside.bring(self.folder, self.number, columns, temp)
            if found is None:
                return None
            given, counts = found
            merged = meet(given, rule, self.engine, self.catalog, staging, main, temp, again=again)
        removed = Scan(staging.schema, merged.removed, staging.io)
        books = books_of(
            self.pinned.plan, merged.added, counts, removed, merged.kept, merged.became
        )
        change = Change(merged.added.files, merged.removed, merged.kept.files)
        return change, books, merged.added.bytes + merged.kept.bytes

    def _own(self, staging: Staging) -> list[DataFile]:
        """The files of the run that are staged, rows carried over among them."""
        files = self.catalog.scan(staging.table, staging.head, staging.branch).files
        return [f for f in files if f.file_path.startswith(f"{staging.data_location}/")]

    def _done(self) -> Restaged:
        """Bring what was set aside after it, clear up behind the commit, and tell of it.

        Raises:
            RebaseRefusedError: the quarantine table has another shape by now.
        """
        staging = self._staging()
        if is_divided(staging):
            self.catalog.rebase(self.branch, quarantine_of(staging.table))
        token, written = staging.notes.get(NOTE), 0
        if token is not None:
            followed = self.folder.followed(token)
            for of in followed.superseded:
                self.engine.clear(staging, lambda: {f.file_path for f in self._own(staging)}, of=of)
            written = followed.written
        return Restaged(
            rows=books_told(self.folder, self.number, staging).rows,
            bytes=written,
            quarantine=told(self.folder, staging),
            warnings=said_of_main(self.catalog, self.pinned),
        )


def _superseded(own: Iterable[DataFile], change: Change) -> list[str]:
    """How the names begin of the run's files that another change has no use for."""
    stay = {f.file_path for f in (*change.added, *change.kept)}
    gone = [PurePosixPath(f.file_path).name for f in own if f.file_path not in stay]
    return sorted({m[0] if (m := _NUMBERED.match(name)) else name for name in gone})
