"""The rest of a divided batch: what its change does beside it, and how it meets by key anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pyiceberg.manifest import DataFile

from catalog.base import BranchCatalog, Change, Scan, Staging
from wap import aside
from wap.division import Met
from wap.engines.base import Merged, Written
from wap.engines.met import laid_aside, schema_aside
from wap.errors import BatchRefusedError, QuarantineError
from wap.keyed.rule import Rule
from wap.model import Rows
from wap.quarantine.divider import Divider
from wap.quarantine.finding import CannotDivideError
from wap.writing import meet, read_aside, rule_on


@dataclass(frozen=True)
class Carried:
    """What a staged change does beside adding the batch.

    Attributes:
        removed: published files that it takes away.
        kept: files that carry over rows of them.
    """

    removed: Sequence[DataFile]
    kept: Sequence[DataFile]

    @classmethod
    def of(cls, catalog: BranchCatalog, staging: Staging, batch: Sequence[DataFile]) -> Carried:
        """Tell it from the snapshots: the branch's head, and what it was staged on."""
        head = catalog.scan(staging.table, staging.head, staging.branch).files
        before: Sequence[DataFile] = ()
        if staging.expected is not None:
            before = catalog.scan(staging.table, staging.expected).files
        shown, stood = {f.file_path for f in head}, {f.file_path for f in before}
        own = stood | {f.file_path for f in batch}
        return cls(
            [f for f in before if f.file_path not in shown],
            [f for f in head if f.file_path not in own],
        )


def meet_rest(
    divider: Divider, staging: Staging, beside: Staging, token: str
) -> tuple[Change, Met]:
    """Let the batch without the rows that were set aside meet the published ones once more.

    Args:
        beside: the quarantine table with all rows that the run has set aside.
        token: of the division.

    Raises:
        CannotDivideError: the rest is no batch: of rows with one key nothing says which counts.
        QuarantineError: the rows do not add up.
        SourceError, EngineError, CatalogError, RelationError: see the ports.
    """
    without = divider.catalog.batch(beside)
    rule = rule_on(divider.pinned, divider.catalog, staging.expected)
    try:
        with _given(divider, staging, rule) as given:
            merged = meet_rows(divider, given, rule, staging, token, without)
    except BatchRefusedError as exc:
        raise CannotDivideError(f"without the rows that break a check: {exc.what}") from exc
    met = met_of(merged)
    came, whole = came_of(met), divider.books.given
    if came + without.rows != whole:
        raise QuarantineError(
            f"{whole:,} rows were divided into {came:,} and {without.rows:,}",
            where=str(staging.table),
        )
    return Change(merged.added.files, merged.removed, merged.kept.files), met


@contextmanager
def _given(divider: Divider, staging: Staging, rule: Rule) -> Iterator[Written]:
    """The batch where it lies aside; else it is read again, as the plan has fixed it."""
    scratch, columns = divider.folder.scratch, schema_aside(staging.schema, rule)
    with laid_aside(scratch, "rest-") as place:
        found = aside.bring(divider.folder, divider.number, columns, place)
        if found is None:
            found = read_aside(divider.pinned, divider.source, divider.engine, staging, rule, place)
        yield found[0]


def meet_rows(
    divider: Divider,
    given: Written,
    rule: Rule,
    staging: Staging,
    token: str,
    without: Scan | None = None,
) -> Merged:
    """Let rows that lie aside meet those that the branch began at.

    Args:
        token: of the division whose files come of it.
        without: see :meth:`wap.engines.base.Engine.merge`.
    """
    with laid_aside(divider.folder.scratch, "spill-") as temp:
        return meet(
            given, rule, divider.engine, divider.catalog, staging, staging.expected, temp,
            again=f"{divider.prefix}{token}", without=without,
        )  # fmt: skip


def met_of(merged: Merged) -> Met:
    """What a batch came to, as it is kept with its division."""
    became = merged.became
    rows = Rows(
        staged=merged.added.rows,
        unchanged=became.unchanged,
        deleted=became.deleted,
        deduplicated=became.deduplicated,
        discarded=became.late,
        kept=merged.kept.rows,
        inserted=became.inserted,
        updated=became.updated,
    )
    return Met(
        rows=rows,
        removed=sum(f.record_count for f in merged.removed),
    )


def came_of(met: Met) -> int:
    """How many rows something became of."""
    rows = met.rows
    return rows.staged + rows.unchanged + rows.deleted + rows.deduplicated + rows.discarded
