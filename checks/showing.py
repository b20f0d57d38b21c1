"""How values are shown in every face of a report: sizes, times, and text that cannot deceive."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import PurePath

from checks.report import CheckResult, Report
from checks.story import OUTCOMES

#: Marks that turn the direction of the text behind them, so that it reads as another.
_TURNING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")
_KIB = 1024
_MINUTE, _HOUR = 60, 3600


def visible(text: str) -> str:
    """The text with control, direction and unpaired characters written out by number."""
    if text.isprintable() and not _TURNING.intersection(text):
        return text
    return "".join(c if c in "\n\t" or not _hidden(c) else f"\\u{ord(c):04x}" for c in text)


def _hidden(char: str) -> bool:
    return char in _TURNING or unicodedata.category(char) in ("Cc", "Cs")


def size(count: int | None) -> str:
    """Bytes for people: ``12.3 MiB``."""
    if count is None:
        return "size not known"
    value, unit = float(count), "bytes"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < _KIB:
            break
        value, unit = value / _KIB, larger
    return f"{value:,.0f} {unit}" if unit == "bytes" else f"{value:,.1f} {unit}"


def duration(seconds: float) -> str:
    """Seconds for people: ``340 ms``, ``12.3 s``, ``2 min 5 s``, ``1 h 2 min``."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def rows(count: int | None) -> str:
    """A row count for people."""
    return "no table" if count is None else f"{count:,} row{'' if count == 1 else 's'}"


def file_name(path: str) -> str:
    """The last part of a path or address."""
    return PurePath(path).name or path


def ordered(report: Report | None) -> Sequence[CheckResult]:
    """Results with the ones that need a person first."""
    rank = {outcome: i for i, outcome in enumerate(OUTCOMES)}
    return sorted(report.results, key=lambda r: rank[r.outcome]) if report else ()


def failing_share(result: CheckResult) -> float | None:
    """Failing rows in percent of the rows tested; None where that says nothing."""
    if result.failing_rows is None or not result.tested_rows:
        return None
    return min(100.0, result.failing_rows * 100 / result.tested_rows)


def passing_note(result: CheckResult) -> str:
    """How a check that only warns is marked."""
    return "" if result.blocking else "warns only"
