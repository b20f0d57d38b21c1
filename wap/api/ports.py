"""What the routes look at: the registry, the ledger and the reports of one project."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Generic, TypeVar

from fastapi import Depends, Request
from pydantic import BaseModel

from wap.ledger import open_ledger, open_registry
from wap.ledger.base import Ledger
from wap.ledger.registry import Registry
from wap.project import Project

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Shelves:
    """The project's registry, ledger and folder of reports."""

    registry: Registry
    ledger: Ledger
    reports: Path


class Page(BaseModel, Generic[Item]):
    """Part of a long list.

    Attributes:
        next: value of ``after`` or ``before`` for the next part; None: this is the last.
    """

    items: list[Item]
    next: str | None = None


@contextmanager
def open_shelves(project: Project) -> Iterator[Shelves]:
    """Open them, and bring the tables to this version.

    Raises:
        LedgerError: the database cannot be used.
    """
    registry = open_registry(project.ledger.url)
    ledger = open_ledger(project.ledger.url)
    try:
        ledger.migrate()
        yield Shelves(registry, ledger, project.reports)
    finally:
        registry.close()
        ledger.close()


def shelves_of(request: Request) -> Shelves:
    """The app's."""
    shelves: Shelves = request.app.state.shelves
    return shelves


Opened = Annotated[Shelves, Depends(shelves_of)]
