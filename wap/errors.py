"""Errors of the wap package: each says what happened, where, and what to do next."""

from __future__ import annotations


class WapError(Exception):
    """Base of everything this package raises.

    Attributes:
        what: one sentence that says what happened.
        where: file and line, pipeline, or address.
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


class ConfigError(WapError):
    """A project, pipeline or command line is not valid; nothing was started (exit code 2)."""


class NotInstalledError(ConfigError):
    """What was asked for needs an extra that is not installed; the hint is the pip line."""


class SourceError(WapError):
    """The source is missing, unreadable or empty."""


class SourceChangedError(SourceError):
    """An input changed between planning and reading; run again."""


class SourceUnavailableError(SourceError):
    """The source does not answer now: try again."""


class BatchRefusedError(WapError):
    """The batch does not fit the table: the data's fault, so the run is rejected (exit code 1).

    Attributes:
        differences: what does not fit, one line each: columns that appeared or are missing, or
            ``file, line, column, value`` of the rows.
    """

    def __init__(
        self, what: str, *, differences: tuple[str, ...] = (), where: str = "", hint: str = ""
    ) -> None:
        super().__init__(what, where=where, hint=hint)
        self.differences = differences


class EngineError(WapError):
    """The engine could not write the batch."""


class EngineUnavailableError(EngineError):
    """The engine's servers do not answer now: try again."""


class QuarantineError(WapError):
    """A batch and its quarantine table do not fit together: rows would be lost, or there twice."""


class LedgerError(WapError):
    """The ledger's database cannot be used."""


class LedgerUnavailableError(LedgerError):
    """The ledger's database does not answer now (locked, refused): try again."""


class VersionMovedError(WapError):
    """A compare-and-swap lost: a pipeline's latest version is not the one that was seen.

    Attributes:
        found: the latest version now; None: there is no such pipeline.
    """

    def __init__(self, name: str, *, expected: int | None, found: int | None) -> None:
        super().__init__(
            f"the pipeline {name!r} has moved: expected {_version(expected)}, "
            f"found {_version(found)}",
            where=f"pipeline {name}",
            hint="read the latest version, make the change there, and store it again",
        )
        self.found = found


def _version(number: int | None) -> str:
    return "no version" if number is None else f"version {number}"


class LineageError(WapError):
    """The lineage sink refuses what it is told; trying again does not help."""


class LineageUnavailableError(LineageError):
    """The lineage sink does not answer now: try again."""


class StoreUnavailableError(WapError):
    """The place of the runs' documents (``[runs] location``) does not answer now: try again."""


class TemporalUnavailableError(WapError):
    """No Temporal server can be reached or started."""


class DecryptionError(WapError):
    """What Temporal kept was encrypted under a key that is not at hand, or was changed."""


class QueryError(WapError):
    """A consumer's query is wrong, or asks for what is not published."""


class GroupRefusedError(WapError):
    """Tables cannot be published together here, or what was published together not taken apart."""


class DecisionRefusedError(WapError):
    """A held run cannot be decided so: it is not held, or the waiver does not fit; none is kept."""


class RunNotFoundError(WapError):
    """No run of that id is known."""


class NotRepeatableError(WapError):
    """The audit of a published run cannot be repeated: what it saw has expired, or is damaged."""


class RelationError(WapError):
    """The files of a snapshot cannot be read as a relation: what they hold is not supported."""
