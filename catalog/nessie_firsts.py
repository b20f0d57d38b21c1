"""The mark that lies on main until a table's first publish takes it away, or a drop does."""

from __future__ import annotations

from collections.abc import Iterable

from pyiceberg.exceptions import CommitFailedException

from catalog.errors import CatalogUnavailableError
from catalog.nessie_api import Api, Key, Meta, Put
from catalog.refs import MAIN

#: A function in SQL: no reader of tables, views or namespaces lists one.
_MARK = {"type": "UDF", "dialect": "wap", "sqlText": "a table is about to be published"}
_TRIES = 20


def mark_of(key: Key) -> Key:
    """Where the mark of a table that main has not lies: in no namespace, which may be new, too."""
    return (f"wap-first:{'.'.join(key)}",)


def missing(api: Api, tables: Iterable[Key]) -> list[Put]:
    """Puts for the marks that main lacks."""
    marks = [mark_of(key) for key in tables]
    found = api.contents(MAIN, marks)[1] if marks else {}
    return [Put(mark, _MARK) for mark in marks if mark not in found]


def taken(tables: Iterable[Key]) -> list[Put]:
    """What the first publish of the tables takes away: a merge whose mark is gone fails."""
    return [Put(mark_of(key), None) for key in tables]


def stop(api: Api, table: Key) -> None:
    """See that no merge which the server is at makes the table: it has landed by now, or fails.

    A mark that somebody puts there anew is another one to Nessie, and does not let it pass.

    Raises:
        CatalogUnavailableError: the mark is put there again and again.
    """
    mark = mark_of(table)
    for _ in range(_TRIES):
        at, found = api.contents(MAIN, [mark])
        if mark not in found:
            return
        try:
            api.commit(at, [Put(mark, None)], Meta(f"stop publishing {'.'.join(table)}", "wap"))
        except CommitFailedException:
            continue
    raise CatalogUnavailableError("its mark comes and goes", where=".".join(table))
