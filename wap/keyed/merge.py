"""Merge and append by key: each row of the batch meets at most one published row."""

from __future__ import annotations

from collections.abc import Sequence

from wap.keyed.batch import Batch
from wap.keyed.published import Published, Verdict


def appended(batch: Batch, published: Published) -> Verdict:
    """Rows whose key is not published; a published row never changes."""
    keys = batch.keys
    batch.con.execute(
        f"CREATE TEMP TABLE met AS SELECT {keys} FROM won"
        f" SEMI JOIN (SELECT {keys} FROM ({published.rows()})) p USING ({keys})"
    )
    given, won, met = batch.con.execute(
        "SELECT (SELECT count(*) FROM given), (SELECT count(*) FROM won),"
        " (SELECT count(*) FROM met)"
    ).fetchone()
    return Verdict(
        added=f"SELECT {batch.names.written()} FROM won ANTI JOIN met USING ({keys})",
        touched=(),
        kept=lambda _: "",
        counts={"inserted": won - met, "deduplicated": given - won + met},
    )


def merged(batch: Batch, published: Published, where: str) -> Verdict:
    """Each row of the batch put in place of the row with its key, or added.

    Raises:
        BatchRefusedError: a key is published more than once.
    """
    _meet(batch, published)
    published.refuse_twice("met", where)
    keys, con = batch.keys, batch.con
    touched = con.execute(
        "SELECT DISTINCT f FROM met WHERE verdict IN ('update', 'delete') ORDER BY f"
    ).fetchall()

    def kept(places: Sequence[int]) -> str:
        return (
            f"SELECT {batch.names.written()} FROM ({published.rows(places)}) p"
            " ANTI JOIN (SELECT f, r FROM met WHERE verdict IN ('update', 'delete')) m"
            " USING (f, r)"
        )

    added = (
        f"SELECT {batch.names.written()} FROM (SELECT * FROM won"
        f" ANTI JOIN (SELECT {keys} FROM met WHERE verdict <> 'update') m USING ({keys}))"
        " WHERE NOT d"
    )
    return Verdict(added, [int(row[0]) for row in touched], kept, _counts(batch))


def _meet(batch: Batch, published: Published) -> None:
    """Make ``met``: a row for each key of the batch that is published, and what it comes to."""
    names, rule = batch.names, batch.rule
    others = [f.name for f in names.schema.fields if f.name not in rule.keys]
    differs = " OR ".join(
        f"{names.comparable(c, 'p.')} IS DISTINCT FROM {names.comparable(c, 'b.')}" for c in others
    )
    late = "false"
    if rule.order_by is not None:
        # Null comes before every value.
        old, new = (f"{side}.{names.of(rule.order_by)}" for side in "pb")
        late = f"coalesce({old} > {new}, {old} IS NOT NULL AND {new} IS NULL)"
    join = " AND ".join(f"p.{names.of(k)} = b.{names.of(k)}" for k in rule.keys)
    columns = ", ".join(f"b.{names.of(k)}" for k in rule.keys)
    batch.con.execute(
        f"CREATE TEMP TABLE met AS SELECT {columns}, p.f, p.r, b.d,"
        f" CASE WHEN {late} THEN 'late' WHEN b.d THEN 'delete'"
        f" WHEN {differs or 'false'} THEN 'update' ELSE 'same' END AS verdict"
        f" FROM ({published.rows()}) p JOIN won b ON {join}"
    )


def _counts(batch: Batch) -> dict[str, int]:
    given, won, deletes = batch.con.execute(
        "SELECT (SELECT count(*) FROM given), count(*), count(*) FILTER (WHERE d) FROM won"
    ).fetchone()
    met, absent, late, update, delete, same = batch.con.execute(
        "SELECT count(*) FILTER (WHERE NOT d), count(*) FILTER (WHERE d),"
        " count(*) FILTER (WHERE verdict = 'late'), count(*) FILTER (WHERE verdict = 'update'),"
        " count(*) FILTER (WHERE verdict = 'delete'), count(*) FILTER (WHERE verdict = 'same')"
        " FROM met"
    ).fetchone()
    return {
        "inserted": won - deletes - met,
        "updated": update,
        "deleted": delete,
        "unchanged": same + deletes - absent,
        "deduplicated": given - won,
        "late": late,
    }
