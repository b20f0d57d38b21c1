"""The port ``Auditor``: run contracts against relations and say what became of every check."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from checks.contract import Contract
from checks.report import CheckResult


@dataclass(frozen=True, slots=True)
class Relation:
    """What an audit looks at: views in one connection, pinned to snapshots, never a catalog.

    Attributes:
        connection: a DuckDB connection (or Spark session) made for this audit alone. In it
            the schema :attr:`schema` holds the views ``<table>`` (the candidate),
            ``<table>__batch``, ``<table>__published``, and published neighbours.
        source: the first part of a contract's ``dataset``, Soda's data source name.
        schema: the second part: the namespace.
        table: the table's own name.
        columns: the candidate's columns by name, each with its Iceberg type as text.
        rows: row counts by view name, from the metadata.
        masked: columns whose values never leave the audit.
        keys: columns that identify a row, where the pipeline declares them; shown first in samples.
        neighbours: other tables that can be looked at, each with the snapshot it is pinned to.
        at: what "now" is to a check of freshness, with its time zone; None: the clock.
        earlier: results of the published rows' own audit by these contracts, by check; only where
            the candidate is the published rows and the batch, file by file. Empty: none counts.
        earlier_run: the run whose audit that was.
    """

    connection: Any
    source: str
    schema: str
    table: str
    columns: Mapping[str, str]
    rows: Mapping[str, int] = field(default_factory=dict)
    masked: frozenset[str] = frozenset()
    keys: tuple[str, ...] = ()
    neighbours: Mapping[str, int] = field(default_factory=dict)
    at: datetime | None = None
    earlier: Mapping[str, CheckResult] = field(default_factory=dict)
    earlier_run: str = ""


@dataclass(frozen=True, slots=True)
class Audit:
    """What an auditor found: outcomes, and complaints that belong to no single check."""

    results: tuple[CheckResult, ...]
    errors: tuple[str, ...] = ()


class Auditor(ABC):
    """Runs contracts. It reports; the gate decides."""

    @abstractmethod
    def audit(self, relation: Relation, contracts: Sequence[Contract]) -> Audit:
        """Evaluate every check of every contract on the relation it names.

        A check that cannot be evaluated is reported so, with the reason; an error of the
        engine is an entry of ``errors``. Neither is raised.

        Raises:
            AuditorUnavailableError: the engine does not answer now.
        """

    @abstractmethod
    def warm(self) -> None:
        """Import now what the first audit would otherwise wait for."""
