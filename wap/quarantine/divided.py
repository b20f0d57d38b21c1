"""The step that divides, of a batch and of a replay alike: the division, and then its books."""

from __future__ import annotations

from checks.report import Report
from wap.quarantine.beside import divided_books, replayed_books, told
from wap.quarantine.divider import Divider
from wap.quarantine.dividing import divide
from wap.quarantine.replaying import divide_replay
from wap.quarantine.table import is_replay
from wap.steps import Divided


def divided(divider: Divider, report: Report) -> Divided:
    """Divide what is staged and keep its books; after a crash behind that, only say what was done.

    Args:
        report: of the audit that failed.

    Raises:
        QuarantineError: the rows do not add up.
        SourceError, CatalogError, EngineError, RelationError: see the ports.
    """
    replay = is_replay(divider.pinned)
    refused = (divide_replay if replay else divide)(divider, report)
    if refused is not None:
        return Divided(refused=refused)
    catalog, folder, staging = divider.catalog, divider.folder, divider.staging()
    aside, books = told(folder, staging), divider.books
    if replay:
        books = replayed_books(catalog, folder, staging, books, aside)
    else:
        books = divided_books(catalog, folder, staging, books)
    folder.save_books(divider.number, books)
    return Divided(quarantine=aside, bytes=books.bytes)
