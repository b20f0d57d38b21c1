"""Every error as problem+json (RFC 9457): what, where and hint, and never what was sent."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from checks.errors import ChecksError, ContractError
from wap.errors import (
    ConfigError,
    LedgerUnavailableError,
    RunNotFoundError,
    VersionMovedError,
    WapError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_SECONDS = "5"
#: A message quotes what is wrong, which may be long.
MAX_TOLD = 1_000

#: The first that fits counts.
_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (VersionMovedError, 409),
    (ConfigError, 422),
    (ContractError, 422),
    (RunNotFoundError, 404),
    (LedgerUnavailableError, 503),
)


class Problem(BaseModel):
    """What went wrong.

    Attributes:
        title: the status in words.
        detail: what happened.
        where: version, line and key; variable; or part of the request.
        hint: what the caller can do next.
        error: class of the error; "" when the request itself is not one.
    """

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    where: str = ""
    hint: str = ""
    error: str = ""


#: What any route may answer beside its own.
RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "Anything else is a problem.",
        "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}},
    }
}


def problem(
    status: int,
    detail: str,
    *,
    where: str = "",
    hint: str = "",
    error: str = "",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """One problem as a response."""
    title = HTTPStatus(status).phrase
    told = Problem(
        title=title, status=status, detail=_cut(detail), where=_cut(where), hint=_cut(hint),
        error=error,
    ).model_dump()  # fmt: skip
    # As ASCII: half a character from a caller could not be sent otherwise.
    return Response(json.dumps(told).encode(), status, headers, MEDIA_TYPE)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TOLD else f"{text[:MAX_TOLD]}…"


def add_handlers(app: FastAPI) -> None:
    """Say every error that way, those of the framework too."""
    for known in (WapError, ChecksError):
        app.add_exception_handler(known, _known)
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unforeseen)


def _known(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, WapError | ChecksError)  # noqa: S101 - they are registered above
    status = next((code for cls, code in _STATUS if isinstance(exc, cls)), 500)
    headers = {"Retry-After": RETRY_SECONDS} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem(
        status, exc.what, where=exc.where, hint=exc.hint, error=type(exc).__name__, headers=headers
    )


def _refused(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 - it is registered above
    return problem(exc.status_code, str(exc.detail), headers=exc.headers)


def _invalid(_: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 - it is registered above
    errors: Sequence[Mapping[str, Any]] = exc.errors()
    said = [f"{_place(e['loc'])}: {e['msg']}" for e in errors]
    malformed = any(e["type"] == "json_invalid" for e in errors)
    return problem(
        400 if malformed else 422,
        "; ".join(said[:5]),
        where=_place(errors[0]["loc"]) if errors else "",
        hint="/openapi.json says what is expected",
    )


def _place(loc: Sequence[str | int]) -> str:
    return ".".join(str(part) for part in loc)


def _unforeseen(_: Request, exc: Exception) -> Response:
    logging.getLogger("wap").error("a request failed", exc_info=exc)
    return problem(500, "this is a bug; the log of the server holds the details")
