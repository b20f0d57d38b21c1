"""``NessieCatalog``: a branch of the whole catalog for each run, on Project Nessie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from catalog import nessie_cleanup, nessie_runs
from catalog.base import Change, Staging, TableShape
from catalog.commits import Committer
from catalog.nessie_api import Api
from catalog.nessie_commits import NessieCommitter
from catalog.nessie_home import NessieHome
from catalog.nessie_tables import PointerCatalog
from catalog.properties import needed, warehouse_location
from catalog.refs import AuditedHead, Back, Branch, BranchState, Dropped, Snapshot, TableName
from catalog.tables import TableCatalog
from catalog.vendor import translated

#: Properties that are about the server, and no business of whoever reads and writes files.
_SERVERS_OWN = ("uri", "token")


class NessieCatalog(TableCatalog):
    """Pointers to metadata files on branches of Nessie."""

    def __init__(self, catalog: PointerCatalog, committer: Committer | None = None) -> None:
        """Wrap main.

        Args:
            catalog: the tables that main points to.
            committer: what commits and publishes; by default :class:`NessieCommitter`.
        """
        self._home = NessieHome(catalog, committer or NessieCommitter(catalog))
        super().__init__(catalog.name, self._home)

    def branches(self) -> list[BranchState]:
        """See the port."""
        with translated(f"catalog {self.name}"):
            return nessie_runs.branches(self._home)

    def open_branch(self, branch: Branch, table: TableName, shape: TableShape) -> Staging:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return nessie_runs.open_branch(self._home, branch, table, shape)

    def publish(self, heads: Sequence[AuditedHead]) -> list[Snapshot]:
        """See the port."""
        with translated(", ".join(f"{h.table} on {h.branch}" for h in heads)):
            return nessie_runs.publish(self._home, heads)

    def roll_back(self, moves: Sequence[Back], heads: Sequence[AuditedHead] = ()) -> list[Snapshot]:
        """See the port."""
        tables = [*(m.table for m in moves), *(h.table for h in heads)]
        with translated(", ".join(map(str, tables))):
            return nessie_runs.publish(self._home, heads, moves)

    def restage_on(self, staging: Staging, change: Change, main: int) -> Staging:
        """See the port."""
        with translated(f"{staging.table} on {staging.branch}"):
            return nessie_runs.restage_on(self._home, staging, change, main)

    def rebase(self, branch: Branch, table: TableName) -> Staging:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return nessie_runs.rebase(self._home, branch, table)

    def drop(self, branch: Branch, table: TableName) -> Dropped:
        """See the port."""
        with translated(f"{table} on {branch}"):
            return nessie_cleanup.drop(self._home, branch, table)


def open_nessie(name: str, properties: Mapping[str, str]) -> NessieCatalog:
    """A catalog on a Nessie server, with a warehouse on local disk or behind any FileIO.

    Args:
        name: the catalog's, for messages.
        properties: ``uri`` (``http://host:19120/api/v2``), ``warehouse``, a bearer ``token`` where
            the server wants one, and any of FileIO's.

    Raises:
        CatalogConfigError: a property is missing or wrong, or the server refuses the token.
        CatalogUnavailableError: the server does not answer.
    """
    uri = needed(properties, "uri")
    warehouse = warehouse_location(needed(properties, "warehouse"))
    others = {k: v for k, v in properties.items() if k not in _SERVERS_OWN}
    with translated(f"catalog {name}"):
        api = Api(uri, properties.get("token"))
        try:
            api.check()
        except BaseException:
            api.close()
            raise
        return NessieCatalog(PointerCatalog(name, api, {**others, "warehouse": warehouse}))
