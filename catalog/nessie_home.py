"""Where Nessie keeps the branches of runs: one branch of the whole catalog for each run."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from pyiceberg.exceptions import CommitFailedException, NoSuchTableError
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import naming
from catalog.commits import Committer
from catalog.errors import CatalogUnavailableError
from catalog.history import ancestry, chain_of, head_of, is_bootstrap, is_own, summary_of
from catalog.home import Home, foreign_branch
from catalog.nessie_api import Entry, Key, Meta, Put, Ref, RefGoneError
from catalog.nessie_commits import BEGIN, RUN, SIDE
from catalog.nessie_tables import RUNS, TABLE, Pointed, PointerCatalog, content_of
from catalog.places import Place
from catalog.refs import MAIN, Branch, TableName

_TRIES = 20
#: So many commits a run's branch may have of its own; each step makes one.
_LONGEST_LOG = 500


class NessieHome(Home):
    """A run's snapshots are on main of each table's metadata, as the run's branch points to it.

    So nothing of a run is in what main points to: no ref, no column, no table.
    """

    catalog: PointerCatalog

    def __init__(self, catalog: PointerCatalog, committer: Committer) -> None:
        super().__init__(catalog, committer)
        self.catalog = catalog
        self.api = catalog.api

    # --- tables ---------------------------------------------------------------------------------

    def names(self) -> list[TableName]:
        """The tables that main lists."""
        found = self.api.entries(MAIN, TABLE)
        return sorted(TableName(key[:-1], key[-1]) for key in found)

    def main(self, names: Sequence[TableName]) -> tuple[Ref, list[Pointed | None]]:
        """Main's head, and the tables as it has them."""
        return self.catalog.load_tables_at([n.identifier for n in names])

    def on_branch(self, branch: Branch, name: TableName) -> Pointed | None:
        """The table as the run's branch points to it, be it the run's or only inherited."""
        try:
            return self.catalog.on(branch.name).load_table(name.identifier)
        except NoSuchTableError:
            return None

    def holders(self, branch: Branch | None, table: TableName) -> Iterator[Table]:
        """Main's table and, of a branch, what that points to."""
        visible = self.visible(table)
        if visible is not None:
            yield visible
        staged = self.on_branch(branch, table) if branch is not None else None
        if staged is not None:
            yield staged

    def find(self, branch: Branch, table: TableName) -> Place | None:
        """The table on the run's branch, when the run has a snapshot there that main has not."""
        found = self.on_branch(branch, table)
        head = head_of(found.metadata, MAIN) if found is not None else None
        if found is None or head is None:
            return None
        chain = chain_of(found.metadata, head, branch.run_id)
        if chain is None:
            if self.has_own(found, table, branch):
                raise foreign_branch(branch, table)
            return None
        if summary_of(head).get(naming.ROLE) == "seal" and not self.has_own(found, table, branch):
            return None  # published: the branch only inherits it
        base = found.metadata.snapshot_by_id(chain.base) if chain.base is not None else None
        new = base is not None and is_bootstrap(base)
        return Place(branch, table, found, MAIN, chain, None if new else chain.base)

    def has_own(self, found: Table, name: TableName, branch: Branch) -> bool:
        """Whether the branch's table has a snapshot of the run that main's history has not."""
        own = {s.snapshot_id for s in _history(found) if is_own(s, branch.run_id)}
        visible = self.visible(name) if own else None
        published = {s.snapshot_id for s in visible.metadata.snapshots} if visible else set()
        return bool(own - published)

    def runs_on(self, table: TableName) -> set[str]:  # noqa: ARG002 - a branch is of all tables
        """The runs that have a branch, or what attempts of theirs left beside it."""
        side = {ref.name.removeprefix(SIDE).partition("/")[0] for ref in self.api.refs(SIDE)}
        return side | {branch.run_id for branch in self.branches()}

    def readable(self, table: TableName) -> Iterator[Table]:
        """Main's metadata, and what any commit of any branch or tag points to.

        Whoever has a commit's hash reads the table as it was then. The branches of runs are not
        among them: their files are told by :meth:`runs_on`.
        """
        now = self.catalog.load_table(table.identifier)
        yield now
        for location in sorted(self._locations(now) - {now.metadata_location}):
            yield self.catalog.at(now, location)

    def _locations(self, table: Pointed) -> set[str]:
        """Every metadata file of the table, under whatever name, that a commit put."""
        root = f"{table.location().rstrip('/')}/"
        seen: set[str] = set()
        found: set[str] = set()
        for ref in self.api.every_ref():
            if ref.name.startswith((RUNS, SIDE)):
                continue
            for entry in self.api.log(ref.name):
                if entry.hash in seen:
                    break  # and so is all that came before it
                seen.add(entry.hash)
                for key, content in entry.contents.items():
                    location = str(content.get("metadataLocation", ""))
                    if location and (key == table.name() or location.startswith(root)):
                        found.add(location)
        return found

    # --- branches -------------------------------------------------------------------------------

    def ground(self, branch: Branch, name: TableName) -> tuple[Ref | None, str | None]:
        """The run's branch as it is, None before its first commit; and the table's identity there.

        Raises:
            BranchExistsError: there is a branch of that name that the run did not make.
        """
        key = name.identifier
        try:
            at, found = self.api.contents(branch.name, [key])
        except RefGoneError:
            return None, None
        if self.touched(branch) is None:
            raise foreign_branch(branch, name)
        return at, str(found[key]["id"]) if key in found else None

    def based(self, branch: Branch, table: Pointed, at: Ref, content_id: str | None) -> Pointed:
        """A table's metadata, to be committed to the run's branch over what ``at`` has there."""
        on, where = self.catalog.on(branch.name), table.metadata_location
        return Pointed(at, content_id, table.name(), table.metadata, where, table.io, on)

    def branches(self) -> list[Branch]:
        """The branches of runs, by their names."""
        return [Branch(ref.name) for ref in self.api.refs(RUNS)]

    def touched(self, branch: Branch) -> set[Key] | None:
        """The keys that were changed on the branch; None when the run did not make it."""
        keys: set[Key] = set()
        try:
            for count, entry in enumerate(self.api.log(branch.name)):
                keys.update(entry.keys)
                if entry.properties.get(BEGIN) == branch.run_id:
                    return keys
                if count == _LONGEST_LOG:
                    break
        except RefGoneError:
            pass
        return None

    def tables_of(self, branch: Branch) -> list[TableName]:
        """The tables that were changed on the run's branch, sorted; [] when it is not the run's."""
        keys = self.touched(branch) or set()
        return sorted(TableName(key[:-1], key[-1]) for key in keys if len(key) > 1)

    def leave(self, branch: Branch, names: Collection[TableName]) -> None:
        """Take tables off the run's branch; when it holds no other any more, it goes.

        Afterwards nothing that was staged of them can be published: a publish wants the branch
        where it saw it.
        """
        for _ in range(_TRIES):
            try:
                if self._leave(branch, names):
                    return
            except (CommitFailedException, RefGoneError):
                continue
        raise CatalogUnavailableError("the branch keeps moving", where=str(branch))

    def _leave(self, branch: Branch, names: Collection[TableName]) -> bool:
        try:
            at = self.api.ref(branch.name)
        except RefGoneError:
            return True
        if self.touched(branch) is None:
            return True  # not the run's: left alone
        others = [n for n in self._staged_names(branch) if n not in names]
        if not others:
            self.api.delete(at)
            return True
        keys = [n.identifier for n in names]
        puts = list(self._restored(branch, keys))
        if puts:
            self.api.commit(at, puts, Meta(f"leave {branch}", properties={RUN: branch.run_id}))
        return True

    def _staged_names(self, branch: Branch) -> list[TableName]:
        return [n for n in self.tables_of(branch) if self.find(branch, n) is not None]

    def _restored(self, branch: Branch, keys: Sequence[Key]) -> Iterator[Put]:
        """Point the keys to what main has of them."""
        _, there = self.api.contents(branch.name, keys)
        _, tables = self.catalog.load_tables_at(keys)
        for key, table in zip(keys, tables, strict=True):
            if key not in there:
                continue
            if table is None:
                yield Put(key, None)
            elif there[key].get("metadataLocation") != table.metadata_location:
                id_ = str(there[key]["id"])
                yield Put(key, content_of(table.metadata, table.metadata_location, id_))

    def sweep(self, branch: Branch) -> None:
        """Remove what attempts of the run left beside its branch; such an attempt then fails."""
        for ref in self.api.refs(f"{SIDE}{branch.run_id}/"):
            self._remove(ref)

    def _remove(self, ref: Ref) -> None:
        """Delete a branch wherever it has moved to meanwhile; it may also be gone."""
        for _ in range(_TRIES):
            try:
                self.api.delete(ref)
            except CommitFailedException:
                try:
                    ref = self.api.ref(ref.name)
                except RefGoneError:
                    return
            else:
                return
        raise CatalogUnavailableError("the branch keeps moving", where=ref.name)

    def publications(self, branch: Branch, name: TableName) -> Iterator[Entry]:
        """The commits of main by which the run published the table."""
        wanted = f"commit.message.endsWith(' from {branch}')"
        return (e for e in self.api.log(MAIN, wanted) if name.identifier in e.keys)


def _history(table: Table) -> Iterator[IcebergSnapshot]:
    return ancestry(table.metadata, head_of(table.metadata, MAIN))
