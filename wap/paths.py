"""Paths and URLs that a project's files name: kept inside the project, shown without secrets."""

from __future__ import annotations

import re
from pathlib import Path

from wap.errors import ConfigError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_PARTS = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]+)(?P<path>[^?#]*)", re.DOTALL
)
_SQLITE = re.compile(r"(?P<scheme>sqlite(?:\+\w+)?):///(?P<path>[^?]*)(?P<query>\?.*)?")


def is_url(text: str) -> bool:
    """Whether a location is a URL and not a path."""
    return _URL.match(text) is not None


def inside(root: Path, path: str, *, where: str) -> Path:
    """A path of the project, absolute, with links followed.

    Raises:
        ConfigError: it leaves the project: an absolute path, ``..``, or a link to elsewhere.
    """
    if not path.strip() or "\0" in path:
        raise ConfigError(f"{path!r} is not a path", where=where)
    try:
        found = (root / path).resolve()
    except (OSError, RuntimeError) as exc:  # a loop of links
        raise ConfigError(f"the path {path!r} cannot be followed", where=where) from exc
    if not found.is_relative_to(root.resolve()):
        raise ConfigError(
            f"the path {path!r} leads out of the project",
            where=where,
            hint="name a path inside the project's folder, without links that lead out of it",
        )
    return found


def resolved_location(location: str, root: Path, *, where: str) -> str:
    """A folder of the project as an absolute path; a URL stays as it is.

    Raises:
        ConfigError: a path that leaves the project; ``file:///…`` says so on purpose.
    """
    if is_url(location):
        return location
    try:
        return str(inside(root, location, where=where))
    except ConfigError as exc:
        exc.hint = f"{exc.hint}; or write file:///… to mean a folder elsewhere"
        raise


def resolved_sqlite(url: str, root: Path, *, where: str) -> str:
    """A database URL whose relative SQLite path is taken from the project's folder.

    Raises:
        ConfigError: a relative path that leaves the project.
    """
    match = _SQLITE.fullmatch(url)
    if match is None or not match["path"] or match["path"].startswith(("/", ":memory:", "file:")):
        return url
    path = inside(root, match["path"], where=where)
    return f"{match['scheme']}:///{path}{match['query'] or ''}"


def without_password(url: str) -> str:
    """A URL for people: without password and without query, where keys may stand."""
    parts = _PARTS.match(url)  # not urlsplit: it raises at a bracket in a password, and quotes it
    if parts is None:  # sqlite:////path, or a path
        return url.partition("?")[0]
    user, at, host = parts["authority"].rpartition("@")
    return f"{parts['scheme'].lower()}://{user.partition(':')[0]}{at}{host}{parts['path']}"
