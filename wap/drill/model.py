"""What drills come to: values for people, auditors' tools and schedulers."""

from __future__ import annotations

from wap.model import Value

#: Version of the shape below; it goes up when a key changes its meaning or goes away.
FORMAT = 1


class Boundary(Value):
    """One kill at one boundary, and what was there when the run had ended all the same.

    Attributes:
        scenario: the way the run took: ``published``, ``rejected``, ``held``, ``overtaken``,
            ``quarantined``, ``united``.
        step, when: where the worker was killed.
        ending: how the run ended once it was run again.
        published: how often main holds the batch, or each of several.
        rows: that main shows.
        aside: rows in the quarantine table.
        branches, files, folders: what was left over: staging branches, files of the warehouse
            that nothing refers to, and folders of runs.
        seconds: from the start of the next door until the run had ended.
        ok: whether all of it is as it must be.
        said: what is not; "" when all is.
    """

    scenario: str
    step: str
    when: str
    ending: str = ""
    published: int = 0
    rows: int = 0
    aside: int = 0
    branches: int = 0
    files: int = 0
    folders: int = 0
    seconds: float = 0.0
    ok: bool
    said: str = ""

    @property
    def name(self) -> str:
        """``stage:after``."""
        return f"{self.step}:{self.when}"


class CrashDrill(Value):
    """A pipeline killed at every boundary.

    Attributes:
        rows, seconds: of the run that nobody disturbed: what every other must come to.
        heartbeat_seconds: a worker that is silent for so long is taken for dead.
        notes: what was drilled, and what was not.
    """

    rows: int
    seconds: float
    heartbeat_seconds: float
    boundaries: tuple[Boundary, ...]
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether there were any, and each is as it must be."""
        return bool(self.boundaries) and all(b.ok for b in self.boundaries)


class Spoiled(Value):
    """One way in which a batch was spoiled, and who noticed.

    Attributes:
        name: of the spoiling: ``nulls``, ``duplicates``, …
        column: what was spoiled; None: the batch as a whole.
        said: what was done, for people.
        rows: how many rows are other than they were.
        caught: the checks that keep it from being published.
        warned: checks that would only be shown.
        hint: which check would catch it; "" where one does.
    """

    name: str
    column: str | None
    said: str
    rows: int
    caught: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()
    hint: str = ""

    @property
    def verdict(self) -> str:
        """``caught``, ``warned`` or ``missed``."""
        return "caught" if self.caught else "warned" if self.warned else "missed"


class GateDrill(Value):
    """A published batch spoiled in every way, and the gate's answer to each.

    Attributes:
        run_id, snapshot: the published run whose batch was spoiled.
        rows: of that batch.
        checks: how many the contracts declare.
        failing: checks that fail on the batch as it is, and so can catch nothing here.
        idle: checks that caught nothing.
        notes: what was left out.
    """

    run_id: str
    snapshot: int
    rows: int
    checks: int
    spoilings: tuple[Spoiled, ...]
    failing: tuple[str, ...] = ()
    idle: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def count(self, verdict: str) -> int:
        """How many spoilings came to that verdict."""
        return sum(s.verdict == verdict for s in self.spoilings)

    @property
    def ok(self) -> bool:
        """Whether there were any, and none was missed."""
        return bool(self.spoilings) and not self.count("missed") and not self.failing


class Drill(Value):
    """One drill: of crashes, or of the gate."""

    format: int = FORMAT
    pipeline: str
    table: str
    crash: CrashDrill | None = None
    gate: GateDrill | None = None

    @property
    def ok(self) -> bool:
        """Whether everything is as it must be."""
        drilled = [d for d in (self.crash, self.gate) if d is not None]
        return bool(drilled) and all(d.ok for d in drilled)
