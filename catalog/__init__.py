"""Branches of tables, and the only code that moves main."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

from catalog.errors import (
    BranchExistsError,
    BranchNotFoundError,
    CatalogConfigError,
    CatalogError,
    CatalogUnavailableError,
    CorruptMetadataError,
    HeadMovedError,
    NotInstalledError,
    RebaseRefusedError,
    SchemaConflictError,
    StorageFullError,
    TableNotFoundError,
    UnauditedError,
    UnsealedError,
    UnsupportedError,
)
from catalog.refs import (
    MAIN,
    AuditedHead,
    Branch,
    BranchState,
    Capabilities,
    Dropped,
    Evidence,
    Role,
    Seal,
    Snapshot,
    TableName,
)
from catalog.waivers import Waiver

if TYPE_CHECKING:
    from catalog.base import BranchCatalog, Change, Published, Scan, Staging, TableShape

#: Kind of catalog → module and function that opens it, and the extra it needs ("": none).
_KINDS = {
    "glue": ("catalog.glue", "open_glue", "glue"),
    "hive": ("catalog.hive", "open_hive", "hive"),
    "memory": ("catalog.memory", "open_memory", ""),
    "nessie": ("catalog.nessie", "open_nessie", "nessie"),
    "postgres": ("catalog.postgres", "open_postgres", "postgres"),
    "rest": ("catalog.rest", "open_rest", ""),
    "sqlite": ("catalog.sqlite", "open_sqlite", ""),
}
#: Names of the port; importing them costs a second of pyiceberg, so it waits until one is used.
_PORT = frozenset({"BranchCatalog", "Change", "Published", "Scan", "Staging", "TableShape"})


def open_catalog(kind: str, name: str, properties: Mapping[str, str]) -> BranchCatalog:
    """Open a catalog.

    Args:
        kind: ``sqlite``, ``postgres``, ``rest``, ``glue``, ``hive``, ``nessie`` or, for tests and
            trials, ``memory``.
        name: the catalog's own name; projects that share a database use different ones.
        properties: ``warehouse`` (path or URL; ``rest``: the server's name for it, by choice),
            ``uri`` where the kind has one (``sqlite:///…``, ``postgresql://…``, ``https://…``,
            ``thrift://…``; Nessie's ``http://host:19120/api/v2``), its ``token``
            where it wants one, and any of pyiceberg's own.

    Raises:
        CatalogConfigError: an unknown kind, or a property is missing or wrong.
        NotInstalledError: the kind needs an extra that is not installed.
        CatalogUnavailableError: its database does not answer.
    """
    if kind not in _KINDS:
        known = ", ".join(sorted(_KINDS))
        raise CatalogConfigError(f"unknown catalog kind {kind!r}", hint=f"known kinds: {known}")
    module, function, extra = _KINDS[kind]
    try:
        opener: Callable[[str, Mapping[str, str]], BranchCatalog]
        opener = getattr(import_module(module), function)
    except ModuleNotFoundError as exc:
        needed = f"wap-lakehouse[{extra}]" if extra else "wap-lakehouse"
        raise NotInstalledError(
            f"catalog kind {kind!r} needs the package {exc.name}",
            hint=f"pip install '{needed}'",
        ) from exc
    return opener(name, _prepared(kind, properties))


def _prepared(kind: str, properties: Mapping[str, str]) -> Mapping[str, str]:
    if kind == "memory":
        return properties
    prepared: Callable[[Mapping[str, str]], Mapping[str, str]]
    prepared = import_module("catalog.file_io").prepared
    return prepared(properties)


def __getattr__(name: str) -> Any:
    if name in _PORT:
        return getattr(import_module("catalog.base"), name)
    raise AttributeError(f"module 'catalog' has no attribute {name!r}")


__all__ = [
    "MAIN",
    "AuditedHead",
    "Branch",
    "BranchCatalog",
    "BranchExistsError",
    "BranchNotFoundError",
    "BranchState",
    "Capabilities",
    "CatalogConfigError",
    "CatalogError",
    "CatalogUnavailableError",
    "Change",
    "CorruptMetadataError",
    "Dropped",
    "Evidence",
    "HeadMovedError",
    "NotInstalledError",
    "Published",
    "RebaseRefusedError",
    "Role",
    "Scan",
    "SchemaConflictError",
    "Seal",
    "Snapshot",
    "Staging",
    "StorageFullError",
    "TableName",
    "TableNotFoundError",
    "TableShape",
    "UnauditedError",
    "UnsealedError",
    "UnsupportedError",
    "Waiver",
    "open_catalog",
]
