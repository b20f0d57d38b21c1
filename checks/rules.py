"""One declared check as we read it from a contract: a rule. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from checks.thresholds import Comparison, Threshold

#: What must hold when a check states no comparison of its own (as Soda does it).
DEFAULTS: Mapping[str, Comparison] = {
    "missing": Comparison((("must_be", 0),)),
    "invalid": Comparison((("must_be", 0),)),
    "duplicate": Comparison((("must_be", 0),)),
    "failed_rows": Comparison((("must_be", 0),)),
    "row_count": Comparison((("must_be_greater_than", 0),)),
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One check of one contract.

    Attributes:
        name: ``<contract file>:<relative path>``, unique in a report.
        relative_path: ``columns.<column>.checks.<kind>[.<qualifier>]``; Soda calls it the same.
        relation: the view it looks at.
        kind: Soda's check type.
        column: the column it stands under; None for a check on the whole relation.
        body: what the check says, variables filled in.
        where: ``file:line``.
    """

    name: str
    relative_path: str
    relation: str
    kind: str
    column: str | None
    body: Mapping[str, Any]
    where: str

    @property
    def threshold(self) -> Threshold:
        """What its number must be; a schema check fails on any difference."""
        default = Comparison((("must_be", 0),)) if self.kind == "schema" else None
        return Threshold.read(self.body.get("threshold"), DEFAULTS.get(self.kind, default))

    @property
    def filter(self) -> str | None:
        """SQL condition of the rows it looks at, beside the contract's own filter."""
        text = str(self.body.get("filter") or "").strip()
        return text or None

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns it names outside SQL text."""
        if self.column is not None:
            return (self.column,)
        if self.kind == "freshness":
            return (str(self.body["column"]),)
        return tuple(self.body.get("columns", ()))

    @property
    def sql(self) -> str:
        """SQL text a person wrote into the check, all of it; "" when there is none."""
        keys = ("expression", "query", "keys_query", "rows_tested_query", "filter")
        return "\n".join(str(self.body[k]) for k in keys if self.body.get(k))


def relative_path(column: str | None, kind: str, qualifier: object) -> str:
    """The path Soda reports a check under; it is what outcomes are matched by."""
    parts = ["columns", column] if column else []
    parts += ["checks", kind]
    if qualifier not in (None, ""):
        parts.append(str(qualifier))
    return ".".join(parts)
