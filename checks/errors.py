"""Errors of the checks package. A failed audit is a value (a report), never an error."""

from __future__ import annotations


class ChecksError(Exception):
    """Base of everything this package raises.

    Attributes:
        what: one sentence that says what happened.
        where: file and line, or the check it happened at.
        hint: what the reader can do next.
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


class ContractError(ChecksError):
    """A contract is not valid: bad YAML, an unknown key or check, no checks, a missing column."""


class ReportError(ChecksError):
    """A report cannot be read back, or its digest is not the one it was stored under."""


class AuditorUnavailableError(ChecksError):
    """The engine behind the auditor does not answer now: try again."""
