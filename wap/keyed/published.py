"""The published files that hold keys of a batch, and their rows as DuckDB reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pyiceberg.expressions import BooleanExpression
from pyiceberg.manifest import DataFile

from catalog.base import Scan
from wap.errors import BatchRefusedError
from wap.keyed.batch import Batch, sample
from wap.keyed.bounds import may_hold
from wap.relations import check_readable


@dataclass(frozen=True)
class Published:
    """Published files that really hold a key of the batch, by their place in ``files``."""

    batch: Batch
    files: Sequence[DataFile]
    paths: Sequence[str]

    @classmethod
    def holding(
        cls, batch: Batch, find: Callable[[BooleanExpression], Scan] | None, where: str
    ) -> Published:
        """Those that hold a key of the batch: first by bounds, then by a look at their keys.

        Args:
            find: None: nothing is published.
            where: the table, for messages.

        Raises:
            RelationError: a file cannot be read as it was meant (delete files, no field ids).
            CatalogUnavailableError: the storage does not answer.
        """
        if find is None:
            return cls(batch, (), ())
        con: Any = batch.con
        scan = find(may_hold(con, "won", batch.names, batch.rule.keys))
        paths = check_readable(con, scan, where) if scan.files else []
        every = cls(batch, scan.files, paths)
        rows = con.execute(
            f"SELECT DISTINCT f FROM ({every.rows()}) p"
            f" SEMI JOIN (SELECT {batch.keys} FROM won) b USING ({batch.keys}) ORDER BY f"
        ).fetchall()
        held = [int(row[0]) for row in rows]
        return cls(batch, [scan.files[i] for i in held], [paths[i] for i in held])

    def rows(self, places: Sequence[int] | None = None) -> str:
        """A query of the files' rows, with file and place in it as ``f`` and ``r``.

        Args:
            places: only these files; None: all.
        """
        chosen = range(len(self.files)) if places is None else places
        numbers = ", ".join(map(str, chosen))
        return self.batch.names.read(
            [self.paths[i] for i in chosen],
            sum(self.files[i].record_count for i in chosen),
            f"list_extract([{numbers}]::BIGINT[], file_index::BIGINT + 1) AS f",
            "file_row_number::BIGINT AS r",
        )

    def groups(self, places: Sequence[int], target: int) -> Iterator[list[int]]:
        """Files to be rewritten together: neighbours by partition and lowest key, to a size.

        So what a rewritten file holds stays as close together as it was, and the next run finds
        as few files as this one.
        """
        key = self.batch.names.schema.find_field(self.batch.rule.keys[0]).field_id

        def neighbourhood(i: int) -> tuple[str, bytes, str]:
            file = self.files[i]
            low = (file.lower_bounds or {}).get(key, b"")
            return (repr(file.partition), low[::-1] if len(low) in (4, 8) else low, file.file_path)

        group: list[int] = []
        size = 0
        for place in sorted(places, key=neighbourhood):
            if group and size + self.files[place].file_size_in_bytes > target:
                yield group
                group, size = [], 0
            group.append(place)
            size += self.files[place].file_size_in_bytes
        if group:
            yield group

    def refuse_twice(self, relation: str, where: str, by: str = "") -> None:
        """Refuse a key that the published table holds more than once.

        Args:
            relation: of published rows that were met, under our names.
            by: a further column that tells rows of a key apart.

        Raises:
            BatchRefusedError: there is one, and nothing says which of its rows is meant.
        """
        columns = self.batch.keys + (f", {by}" if by else "")
        shown, total = sample(
            self.batch.con, self.batch.names, self.batch.rule.keys, relation, columns
        )
        if total:
            raise BatchRefusedError(
                f"{where} holds {total:,} of the batch's keys more than once",
                differences=shown,
                hint="something else wrote these rows; make the keys unique by write mode replace",
            )


@dataclass(frozen=True)
class Verdict:
    """What a run has to write, as queries in the table's own column names.

    Attributes:
        added: new rows, and new images of published ones.
        touched: places of the published files that lose or change a row.
        kept: of some of these files, the rows that stay, as they are or with an end.
        counts: of the batch's rows, by what becomes of them.
    """

    added: str
    touched: Sequence[int]
    kept: Callable[[Sequence[int]], str]
    counts: dict[str, int]
