"""The one module that touches private names of pyiceberg's REST catalog: listed and tested.

- ``RestCatalog._create_session``: makes every ``requests`` session, the one for the config too.
- ``RestCatalog._session``: the session with the catalog's credentials, for what pyiceberg lacks.
- ``RestCatalog._supported_endpoints``: what the server says it can do.

``tests/unit/catalog/test_iceberg_rest.py`` says what we rely on, so an upgrade fails there.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from pyiceberg.catalog.rest import Endpoint, HttpMethod, RestCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ForbiddenError,
    RESTError,
)
from pyiceberg.table import CommitTableRequest, Table, TableIdentifier
from pyiceberg.table.update import TableRequirement, TableUpdate

#: Seconds to connect and to wait for an answer; pyiceberg itself would wait for ever.
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0

_COMMIT = "transactions/commit"
_COMMIT_ENDPOINT = Endpoint(http_method=HttpMethod.POST, path=f"/v1/{{prefix}}/{_COMMIT}")

#: One table's part of a commit.
TableChange = tuple[Table, tuple[TableRequirement, ...], tuple[TableUpdate, ...]]


class TimedRestCatalog(RestCatalog):
    """pyiceberg's REST catalog, whose calls all end, and which can commit several tables."""

    def __init__(self, name: str, *, timeout: tuple[float, float], **properties: str) -> None:
        """Ask the server for its configuration.

        Args:
            name: the catalog's name.
            timeout: seconds to connect, and to wait for each answer.
            properties: pyiceberg's.
        """
        self._timeout = timeout
        super().__init__(name, **properties)

    def _create_session(self) -> Any:
        session = super()._create_session()
        session.request = functools.partial(self._request, session.request)
        return session

    def _request(self, send: Callable[..., Any], method: str, url: str, **given: Any) -> Any:
        params = given.get("params") or {}
        if "parent" in params:
            # pyiceberg quotes the namespace whose children it lists, and requests quotes it again.
            given["params"] = {**params, "parent": unquote(params["parent"])}
        return send(method, url, **{"timeout": self._timeout, **given})

    @property
    def commits_groups(self) -> bool:
        """Whether the server offers the commit of several tables."""
        return _COMMIT_ENDPOINT in self._supported_endpoints

    def commit_tables(self, changes: Sequence[TableChange]) -> None:
        """Commit to several tables at once, all or none.

        Raises:
            CommitFailedException: a requirement does not hold; nothing has changed.
            CommitStateUnknownException: the server failed, before or after it committed.
            ForbiddenError, RESTError: it refuses.
        """
        body = {"table-changes": [_change(*change) for change in changes]}
        response = self._session.post(self.url(_COMMIT), data=json.dumps(body).encode())
        _check(response)


def _change(
    table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
) -> Any:
    *namespace, name = table.name()
    identifier = TableIdentifier.model_validate({"namespace": namespace, "name": name})
    request = CommitTableRequest(identifier=identifier, requirements=requirements, updates=updates)
    return json.loads(request.model_dump_json())


def _check(response: Any) -> None:
    if response.ok:
        return
    status = response.status_code
    text = f"{status} {_message(response)}"
    if status in (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT):
        raise CommitFailedException(text)
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise ForbiddenError(text)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise CommitStateUnknownException(text)
    raise RESTError(text)


def _message(response: Any) -> str:
    try:
        return str(response.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return response.reason or ""
