"""The rows that wait in a quarantine table and that a replay is about, in one connection."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema

from catalog.base import BranchCatalog
from catalog.refs import TableName
from wap.errors import BatchRefusedError
from wap.field_map import duckdb_type, literal, quoted
from wap.keyed.names import Names
from wap.quarantine.finding import FILE, PLACE
from wap.quarantine.table import REPLAYED_RUN, ROW, RUN
from wap.relations import check_readable

_SHOWN = 20


@dataclass(frozen=True)
class Choice:
    """Which of the rows that wait are to be replayed.

    Attributes:
        snapshot: of the quarantine table.
        run: only those that this run set aside; None: of all.
        where: only those with these values, as text, by column.
    """

    snapshot: int
    run: str | None = None
    where: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Waiting:
    """The rows of one choice.

    Attributes:
        files, paths: of the quarantine table's snapshot.
        table: the schema of the table that the rows are of.
        corrected: a Parquet file of corrected rows, and the columns it gives; None: there is none.
    """

    con: Any
    choice: Choice
    files: Sequence[DataFile]
    paths: Sequence[str]
    schema: Schema
    table: Schema
    corrected: tuple[Path, frozenset[str]] | None = None

    @classmethod
    def of(
        cls,
        con: Any,
        catalog: BranchCatalog,
        aside: TableName,
        choice: Choice,
        table: Schema,
        corrected: tuple[Path, frozenset[str]] | None = None,
    ) -> Waiting:
        """Look at a quarantine table.

        Raises:
            TableNotFoundError: the snapshot is not kept.
            RelationError, CatalogUnavailableError: a file cannot be read.
        """
        scan = catalog.scan(aside, choice.snapshot)
        files = sorted(scan.files, key=lambda f: f.file_path)
        paths = check_readable(con, type(scan)(scan.schema, files, scan.io), str(aside))
        return cls(con, choice, files, paths, scan.schema, table, corrected)

    @property
    def names(self) -> Names:
        """Our names of the quarantine table's columns."""
        return Names(self.schema)

    def read(self, places: Sequence[int]) -> str:
        """The rows of some files under our names, with file and place in it as ``f`` and ``r``."""
        numbers = ", ".join(map(str, places))
        return self.names.read(
            [self.paths[i] for i in places],
            sum(self.files[i].record_count for i in places),
            f"list_extract([{numbers}]::BIGINT[], file_index::BIGINT + 1) AS f",
            "file_row_number::BIGINT AS r",
        )

    def chosen(self) -> str:
        """The rows in the table's own columns, corrected, with :data:`FILE` and :data:`PLACE`."""
        known = {f.name for f in self.schema.fields}
        given = self.corrected[1] if self.corrected is not None else frozenset()
        selected = []
        for field in self.table.fields:
            kept = f"t.{self.names.of(field.name)}" if field.name in known else "NULL"
            value = f"x.{quoted(field.name)}" if field.name in given else kept
            selected.append(f"{value}::{duckdb_type(field.field_type)} AS {quoted(field.name)}")
        joined = ""
        if self.corrected is not None:
            joined = f" JOIN {self._corrections} AS x ON x.{ROW} = t.{self.names.of(ROW)}"
        return (
            f"SELECT {', '.join(selected)}, t.f AS {FILE}, t.r AS {PLACE} "  # noqa: S608 - quoted names, literals by sqlglot
            f"FROM ({self.read(range(len(self.files)))}) AS t{joined} WHERE {self._condition}"
        )

    def count(self) -> int:
        """How many rows they are."""
        return int(self.con.execute(f"SELECT count(*) FROM ({self.chosen()})").fetchone()[0])  # noqa: S608 - see above

    def refuse_strangers(self) -> None:
        """Refuse corrections of rows that do not wait, and two of one row.

        Raises:
            BatchRefusedError: there are some.
        """
        if self.corrected is None:
            return
        row = self.names.of(ROW)
        # Grouped by what is nobody else's column: a corrected one may have any name.
        odd = self.con.execute(
            f"SELECT y.row, y.waits FROM (SELECT x.{ROW} AS row, count(*) AS n, "  # noqa: S608 - names of ours
            f"bool_or(w.row IS NOT NULL) AS waits FROM {self._corrections} AS x LEFT JOIN "
            f"(SELECT t.{row} AS row FROM ({self.read(range(len(self.files)))}) AS t "
            f"WHERE {self._condition}) AS w ON w.row = x.{ROW} GROUP BY x.{ROW}) AS y "
            "WHERE y.n > 1 OR NOT y.waits ORDER BY y.row"
        ).fetchall()
        if odd:
            lines = [f"{id_}: {'corrected twice' if waits else 'does not wait'}"
                     for id_, waits in odd[:_SHOWN]]  # fmt: skip
            raise BatchRefusedError(
                f"{len(odd):,} corrected rows are none that wait in quarantine, or there twice",
                differences=tuple(lines),
                hint="leave out what was replayed already; a row is corrected once",
            )

    def selected(self, schema: Schema, values: Mapping[str, str]) -> str:
        """The select list of the quarantine table's columns, some with other values.

        Args:
            schema: as the run stages it; what the snapshot lacks is null.
            values: SQL by column.
        """
        known = {f.name for f in self.schema.fields}
        parts = []
        for field in schema.fields:
            kept = f"t.{self.names.of(field.name)}" if field.name in known else "NULL"
            value = values.get(field.name, kept)
            parts.append(f"{value}::{duckdb_type(field.field_type)} AS {quoted(field.name)}")
        return ", ".join(parts)

    @property
    def _corrections(self) -> str:
        assert self.corrected is not None  # noqa: S101 - asked for where there are some
        return f"read_parquet({literal(str(self.corrected[0]))})"

    @property
    def _condition(self) -> str:
        names = self.names
        parts = [f"t.{names.of(REPLAYED_RUN)} IS NULL"]
        if self.choice.run is not None:
            parts.append(f"t.{names.of(RUN)} = {literal(self.choice.run)}")
        parts += [
            f"t.{names.of(column)}::VARCHAR = {literal(value)}"
            for column, value in self.choice.where
        ]
        return " AND ".join(parts)
