"""A batch that lies on disk, seen by key: what no key can be, which of several rows counts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wap.errors import BatchRefusedError
from wap.field_map import duckdb_type, literal
from wap.keyed.names import Names
from wap.keyed.rule import Marks, Rule

#: So many keys are shown when the run ends because of them.
_SHOWN = 5
_LONG = 80


@dataclass(frozen=True)
class Batch:
    """The batch in a DuckDB connection.

    ``given`` holds its rows, ``won`` those that count: ``d`` says which of them delete. Under
    ``merge`` and ``append`` each key is there once; under ``history`` once at each time.

    Attributes:
        names: of the table's columns; those that the batch lacks are null.
    """

    con: Any
    names: Names
    rule: Rule

    def load(self, query: str) -> None:
        """Take in the rows of a query under our names, with the marker as ``m``.

        Raises:
            BatchRefusedError: a key (or a time of history) is null, a required column is, or
                rows with the same keys differ and nothing says which of them counts.
        """
        kept = {*self.rule.keys, self.rule.order_by}
        columns = [
            self.names.of(f.name)
            if self.rule.marks is None or f.name in kept
            # What a row that deletes says beside its key is not compared with anything.
            else f"CASE WHEN d THEN NULL ELSE {self.names.of(f.name)} END AS "
            f"{self.names.of(f.name)}"
            for f in self.names.schema.fields
        ]
        marked = "false" if self.rule.marks is None else _marked(self.rule.marks)
        self.con.execute(
            f"CREATE TEMP VIEW given AS SELECT {', '.join(columns)}, d"
            f" FROM (SELECT *, {marked} AS d FROM ({query}))"
        )
        self._refuse_nulls()
        self._settle()

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that tell rows of the batch apart."""
        axis = self.rule.order_by if self.rule.mode == "history" else None
        return self.rule.keys if axis is None else (*self.rule.keys, axis)

    @property
    def keys(self) -> str:
        """The keys under our names, as SQL lists them."""
        return ", ".join(map(self.names.of, self.rule.keys))

    def _refuse_nulls(self) -> None:
        required = [f.name for f in self.names.schema.fields if f.required]
        never = dict.fromkeys(self.identity, "true")
        never |= {name: "NOT d" for name in required if name not in never}
        counted = ", ".join(
            f"count(*) FILTER (WHERE {self.names.of(name)} IS NULL AND {when})"
            for name, when in never.items()
        )
        counts = self.con.execute(f"SELECT {counted} FROM given").fetchone()
        problems = [
            f"column {name}: {count:,} {_rows(count)} null, and none may be"
            + (" (it is a key)" if name in self.rule.keys else "")
            for name, count in zip(never, counts, strict=True)
            if count
        ]
        if problems:
            raise BatchRefusedError(
                "the batch cannot be met by key" if counts[0] else "the batch does not fit",
                differences=tuple(problems),
                hint="correct the input: a row without its key cannot be found again",
            )

    def _settle(self) -> None:
        """Make ``won``: all of ``given``, or of rows with one key the one that counts."""
        by = ", ".join(map(self.names.of, self.identity))
        self.con.execute(
            f"CREATE TEMP TABLE clash AS SELECT {by} FROM given GROUP BY {by} HAVING count(*) > 1"
        )
        if not self.con.execute("SELECT count(*) FROM clash").fetchone()[0]:
            self.con.execute("CREATE TEMP VIEW won AS SELECT * FROM given")
            return
        latest, order = "", self.rule.order_by
        if order is not None and order not in self.identity:
            latest = (
                f" QUALIFY rank() OVER (PARTITION BY {by}"
                f" ORDER BY {self.names.of(order)} DESC NULLS LAST) = 1"
            )
        compared = ", ".join([*map(self.names.comparable, self._columns()), "d"])
        self.con.execute(
            "CREATE TEMP TABLE settled AS"
            f" SELECT DISTINCT ON ({compared}) * FROM"
            f" (SELECT given.* FROM given SEMI JOIN clash USING ({by}){latest})"
        )
        self._refuse_ambiguous(by)
        self.con.execute(
            "CREATE TEMP VIEW won AS SELECT * FROM settled UNION ALL"
            f" SELECT given.* FROM given ANTI JOIN clash USING ({by})"
        )

    def _columns(self) -> list[str]:
        return [f.name for f in self.names.schema.fields]

    def _refuse_ambiguous(self, by: str) -> None:
        shown, total = sample(self.con, self.names, self.identity, "settled", by)
        if not total:
            return
        stated = self.rule.order_by
        raise BatchRefusedError(
            f"{total:,} {'key is' if total == 1 else 'keys are'} in the batch more than once, "
            "with different rows",
            differences=shown,
            hint="deliver one row a key"
            + (f"; {stated} is the same in them" if stated else "")
            + ("" if stated else ", or state which one counts by write: {order_by: <column>}"),
        )


def sample(
    con: Any, names: Names, columns: tuple[str, ...], relation: str, by: str
) -> tuple[tuple[str, ...], int]:
    """Lines about keys that a relation holds more than once, and how many of them there are."""
    many = f"FROM {relation} GROUP BY {by} HAVING count(*) > 1"
    total = con.execute(f"SELECT count(*) FROM (SELECT 1 {many})").fetchone()[0]
    if not total:
        return (), 0
    texts = ", ".join(f"{names.of(c)}::VARCHAR" for c in columns)
    found = con.execute(f"SELECT {texts}, count(*) {many} ORDER BY {by} LIMIT {_SHOWN}").fetchall()
    what = f"column{'' if len(columns) == 1 else 's'} {', '.join(columns)}"
    lines = tuple(f"{what}: {', '.join(map(_quoted, row[:-1]))} {row[-1]:,} times" for row in found)
    return lines, int(total)


def _quoted(value: str) -> str:
    """A value between quotes, with none inside: what is masked in reports is told by them."""
    return "'" + value[:_LONG].replace("'", "\u2019").replace('"', "\u201d") + "'"


def _rows(count: int) -> str:
    return "row is" if count == 1 else "rows are"


def _marked(marks: Marks) -> str:
    kind = duckdb_type(marks.kind)
    values = ", ".join(f"{literal(_text(v))}::{kind}" for v in marks.values)
    return f"coalesce(m IN ({values}), false)"


def _text(value: bool | int | str) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
