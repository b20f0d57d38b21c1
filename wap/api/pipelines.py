"""Routes of pipelines: versions are read, compared, proved, and added; none is ever changed."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Response
from pydantic import BaseModel, ConfigDict

from wap.api.access import may_change, may_read
from wap.api.ports import Opened, Page
from wap.api.problems import RESPONSES
from wap.declared import prove
from wap.exchange import difference
from wap.ledger.registry import Registry
from wap.versions import (
    MAX_NAME,
    NAME,
    Change,
    ContractText,
    Version,
    VersionInfo,
    make_change,
    make_draft,
)

MAX_VERSION = 2**31 - 1
_NAME = f"^{NAME.pattern}$"
_ETAG = re.compile(r'"(?P<version>[1-9]\d{0,9})"')

Name = Annotated[str, Path(pattern=_NAME, max_length=MAX_NAME)]
Number = Annotated[int, Path(ge=1, le=MAX_VERSION)]
Limit = Annotated[int, Query(ge=1, le=200)]
IfMatch = Annotated[
    str | None, Header(description='The latest version as it was seen, in quotes: `"3"`.')
]
IfNoneMatch = Annotated[
    str | None, Header(description="`*`: only if there is no such pipeline yet.")
]

router = APIRouter(
    prefix="/pipelines", tags=["pipelines"], dependencies=[Depends(may_read)], responses=RESPONSES
)
changes = APIRouter(
    prefix="/pipelines", tags=["pipelines"], dependencies=[Depends(may_change)], responses=RESPONSES
)


class Texts(BaseModel):
    """A pipeline as a file would hold it, with every contract it names."""

    model_config = ConfigDict(extra="forbid")

    pipeline: str
    contracts: list[ContractText]


class Put(Texts):
    """A new version: its texts, who wants it, and why."""

    author: str
    reason: str


class PutContract(BaseModel):
    """A new text of one contract."""

    model_config = ConfigDict(extra="forbid")

    text: str
    author: str
    reason: str


class Validated(BaseModel):
    """What valid texts declare.

    Attributes:
        checks: names of all checks of the contracts.
    """

    table: str
    checks: list[str]


class Difference(BaseModel):
    """The unified difference of two versions; "" when they say the same."""

    old: int
    new: int
    difference: str


@router.get("")
def list_pipelines(
    shelves: Opened,
    after: Annotated[str, Query(pattern=rf"{_NAME}|^$", max_length=MAX_NAME)] = "",
    limit: Limit = 50,
) -> Page[VersionInfo]:
    """The latest version of each pipeline, by name."""
    found = shelves.registry.pipelines(after=after, limit=limit + 1)
    more = len(found) > limit
    return Page(items=found[:limit], next=found[limit - 1].name if more else None)


@router.get("/{name}")
def read_pipeline(name: Name, shelves: Opened, response: Response) -> Version:
    """The latest version with its texts; the ETag is what `If-Match` wants."""
    found = _latest(shelves.registry, name)
    _tag(response, found)
    return found


@router.get("/{name}/versions")
def list_versions(
    name: Name,
    shelves: Opened,
    before: Annotated[int | None, Query(ge=1, le=MAX_VERSION)] = None,
    limit: Limit = 50,
) -> Page[VersionInfo]:
    """Every version, newest first, deleted ones too."""
    found = shelves.registry.history(name, before=before, limit=limit + 1)
    if not found and before is None:
        raise _unknown(name)
    more = len(found) > limit
    return Page(items=found[:limit], next=str(found[limit - 1].version) if more else None)


@router.get("/{name}/versions/{version}")
def read_version(name: Name, version: Number, shelves: Opened) -> Version:
    """One version with its texts."""
    return _version(shelves.registry, name, version)


@router.get("/{name}/diff")
def diff_versions(
    name: Name,
    shelves: Opened,
    old: Annotated[int, Query(ge=1, le=MAX_VERSION)],
    new: Annotated[int | None, Query(ge=1, le=MAX_VERSION)] = None,
) -> Difference:
    """What changed between two versions; `new` is by default the latest."""
    first = _version(shelves.registry, name, old)
    last = _latest(shelves.registry, name) if new is None else _version(shelves.registry, name, new)
    return Difference(old=old, new=last.version, difference=difference(first, last))


@router.get("/{name}/contracts/{path:path}")
def read_contract(name: Name, path: str, shelves: Opened, response: Response) -> ContractText:
    """One contract of the latest version; the ETag is the pipeline's."""
    found = _latest(shelves.registry, name)
    _tag(response, found)
    return next((c for c in found.contracts if c.path == path), None) or _no_contract(name, path)


@changes.post("/{name}/validate")
def validate(name: Name, texts: Texts) -> Validated:
    """Hold texts against all that a new version is held against, and store nothing."""
    shown = f"pipeline {name}, draft"
    proved = prove(make_draft(name, texts.pipeline, texts.contracts, shown), shown)
    return Validated(table=proved.pipeline.table, checks=[rule.name for rule in proved.rules])


@changes.put("/{name}")
def put_pipeline(
    name: Name,
    body: Put,
    shelves: Opened,
    response: Response,
    if_match: IfMatch = None,
    if_none_match: IfNoneMatch = None,
) -> Version:
    """Store a new version, unless the latest one says the same already.

    409: somebody else stored a version meanwhile. 428: neither header was given.
    """
    expected = _expected(if_match, if_none_match)
    change = make_change(body.author, body.reason)
    stored = _put(shelves.registry, name, body, change, expected)
    _tag(response, stored)
    return stored


@changes.put("/{name}/contracts/{path:path}")
def put_contract(
    name: Name,
    path: str,
    body: PutContract,
    shelves: Opened,
    response: Response,
    if_match: IfMatch = None,
) -> Version:
    """Store a new version that differs from the latest one in the text of one contract."""
    expected = _expected(if_match, None)
    latest = _latest(shelves.registry, name)
    if all(c.path != path for c in latest.contracts):
        _no_contract(name, path)
    texts = Texts(
        pipeline=latest.pipeline,
        contracts=[
            ContractText(path=path, text=body.text) if c.path == path else c
            for c in latest.contracts
        ],
    )
    stored = _put(shelves.registry, name, texts, make_change(body.author, body.reason), expected)
    _tag(response, stored)
    return stored


@changes.delete("/{name}")
def delete_pipeline(
    name: Name,
    shelves: Opened,
    author: Annotated[str, Query(max_length=MAX_NAME)],
    reason: str,
    if_match: IfMatch = None,
) -> VersionInfo:
    """Store a version that says that the pipeline is gone; its history stays."""
    expected = _expected(if_match, None)
    made = shelves.registry.delete(name, make_change(author, reason), expected=expected)
    if made is None:
        raise _unknown(name)
    return made


def _put(
    registry: Registry, name: str, texts: Texts, change: Change, expected: int | None
) -> Version:
    shown = f"pipeline {name}, draft"
    proved = prove(make_draft(name, texts.pipeline, texts.contracts, shown), shown)
    return registry.put(proved, change, expected=expected)


def _expected(if_match: str | None, if_none_match: str | None) -> int | None:
    """The version the caller saw; None: it wants a new pipeline."""
    if if_match is not None and if_none_match is None:
        match = _ETAG.fullmatch(if_match.strip())
        if match is None or int(match["version"]) > MAX_VERSION:
            raise HTTPException(400, 'If-Match is the version that was seen, in quotes: "3"')
        return int(match["version"])
    if if_none_match is not None and if_match is None:
        if if_none_match.strip() != "*":
            raise HTTPException(400, "If-None-Match is *: there is no such pipeline yet")
        return None
    raise HTTPException(
        428, 'say what you saw: If-Match: "3", or If-None-Match: * for a new pipeline'
    )


def _latest(registry: Registry, name: str) -> Version:
    found = registry.latest(name)
    if found is None:
        raise _unknown(name)
    return found


def _version(registry: Registry, name: str, number: int) -> Version:
    found = registry.version(name, number)
    if found is None:
        raise HTTPException(404, f"there is no version {number} of pipeline {name!r}")
    return found


def _tag(response: Response, version: Version) -> None:
    response.headers["ETag"] = f'"{version.version}"'


def _unknown(name: str) -> HTTPException:
    return HTTPException(404, f"there is no pipeline {name!r}")


def _no_contract(name: str, path: str) -> ContractText:
    raise HTTPException(404, f"pipeline {name!r} names no contract {path[:MAX_NAME]!r}")
