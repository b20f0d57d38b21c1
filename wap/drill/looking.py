"""What lies in scratch tables after a run, and what of it is not as it must be."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from catalog.base import BranchCatalog
from catalog.refs import TableName
from wap.drill.scratch import Scratch
from wap.evidence import seals
from wap.ports import open_ports
from wap.quarantine.table import quarantine_of

#: Long after everything: a file of any age counts as left over.
_LATER = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Seen:
    """What lies in the scratch tables.

    Attributes:
        published: how many runs' batches main holds: a union's seal stands for all its members.
        rows: that main shows.
        aside: rows in the quarantine table.
        columns: main's.
    """

    published: int
    rows: int
    unproved: int
    branches: int
    files: int
    folders: int
    aside: int = 0
    columns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Expected:
    """What must be there; ``columns`` are those of the table."""

    published: int
    rows: int
    aside: int = 0
    columns: tuple[str, ...] = ()


NOTHING = Expected(0, 0)


def look(scratch: Scratch) -> Seen:
    """What main shows and what was left over, read by this process; of a group all tables'."""
    with open_ports(scratch.opened()) as ports:
        catalog = ports.catalog
        tables = [said.table for said in scratch.drilled]
        aside = [quarantine_of(table) for table in tables]
        try:
            shown = [t for t in (*tables, *aside) if catalog.published(t) is not None]
            main = catalog.published(scratch.said.table)
            return Seen(
                published=sum(_runs(catalog, table) for table in tables if table in shown),
                rows=sum(_rows(catalog, table) for table in tables),
                unproved=sum(len(catalog.gaps(table)) for table in shown),
                branches=len(catalog.branches()),
                files=_left_files(scratch, catalog, shown),
                folders=sum(1 for _ in (scratch.root / ".wap/runs").glob("*")),
                aside=sum(_rows(catalog, table) for table in aside),
                columns=tuple(f.name for f in main.schema.fields) if main else (),
            )
        finally:
            catalog.close()


def _runs(catalog: BranchCatalog, table: TableName) -> int:
    """How many runs' batches main holds; a run of a group may be sealed again where it stood."""
    return sum(max(1, len(seal.members)) for _, seal in seals(catalog, table))


def _rows(catalog: BranchCatalog, table: TableName) -> int:
    found = catalog.published(table)
    return catalog.scan(table, found.snapshot.id).rows if found is not None else 0


def _left_files(scratch: Scratch, catalog: BranchCatalog, shown: list[TableName]) -> int:
    """Files that nothing refers to; while no table is published, each that came is one."""
    if not shown:
        return len(scratch.files() - scratch.kept_files())
    later = datetime.now(UTC) + _LATER
    return sum(
        len(catalog.sweep(table, before=later, live=frozenset, dry_run=True)) for table in shown
    )


def wrong_with(seen: Seen, expected: Expected) -> list[str]:
    """What is not as it must be, for people."""
    found = [
        (
            seen.published != expected.published,
            f"main holds it {seen.published} times, not {expected.published}",
        ),
        (seen.rows != expected.rows, f"main shows {seen.rows:,} rows, not {expected.rows:,}"),
        (
            seen.aside != expected.aside,
            f"{seen.aside:,} rows are set aside, not {expected.aside:,}",
        ),
        (seen.unproved > 0, f"{seen.unproved} snapshots of main are not proved"),
        (seen.branches > 0, f"{seen.branches} staging branches are left"),
        (seen.files > 0, f"{seen.files} files are left that nothing refers to"),
        (seen.folders > 0, f"{seen.folders} folders of runs are left"),
    ]
    return [text for is_wrong, text in found if is_wrong]
