"""Where tables are found: visible ones by their name, staged new ones in the hidden namespace."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.table import Table

from catalog import naming
from catalog.commits import Committer
from catalog.errors import (
    BranchExistsError,
    BranchNotFoundError,
    TableNotFoundError,
    UnsupportedError,
)
from catalog.places import Place, place_in
from catalog.properties import is_location
from catalog.refs import BRANCHES, Branch, TableName

_FORMAT = 2
_LOAD_TRIES = 3


class Home(ABC):
    """One pyiceberg catalog, what commits to it, and a lock per table for this process.

    Where the branches of runs are is the adapter's own affair: it says so here, and whatever
    stages, seals and reads is the same for all.

    The locks only keep our own threads from losing races against each other; what is right
    rests on the compare-and-swap of the commits.
    """

    def __init__(self, catalog: Catalog, committer: Committer) -> None:
        self.catalog = catalog
        self.committer = committer
        self._locks: dict[TableName, threading.RLock] = defaultdict(threading.RLock)
        self._locks_guard = threading.Lock()

    @property
    def warehouse(self) -> str | None:
        """Root of new tables' locations; None: the catalog chooses, and tells where afterwards.

        A server may know its warehouses by names; then the property is no location.
        """
        found = self.catalog.properties.get("warehouse", "")
        return found if is_location(found) or found.startswith("/") else None

    @contextmanager
    def serial(self, tables: Iterable[TableName]) -> Iterator[None]:
        """Be the only thread of this process that commits to the tables."""
        with ExitStack() as stack:
            for table in sorted(set(tables)):
                with self._locks_guard:
                    lock = self._locks[table]
                stack.enter_context(lock)
            yield

    def visible(self, table: TableName) -> Table | None:
        """The table that readers see; None when there is none."""
        return self.load(table.identifier)

    @abstractmethod
    def names(self) -> list[TableName]:
        """The tables that main lists, sorted."""

    @abstractmethod
    def holders(self, branch: Branch | None, table: TableName) -> Iterator[Table]:
        """Where a snapshot of the table may be: as main shows it first, then the run's branch."""

    @abstractmethod
    def find(self, branch: Branch, table: TableName) -> Place | None:
        """The table on a run's branch; None when it is not there.

        Raises:
            BranchExistsError: it is there, and its head is not this run's.
        """

    @abstractmethod
    def runs_on(self, table: TableName) -> set[str]:
        """Ids of the runs that have, or may have, a branch of the table."""

    @abstractmethod
    def readable(self, table: TableName) -> Iterator[Table]:
        """Every metadata of the table that somebody can still read; main's first.

        Raises:
            TableNotFoundError: main does not list it.
        """

    def staged(self, branch: Branch, table: TableName) -> Place:
        """The table on a run's branch.

        Raises:
            BranchNotFoundError: it is not there.
            BranchExistsError: it is there, and its head is not this run's.
        """
        place = self.find(branch, table)
        if place is None:
            raise BranchNotFoundError(
                f"there is no branch {branch}",
                where=str(table),
                hint="it was published or dropped; start a new run",
            )
        check_format(place.table, table)
        return place

    def needed(self, table: TableName) -> Table:
        """The visible table.

        Raises:
            TableNotFoundError: there is none.
        """
        found = self.visible(table)
        if found is None:
            raise unpublished(table)
        return found

    def file_io(self, location: str) -> FileIO:
        """A FileIO for a location that no table is known to lie at."""
        return load_file_io(self.catalog.properties, location)

    def load(self, identifier: tuple[str, ...]) -> Table | None:
        """Load; a metadata file that later commits trimmed away under us means: look again."""
        for attempt in range(_LOAD_TRIES):
            try:
                return self.committer.load(identifier)
            except (NoSuchTableError, NoSuchNamespaceError):
                return None
            except FileNotFoundError:
                if attempt == _LOAD_TRIES - 1:
                    raise
        return None


class NativeHome(Home):
    """Branches are refs of each table; a new table lies in the hidden namespace meanwhile."""

    def names(self) -> list[TableName]:
        """All tables but those of the hidden namespace."""
        return sorted(
            TableName(identifier[:-1], identifier[-1])
            for identifier in self.identifiers()
            if identifier[:-1] != (naming.STAGING_NAMESPACE,)
        )

    def holders(self, branch: Branch | None, table: TableName) -> Iterator[Table]:
        """The visible table and, of a branch, the hidden one."""
        visible = self.visible(table)
        if visible is not None:
            yield visible
        hidden = self.hidden(branch, table) if branch is not None else None
        if hidden is not None:
            yield hidden

    def hidden(self, branch: Branch, table: TableName) -> Table | None:
        """The new table that a run stages; None when there is none (any more)."""
        return self.load(naming.hidden_identifier(branch, table))

    def find(self, branch: Branch, table: TableName) -> Place | None:
        """The run's branch in the visible table, else in a hidden one."""
        for found in self.holders(branch, table):
            place = place_in(found, branch, table)
            if place is not None:
                return place
            if branch.name in found.metadata.refs:
                raise foreign_branch(branch, table)
        return None

    def runs_on(self, table: TableName) -> set[str]:
        """The runs whose refs the visible table has."""
        return {ref.removeprefix(BRANCHES) for ref in self.needed(table).metadata.refs}

    def readable(self, table: TableName) -> Iterator[Table]:
        """Main's metadata: it holds every ref, and readers take what the catalog points to."""
        yield self.needed(table)

    def identifiers(self) -> list[tuple[str, ...]]:
        """Every table of every namespace, the hidden one included."""
        found: list[tuple[str, ...]] = []
        waiting = list(self.catalog.list_namespaces())
        while waiting:
            namespace = waiting.pop()
            try:
                found += self.catalog.list_tables(namespace)
                waiting += self.catalog.list_namespaces(namespace)
            except NoSuchNamespaceError:
                continue  # went away while we looked
        return found


def unpublished(table: TableName) -> TableNotFoundError:
    """Main does not list the table."""
    hint = "`wap verify` lists what is published"
    return TableNotFoundError("no such table is published", where=str(table), hint=hint)


def foreign_branch(branch: Branch, table: TableName) -> BranchExistsError:
    """A ref has the branch's name, and its head is not a snapshot of the run."""
    return BranchExistsError(
        "the ref's head is not this run's",
        where=f"{table} on {branch}",
        hint="somebody else wrote to it; look at it, remove the ref by hand, start a new run",
    )


def check_format(table: Table, name: TableName) -> None:
    """Refuse what pyiceberg cannot write safely.

    Raises:
        UnsupportedError: not Iceberg format version 2.
    """
    if table.metadata.format_version != _FORMAT:
        raise UnsupportedError(
            f"Iceberg format version {table.metadata.format_version} cannot be written",
            where=str(name),
            hint=f"runs write format version {_FORMAT}; rewrite the table in it",
        )
