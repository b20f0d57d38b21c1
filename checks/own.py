"""Checks of our own, beside the contract's: the table's schema, and the books of the run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from checks.report import CheckResult, Outcome
from checks.words import share

SCHEMA = "wap:schema"
ROWS = "wap:rows"
FIT = "wap:fit"
SAME_ROWS = "wap:same-rows"

#: No audit passes without these, whatever its contracts say.
REQUIRED = frozenset({SCHEMA, ROWS})

_LINES = 12
_PARTS = ("staged", "unchanged", "deleted", "quarantined", "deduplicated", "discarded")


def schema_check(expected: Mapping[str, str], actual: Mapping[str, str]) -> CheckResult:
    """Hold the candidate's columns against the declared ones, in order and with Iceberg types.

    Soda's own schema check takes ``int``, ``long`` and ``decimal`` for one type.

    Args:
        expected: columns in order, each with its Iceberg type as text.
        actual: the same of the audited snapshot.
    """
    found = list(_differences(expected, actual))
    return CheckResult(
        name=SCHEMA,
        relation="",
        kind="schema",
        title="The table's columns are the declared ones",
        expected=f"{len(expected)} columns with their names, order and Iceberg types",
        measured=_some(found) if found else f"{len(actual)} columns, all as declared",
        value=float(len(found)),
        outcome=Outcome.FAILED if found or not expected else Outcome.PASSED,
        message="" if expected else "no column is declared",
    )


def reconcile_check(
    read: int,
    staged: int,
    quarantined: int,
    deduplicated: int,
    discarded: int,
    counted: int,
    *,
    unchanged: int = 0,
    deleted: int = 0,
    candidate: int | None = None,
    expected_candidate: int | None = None,
) -> CheckResult:
    """Hold the run's books (law 6): every row read has gone somewhere, and is there.

    Args:
        read: rows counted at the source.
        staged: rows counted by the writer.
        quarantined: rows kept aside.
        deduplicated: rows whose key was there already.
        discarded: rows left out by a stated rule.
        counted: rows of this run counted in the table.
        unchanged: rows that say what the table says already.
        deleted: rows that deleted a published one.
        candidate: rows of the whole candidate, counted in the table.
        expected_candidate: rows it must have: what was published, less what is replaced, and
            what was staged.
    """
    parts = (staged, unchanged, deleted, quarantined, deduplicated, discarded)
    pairs = [
        (read, sum(parts), "rows read", "accounted for"),
        (staged, counted, "rows staged", "in the table"),
    ]
    if candidate is not None and expected_candidate is not None:
        pairs.append((expected_candidate, candidate, "rows to be in the candidate", "are there"))
    lines = [f"{a:,} {what}, {b:,} {is_}: {_gap(a, b)}" for a, b, what, is_ in pairs if a != b]
    if min(read, *parts, counted) < 0:
        lines.append("a count is negative")
    off = sum(abs(a - b) for a, b, _, _ in pairs)
    books = _books(*parts)
    return CheckResult(
        name=ROWS,
        relation="",
        kind="reconciliation",
        title="Every row read is accounted for",
        expected=f"rows read = {' + '.join(_PARTS)}, and the table holds what was staged",
        measured="; ".join(lines) or f"{read:,} read = {books}; {counted:,} counted in the table",
        value=float(off),
        failing_rows=off,
        tested_rows=max(read, 0),
        outcome=Outcome.FAILED if lines else Outcome.PASSED,
    )


@dataclass(frozen=True, slots=True)
class SameRows:
    """Rows of some files: how many, in how many files, and a digest that knows no order."""

    rows: int
    files: int
    digest: str


def same_rows_check(before: SameRows, after: SameRows) -> CheckResult:
    """Hold the rows of files that are written anew against those that they are written from.

    Args:
        before: of the files that go.
        after: of the files that come.
    """
    same = (before.rows, before.digest) == (after.rows, after.digest)
    files = f"{before.files:,} files become {after.files:,}"
    measured = f"{after.rows:,} rows, all as before; {files}"
    if not same:
        measured = f"{before.rows:,} rows before, {after.rows:,} after, and not the same; {files}"
    return CheckResult(
        name=SAME_ROWS,
        relation="",
        kind="compaction",
        title="Files that are written anew hold the same rows",
        expected="the same rows by value, each as often as before",
        measured=measured,
        value=float(abs(before.rows - after.rows)),
        tested_rows=before.rows,
        outcome=Outcome.PASSED if same else Outcome.FAILED,
    )


def fit_check(differences: Sequence[str], what: str = "") -> CheckResult:
    """The failed check of a batch that did not fit the table and was never staged."""
    refused = "the batch was refused before it was staged; nothing of it was audited"
    lines: list[dict[str, str | None]] = [{"difference": d} for d in differences[:_LINES]]
    return CheckResult(
        name=FIT,
        relation="",
        kind="fit",
        title="The batch fits the table",
        expected="the columns and types that the pipeline declares",
        measured=f"{len(differences)} difference{'' if len(differences) == 1 else 's'}",
        value=float(len(differences)),
        sample=tuple(lines),
        outcome=Outcome.FAILED,
        message="; ".join(text for text in (what, refused) if text),
    )


def _differences(expected: Mapping[str, str], actual: Mapping[str, str]) -> Sequence[str]:
    lost = [f"missing: {name} {type_}" for name, type_ in expected.items() if name not in actual]
    more = [f"not declared: {n} {type_}" for n, type_ in actual.items() if n not in expected]
    other = [
        f"{name}: {actual[name]} instead of {type_}"
        for name, type_ in expected.items()
        if name in actual and actual[name] != type_
    ]
    shared = [name for name in expected if name in actual]
    order = shared != [name for name in actual if name in expected]
    return [*lost, *more, *other, *(["the columns stand in another order"] if order else [])]


def _books(*counts: int) -> str:
    named = zip(_PARTS, counts, strict=True)
    return " + ".join(f"{n:,} {name}" for name, n in named if n or name == "staged")


def _some(lines: Sequence[str]) -> str:
    more = len(lines) - _LINES
    return "; ".join(lines[:_LINES]) + (f"; and {more} more" if more > 0 else "")


def _gap(one: int, other: int) -> str:
    lost = one - other
    return f"{share(lost, None)} lost" if lost > 0 else f"{share(-lost, None)} too many"
