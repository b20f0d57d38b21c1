"""Errors of the catalog package: each says what happened, where, and what to do next."""

from __future__ import annotations


class CatalogError(Exception):
    """Base of everything this package raises.

    Attributes:
        what: one sentence that says what happened.
        where: the table, branch, file or address it happened at ("" when there is none).
        hint: what the reader can do next ("" when there is nothing to do).
    """

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f" [{self.where}]" if self.where else ""
        hint = f"\nHint: {self.hint}" if self.hint else ""
        return f"{self.what}{place}{hint}"


class CatalogConfigError(CatalogError):
    """The catalog cannot be opened with the settings given."""


class NotInstalledError(CatalogConfigError):
    """The adapter needs an extra that is not installed; the hint is the pip line."""


class CatalogUnavailableError(CatalogError):
    """The catalog or its storage does not answer now (locked, refused, timed out): try again."""


class StorageFullError(CatalogError):
    """The disk or bucket refused the write for want of room."""


class CorruptMetadataError(CatalogError):
    """A metadata file cannot be read, or was written by a newer version than this one reads."""


class UnsupportedError(CatalogError):
    """This catalog cannot do what was asked, and says so instead of doing less."""


class TableNotFoundError(CatalogError):
    """No such table is published, and none is staged under that name on the branch."""


class BranchNotFoundError(CatalogError):
    """The branch is not there (any more)."""


class BranchExistsError(CatalogError):
    """A branch of that name is there already and is not this run's own."""


class HeadMovedError(CatalogError):
    """A compare-and-swap lost: a ref is not where we saw it.

    Attributes:
        ref: name of the ref ("main" or a branch).
        expected: snapshot id we saw (None: no such ref, or the table did not exist).
        found: snapshot id that is there now (None as above).
    """

    def __init__(
        self, *, table: str, ref: str, expected: int | None, found: int | None, hint: str = ""
    ) -> None:
        super().__init__(
            f"{ref} has moved: expected snapshot {expected}, found {found}",
            where=table,
            hint=hint or "rebase the branch on the new head and audit it again",
        )
        self.ref = ref
        self.expected = expected
        self.found = found


class RebaseRefusedError(CatalogError):
    """The staged change cannot be re-attached to the new main; it must be written again."""


class UnauditedError(CatalogError):
    """The evidence offered does not prove that this head passed a complete audit."""


class UnsealedError(CatalogError):
    """The snapshot carries no seal, or one that does not belong to it."""


class SchemaConflictError(CatalogError):
    """The schema asked for cannot grow out of the table's own: only add and widen can."""
