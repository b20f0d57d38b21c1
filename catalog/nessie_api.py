"""Nessie's REST API, version 2: references, contents, commits and merges, over httpx."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any, Final, cast
from urllib.parse import quote, urlsplit

import httpx
from pyiceberg.exceptions import (
    CommitFailedException,
    ForbiddenError,
    NoSuchTableError,
    ServerError,
    TooManyRequestsError,
    UnauthorizedError,
)

from catalog.errors import CatalogConfigError
from catalog.refs import MAIN

VERSION: Final = 2
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
_PAGE = 100

Key = tuple[str, ...]
Content = Mapping[str, Any]


class RefGoneError(NoSuchTableError):
    """There is no such reference (any more)."""


class RefTakenError(CommitFailedException):
    """There is a reference of that name already."""


@dataclass(frozen=True, slots=True)
class Ref:
    """A branch and the hash of its head."""

    name: str
    hash: str


@dataclass(frozen=True, slots=True)
class Put:
    """One change of a commit: a key's new content, None: the key goes."""

    key: Key
    content: Content | None


@dataclass(frozen=True, slots=True)
class Meta:
    """What a commit says of itself.

    Attributes:
        author: who asked for it; Nessie notes by itself whose token it was.
        properties: facts by name.
    """

    message: str
    author: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Entry:
    """One commit of a reference's log.

    Attributes:
        properties: facts it tells of itself.
        keys: what it changed.
        contents: what it put under them; a key that went has none.
        hash: its own.
    """

    properties: Mapping[str, str]
    keys: tuple[Key, ...]
    contents: Mapping[Key, Content] = field(default_factory=dict)
    hash: str = ""


#: What an answer means, by its status and Nessie's code; None: whatever the code.
_REFUSALS: Final[Mapping[tuple[int, str | None], type[Exception]]] = {
    (401, None): UnauthorizedError,
    (403, None): ForbiddenError,
    (404, "REFERENCE_NOT_FOUND"): RefGoneError,
    (409, "REFERENCE_ALREADY_EXISTS"): RefTakenError,
    (409, None): CommitFailedException,
    (429, None): TooManyRequestsError,
}


class Api:
    """One server. What httpx and Nessie raise becomes pyiceberg's exceptions here.

    Every method may raise ConnectionError and ServerError (it may have taken effect),
    UnauthorizedError and ForbiddenError.
    """

    def __init__(
        self, uri: str, token: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        """Speak to a server; nothing is sent yet.

        Args:
            uri: root of its API, ``http://host:19120/api/v2``.
            token: bearer token; never shown.
            transport: how requests are sent, by default over the network.
        """
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = httpx.Client(
            base_url=uri.rstrip("/"),
            headers=headers,
            timeout=_TIMEOUT,
            transport=transport,
            verify=_tls(),
        )
        parts = urlsplit(uri)
        self._where = f"Nessie at {parts.hostname}:{parts.port or parts.scheme}"

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    @cached_property
    def nothing(self) -> str:
        """The hash of a branch without a commit."""
        return str(self._call("GET", "/config")["noAncestorHash"])

    # --- references -----------------------------------------------------------------------------

    def check(self) -> None:
        """See that it is a Nessie that we can work with and may read.

        Raises:
            CatalogConfigError: it is none, or its default branch is not main.
        """
        config = self._call("GET", "/config")
        if config.get("maxSupportedApiVersion", 0) < VERSION:
            raise self._no_nessie(f"it does not speak API version {VERSION}")
        if config.get("defaultBranch") != MAIN:
            raise self._no_nessie(f"its default branch is not {MAIN}")
        self.ref(MAIN)

    def ref(self, name: str) -> Ref:
        """A branch as it is now.

        Raises:
            RefGoneError: there is none.
        """
        return _ref(self._call("GET", f"/trees/{_quoted(name)}")["reference"])

    def refs(self, prefix: str) -> list[Ref]:
        """The branches whose names start with a prefix, sorted."""
        wanted = {"filter": f"ref.name.startsWith('{prefix}') && refType == 'BRANCH'"}
        found = self._pages("/trees", "references", wanted)
        return sorted((_ref(r) for r in found), key=lambda r: r.name)

    def every_ref(self) -> list[Ref]:
        """All branches and tags, sorted."""
        found = self._pages("/trees", "references", {})
        return sorted((_ref(r) for r in found), key=lambda r: r.name)

    def create(self, name: str, at: Ref) -> Ref:
        """A new branch at a hash of another.

        Raises:
            RefTakenError: there is one of that name.
            RefGoneError: ``at`` is not there.
        """
        params = {"name": name, "type": "BRANCH"}
        return _ref(self._call("POST", "/trees", params, _source(at))["reference"])

    def delete(self, ref: Ref) -> bool:
        """Delete a branch that is still at the hash we saw; whether it was there.

        Raises:
            CommitFailedException: it has moved.
        """
        try:
            self._call("DELETE", f"/trees/{_at(ref)}")
        except RefGoneError:
            return False
        return True

    def log(self, name: str, wanted: str = "") -> Iterator[Entry]:
        """The commits of a branch, newest first.

        Args:
            name: the branch's.
            wanted: condition in Nessie's expression language, by default all.
        """
        path, params = f"/trees/{_quoted(name)}/history", {"fetch": "ALL"}
        if wanted:
            params["filter"] = wanted
        for entry in self._pages(path, "logEntries", params):
            meta = entry["commitMeta"]
            properties = {k: ",".join(v) for k, v in (meta.get("allProperties") or {}).items()}
            properties |= meta.get("properties") or {}
            changes = entry.get("operations") or ()
            keys = [tuple(o["key"]["elements"]) for o in changes]
            contents = {k: o["content"] for k, o in zip(keys, changes, strict=True)
                        if o.get("content")}  # fmt: skip
            yield Entry(properties, tuple(keys), contents, str(meta.get("hash", "")))

    # --- contents -------------------------------------------------------------------------------

    def contents(self, name: str, keys: Sequence[Key]) -> tuple[Ref, dict[Key, Content]]:
        """What a branch holds under the keys, all at one hash, which comes with it.

        Raises:
            RefGoneError: there is no such branch.
        """
        body = {"requestedKeys": [{"elements": list(k)} for k in keys]}
        answer = self._call("POST", f"/trees/{_quoted(name)}/contents", body=body)
        found = {tuple(c["key"]["elements"]): c["content"] for c in answer["contents"]}
        return _ref(answer["effectiveReference"]), found

    def entries(self, name: str, kind: str) -> list[Key]:
        """The keys of a branch that hold content of a kind, ``ICEBERG_TABLE`` or ``NAMESPACE``."""
        wanted = {"filter": f"entry.contentType == '{kind}'"}
        found = self._pages(f"/trees/{_quoted(name)}/entries", "entries", wanted)
        return sorted(tuple(e["name"]["elements"]) for e in found)

    # --- what changes a branch ------------------------------------------------------------------

    def commit(self, at: Ref, puts: Sequence[Put], meta: Meta) -> Ref:
        """Change keys of a branch, unless one of them changed since the hash we saw.

        Raises:
            CommitFailedException: one has, or the branch has another history now, or is gone.
        """
        body = {"commitMeta": _meta(meta), "operations": [_operation(p) for p in puts]}
        try:
            answer = self._call("POST", f"/trees/{_at(at)}/history/commit", body=body)
        except RefGoneError as exc:
            raise CommitFailedException(f"branch {at.name}: {exc}") from exc
        return _ref(answer["targetBranch"])

    def merge(self, source: Ref, into: Ref, meta: Meta) -> None:
        """Bring what a branch changed into another, all of it or nothing.

        Never with a forced or dropped key: both lose rows that somebody else published.

        Raises:
            CommitFailedException: a key has changed in both, or the source is gone.
        """
        body = {
            "fromRefName": source.name,
            "fromHash": source.hash,
            "commitMeta": _meta(meta),
            "defaultKeyMergeMode": "NORMAL",
        }
        try:
            answer = self._call("POST", f"/trees/{_at(into)}/history/merge", body=body)
        except RefGoneError as exc:
            raise CommitFailedException(f"merge of {source.name}: {exc}") from exc
        # wasApplied is false when an earlier try did it already.
        if answer.get("wasSuccessful") is not True:
            raise CommitFailedException(f"merge of {source.name} was not successful")

    # --- HTTP -----------------------------------------------------------------------------------

    def _pages(self, path: str, field_: str, params: Mapping[str, str]) -> Iterator[dict[str, Any]]:
        page: dict[str, str] = {**params, "max-records": str(_PAGE)}
        while True:
            answer = self._call("GET", path, page)
            yield from answer[field_]
            if not answer.get("hasMore"):
                return
            page["page-token"] = answer["token"]

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, params=params, json=body)
        except httpx.TransportError as exc:
            raise ConnectionError(f"{self._where}: {type(exc).__name__}: {exc}") from exc
        told = _json(answer)
        if answer.is_success and told is not None:
            return told
        if answer.is_success:
            raise self._no_nessie("it answers with something else")
        raise self._refusal(answer.status_code, told)

    def _refusal(self, status: int, told: Mapping[str, Any] | None) -> Exception:
        reason = str((told or {}).get("message", f"HTTP {status}")).partition("\n")[0]
        code = (told or {}).get("errorCode")
        known = _REFUSALS.get((status, code)) or _REFUSALS.get((status, None))
        if known is None and status >= httpx.codes.INTERNAL_SERVER_ERROR:
            known = ServerError
        if known is not None:
            return known(f"{self._where}: {reason}")
        if code in (None, "UNKNOWN"):
            return self._no_nessie(reason)
        return CatalogConfigError(f"refused: {reason}", where=self._where)

    def _no_nessie(self, why: str) -> CatalogConfigError:
        hint = "set uri to the root of Nessie's API v2, http://host:19120/api/v2"
        return CatalogConfigError(f"no Nessie to work with: {why}", where=self._where, hint=hint)


@cache
def _tls() -> ssl.SSLContext:
    """Reading the certificates takes longer than a commit, so it is done once."""
    return httpx.create_ssl_context()


def _json(answer: httpx.Response) -> dict[str, Any] | None:
    if not answer.content and answer.is_success:
        return {}
    try:
        told = answer.json()
    except ValueError:
        return None
    return cast("dict[str, Any]", told) if isinstance(told, dict) else None


def _quoted(name: str) -> str:
    return quote(name, safe="")


def _at(ref: Ref) -> str:
    return f"{_quoted(ref.name)}@{ref.hash}"


def _ref(told: Mapping[str, Any]) -> Ref:
    return Ref(told["name"], told["hash"])


def _source(ref: Ref) -> dict[str, str]:
    return {"type": "BRANCH", "name": ref.name, "hash": ref.hash}


def _meta(meta: Meta) -> dict[str, Any]:
    author = {"authors": [meta.author]} if meta.author else {}
    return {"message": meta.message, "properties": dict(meta.properties), **author}


def _operation(put: Put) -> dict[str, Any]:
    key = {"elements": list(put.key)}
    if put.content is None:
        return {"type": "DELETE", "key": key}
    return {"type": "PUT", "key": key, "content": dict(put.content)}
