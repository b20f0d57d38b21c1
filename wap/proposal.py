"""The first pipeline and contract for a file, as texts, and what that contract does not guard."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from wap.profiling import Column, Profile
from wap.sniffing import NULL_TEXTS, Sniffed

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Bare words that YAML (1.1 in some editors) reads as something else than a text.
_NOT_TEXT = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none"})
_MONEY = re.compile(r"price|amount|cost|total|salary|fee|revenue|balance", re.IGNORECASE)
_LISTED = 8


def scalar(text: str) -> str:
    """A text as YAML writes it: bare where nobody can misread it, else in double quotes."""
    if _BARE.fullmatch(text) and text.lower() not in _NOT_TEXT:
        return text
    return json.dumps(text, ensure_ascii=False)


def pipeline_text(
    table: str, name: str, path: str, compression: str, sniffed: Sniffed, profile: Profile
) -> str:
    """The pipeline file."""
    source = ["  kind: files", f"  path: {json.dumps(path, ensure_ascii=False)}"]
    source.append(f"  format: {sniffed.format}")
    if compression != "none":
        source.append(f"  compression: {compression}")
    if sniffed.delimiter is not None:
        source.append(f"  delimiter: {json.dumps(sniffed.delimiter)}")
    if sniffed.nulls:
        source.append(f"  null: [{', '.join(map(json.dumps, sniffed.nulls))}]")
    keys = f", keys: [{', '.join(map(scalar, profile.key))}]" if profile.key else ""
    columns = [f"    {scalar(c.name)}: {_type(c.kind)}" for c in profile.columns]
    tags = [f"  {scalar(c.name)}: [pii]" for c in profile.columns if c.personal]
    lines = [
        "# yaml-language-server: $schema=pipeline.schema.json",
        f"table: {table}",
        "source:",
        *source,
        f"write: {{mode: append{keys}}}",
        "schema:",
        "  on_change: strict",
        "  columns:",
        *columns,
        f"contracts: [contracts/{name}.yml]",
        *(["tags:", *tags] if tags else []),
    ]
    return "\n".join(lines) + "\n"


def contract_text(dataset: str, profile: Profile) -> str:
    """The contract file, which says in its head what it does not guard."""
    lines = [
        "# Proposed by `wap init` from what one file holds: it takes that file for right.",
        "# Read it, correct it, and add what only you know. It does NOT guard:",
        *(f"# - {line}" for line in not_guarded(profile)),
        f"dataset: {dataset}",
        "",
        "columns:",
    ]
    for column in profile.columns:
        lines.append(f"  - name: {scalar(column.name)}")
        if checks := list(_checks(column, profile)):
            lines += ["    checks:", *(f"      - {check}" for check in checks)]
    lines += ["", "checks:", "  - schema:", "  - row_count:"]
    if len(profile.key) > 1:
        lines.append(f"  - duplicate: {{columns: [{', '.join(map(scalar, profile.key))}]}}")
    return "\n".join(lines) + "\n"


def not_guarded(profile: Profile) -> list[str]:
    """What can go wrong without this contract noticing, in plain words."""
    columns = profile.columns
    said = [
        *_about_the_delivery(profile),
        *_named("any value passes in the number", [c for c in columns if _is_unbounded(c)]),
        *_named("any large value passes in", [c for c in columns if _is_bounded_below(c)]),
        *_named("any text passes in", [c for c in columns if c.kind == "string" and not c.values]),
        *_named(
            "a text that says «no value» is taken for a value in",
            [c for c in columns if set(c.values) & set(NULL_TEXTS)],
        ),
        *_named("any share of nulls passes in", [c for c in columns if c.nulls]),
        *_named("nothing inside is looked at in", [c for c in columns if c.is_nested]),
        *_named(
            "a double rounds; money wants a declared decimal:",
            [c for c in columns if c.kind in ("float", "double") and _looks_like_money(c.name)],
        ),
        "no column is held against another table (valid_reference_data)",
        "no column is held against another of the same row (failed_rows)",
        "a shift of averages or shares passes (aggregate, metric)",
    ]
    # A line break in a column's name must not end the comment that the sentence stands in.
    return [" ".join(sentence.split()) for sentence in said]


def _about_the_delivery(profile: Profile) -> Iterator[str]:
    if not profile.whole:
        yield f"what comes after the first {profile.rows:,} rows, which alone were looked at"
    if not profile.key:
        yield "duplicates: no column, pair or triple was found that identifies a row"
    else:
        yield f"whether ({', '.join(profile.key)}) is the key everywhere: it is one in this file"
    yield "age: yesterday's file passes again tomorrow (freshness)"
    yield "completeness: one row is enough; half a delivery passes (row_count with a threshold)"


def _named(what: str, columns: Sequence[Column]) -> Iterator[str]:
    if columns:
        names = ", ".join(c.name for c in columns[:_LISTED])
        more = f" and {len(columns) - _LISTED} more" if len(columns) > _LISTED else ""
        yield f"{what} {names}{more}"


def _checks(column: Column, profile: Profile) -> Iterator[str]:
    if not column.nulls:
        yield "missing:"
    if profile.key == (column.name,):
        yield "duplicate:"
    if column.values:
        yield f"invalid: {{valid_values: [{', '.join(map(scalar, column.values))}]}}"
    elif _is_bounded_below(column):
        yield "invalid: {valid_min: 0}"


def _is_bounded_below(column: Column) -> bool:
    return column.least is not None and column.least >= 0


def _is_unbounded(column: Column) -> bool:
    return column.is_number and not _is_bounded_below(column)


def _looks_like_money(name: str) -> bool:
    return _MONEY.search(name) is not None


def _type(kind: str) -> str:
    """A type's text; nested ones hold characters that YAML reads as its own."""
    return kind if re.fullmatch(r"[a-z0-9]+", kind) else json.dumps(kind, ensure_ascii=False)
