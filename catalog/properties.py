"""The properties a catalog is opened with: those it needs, and the warehouse's location."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from catalog.errors import CatalogConfigError


def needed(properties: Mapping[str, str], key: str) -> str:
    """A property that has to be there.

    Raises:
        CatalogConfigError: it is not.
    """
    value = properties.get(key, "").strip()
    if not value:
        known = ", ".join(sorted(properties)) or "none"
        hint = f"set {key}; given were: {known}"
        raise CatalogConfigError(f"the catalog needs the property {key!r}", hint=hint)
    return value


def warehouse_of(location: str) -> str:
    """The warehouse's location; a local path is made absolute, and stays without a scheme.

    Raises:
        CatalogConfigError: pyiceberg could not read below it.
    """
    if "://" not in location and not location.startswith("file:"):
        return str(Path(location).absolute())
    if any(c in location for c in "#?"):
        raise CatalogConfigError(
            "the warehouse's URL holds # or ?, after which pyiceberg reads no further",
            where=location,
            hint="give a local warehouse as a plain path",
        )
    return location.rstrip("/")
