"""Runs of the state machine: what an attempt knows, and the calls it makes of the port."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.manifest import DataFile
from pyiceberg.types import NestedField, StringType

from catalog import AuditedHead, Branch, TableName, UnauditedError
from catalog.base import BranchCatalog, Change, Staging, TableShape
from catalog.errors import (
    BranchNotFoundError,
    CatalogUnavailableError,
    CorruptMetadataError,
    StorageFullError,
)
from tests.behaviors.conftest import FakeReport, Lake, Run, read_ids, schema, write_file
from tests.soak.model import Model, State

#: Not one of these is a refusal: something is broken, or nobody got anywhere.
BROKEN = (CorruptMetadataError, CatalogUnavailableError, StorageFullError)


class Killed(BaseException):
    """The process is gone; nothing below may catch it."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong in a step.

    Attributes:
        kind: ``before`` or ``after``: killed around a commit; ``lost``: its answer is; ``refused``:
            another commit was faster; ``meanwhile``: somebody else is at the table in between.
        nth: at which of the step's commits.
    """

    kind: str
    nth: int = 0

    def arm(self, lake: Lake, somebody: Callable[[], None]) -> None:
        """Make it happen in the next step of a lake."""
        if lake.faults is None:
            return
        before: dict[str, BaseException | Callable[[], None]] = {
            "before": Killed(),
            "refused": CommitFailedException("updated by another process"),
            "meanwhile": somebody,
        }
        after = {"after": Killed(), "lost": CommitStateUnknownException("no answer")}
        lake.faults.before = [*[None] * self.nth, before.get(self.kind)]
        lake.faults.after = [*[None] * self.nth, after.get(self.kind)]

    @property
    def harmless(self) -> bool:
        """Whether a step has to come to its end all the same."""
        return self.kind in ("lost", "refused")


@dataclass
class Leg:
    """One table of a run, as far as its attempt knows.

    Attributes:
        known: nothing has happened that the attempt did not see.
        behind: it was told that main has moved.
        ground: main's metadata file when it saw main last.
    """

    table: TableName
    staging: Staging | None = None
    audited: AuditedHead | None = None
    sealed: bool = False
    known: bool = True
    behind: bool = False
    ground: str = ""

    def found(self, staging: Staging | None, ground: str) -> None:
        """The attempt looked at the branch; an audit of another head counts no more."""
        same = (
            self.staging is not None and staging is not None and self.staging.head == staging.head
        )
        if not same:
            self.audited, self.sealed = None, False
        self.staging, self.known, self.behind, self.ground = staging, True, False, ground


@dataclass(eq=False)
class Play:
    """A run: one table or several on one branch.

    Attributes:
        grows: it brings a column of its own.
        replaces: it takes all published files away.
        refused: an audit said no.
        over: it was published, or dropped.
        tried: it has made a step.
        past: every call that it made, for an attempt that comes late.
    """

    run_id: str
    legs: list[Leg]
    grows: bool = False
    replaces: bool = False
    refused: bool = False
    over: bool = False
    tried: bool = False
    past: list[tuple[str, Callable[[], None]]] = field(default_factory=list)

    def __repr__(self) -> str:
        return self.run_id

    @property
    def branch(self) -> Branch:
        """Its branch."""
        return Branch.of_run(self.run_id)

    @property
    def shape(self) -> TableShape:
        """What it wants its tables to be."""
        name = self.run_id.replace("-", "_")
        own = NestedField(99, name, StringType(), required=False)
        return TableShape(schema(*([own] if self.grows else [])))

    @property
    def at_work(self) -> bool:
        """Whether it may still have a branch."""
        return not self.over or any(leg.staging is not None or not leg.known for leg in self.legs)

    def lose_track(self) -> None:
        """The attempt is another one now, or did not get what it expected."""
        for leg in self.legs:
            leg.known = False


@dataclass(eq=False)
class Slot:
    """One run after the other, all of the same tables."""

    tables: list[TableName]
    play: Play

    def __repr__(self) -> str:
        return f"<{', '.join(map(str, self.tables))}>"


@dataclass
class Stage:
    """Where runs are played: the model beside the lake's catalog, and what was written where.

    Attributes:
        written: ids in each file.
        first: files that were staged where there was no table yet.
    """

    model: Model
    written: dict[str, tuple[int, ...]] = field(default_factory=dict)
    first: set[str] = field(default_factory=set)
    numbers: int = 0

    def number(self) -> int:
        """One that was not there before."""
        self.numbers += 1
        return self.numbers

    def opened(
        self, lake: Lake, play: Play, leg: Leg, ground: Callable[[], str]
    ) -> Callable[[], None]:
        """The call that opens a branch."""
        catalog = lake.catalog

        def call() -> None:
            leg.found(catalog.open_branch(play.branch, leg.table, play.shape), ground())

        return call

    def staged(self, lake: Lake, play: Play, leg: Leg, rows: int) -> Callable[[], None]:
        """The call that stages new rows; an attempt that comes late writes a file of its own."""
        catalog, staging, ground = lake.catalog, leg.staging, leg.ground
        assert staging is not None
        ids = [self.number() for _ in range(rows)]

        def call() -> None:
            at = f"{staging.data_location}/part-{self.number()}.parquet"
            file = write_file(staging, at, ids)
            self.written[file.file_path] = tuple(ids)
            if staging.expected is None:
                self.first.add(file.file_path)
            change = Change([file], removed=self._replaced(catalog, play, staging))
            leg.found(catalog.stage(staging, change), ground)

        return call

    def _replaced(self, catalog: BranchCatalog, play: Play, staging: Staging) -> list[DataFile]:
        if not play.replaces or staging.expected is None:
            return []
        return list(catalog.scan(staging.table, staging.expected).files)

    def audit(self, lake: Lake, play: Play, leg: Leg, *, passes: bool) -> None:
        """Read the candidate with pyarrow: it must be what main showed, with the change."""
        staging = leg.staging
        assert staging is not None
        scan = lake.catalog.scan(leg.table, staging.head, play.branch)
        batch = lake.catalog.batch(staging).files
        rows, expected = read_ids(scan.files, scan.io), self._expected(play, staging, batch)
        assert rows == sorted(expected), f"{play} on {leg.table}: the candidate is another one"
        report = FakeReport(staging.head, f"{staging.head:064x}", passed=passes)
        if not passes:
            play.refused = True
            assert _refuses(play, staging, report), "a failed audit made an audited head"
            return
        leg.audited = AuditedHead(play.branch, leg.table, staging.head, staging.expected, report)
        columns = tuple(staging.schema.column_names)
        self.model.passed[leg.table, staging.head] = State(frozenset(rows), columns)

    def _expected(self, play: Play, staging: Staging, batch: Sequence[DataFile]) -> list[int]:
        # Of a first load there was nothing to take away, and so it stands on another main.
        first = any(file.file_path in self.first for file in batch)
        gone = play.replaces and staging.staged and not first
        base = [] if gone else self.model.at(staging.table, staging.expected).rows
        return [*base, *(i for file in batch for i in self.written[file.file_path])]

    def sealed(self, lake: Lake, play: Play, leg: Leg) -> Callable[[], None]:
        """The call that seals an audited head."""
        catalog, audited = lake.catalog, leg.audited
        assert audited is not None
        facts = Run(lake, play.branch, leg.table).facts(audited)

        def call() -> None:
            catalog.seal(audited, facts)
            leg.sealed = leg.audited is audited

        return call

    def published(self, lake: Lake, play: Play) -> Callable[[], None]:
        """The call that publishes all tables of the run in one step."""
        catalog = lake.catalog
        heads = [leg.audited for leg in play.legs if leg.audited is not None]

        def call() -> None:
            snapshots = catalog.publish(heads)
            assert [s.table for s in snapshots] == [h.table for h in heads]
            for head, snapshot in zip(heads, snapshots, strict=True):
                assert int(snapshot.summary["wap.audited"]) == head.head
                self.model.published(head, snapshot.id)
            play.over = True
            for leg in play.legs:
                leg.found(None, "")

        return call

    def rebased(
        self, lake: Lake, play: Play, leg: Leg, ground: Callable[[], str]
    ) -> Callable[[], None]:
        """The call that re-attaches a leg to main."""
        catalog = lake.catalog

        def call() -> None:
            leg.found(catalog.rebase(play.branch, leg.table), ground())

        return call

    def restaged(
        self, lake: Lake, play: Play, leg: Leg, ground: Callable[[], str]
    ) -> Callable[[], None]:
        """The call that puts a leg's batch in the place of all that main shows now."""
        catalog, staging, main = lake.catalog, leg.staging, self.model.main[leg.table]
        assert staging is not None

        def call() -> None:
            batch, shown = catalog.batch(staging).files, catalog.scan(leg.table, main).files
            change = Change(batch, removed=shown)
            leg.found(catalog.restage_on(staging, change, main), ground())
            self.first -= {file.file_path for file in batch}

        return call

    def dropped(self, lake: Lake, play: Play) -> Callable[[], None]:
        """The call that drops a run."""
        catalog = lake.catalog

        def call() -> None:
            for leg in play.legs:
                catalog.drop(play.branch, leg.table)
                leg.found(None, "")
            play.over = True

        return call

    def refresh(self, lake: Lake, play: Play) -> None:
        """A new attempt looks at what is there."""
        for leg in play.legs:
            try:
                staging = lake.catalog.staging(play.branch, leg.table)
            except BranchNotFoundError:
                leg.found(None, "")
                continue
            leg.found(staging, "")
            play.over = False
            leg.behind = staging.expected != self.model.main.get(leg.table)


def _refuses(play: Play, staging: Staging, report: FakeReport) -> bool:
    try:
        AuditedHead(play.branch, staging.table, staging.head, staging.expected, report)
    except UnauditedError:
        return True
    return False
