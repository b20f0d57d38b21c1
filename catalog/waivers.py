"""The waiver: a person's word for a head whose audit failed, and what it must prove. Pure."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from typing import Protocol


class Waiver(Protocol):
    """What must be shown before a head may be published although its audit failed."""

    @property
    def run_id(self) -> str:
        """The run that it is for."""

    @property
    def report_digest(self) -> str:
        """sha256 hex of the report that it is for."""

    @property
    def checks(self) -> AbstractSet[str]:
        """Names of the failed checks that the person answers for."""

    @property
    def person(self) -> str:
        """Who answers for it."""

    @property
    def reason(self) -> str:
        """Why."""

    @property
    def text(self) -> str:
        """All of it as one text, the same for the same waiver; the seal carries it."""


def objection(
    waiver: Waiver, *, run_id: str, report_digest: str, waivable: AbstractSet[str]
) -> str | None:
    """Why a waiver does not stand for a failed audit; None when it does.

    Args:
        run_id: the run whose head is to be published.
        report_digest: of its report.
        waivable: the report's failed checks, when they are all that is wrong with it.
    """
    missing, more = waivable - waiver.checks, waiver.checks - waivable
    objections = (
        (not waivable, "there is nothing in the report that a waiver could cover"),
        (waiver.run_id != run_id, f"the waiver is for run {waiver.run_id}"),
        (waiver.report_digest != report_digest, "the waiver is for another report"),
        (bool(missing), f"the waiver does not name {', '.join(sorted(missing))}"),
        (bool(more), f"the waiver names what did not fail: {', '.join(sorted(more))}"),
        (not waiver.person.strip(), "the waiver names no person"),
        (not waiver.reason.strip(), "the waiver names no reason"),
    )
    return next((what for wrong, what in objections if wrong), None)
