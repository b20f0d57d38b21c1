"""What the doors need that only look, or that move main back: a project's catalog and ledger."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from catalog import open_catalog
from catalog.base import BranchCatalog
from wap.ledger import open_ledger
from wap.ledger.base import Ledger
from wap.project import Project


@dataclass(frozen=True, slots=True)
class Ports:
    """The two of them, open."""

    catalog: BranchCatalog
    ledger: Ledger


@contextmanager
def open_ports(project: Project) -> Iterator[Ports]:
    """The project's catalog and ledger.

    Apart from the worker on purpose: a door that only looks loads no engine, and no Temporal.
    """
    (project.state / "tmp").mkdir(parents=True, exist_ok=True)
    ledger = open_ledger(project.ledger.url)
    try:
        ledger.migrate()
        settings = project.catalog
        catalog = open_catalog(settings.kind, project.name, project.catalog_properties)
        yield Ports(catalog, ledger)
    finally:
        ledger.close()
