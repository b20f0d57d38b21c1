"""A branch's difference as a person reads it: rows, schema, and the figures of every column."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wap.diff import ColumnDiff, Figures, TableDiff


def picture(diff: TableDiff) -> RenderableType:
    """The difference as a table; a column that changes its schema is marked."""
    title = Text.assemble(
        (f"{diff.table}", "bold"), f" on {diff.branch}: ",
        (f"+{diff.rows_added:,}", "green"), " ", (f"-{diff.rows_removed:,}", "red"),
        f" rows ({diff.rows_before:,} → {diff.rows_after:,}), "
        f"+{diff.files_added} -{diff.files_removed} files",
    )  # fmt: skip
    grid = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2))
    for name in ("column", "type", "nulls", "distinct", "min", "max", "mean"):
        grid.add_column(name, overflow="fold")
    for column in diff.columns:
        grid.add_row(*_row(column))
    moved = Text("main has moved since: a publish would rebase this branch first", "yellow")
    return Group(title, *([moved] if diff.main_moved else []), grid)


def _row(column: ColumnDiff) -> tuple[Text, ...]:
    style = "bold yellow" if column.schema_changed else ""
    name = column.name
    if column.renamed_from:
        name = f"{column.renamed_from} → {column.name}"
    names = ("nulls", "distinct", "min", "max", "mean")
    cells = (_cell(_figure(column.before, n), _figure(column.after, n)) for n in names)
    return Text(name, style), _cell(column.type_before or "", column.type_after or "gone"), *cells


def _figure(figures: Figures | None, name: str) -> str:
    value = getattr(figures, name) if figures is not None else None
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.6g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cell(before: str, after: str) -> Text:
    if before == after:
        return Text(after)
    return Text.assemble((before or "∅", "dim"), " → ", after or "∅")
