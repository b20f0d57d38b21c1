"""What every kind of catalog asks of its properties, and how it says what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError

from catalog.errors import CatalogConfigError

_ENCODED = "in user and password write @ as %40, : as %3A, / as %2F"


def needed(properties: Mapping[str, str], key: str) -> str:
    """A property that must be there.

    Raises:
        CatalogConfigError: it is missing or empty.
    """
    value = properties.get(key, "").strip()
    if not value:
        known = ", ".join(sorted(properties)) or "none"
        hint = f"set {key}; given were: {known}"
        raise CatalogConfigError(f"the catalog needs the property {key!r}", hint=hint)
    return value


def database_url(text: str, hint: str) -> URL:
    """A database's URL, read.

    Raises:
        CatalogConfigError: it is none; the message does not quote it, it may hold a password.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # Not `from exc`: what it takes for the port, and quotes, may be a piece of the password.
        raise CatalogConfigError("the catalog's uri is not a database URL", hint=hint) from None
    if "@" in (url.host or ""):
        # What follows the first @ is taken for the host, and hosts are shown.
        raise CatalogConfigError("the catalog's uri holds more than one @", hint=_ENCODED)
    return url


def warehouse_location(location: str) -> str:
    """The warehouse's location; a local path is made absolute, and stays without a scheme.

    Raises:
        CatalogConfigError: a URL that pyiceberg would cut.
    """
    if not is_location(location):
        return str(Path(location).absolute())
    if any(c in location for c in "#?"):
        raise CatalogConfigError(
            "the warehouse's URL holds # or ?, after which pyiceberg reads no further",
            where=re.split("[#?]", location, maxsplit=1)[0],  # a token may stand behind it
            hint="give a local warehouse as a plain path",
        )
    return location.rstrip("/")


def is_location(text: str) -> bool:
    """Whether a warehouse is said by a URL: not by a path, nor by a name that a server knows."""
    return "://" in text or text.startswith("file:")
