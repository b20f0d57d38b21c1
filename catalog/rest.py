"""Iceberg REST catalogs: opening one, and committing through its protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

from pyiceberg.exceptions import CommitFailedException, RESTError

from catalog.commits import PortableCommitter, Proposal
from catalog.errors import CatalogConfigError, UnsupportedError
from catalog.iceberg_rest import ANSWER_SECONDS, CONNECT_SECONDS, TimedRestCatalog
from catalog.native import NativeCatalog
from catalog.vendor import translated

#: Milliseconds, named as Java's client names them.
_CONNECT = "rest.client.connection-timeout-ms"
_ANSWER = "rest.client.socket-timeout-ms"
#: Properties that pyiceberg takes as nested tables, which text cannot hold.
_NESTED = ("auth", "ssl")
#: How Iceberg's library words a snapshot number that somebody else took.
_STALE = "older than last sequence number"
_IS_NESSIE = "nessie.is-nessie-catalog"


class RestCommitter(PortableCommitter):
    """Commits one table by its own endpoint, several by the server's endpoint for groups.

    The server deletes old metadata files by itself; we may not be allowed to.
    """

    trims = False

    def __init__(self, catalog: TimedRestCatalog) -> None:
        super().__init__(catalog)
        self._rest = catalog
        self.atomic_groups = catalog.commits_groups

    def commit(self, proposals: Sequence[Proposal]) -> None:
        """Commit them; a refused snapshot number and a table that is gone are lost races."""
        try:
            if len(proposals) == 1:
                super().commit(proposals)
            else:
                self._commit_group(proposals)
        except RESTError as exc:
            if _status(exc) == HTTPStatus.NOT_FOUND or _STALE in str(exc):
                raise CommitFailedException(str(exc)) from exc
            raise

    def _commit_group(self, proposals: Sequence[Proposal]) -> None:
        self._rest.commit_tables([(p.table, p.all_requirements, p.updates) for p in proposals])


def _status(exc: BaseException) -> int | None:
    """HTTP's status behind an error of pyiceberg's, None when there is none."""
    return getattr(getattr(exc.__cause__, "response", None), "status_code", None)


def open_rest(name: str, properties: Mapping[str, str]) -> NativeCatalog:
    """Any server that speaks Iceberg's REST protocol, Nessie's excepted.

    Args:
        name: the catalog's name, for messages.
        properties: ``uri``, by choice ``warehouse`` (the server's name for one, or where new
            tables lie when it is a location), and any of pyiceberg's own.

    Raises:
        CatalogConfigError: a property is missing or wrong, or the server refuses us.
        UnsupportedError: the server is Nessie.
        CatalogUnavailableError: it does not answer.
    """
    nested = [key for key in _NESTED if key in properties]
    if nested:
        raise CatalogConfigError(
            f"the property {nested[0]!r} cannot be given as text",
            hint="give token, credential or header.…; for TLS set REQUESTS_CA_BUNDLE",
        )
    timeout = (
        _seconds(properties, _CONNECT, CONNECT_SECONDS),
        _seconds(properties, _ANSWER, ANSWER_SECONDS),
    )
    with translated(f"catalog {name}"):
        catalog = TimedRestCatalog(name, timeout=timeout, **properties)
    _refuse_nessie(catalog)
    return NativeCatalog(catalog, RestCommitter(catalog))


def _seconds(properties: Mapping[str, str], key: str, default: float) -> float:
    text = properties.get(key)
    if text is None:
        return default
    if not text.isdecimal() or int(text) == 0:
        raise CatalogConfigError(f"{key} is not a number of milliseconds", hint=f"{key} = 10000")
    return int(text) / 1000


def _refuse_nessie(catalog: TimedRestCatalog) -> None:
    if catalog.properties.get(_IS_NESSIE, "false").lower() == "true":
        catalog.close()
        raise UnsupportedError(
            "through Nessie's Iceberg REST a write to a table's branch replaces its main",
            where=f"catalog {catalog.name}",
            hint='use kind = "nessie", which talks to Nessie itself',
        )
