"""Columns under names of ours, so that no name of a table's can clash with one of the SQL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pyiceberg.schema import Schema
from pyiceberg.types import MapType

from wap.field_map import columns_by_id, duckdb_type, literal, quoted


@dataclass(frozen=True)
class Names:
    """``c0``, ``c1``, … for a schema's columns, in their order."""

    schema: Schema

    def of(self, column: str) -> str:
        """Our name of a column."""
        return f"c{self._places[column]}"

    def all(self, without: Iterable[str] = ()) -> list[str]:
        """Our names of all columns but some, in the schema's order."""
        left_out = set(without)
        return [self.of(f.name) for f in self.schema.fields if f.name not in left_out]

    @property
    def _places(self) -> dict[str, int]:
        return {f.name: i for i, f in enumerate(self.schema.fields)}

    def read(self, paths: Sequence[str], rows: int, *more: str) -> str:
        """A query that reads Parquet files by field id, under our names.

        Args:
            paths: as DuckDB knows them; for none, the query has no rows.
            rows: in all of them.
            more: further things to select; ``file_index`` and ``file_row_number`` are there.
        """
        if not paths:
            columns = ", ".join(
                f"CAST(NULL AS {duckdb_type(f.field_type)}) AS {self.of(f.name)}"
                for f in self.schema.fields
            )
            nothing = "".join(f", NULL::BIGINT AS {m.rpartition(' ')[2]}" for m in more)
            return f"SELECT {columns}{nothing} WHERE false"
        ours = Schema(*(f.model_copy(update={"name": self.of(f.name)}) for f in self.schema.fields))
        files = ", ".join(map(literal, paths))
        return (
            f"SELECT {', '.join(['*', *more])} FROM read_parquet([{files}],"
            f" schema = {columns_by_id(ours)}, hive_partitioning = false,"
            f" explicit_cardinality = {max(rows, 1)})"
        )

    def written(self, replaced: dict[str, str] | None = None) -> str:
        """The select list that gives the columns their own names back.

        Args:
            replaced: SQL in place of some columns, by their names.
        """
        given = replaced or {}
        return ", ".join(
            f"{given.get(f.name, self.of(f.name))}::{duckdb_type(f.field_type)} AS {quoted(f.name)}"
            for f in self.schema.fields
        )

    def comparable(self, column: str, prefix: str = "") -> str:
        """SQL whose values are equal where the column's are: a map has no order."""
        name = f"{prefix}{self.of(column)}"
        if isinstance(self.schema.find_field(column).field_type, MapType):
            return f"list_sort(map_entries({name}))"
        return name
