"""A published table to meet batches by key, and small models of what must come of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import HealthCheck, Phase, settings
from pyiceberg.expressions import BooleanExpression
from pyiceberg.expressions.visitors import _InclusiveMetricsEvaluator
from pyiceberg.manifest import DataFile

from catalog.base import Scan
from tests.unit.wap.engines.staging import Given, rows_of, staging
from wap.engines.arrow import ArrowEngine
from wap.engines.base import Merged, Written
from wap.engines.met import laid_aside
from wap.keyed.rule import Became, Marks, Rule
from wap.types import from_arrow

AT = datetime(2026, 1, 1, tzinfo=UTC)
Row = dict[str, Any]

#: A case takes tenths of a second, so what fails is not made smaller: that would take minutes.
runs = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)


@dataclass
class Table:
    """Files that are published one after the other, as the engine says."""

    root: Path
    schema: pa.Schema
    rule: Rule
    partitioning: Sequence[tuple[str, str]] = ()
    engine: ArrowEngine = field(default_factory=ArrowEngine)
    own: Sequence[tuple[str, pa.DataType]] = ()
    files: list[DataFile] = field(default_factory=list)
    runs: int = 0
    looked_at: int = 0

    def __post_init__(self) -> None:
        full = self.schema
        for name, kind in self.own:
            full = full.append(pa.field(name, kind))
        self.iceberg = from_arrow(full)

    def _find(self, condition: BooleanExpression) -> Scan:
        may = _InclusiveMetricsEvaluator(self.iceberg, condition).eval
        found = [f for f in self.files if may(f)]
        self.looked_at = len(found)
        return Scan(self.iceberg, found, staging(self.root, self.iceberg).io)

    def apply(
        self, rows: Iterable[Row], rule: Rule | None = None, *, cancelled: Callable[[], bool] = bool
    ) -> Merged:
        """Meet a batch, and publish what comes of it."""
        rule = rule or self.rule
        self.runs += 1
        asked = self.schema
        if rule.marks is not None:
            kind = pa.bool_() if isinstance(rule.marks.values[0], bool) else pa.string()
            asked = asked.append(pa.field(rule.marks.column, kind))
        given = Given.of(pa.Table.from_pylist(list(rows), asked), 7)
        where = staging(self.root, self.iceberg, self.partitioning, run=f"run-{self.runs}")
        with laid_aside(self.root / "scratch") as folder:
            aside = self.engine.lay_aside(
                given, where, rule, folder, report=lambda _: None, cancelled=cancelled
            )
            find = self._find if self.runs > 1 else None
            merged = self.engine.merge(
                aside, where, rule, find, folder / "spill", cancelled=cancelled
            )
        gone = {f.file_path for f in merged.removed}
        before = sum(f.record_count for f in self.files)
        self.files = [f for f in self.files if f.file_path not in gone]
        self.files += [*merged.added.files, *merged.kept.files]
        lost = sum(f.record_count for f in merged.removed)
        after = sum(f.record_count for f in self.files)
        assert after == before - lost + merged.added.rows + merged.kept.rows
        assert not any((self.root / "scratch").iterdir())
        return merged

    def rows(self) -> list[Row]:
        """What a plain Iceberg reader finds."""
        if not self.files:
            return []
        return list(rows_of(Written(self.files), staging(self.root, self.iceberg)).to_pylist())


def same(one: Any, other: Any) -> bool:
    """Equal by value: NaN is NaN."""
    if isinstance(one, float) and isinstance(other, float) and math.isnan(one):
        return math.isnan(other)
    return bool(one == other)


def comparable(value: Any) -> Any:
    """A value to sort and compare rows by."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else repr(value + 0.0)
    if isinstance(value, Decimal):
        return str(value.normalize() + 0)
    if isinstance(value, datetime) and value.tzinfo:
        return str(value.astimezone(UTC))
    return str(value)


def sorted_rows(rows: Iterable[Row]) -> list[tuple[Any, ...]]:
    return sorted(tuple(comparable(row[c]) for c in sorted(row)) for row in rows)


def rule(mode: str, *, keys: Sequence[str] = ("id",), delete: bool = True, **more: Any) -> Rule:
    marks = Marks("op", ("D",)) if delete else None
    return Rule(mode, tuple(keys), AT, marks=marks, **more)  # type: ignore[arg-type]


@dataclass
class MergeModel:
    """Upsert by key in a dictionary."""

    rule: Rule
    rows: dict[Any, Row] = field(default_factory=dict)

    def apply(self, batch: Sequence[Row]) -> Became:
        """A batch in which rows with one key are equal, or told apart by ``order_by``."""
        won: dict[Any, Row] = {}
        for row in batch:
            key = self._key(row)
            if key not in won or self._order(row) > self._order(won[key]):
                won[key] = row
        counts = dict.fromkeys(("inserted", "updated", "unchanged", "deleted", "late"), 0)
        for key, row in won.items():
            counts[self._one(key, row)] += 1
        return Became(**counts, deduplicated=len(batch) - len(won))

    def _one(self, key: Any, row: Row) -> str:
        old = self.rows.get(key)
        gone = row.get("op") == "D"
        new = {k: v for k, v in row.items() if k != "op"}
        if old is None:
            if gone:
                return "unchanged"
            self.rows[key] = new
            return "inserted"
        if self._order(old) > self._order(new):
            return "late"
        if gone:
            del self.rows[key]
            return "deleted"
        if all(same(old[c], new[c]) for c in new):
            return "unchanged"
        self.rows[key] = new
        return "updated"

    def _key(self, row: Row) -> Any:
        return tuple(comparable(row[k]) for k in self.rule.keys)

    def _order(self, row: Row) -> Any:
        value = row.get(self.rule.order_by or "")
        return (value is not None, value if value is not None else 0)


#: The state of a key that is not there.
GONE = None


@dataclass
class HistoryModel:
    """Lines of time: for each key the states that differ from the one before, by their times."""

    rule: Rule
    lines: dict[Any, dict[Any, Row | None]] = field(default_factory=dict)

    def apply(self, batch: Sequence[Row], now: Any = None) -> Became:
        """A batch in which each key is once at each time; ``now`` is the time without one."""
        told = [(self._key(row), self._time(row, now), self._state(row)) for row in batch]
        known = {key for key, line in self.lines.items() if line}
        before = {key: dict(line) for key, line in self.lines.items()}
        for key, time, state in told:
            self.lines.setdefault(key, {})[time] = state
        for key in {key for key, _, _ in told}:
            self.lines[key] = self._short(self.lines[key])
        counts = dict.fromkeys(("inserted", "updated", "unchanged", "deleted"), 0)
        for key, time, state in told:
            line, was = self.lines[key], before.get(key, {})
            if time not in line or (time in was and self._equal(was[time], state)):
                counts["unchanged"] += 1
            elif state is GONE:
                counts["deleted"] += 1
            else:
                first = key not in known and time == min(line)
                counts["inserted" if first else "updated"] += 1
        return Became(**counts)

    def rows(self) -> list[Row]:
        """The versions, in the table's columns."""
        found = []
        for line in self.lines.values():
            for time, until in pairwise([*sorted(line), None]):
                state = line[time]
                if state is not GONE:
                    own = {"valid_from": time, "valid_to": until, "is_current": until is None}
                    found.append({**state, **own})
        return found

    def _short(self, line: dict[Any, Row | None]) -> dict[Any, Row | None]:
        short: dict[Any, Row | None] = {}
        state: Row | None = GONE
        for time in sorted(line):
            if not self._equal(state, line[time]):
                state = short[time] = line[time]
        return short

    def _equal(self, one: Row | None, other: Row | None) -> bool:
        if one is GONE or other is GONE:
            return one is other
        return all(same(one[c], other[c]) for c in one if c != self.rule.order_by)

    def _key(self, row: Row) -> Any:
        return tuple(comparable(row[k]) for k in self.rule.keys)

    def _time(self, row: Row, now: Any) -> Any:
        return row[self.rule.order_by] if self.rule.order_by else now

    def _state(self, row: Row) -> Row | None:
        return GONE if row.get("op") == "D" else {k: v for k, v in row.items() if k != "op"}
