"""Thresholds: which numbers pass, which warn, which fail, and how to say so. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self

from checks.report import Outcome

#: Soda's comparison keys that take one number, each with the words it is read as.
SINGLE = {
    "must_be": "exactly",
    "must_not_be": "not",
    "must_be_greater_than": "more than",
    "must_be_greater_than_or_equal": "at least",
    "must_be_less_than": "less than",
    "must_be_less_than_or_equal": "at most",
}
#: Soda's comparison keys that take two bounds.
RANGES = ("must_be_between", "must_be_not_between")
COMPARISONS = (*SINGLE, *RANGES)

_BOUNDS = {
    "greater_than": "must_be_greater_than",
    "greater_than_or_equal": "must_be_greater_than_or_equal",
    "less_than": "must_be_less_than",
    "less_than_or_equal": "must_be_less_than_or_equal",
}


def number(value: float) -> str:
    """A number for people: thousands separated, at most six decimals, none for whole numbers."""
    if isinstance(value, int) or float(value).is_integer():
        return f"{int(value):,}"
    return f"{value:,.6f}".rstrip("0").rstrip(".") if abs(value) >= 1e-6 else f"{value:g}"  # noqa: PLR2004 - below it six decimals show nothing


@dataclass(frozen=True, slots=True)
class Comparison:
    """One condition on a number: a single key, or two joined by ``and`` (inside) or ``or``."""

    parts: tuple[tuple[str, float], ...]
    joined: Literal["and", "or"] = "and"

    @classmethod
    def of(cls, key: str, value: Any) -> Self:
        """Read a comparison key and its number, or its mapping of bounds."""
        if key in SINGLE:
            return cls(((key, value),))
        parts = tuple((_BOUNDS[bound], v) for bound, v in value.items())
        return cls(parts, "or" if key == "must_be_not_between" else "and")

    @classmethod
    def in_mapping(cls, body: Mapping[str, Any]) -> Self | None:
        """The comparison a threshold's mapping holds, if any."""
        return next((cls.of(k, v) for k, v in body.items() if k in COMPARISONS), None)

    def holds(self, value: float) -> bool:
        """Whether the number passes."""
        results = [_holds(key, value, bound) for key, bound in self.parts]
        return any(results) if self.joined == "or" else all(results)

    def words(self, unit: str = "") -> str:
        """The condition as people say it: ``at least 10 and less than 90 rows``."""
        text = f" {self.joined} ".join(f"{SINGLE[k]} {number(v)}" for k, v in self.parts)
        return f"{text}{' ' if unit else ''}{unit}"


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a check's number must be.

    Attributes:
        metric: the number is a count, or a percentage of the rows tested.
        unit: of a freshness threshold: ``minute``, ``hour`` or ``day``; else "".
        fail: the condition a check fails on when it does not hold; None when it only warns.
        warn: the condition a check warns on when it does not hold.
    """

    fail: Comparison | None
    warn: Comparison | None = None
    metric: Literal["count", "percent"] = "count"
    unit: str = ""

    @classmethod
    def read(cls, body: Mapping[str, Any] | None, default: Comparison | None) -> Self:
        """Read a (validated) ``threshold`` mapping; ``default`` is the check type's own."""
        body = body or {}
        here = Comparison.in_mapping(body) or default
        extra = body.get("additional") or {}
        other = Comparison.in_mapping(extra)
        warns = body.get("level") == "warn"
        fail, warn = (other, here) if warns else (here, other)
        metric: Literal["count", "percent"] = (
            "percent" if body.get("metric") == "percent" else "count"
        )
        return cls(fail=fail, warn=warn, metric=metric, unit=str(body.get("unit", "")))

    @property
    def blocking(self) -> bool:
        """Whether there is a number at which the check fails and does not only warn."""
        return self.fail is not None

    def outcome(self, value: float) -> Outcome:
        """What becomes of a check that measured this number."""
        if self.fail is not None and not self.fail.holds(value):
            return Outcome.FAILED
        if self.warn is not None and not self.warn.holds(value):
            return Outcome.WARNED
        return Outcome.PASSED


def _holds(key: str, value: float, bound: float) -> bool:
    match key:
        case "must_be":
            return value == bound
        case "must_not_be":
            return value != bound
        case "must_be_greater_than":
            return value > bound
        case "must_be_greater_than_or_equal":
            return value >= bound
        case "must_be_less_than":
            return value < bound
        case _:
            return value <= bound
