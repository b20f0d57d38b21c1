"""Our uniqueness says what Soda's own duplicate check says, on random rows."""

from __future__ import annotations

import random
from datetime import date, timedelta

import duckdb
import pyarrow as pa
import pytest

from checks import soda_edge
from checks.base import Relation
from checks.contract import parse_contract
from checks.soda import SodaAuditor

TYPES = {"n": "long", "d": "date", "t": "string", "x": "double", "p": "decimal(9, 2)"}
KEYS = [["n"], ["d"], ["t"], ["n", "d"], ["n", "t"], ["d", "n", "t"], ["x", "n"], ["p"], ["n", "p"]]


def rows(seed: int) -> pa.Table:
    dice = random.Random(seed)  # noqa: S311 - test data

    def some(value: object) -> object:
        return None if dice.random() < 0.15 else value

    count = dice.choice([0, 1, 30, 300])
    columns = {
        "n": [some(dice.randint(-5, 5 + count // 2)) for _ in range(count)],
        "d": [some(date(1969, 12, 1) + timedelta(days=dice.randint(0, 60))) for _ in range(count)],
        "t": [some(dice.choice(["", "a", "A", "ä", "a b", "0", "NULL"])) for _ in range(count)],
        "x": [some(dice.choice([0.5, 1.0, 1e300, 0.1 + 0.2])) for _ in range(count)],
        "p": [some(dice.choice([1, 2, 3])) for _ in range(count)],
    }
    types = {"n": pa.int64(), "d": pa.date32(), "t": pa.string(), "x": pa.float64()}
    arrays = {k: pa.array(v, types.get(k, pa.int64())) for k, v in columns.items()}
    arrays["p"] = arrays["p"].cast(pa.decimal128(21, 2))
    return pa.table(arrays)


@pytest.mark.parametrize("seed", range(12))
def test_same_number_same_outcome(seed: int):
    level = {"threshold": {"metric": "percent", "must_be_less_than": 40}}
    contract = parse_contract(
        str(
            {
                "dataset": "lake/main/sample",
                "filter": "coalesce(n, 0) > -4",
                "columns": [
                    {"name": c, "checks": [{"duplicate": {}}, {"duplicate": {"qualifier": "f",
                     "filter": "coalesce(n, 1) % 2 = 1", **level}}]} for c in TYPES
                ],
                "checks": [
                    {"duplicate": {"columns": k, "qualifier": "-".join(k), **level}} for k in KEYS
                ],
            }
        ),
        "c.yml",
    )  # fmt: skip
    with duckdb.connect() as connection:
        connection.register("sample", rows(seed))
        relation = Relation(connection, "lake", "main", "sample", TYPES)
        audit = SodaAuditor(sample_rows=0).audit(relation, [contract])
        verdict = soda_edge.verify(connection, "lake", contract.data)
    assert audit.errors == ()
    assert verdict.errors == ()
    ours = {r.name.removeprefix("c.yml:"): r for r in audit.results}
    assert ours.keys() == {f.path for f in verdict.findings}
    for soda in verdict.findings:
        our = ours[soda.path]
        assert our.failing_rows == soda.counts["duplicate_count"], soda.path
        assert our.tested_rows == soda.counts["check_rows_tested"], soda.path
        assert our.value == pytest.approx(soda.value), soda.path
        assert our.outcome.value == soda.outcome.lower(), soda.path
