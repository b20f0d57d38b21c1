"""History: versions of each key on a line of time, the batch's points put between the published.

A version is valid from its own time to the next one's. A point says the same as the one before it:
no version. What is published and gets another end, or gives way, is touched; all else stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from wap.field_map import literal
from wap.keyed.batch import Batch
from wap.keyed.columns import IS_CURRENT, RECORDED_FROM, RECORDED_TO, VALID_FROM, VALID_TO
from wap.keyed.published import Published, Verdict

_OWN = (VALID_FROM, VALID_TO, IS_CURRENT, RECORDED_FROM, RECORDED_TO)
#: Where a point comes from; of several at one time the last one counts.
_VERSION, _END, _BATCH = 0, 1, 2


def versioned(batch: Batch, published: Published, where: str) -> Verdict:
    """The batch's rows as versions, each from its time on.

    Raises:
        BatchRefusedError: a key has two published versions that begin at one time.
    """
    line = _Line(batch, published)
    line.read()
    published.refuse_twice("old", where, by=line.name(VALID_FROM))
    line.lay()
    return line.verdict()


@dataclass(frozen=True)
class _Line:
    """The work on one batch; its tables are in the batch's connection.

    ``old``: published versions of the batch's keys, as far as they still hold. ``points``: the
    line of each key. ``fate``: what becomes of each published version that does not stay.
    """

    batch: Batch
    published: Published

    def name(self, column: str) -> str:
        return self.batch.names.of(column)

    @property
    def _payload(self) -> list[str]:
        """What is compared: all but keys, times, and columns of our own."""
        rule = self.batch.rule
        left_out = {*rule.keys, rule.order_by, *_OWN}
        return [f.name for f in self.batch.names.schema.fields if f.name not in left_out]

    @property
    def _given(self) -> list[str]:
        """Our names of what the batch says."""
        own = [c for c in _OWN if c != self.batch.rule.order_by]
        there = {f.name for f in self.batch.names.schema.fields}
        return self.batch.names.all(without=[c for c in own if c in there])

    def read(self) -> None:
        """Make ``old``, and the times that this run stands for."""
        keys, rule = self.batch.keys, self.batch.rule
        holds = f"{self.name(RECORDED_TO)} IS NULL" if rule.recorded else "true"
        self.batch.con.execute(
            f"CREATE TEMP TABLE old AS SELECT p.* FROM ({self.published.rows()}) p"
            f" SEMI JOIN (SELECT {keys} FROM won) b USING ({keys}) WHERE {holds}"
        )
        now = f"{literal(rule.at.isoformat())}::TIMESTAMPTZ"
        tick = "INTERVAL 1 MICROSECOND"
        # A clock that went back must not put what comes now before what was there.
        latest = [f"max({self.name(c)}) + {tick}" for c in (VALID_FROM, VALID_TO)]
        valid = "NULL" if rule.order_by else f"greatest({now}, {', '.join(latest)})"
        recorded = "NULL"
        if rule.recorded:
            recorded = f"greatest({now}, max({self.name(RECORDED_FROM)}) + {tick})"
        self.batch.con.execute(
            f"CREATE TEMP TABLE now AS SELECT {valid} AS valid, {recorded} AS recorded FROM old"
        )

    def lay(self) -> None:
        """Make ``points``: each line in its order, with the end of every point that stands."""
        self.batch.con.execute(f"CREATE TEMP TABLE raw AS {self._raw()}")
        keys = self.batch.keys
        differs = " OR ".join(
            f"lag({self.batch.names.comparable(c)}) OVER line IS DISTINCT FROM"
            f" {self.batch.names.comparable(c)}"
            for c in self._payload
        )
        # Two published versions that say the same were written so; they are not ours to join.
        says_new = (
            "CASE WHEN lag(d) OVER line IS NULL THEN NOT d"
            " WHEN lag(d) OVER line <> d THEN true WHEN d THEN false"
            f" WHEN source = {_VERSION} AND lag(source) OVER line = {_VERSION} THEN true"
            f" ELSE {differs or 'false'} END"
        )
        self.batch.con.execute(
            "CREATE TEMP TABLE points AS"
            f" SELECT *, lead(t) OVER line AS until,"
            f" row_number() OVER line = 1 AND NOT known AS first FROM"
            f" (SELECT *, {says_new} AS stands FROM raw"
            f" WINDOW line AS (PARTITION BY {keys} ORDER BY t)) WHERE stands"
            f" WINDOW line AS (PARTITION BY {keys} ORDER BY t)"
        )
        self.batch.con.execute("DROP TABLE raw")
        self._fate()
        self.batch.con.execute("DROP TABLE old")

    def _raw(self) -> str:
        """The points of all lines, one at a time: what the batch says there counts."""
        keys, given = self.batch.keys, ", ".join(self._given)
        begins, ends = self.name(VALID_FROM), self.name(VALID_TO)
        axis = self.batch.rule.order_by
        time = self.name(axis) if axis else "(SELECT valid FROM now)"
        nothing = ", ".join(
            f"o.{name}" if name in self._key_names else f"NULL AS {name}" for name in self._given
        )
        followed = " AND ".join(f"n.{k} = o.{k}" for k in self._key_names)
        return (
            f"WITH every AS (SELECT {given}, {begins} AS t, false AS d, {_VERSION} AS source, f, r"
            " FROM old"
            f" UNION ALL SELECT {nothing}, o.{ends}, true, {_END}, NULL, NULL"
            f" FROM (SELECT * FROM old WHERE {ends} IS NOT NULL) o"
            f" ANTI JOIN old n ON {followed} AND n.{begins} = o.{ends}"
            f" UNION ALL SELECT {given}, {time}, d, {_BATCH}, NULL, NULL FROM won)"
            f" SELECT *, bool_or(source <> {_BATCH}) OVER (PARTITION BY {keys}) AS known FROM every"
            f" WINDOW moment AS (PARTITION BY {keys}, t ORDER BY source)"
            # Where the batch says what is published, the published version stays.
            f" QUALIFY CASE WHEN source = {_BATCH} THEN NOT coalesce({self._agrees('lag')}, false)"
            f" ELSE coalesce({self._agrees('lead')}, true) END"
        )

    def _agrees(self, other: str) -> str:
        """Whether the other point at the same time says the same; null: there is none."""
        comparable = self.batch.names.comparable
        equal = " AND ".join(
            f"{other}({comparable(c)}) OVER moment IS NOT DISTINCT FROM {comparable(c)}"
            for c in self._payload
        )
        there = f"{other}(d) OVER moment"
        return f"CASE WHEN {there} IS NOT NULL THEN {there} = d AND (d OR ({equal or 'true'})) END"

    @property
    def _key_names(self) -> list[str]:
        return [self.name(k) for k in self.batch.rule.keys]

    def _fate(self) -> None:
        """Make ``fate``: published versions that end otherwise (``stands``), or give way."""
        self.batch.con.execute(
            "CREATE TEMP TABLE fate AS"
            " SELECT o.*, p.f IS NOT NULL AS stands, p.until FROM old o"
            f" LEFT JOIN (SELECT * FROM points WHERE source = {_VERSION}) p USING (f, r)"
            f" WHERE p.f IS NULL OR p.until IS DISTINCT FROM o.{self.name(VALID_TO)}"
        )

    def verdict(self) -> Verdict:
        """What is to be written."""
        files = "SELECT DISTINCT f FROM fate ORDER BY f"
        touched = [int(row[0]) for row in self.batch.con.execute(files).fetchall()]
        added = (
            f"SELECT {self.batch.names.written(self._dated('t'))} FROM points"
            f" WHERE source = {_BATCH} AND NOT d"
        )
        return Verdict(added, touched, self._kept, self._counts())

    def _kept(self, places: Sequence[int]) -> str:
        """The files' other rows, the versions that end otherwise, and what was recorded before."""
        names = self.batch.names
        here = f"f IN ({', '.join(map(str, places))})"
        rows = self.published.rows(places)
        stay = f"SELECT {names.written()} FROM ({rows}) p ANTI JOIN fate USING (f, r)"
        dated = names.written(self._dated(self.name(VALID_FROM)))
        parts = [stay, f"SELECT {dated} FROM fate WHERE stands AND {here}"]
        if self.batch.rule.recorded:
            over = {IS_CURRENT: "false", RECORDED_TO: "(SELECT recorded FROM now)"}
            parts.append(f"SELECT {names.written(over)} FROM fate WHERE {here}")
        return " UNION ALL ".join(parts)

    def _dated(self, begins: str) -> dict[str, str]:
        """A version's own columns, from when it begins and ``until``."""
        dated = {VALID_FROM: begins, VALID_TO: "until", IS_CURRENT: "(until IS NULL)"}
        if self.batch.rule.recorded:
            dated |= {RECORDED_FROM: "(SELECT recorded FROM now)", RECORDED_TO: "NULL"}
        return dated

    def _counts(self) -> dict[str, int]:
        con = self.batch.con
        given, won = con.execute(
            "SELECT (SELECT count(*) FROM given), (SELECT count(*) FROM won)"
        ).fetchone()
        staged, first, deleted = con.execute(
            "SELECT count(*) FILTER (WHERE NOT d), count(*) FILTER (WHERE NOT d AND first),"
            f" count(*) FILTER (WHERE d) FROM points WHERE source = {_BATCH}"
        ).fetchone()
        return {
            "inserted": first,
            "updated": staged - first,
            "deleted": deleted,
            "unchanged": won - staged - deleted,
            "deduplicated": given - won,
        }
