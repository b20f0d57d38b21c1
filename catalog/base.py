"""The port ``BranchCatalog``: everything the rest of the product may do to tables and refs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pyiceberg.expressions import BooleanExpression
from pyiceberg.io import FileIO
from pyiceberg.manifest import DataFile
from pyiceberg.partitioning import PartitionSpec
from pyiceberg.schema import Schema

from catalog.coverage import Gap, check_ground, gaps
from catalog.refs import (
    AuditedHead,
    Back,
    Branch,
    BranchState,
    Capabilities,
    Dropped,
    Seal,
    Snapshot,
    TableName,
)
from catalog.retention import Keep


@dataclass(frozen=True, slots=True)
class TableShape:
    """What a pipeline wants its table to be.

    Attributes:
        schema: columns by name; field ids are the catalog's business and are assigned anew.
        partitioning: pairs of column name and Iceberg transform, ``("ts", "day")``.
        properties: further table properties.
    """

    schema: Schema
    partitioning: tuple[tuple[str, str], ...] = ()
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Published:
    """A table as consumers see it now."""

    snapshot: Snapshot
    schema: Schema
    spec: PartitionSpec
    location: str
    io: FileIO


@dataclass(frozen=True, slots=True)
class Staging:
    """One table on one staging branch: where to write and what has been staged.

    Attributes:
        expected: main's head to publish over; None while the table is new.
        head: the branch's head.
        staged: whether this run's change is already in ``head``.
        notes: what the change said of itself (``Change.summary``); {} before it is staged.
        schema: the candidate's schema, with the table's field ids.
        spec: the partition spec new files are written with.
        location: the table's own root; a run's data files lie under :attr:`data_location`.
        io: the FileIO to write with.
        properties: the table's properties.
    """

    branch: Branch
    table: TableName
    expected: int | None
    head: int
    staged: bool
    schema: Schema
    spec: PartitionSpec
    location: str
    io: FileIO
    properties: Mapping[str, str]
    notes: Mapping[str, str] = field(default_factory=dict)

    @property
    def data_location(self) -> str:
        """The folder (or key prefix) that holds this run's data files and nothing else.

        A name in it is used once: an attempt that comes late would otherwise write over a file
        that was audited, or even published, meanwhile.
        """
        return f"{self.location.rstrip('/')}/data/{self.branch.run_id}"


@dataclass(frozen=True, slots=True)
class Change:
    """What a run does to a table: files it adds and files it takes away.

    Attributes:
        added: new data files that hold the batch; their names do not start with ``kept-``.
        removed: files of the published table that the batch replaces.
        kept: new data files that carry over rows of ``removed`` which stay; their names do.
        summary: entries for the staged snapshot's summary, under ``wap.`` keys.
        same_rows: the rows stay what they are, only files change (Iceberg's ``replace``).
    """

    added: Sequence[DataFile]
    removed: Sequence[DataFile] = ()
    kept: Sequence[DataFile] = ()
    summary: Mapping[str, str] = field(default_factory=dict)
    same_rows: bool = False


@dataclass(frozen=True, slots=True)
class Scan:
    """The files that make up one snapshot, and the schema to read them with (by field id)."""

    schema: Schema
    files: Sequence[DataFile]
    io: FileIO

    @property
    def rows(self) -> int:
        """Rows in all files together, from the metadata (exact: we write no delete files)."""
        return sum(f.record_count for f in self.files)


@dataclass(frozen=True, slots=True)
class Covered:
    """What a seal of main covers: a published run's audited head, to be looked at again.

    Attributes:
        seal: the seal.
        head: id of the audited snapshot.
        expected: main's head that it was published over; None: the table was new.
        schema: the audited snapshot's.
        batch: the files that hold what the run added.
        location: the table's own root.
        io: the FileIO to read with.
    """

    seal: Snapshot
    head: int
    expected: int | None
    schema: Schema
    batch: Scan
    location: str
    io: FileIO

    @property
    def table(self) -> TableName:
        """The table whose main holds the seal."""
        return self.seal.table


@dataclass(frozen=True, slots=True, order=True)
class Litter:
    """A file that nothing refers to.

    Attributes:
        path: as its filesystem knows it.
        size: in bytes.
        kind: ``data``, ``manifest`` (lists too), ``metadata`` or ``statistics``.
    """

    path: str
    size: int
    kind: str


class BranchCatalog(ABC):
    """Branches of tables. The only code that moves main.

    Every method may raise CatalogUnavailableError (try again) and CorruptMetadataError. Every
    method that changes something is idempotent for the same run: called again after a crash or
    a lost response it finds its own effect and returns as it did, or would have done, before.
    """

    name: str
    capabilities: Capabilities

    @abstractmethod
    def tables(self) -> list[TableName]:
        """The published tables, sorted; never a table that is only staged."""

    @abstractmethod
    def published(self, table: TableName) -> Published | None:
        """The table as main shows it; None when it has never been published."""

    @abstractmethod
    def log(self, table: TableName) -> list[Snapshot]:
        """Main's ancestry, newest first, down to the bootstrap snapshot; [] if unpublished."""

    @abstractmethod
    def branches(self) -> list[BranchState]:
        """All staging branches of all tables, those of new tables included."""

    @abstractmethod
    def open_branch(self, branch: Branch, table: TableName, shape: TableShape) -> Staging:
        """Start a branch at main's head, or stage a new table that main does not list.

        Columns that ``shape`` adds, and widenings it asks for, go into the candidate's schema
        only: main keeps its own until publish. Columns of the table that ``shape`` lacks stay.

        Raises:
            SchemaConflictError: the table cannot grow into the shape.
            BranchExistsError: the name is taken by something that is not this run's, or the run
                is published already, by itself or by a union, be it rolled back since.
            UnsupportedError: the table's format version cannot be written.
        """

    @abstractmethod
    def staging(self, branch: Branch, table: TableName) -> Staging:
        """The branch as it stands.

        Raises:
            BranchNotFoundError: it is gone.
        """

    @abstractmethod
    def stage(self, staging: Staging, change: Change) -> Staging:
        """Commit the change to the branch in one snapshot (role ``stage``).

        Raises:
            HeadMovedError: the branch is not at ``staging.head``, or holds another change.
            BranchNotFoundError: it is gone; nothing is created in its place.
            RebaseRefusedError: ``change.removed`` names files that main does not show.
            CatalogConfigError: a file's name does not go with its place in the change.
        """

    @abstractmethod
    def restage(self, staging: Staging, change: Change) -> Staging:
        """Put another change in place of the one that is staged; the branch has one as before.

        The new change stands where the old one stood, so its ``removed`` names files that main
        showed there. A seal of the old change goes with it. Data files are left alone: those of
        the old change that are not in the new one are the caller's to delete, once this is done.

        Raises:
            HeadMovedError: the branch is not at ``staging.head``, or holds no change yet.
            BranchNotFoundError, RebaseRefusedError, CatalogConfigError: as :meth:`stage`.
        """

    @abstractmethod
    def restage_on(self, staging: Staging, change: Change, main: int) -> Staging:
        """Put another change in place of the staged one, on top of main's new head.

        What :meth:`rebase` is to an append, for a change that was made against what main shows:
        ``change.removed`` names files that main shows at ``main``. One commit; the seal of the old
        change goes with it, data files are left alone as by :meth:`restage`. When main moves right
        behind the look at it, the change stands on ``main`` all the same; publish will see that.

        Args:
            staging: the branch as it was seen.
            change: what was made of the run's batch against ``main``.
            main: main's head.

        Raises:
            HeadMovedError: the branch is not at ``staging.head``, or holds no change yet; or main
                (``ref`` says which) is not at ``main``.
            RebaseRefusedError: ``change.removed`` names files that main does not show, the table is
                staged as a new one, its schema changed beneath the run, or main holds the batch
                already, by a union.
            BranchNotFoundError, CatalogConfigError: as :meth:`stage`.
        """

    @abstractmethod
    def scan(
        self,
        table: TableName,
        snapshot_id: int,
        branch: Branch | None = None,
        *,
        row_filter: BooleanExpression | None = None,
    ) -> Scan:
        """The files of a snapshot; ``branch`` finds a table that is only staged.

        With a ``row_filter`` only the files that may hold matching rows, told by partitions
        and column bounds where the catalog keeps them; a file may still hold none.

        Raises:
            TableNotFoundError: no such table or snapshot.
            SchemaConflictError: the filter names no column of the table, or a wrong value.
        """

    @abstractmethod
    def batch(self, staging: Staging) -> Scan:
        """The files that hold what this run adds (``Change.added``), the candidate's schema."""

    @abstractmethod
    def seal(self, audited: AuditedHead, seal: Seal) -> Snapshot:
        """Put a metadata-only snapshot on top of the audited head whose summary is the seal.

        An earlier seal of the same head with other notes gives way to this one.

        Raises:
            HeadMovedError: the branch is neither at the audited head nor at a seal of it.
            UnsealedError: the seal is about another run, head, report or other members, or lacks
                a fact.
        """

    @abstractmethod
    def publish(self, heads: Sequence[AuditedHead]) -> list[Snapshot]:
        """Move main of each table to its sealed head, all in one step, and remove the branch.

        The heads are of different tables on one branch. A union's head names the branches whose
        batches it holds: nothing is published from them any more, also when main is rolled back.
        Where all branches are in the table they are removed in the same commit.

        Refuses a head that has no seal, whose seal is not about that head, whose manifests
        differ from the audited ones, or that does not descend from main's expected head by this
        run's one change alone. Refuses to build on a main that a run without a seal got into, and
        on one that somebody else wrote to when the head says ``sealed_only``.

        Raises:
            HeadMovedError: main is not where the audit saw it, or has other columns now; the
                branch is at a snapshot that is no seal; or a member of the union has left it.
                Nothing has moved.
            UnsealedError: see above. Nothing has moved.
            BranchNotFoundError: it was dropped, or what it, or a union with its batch, published
                was rolled back; or that happened to a member of the union.
            UnsupportedError: several heads on a catalog without atomic groups, or on several
                branches, or two of one table.
        """

    @abstractmethod
    def rebase(self, branch: Branch, table: TableName) -> Staging:
        """Re-attach an append's own files to main's new head; no data file is rewritten.

        Raises:
            RebaseRefusedError: the change is not an append, the schema changed beneath it, or main
                holds the batch already, by a union.
            BranchNotFoundError: it is gone, or what a union published of it was rolled back.
        """

    @abstractmethod
    def drop(self, branch: Branch, table: TableName) -> Dropped:
        """Remove the branch and every file this run wrote; a table that is only staged goes whole.

        A branch that is not there is no error (its files may still be). What is published is
        never touched: after a publish this only clears what the run left over.

        Raises:
            BranchExistsError: the branch's head is not this run's; it is left alone.
        """

    @abstractmethod
    def roll_back(self, moves: Sequence[Back], heads: Sequence[AuditedHead] = ()) -> list[Snapshot]:
        """Move main of each table back to an earlier seal of its own ancestry, all in one step.

        A table that shows its seal already stays where it is.

        Args:
            moves: where main of which tables goes.
            heads: of other tables, published in the same step; all that :meth:`publish` proves of
                a head is proven of them, and it refuses what that refuses.

        Returns:
            What main shows then, of the moves and of the heads in their order.

        Raises:
            UnsealedError: a snapshot carries no seal or is not an ancestor. Nothing has moved.
            HeadMovedError: main of a table is not where it was seen. Nothing has moved.
            TableNotFoundError: a table is not published. Nothing has moved.
            UnsupportedError: several tables on a catalog without atomic groups, or one twice.
        """

    def rollback(self, table: TableName, to: int, expected: int) -> Snapshot:
        """:meth:`roll_back` of one table."""
        (snapshot,) = self.roll_back([Back(table, to, expected)])
        return snapshot

    @abstractmethod
    def expire(self, table: TableName, keep: Keep, *, dry_run: bool = False) -> list[Snapshot]:
        """Forget the snapshots that ``keep`` and the refs leave nothing to be needed for.

        One commit that holds only while no ref has moved. No file is deleted here: see
        :meth:`sweep`. A waiting run stands as before, or is rebased by its publish.

        Args:
            table: a published table.
            keep: what stays, whatever else.
            dry_run: only tell which would go.

        Returns:
            What was forgotten, oldest first.

        Raises:
            TableNotFoundError: no such table is published.
        """

    @abstractmethod
    def sweep(
        self,
        table: TableName,
        *,
        before: datetime,
        live: Callable[[], Container[str]],
        forgotten: Collection[int] = (),
        dry_run: bool = False,
    ) -> list[Litter]:
        """Delete the files in the table's place that no ref, snapshot or metadata needs.

        Files last written at or after ``before``, in a folder of a run that is at work, or of a
        kind that Iceberg's writers do not make, are left alone.

        Args:
            table: a published table.
            before: older than any write that may be under way.
            live: asked after the files were listed: ids of the runs that are at work.
            forgotten: snapshots to be taken for expired already (for a dry run).
            dry_run: only tell which would go.

        Raises:
            TableNotFoundError: no such table is published.
            UnsupportedError: another table's files lie in the same place, or none can be listed.
        """

    @abstractmethod
    def made_of(
        self, table: TableName, snapshot_id: int, branch: Branch | None = None
    ) -> frozenset[str]:
        """Locations of what makes a snapshot up: its manifests, or its files.

        Two snapshots that are made of the same hold the same rows. ``branch`` finds a table that
        is only staged.

        Raises:
            TableNotFoundError: no such table or snapshot.
        """

    @abstractmethod
    def covered(self, table: TableName, seal_id: int) -> Covered:
        """What a seal of main covers.

        Raises:
            TableNotFoundError: no such table, or the seal or its audited snapshot is not kept.
            UnsealedError: the snapshot is no seal that stands on its run's own snapshots.
        """

    def close(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give back what the catalog holds open; it cannot be used afterwards."""

    def verify(self, table: TableName) -> list[Snapshot]:
        """The snapshots of main that no seal covers: [] is what an auditor wants to see."""
        return [gap.snapshot for gap in self.gaps(table)]

    def gaps(self, table: TableName) -> list[Gap]:
        """The same, each with the reason.

        A snapshot is covered when it is a whole seal, or the snapshot that a seal names as
        audited, or the run's own snapshots below that, or the empty bootstrap. A seal that is
        not made of the files of what it names as audited covers nothing.
        """
        return gaps(self.log(table), lambda a, b: self.made_of(table, a) == self.made_of(table, b))

    def ground(self, table: TableName, *, sealed_only: bool = False) -> list[Gap]:
        """Of :meth:`gaps` what a run builds on, by the metadata alone: what others wrote to main.

        Raises:
            UnsealedError: a publish over this main would be refused.
        """
        return check_ground(self.log(table), where=str(table), sealed_only=sealed_only)
