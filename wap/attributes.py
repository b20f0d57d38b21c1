"""Search attributes: by which table and where it stands a run is found among many."""

from __future__ import annotations

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.common import SearchAttributeKey
from temporalio.service import RPCError

from wap.errors import ConfigError, TemporalUnavailableError
from wap.settings import TemporalSection

TABLE = SearchAttributeKey.for_keyword("WapTable")
STATUS = SearchAttributeKey.for_keyword("WapStatus")
#: The group whose tables a run publishes together.
GROUP = SearchAttributeKey.for_keyword("WapGroup")
NAMES = (TABLE.name, STATUS.name, GROUP.name)

#: What a run is at, by the step that begins.
PHASES = {
    "open_branch": "staging",
    "reconcile": "auditing",
    "hold": "held",
    "publish": "publishing",
    "publish_group": "publishing",
    "drop_branch": "rolling_back",
}


async def missing(client: Client) -> list[str]:
    """The attributes that the client's namespace does not know as keywords.

    Raises:
        TemporalUnavailableError: the server does not tell.
    """
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as exc:
        raise _untold(client, f"the server does not tell its search attributes: {exc}") from exc
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    return [name for name in NAMES if known.custom_attributes.get(name) != keyword]


async def register(client: Client) -> list[str]:
    """Register those that are missing; returns their names.

    Raises:
        TemporalUnavailableError: the server refuses, or another type is there under the name.
    """
    names = await missing(client)
    keyword = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
    request = AddSearchAttributesRequest(
        namespace=client.namespace, search_attributes=dict.fromkeys(names, keyword)
    )
    if names:
        try:
            await client.operator_service.add_search_attributes(request)
        except RPCError as exc:
            raise _untold(client, f"the search attributes cannot be registered: {exc}") from exc
    return names


def _untold(client: Client, said: str) -> TemporalUnavailableError:
    return TemporalUnavailableError(
        said,
        where=f"namespace {client.namespace}",
        hint="let an operator register them: temporal operator search-attribute create "
        + " ".join(f"--name {name} --type Keyword" for name in NAMES),
    )


async def are_set(client: Client, settings: TemporalSection) -> bool:
    """Whether runs set them: an unknown one would hold a run up for ever, so it is asked first.

    A search attribute is never encrypted; so with keys a run sets none, unless it is asked for.

    Raises:
        ConfigError: they are asked for and not there.
    """
    if settings.search_attributes == "off":
        return False
    if settings.search_attributes == "auto":
        if settings.encryption_keys:
            return False
        try:
            return not await missing(client)
        except TemporalUnavailableError:
            return False  # a server that keeps them to itself runs our runs all the same
    names = await missing(client)
    if names:
        raise ConfigError(
            f"the namespace {client.namespace!r} has no search attribute {', '.join(names)}",
            where='[temporal] search_attributes = "on"',
            hint="wap doctor --fix registers them",
        )
    return True
