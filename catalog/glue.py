"""AWS Glue's catalog, by pyiceberg's own support for it."""

from __future__ import annotations

from collections.abc import Mapping

from pyiceberg.catalog.glue import GlueCatalog

from catalog.native import NativeCatalog
from catalog.properties import needed, warehouse_location
from catalog.vendor import translated


def open_glue(name: str, properties: Mapping[str, str]) -> NativeCatalog:
    """The account's Glue catalog; credentials by properties or as boto3 finds them.

    Args:
        name: the catalog's name, for messages.
        properties: ``warehouse``, and any of pyiceberg's own (``glue.region``, ``glue.endpoint``).

    Raises:
        CatalogConfigError: a property is missing, or AWS refuses us.
    """
    warehouse = warehouse_location(needed(properties, "warehouse"))
    with translated(f"catalog {name}"):
        catalog = GlueCatalog(name, **{**properties, "warehouse": warehouse})
    return NativeCatalog(catalog)
