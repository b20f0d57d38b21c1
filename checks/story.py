"""The story of a run as a report tells it, beside the audit's outcomes. Pure values."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple, Self

from pydantic import Field

from checks.masking import difference
from checks.report import Outcome, Report, Value


class Seen(NamedTuple):
    """What consumers saw: the snapshot on main and its rows; None when nothing was published."""

    snapshot_id: int | None = None
    rows: int | None = None


class Waived(Value):
    """A person's word for publishing what failed checks, as a report tells it.

    Attributes:
        run_id: the run that was published under it.
        checks: names of the checks that failed.
        person, reason, at: who gave it, why and when.
        until: when it expires.
    """

    run_id: str
    checks: tuple[str, ...]
    person: str
    reason: str
    at: datetime
    until: datetime

    @property
    def shown(self) -> str:
        """Who, until when and why, in one line."""
        return f"by {self.person} until {self.until:%Y-%m-%d %H:%M %Z}: {self.reason}"


class MemberStory(Value):
    """One table in the run of a group.

    Attributes:
        run_id: the member's own, by which its report is found.
        ending: as of a run, or ``nothing_new``.
        reason: why it was not published; "" when it was.
        rows, checks: its books and its outcomes, counted.
        before, after: main's snapshots.
        has_page: whether there is a report of its own.
    """

    run_id: str
    table: str
    ending: str
    reason: str = ""
    rows: dict[str, int] = Field(default_factory=dict)
    checks: dict[str, int] = Field(default_factory=dict)
    before: int | None = None
    after: int | None = None
    has_page: bool = False

    @property
    def page(self) -> str:
        """Its report's page, seen from the group's."""
        return f"../{self.run_id}/report.html"

    @property
    def shown(self) -> str:
        """Symbol and name of the ending."""
        name, symbol, _ = ENDINGS.get(self.ending, (self.ending, "?", ""))
        return f"{symbol} {name}"

    @property
    def counted(self) -> str:
        """Its checks by outcome, in words."""
        counts = [f"{n} {k.replace('_', ' ')}" for k, n in self.checks.items() if n]
        return ", ".join(counts) or "none evaluated"

    @property
    def moved(self) -> str:
        """How main moved, in words."""
        if self.before == self.after:
            return "main has not moved"
        return f"{self.before or 'nothing'} → {self.after}"


class Aside(Value):
    """Rows that broke a check and were published in a table of their own, beside the valid ones.

    Attributes:
        table: where they lie.
        rows: how many.
        checks: titles of the checks, each with the rows that break it; a row may break several.
    """

    table: str
    rows: int
    checks: tuple[tuple[str, int], ...]

    @property
    def shown(self) -> str:
        """How many lie where, in one line."""
        return f"{self.rows:,} row{'' if self.rows == 1 else 's'} in {self.table}"


class Story(Value):
    """One run, for people.

    Attributes:
        pipeline_version: of a pipeline that is kept in versions; None: it is declared in a file.
        ending: ``published``, ``rejected``, ``rolled_back`` or ``held``.
        reason: why it was not published; "" when it was.
        rows: the books: read, staged, quarantined, deduplicated, discarded, published, …
        before, after: what consumers saw.
        inputs: path and size in bytes (None: not known) of each input.
        rejects: file, line and reason of rows kept aside.
        steps: name and seconds of each step, in order.
        started_at, seconds: of the run (wall clock).
        owners, contact: who answers for the data.
        warnings: what went wrong beside the run.
        held_until: when a held run is rejected, unless somebody decides before.
        waivers: under which consumers see the table, and which have not expired: the run's own
            first.
        members: the tables of a group's run; it is told by one story without a report, and each
            of them by its own. () of any other run.
        aside: the rows that were moved to the quarantine table.
    """

    pipeline: str
    pipeline_version: int | None = None
    run_id: str
    table: str
    ending: str
    reason: str = ""
    rows: dict[str, int] = Field(default_factory=dict)
    before: Seen = Seen()
    after: Seen = Seen()
    inputs: tuple[tuple[str, int | None], ...] = ()
    rejects: tuple[tuple[str, int | None, str], ...] = ()
    steps: tuple[tuple[str, float], ...] = ()
    started_at: datetime
    seconds: float = Field(ge=0)
    owners: tuple[str, ...] = ()
    contact: str | None = None
    warnings: tuple[str, ...] = ()
    held_until: datetime | None = None
    waivers: tuple[Waived, ...] = ()
    members: tuple[MemberStory, ...] = ()
    aside: Aside | None = None

    @property
    def tables_told(self) -> str:
        """Of a group: how many tables moved, and how many had nothing to move for."""
        moved = sum(member.ending == "published" for member in self.members)
        idle = sum(member.ending == "nothing_new" for member in self.members)
        told = f"{moved} of {len(self.members)} tables published in one step"
        if self.ending != "published":
            told = f"None of {len(self.members)} tables was published"
        return f"{told}, {idle} had nothing new" if idle else told

    @property
    def how_to_decide(self) -> str:
        """What a person can do about a held run; "" of any other."""
        if self.held_until is None:
            return ""
        return (
            f"Waits until {self.held_until:%Y-%m-%d %H:%M %Z} and is then rejected. Decide by "
            f'`wap approve {self.run_id} --reason "…"` or `wap reject {self.run_id} --reason "…"`.'
        )

    @property
    def pipeline_shown(self) -> str:
        """The pipeline, with its version where it has one."""
        version = self.pipeline_version
        return self.pipeline if version is None else f"{self.pipeline}, version {version}"

    def masked_by(self, report: Report | None) -> Self:
        """The same story with the values of masked columns taken out of its texts."""
        if report is None or not report.masked:
            return self
        rejects = tuple((f, line, difference(r, report.masked)) for f, line, r in self.rejects)
        changes = {
            "reason": difference(self.reason, report.masked),
            "rejects": rejects,
            "warnings": tuple(difference(w, report.masked) for w in self.warnings),
            "waivers": tuple(
                w.model_copy(update={"reason": difference(w.reason, report.masked)})
                for w in self.waivers
            ),
        }
        return self.model_copy(update=changes)

    @property
    def unchanged(self) -> bool:
        """Whether consumers see the very snapshot they saw before."""
        return self.before.snapshot_id == self.after.snapshot_id


#: What each ending is called, its symbol (never colour alone), and what it means.
ENDINGS = {
    "published": ("Published", "✓", "Consumers now see exactly the data that was audited."),
    "rejected": ("Rejected", "✕", "The audit said no. Consumers see what they saw before."),
    "rolled_back": ("Rolled back", "↺", "An error was undone. Consumers see what they saw before."),
    "held": ("Held", "‖", "Waiting for a person. Consumers see what they saw before."),
    "waived": (
        "Published under a waiver",
        "!",
        "Consumers now see data that failed checks, because a person answered for it.",
    ),
    "nothing_new": ("Nothing new", "=", "Consumers see what they saw before."),
}

#: What each outcome is called, and its symbol.
OUTCOMES = {
    Outcome.FAILED: ("Failed", "✕"),
    Outcome.NOT_EVALUATED: ("Not evaluated", "?"),
    Outcome.WARNED: ("Warning", "!"),
    Outcome.PASSED: ("Passed", "✓"),
}


def shown_ending(story: Story, report: Report | None) -> str:
    """The ending as a key of :data:`ENDINGS`: what a person answered for is told apart."""
    if story.ending == "published" and report is not None and not report.passed:
        return "waived"
    return story.ending


def verdict(report: Report | None, story: Story | None = None) -> str:
    """The audit's verdict in one sentence; of a group, what became of its tables."""
    if story is not None and story.members:
        failed = sum(m.checks.get("failed", 0) > 0 for m in story.members)
        said = f"the checks of {failed} of them failed" if failed else "no check of them failed"
        return f"{story.tables_told}; {said}."
    if report is None:
        return "No audit was made."
    if report.snapshot_id is None:
        return "The batch was refused before an audit."
    counts = [f"{n} {OUTCOMES[o][0].lower()}" for o in OUTCOMES if (n := report.count(o))]
    total = f"{len(report.results)} checks: {', '.join(counts) or 'none'}."
    return f"The audit {'passed' if report.passed else 'did not pass'}. {total}"
