"""Committing by compare-and-swap: proposals, the bounded retry loop, and what swaps them in."""

from __future__ import annotations

import random
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from pyiceberg.catalog import Catalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    NamespaceAlreadyExistsError,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.io import FileIO
from pyiceberg.table import CommitTableResponse, Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.update import RemovePropertiesUpdate, TableRequirement, TableUpdate

from catalog import moves, naming
from catalog.drafts import Draft
from catalog.errors import CatalogError, CatalogUnavailableError
from catalog.vendor import is_transient

T = TypeVar("T")

#: So often a metadata commit is tried while others are faster.
TRIES = 60
#: So often while the catalog does not answer; each may already have waited out a timeout.
UNANSWERED_TRIES = 3
_LONGEST_WAIT = 0.1  # seconds
#: So long one waits in line for those before.
LINE_SECONDS = 5.0
#: What pyiceberg says where a rename is two calls and the second of them failed.
_HALF_RENAMED = "Failed to drop old table"


@dataclass(frozen=True, slots=True)
class Proposal:
    """One table's part of a commit, made from freshly loaded metadata.

    Attributes:
        table: as it was loaded.
        requirements: what must still hold; the table's uuid is always added.
        updates: what changes; may be empty when only the name does.
        rename_to: identifier the table has afterwards, None: it keeps its own.
        drafts: the snapshots written for it.
        run_id: by whose name its metadata file is found, should the commit die half-way; ""
            of what no run does.
    """

    table: Table
    requirements: tuple[TableRequirement, ...]
    updates: tuple[TableUpdate, ...]
    rename_to: tuple[str, ...] | None = None
    drafts: tuple[Draft, ...] = ()
    run_id: str = ""

    @property
    def all_requirements(self) -> tuple[TableRequirement, ...]:
        """The requirements and that it is still the same table."""
        return (moves.same_table(self.table.metadata), *self.requirements)


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """There is nothing (more) to commit: the effect is there, and this is the answer."""

    value: T


Decision = Done[T] | Sequence[Proposal]


class Committer(ABC):
    """Loads tables and swaps new metadata in, all proposals or none.

    Attributes:
        atomic_groups: takes several proposals at once.
        new_in_groups: and some of them may give a table its name.
        serial: a commit fails when *anything* in the table changed since it was loaded, not
            only what the requirements name.
    """

    atomic_groups: bool
    new_in_groups: bool
    serial: bool

    @abstractmethod
    def load(self, identifier: tuple[str, ...]) -> Table:
        """The table as it is now; its metadata is shared and must not be changed.

        Raises:
            NoSuchTableError, NoSuchNamespaceError: there is none.
        """

    @abstractmethod
    def commit(self, proposals: Sequence[Proposal]) -> None:
        """Commit them.

        Raises:
            CommitFailedException: lost for certain; nothing has changed.
            Exception: anything else leaves the outcome unknown.
        """

    def in_line(self, proposals: Sequence[Proposal]) -> AbstractContextManager[None]:
        """Where one stands who has lost a race for these tables, until the next commit is done.

        Those who stand there commit one after the other, in place of all at once and all but one
        in vain. A courtesy that keeps nobody out: what is right rests on the compare-and-swap, and
        whoever has waited :data:`LINE_SECONDS` goes on without.
        """
        del proposals
        return nullcontext()


class PortableCommitter(Committer):
    """Commits one table over the public interface that every pyiceberg catalog has."""

    atomic_groups = False
    new_in_groups = False
    serial = False
    #: Whether old metadata files are deleted here; a catalog server may do so itself.
    trims = True

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def load(self, identifier: tuple[str, ...]) -> Table:
        """Load it from the catalog each time."""
        return self._catalog.load_table(identifier)

    def commit(self, proposals: Sequence[Proposal]) -> None:
        """Commit the single proposal, then rename; a crash between is completed by a retry."""
        (proposal,) = proposals
        if proposal.updates:
            response = self._commit(proposal)
            if self.trims:
                trim_metadata(proposal.table.io, proposal.table.metadata, response.metadata)
        if proposal.rename_to is not None:
            self._rename(proposal.table.name(), proposal.rename_to)

    def _commit(self, proposal: Proposal) -> CommitTableResponse:
        removed = any(isinstance(update, RemovePropertiesUpdate) for update in proposal.updates)
        try:
            return self._catalog.commit_table(
                proposal.table, proposal.all_requirements, proposal.updates
            )
        except KeyError as exc:
            if not removed:
                raise
            # So pyiceberg says that somebody else was faster at removing a property.
            raise CommitFailedException(f"the property {exc} is not there any more") from exc

    def _rename(self, old: tuple[str, ...], new: tuple[str, ...]) -> None:
        ensure_namespace(self._catalog, new[:-1])
        # Whoever drops the last other staged table may take the namespace from under this one.
        ensure_namespace(self._catalog, old[:-1])
        try:
            self._catalog.rename_table(old, new)
        except (TableAlreadyExistsError, NoSuchTableError) as exc:
            raise CommitFailedException(f"cannot rename to {'.'.join(new)}: {exc}") from exc
        except ValueError as exc:
            if not str(exc).startswith(_HALF_RENAMED):
                raise
            raise CommitStateUnknownException(str(exc)) from exc


def ensure_namespace(catalog: Catalog, namespace: tuple[str, ...]) -> None:
    """Create a namespace that is not there; another that does so at once is no error."""
    if catalog.namespace_exists(namespace):
        return
    try:
        catalog.create_namespace(namespace)
    except NamespaceAlreadyExistsError:
        return
    except Exception:
        if not catalog.namespace_exists(namespace):
            raise


def trim_metadata(io: FileIO, before: TableMetadata, after: TableMetadata) -> None:
    """Delete the metadata files that fell off the log, where the table's properties say so."""
    if not is_trimmed(after):
        return
    kept = {entry.metadata_file for entry in after.metadata_log}
    for entry in before.metadata_log:
        if entry.metadata_file not in kept:
            delete_quietly(io, entry.metadata_file)


def is_trimmed(metadata: TableMetadata) -> bool:
    """Whether the table's properties say that what falls off its log is deleted."""
    return metadata.properties.get("write.metadata.delete-after-commit.enabled", "false") == "true"


def delete_quietly(io: FileIO, location: str) -> None:
    """Delete a file that nothing refers to; one that is gone already is fine."""
    try:
        io.delete(location)
    except FileNotFoundError:
        return


def settle(
    committer: Committer, decide: Callable[[], Decision[T]], drafts: Sequence[Draft] = ()
) -> T:
    """Commit what ``decide`` proposes until it finds its effect in freshly loaded metadata.

    ``decide`` is asked again after every attempt, whatever became of it: so a lost answer, a
    lost race and a success end the same way, by reading what is there. Only the metadata
    commit is repeated; data files and manifests are written once.

    Args:
        committer: what swaps the proposals in.
        decide: loads, and either finds the effect there or proposes; raises when it cannot be.
        drafts: snapshots written for this; their files are deleted when they surely lost.

    Raises:
        CatalogError: from ``decide``.
        CatalogUnavailableError: still losing after :data:`TRIES`.
        Exception: the catalog's own, when it does not answer or refuses.
    """
    attempts = _Attempts(committer, drafts)
    with ExitStack() as line:
        for wait in _waits():
            try:
                decision = decide()
            except CatalogError:
                attempts.discard()
                raise
            if isinstance(decision, Done):
                attempts.discard()
                return decision.value
            attempts.raise_if_hopeless()
            if attempts.commit([_with_notes(proposal) for proposal in decision]):
                continue
            time.sleep(wait)
            if attempts.lost == 1:
                line.enter_context(committer.in_line(decision))
    attempts.discard()
    raise CatalogUnavailableError(
        f"the commit lost its race {TRIES} times",
        hint="too many writers at once; run again when it is quieter",
    ) from attempts.failure


def _with_notes(proposal: Proposal) -> Proposal:
    """The proposal, and a note in the table of every file that it adds from another place."""
    files = [file.file_path for draft in proposal.drafts for file in draft.added]
    if not files:
        return proposal
    table = proposal.table
    notes = naming.outside(files, table.location(), table.metadata.properties)
    if not notes:
        return proposal
    return replace(proposal, updates=(*proposal.updates, moves.set_properties(notes)))


class _Attempts:
    """What became of the commits so far.

    Attributes:
        landed: whether one took effect, or may have: then its files must stay.
        failure: the last commit's error, None when it raised none.
        lost: how many races were lost.
    """

    def __init__(self, committer: Committer, drafts: Sequence[Draft]) -> None:
        self._committer = committer
        self._drafts = drafts
        self._unanswered = 0
        self.landed = False
        self.failure: Exception | None = None
        self.lost = 0

    def commit(self, proposals: Sequence[Proposal]) -> bool:
        """Commit once; whether it was answered with success."""
        self.failure = None
        try:
            self._committer.commit(proposals)
            self.landed = True
        except Exception as exc:  # noqa: BLE001 - judged once what is there has been read again
            self.failure = exc
            if _is_lost(exc):
                self.lost += 1
                _discard_lists(proposals)
            else:
                self.landed = True
                self._unanswered += 1
        return self.failure is None

    def raise_if_hopeless(self) -> None:
        """Raise the last error where another attempt would only meet it again."""
        if self.failure is None or _is_lost(self.failure):
            return
        if self._unanswered >= UNANSWERED_TRIES or not is_transient(self.failure):
            raise self.failure

    def discard(self) -> None:
        """Delete the drafts' files, if no commit can have used them."""
        if not self.landed:
            for draft in self._drafts:
                draft.discard()


def _is_lost(exc: Exception) -> bool:
    """Whether the commit certainly did not happen because somebody else was faster."""
    if isinstance(exc, CommitFailedException):
        return True
    # pyiceberg words a lost race on the sequence number as a bug of the caller.
    return isinstance(exc, ValueError) and "Cannot add snapshot with sequence number" in str(exc)


def _waits() -> Iterator[float]:
    for attempt in range(TRIES):
        longest = min(_LONGEST_WAIT, 0.004 * 2**attempt)
        yield random.uniform(0, longest)  # noqa: S311 - jitter, no secret


def _discard_lists(proposals: Sequence[Proposal]) -> None:
    for proposal in proposals:
        for draft in proposal.drafts:
            draft.discard_list()
