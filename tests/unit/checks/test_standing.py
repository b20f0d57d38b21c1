"""An audit of the batch alone comes to what one of the whole table does, or is not made."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import pytest

from checks.base import Relation
from checks.contract import parse_contract
from checks.gate import judge
from checks.own import reconcile_check, schema_check
from checks.report import Outcome
from checks.soda import SodaAuditor
from checks.soda_edge import verify
from checks.standing import standing

TEXT = """
dataset: lake/main/orders
columns:
- name: id
  checks:
  - missing:
  - duplicate:
  - invalid: {valid_min: 0}
- name: kind
  checks:
  - missing: {threshold: {metric: percent, must_be_less_than: 50}}
  - invalid: {valid_values: [a, b, c]}
  - missing: {qualifier: rich, filter: "amount > 10"}
- name: place
  checks:
  - duplicate:
- name: amount
  checks:
  - aggregate: {function: avg, threshold: {must_be_greater_than: 1}}
checks:
- row_count:
- duplicate: {columns: [kind, place]}
- failed_rows: {qualifier: low, expression: amount < 0 OR (kind = 'a' AND amount > 900)}
- failed_rows: {qualifier: day, expression: "day < DATE '2020-01-01'"}
- failed_rows: {qualifier: asked, query: "SELECT * FROM orders WHERE amount = 13"}
"""
CONTRACT = parse_contract(TEXT, "c.yml")
COLUMNS = {"id": "long", "kind": "string", "place": "string", "amount": "int", "day": "date"}


class Soda:
    """Soda, and which relations it was asked about."""

    def __init__(self) -> None:
        self.asked = []

    def verify(self, connection, source, data, at=None):
        self.asked.append(data["dataset"].rpartition("/")[2])
        return verify(connection, source, data, at)


def rows(numbers, **spoilt: object):
    """Clean rows; ``spoilt`` columns hold the given value in the last of them."""
    made = [
        {
            "id": n,
            "kind": "abc"[n % 3],
            "place": f"p{n}",
            "amount": 20 + n % 80,
            "day": "2024-05-01",
        }
        for n in numbers
    ]
    made[-1].update(spoilt)
    return made


def fill(con, name, made):
    con.execute(
        f"CREATE TABLE {name} (id BIGINT, kind VARCHAR, place VARCHAR, amount INT, day DATE)"
    )
    if made:
        con.executemany(
            f"INSERT INTO {name} VALUES (?, ?, ?, ?, ?)", [list(row.values()) for row in made]
        )


def relation_of(con, published, batch):
    fill(con, "orders__published", published)
    fill(con, "orders__batch", batch)
    con.execute("CREATE VIEW orders AS FROM orders__published UNION ALL FROM orders__batch")
    counts = {
        "orders": len(published) + len(batch),
        "orders__batch": len(batch),
        "orders__published": len(published),
    }
    return Relation(con, "lake", "main", "orders", COLUMNS, counts)


def judged(relation, auditor, contract=CONTRACT):
    now = datetime.now(UTC)
    staged = relation.rows["orders__batch"]
    return judge(
        run_id="r1", table="main.orders", snapshot_id=1, expected=0, contracts=[contract],
        relation=replace(relation, at=now), auditor=auditor, started_at=now,
        own=(
            schema_check(COLUMNS, COLUMNS),
            reconcile_check(
                read=staged, staged=staged, quarantined=0, deduplicated=0, discarded=0,
                counted=staged, candidate=relation.rows["orders"],
                expected_candidate=relation.rows["orders"],
            ),
        ),
    )  # fmt: skip


def earlier_of(published, contract=CONTRACT):
    """The results of the audit that published these rows."""
    with duckdb.connect() as con:
        found = judged(relation_of(con, [], published), SodaAuditor(), contract)
    return {r.name: r for r in found.results}


def both(published, batch, contract=CONTRACT, earlier=None):
    """The whole audit, the one by parts, and what Soda was asked about by the latter."""
    earlier = earlier_of(published, contract) if earlier is None else earlier
    soda = Soda()
    with duckdb.connect() as con:
        relation = relation_of(con, published, batch)
        whole = judged(relation, SodaAuditor(), contract)
        parts = judged(
            replace(relation, earlier=earlier, earlier_run="r0"),
            SodaAuditor(verify=soda.verify),
            contract,
        )
    return whole, parts, soda.asked


def test_a_clean_batch_is_looked_at_alone_and_comes_to_the_same_digest():
    whole, parts, asked = both(rows(range(1000)), rows(range(1000, 1010)))
    assert whole.passed
    assert parts.passed
    assert parts.digest == whole.digest
    assert asked == ["orders__batch", "orders"]
    told = {r.name.rpartition(":")[2]: r for r in parts.results}
    assert "proved by run r0" in told["columns.id.checks.missing"].message
    assert told["columns.id.checks.missing"].tested_rows == 1010
    assert told["checks.failed_rows.asked"].message == ""


@pytest.mark.parametrize(
    "spoilt",
    [
        {"id": None}, {"id": -5}, {"id": 7}, {"kind": None}, {"kind": "z"}, {"place": "p7"},
        {"kind": "b", "place": "p7"}, {"amount": -1}, {"kind": "a", "amount": 950},
        {"day": "2019-01-01"}, {"amount": 13}, {"place": None}, {"kind": None, "place": None},
    ],
    ids=str,
)  # fmt: skip
def test_whatever_is_wrong_with_the_batch_both_say_the_same(spoilt):
    whole, parts, _ = both(rows(range(50)), rows(range(50, 60), **spoilt))
    assert parts.digest == whole.digest
    assert parts.passed is whole.passed
    assert [r.sample for r in parts.results if r.outcome is Outcome.FAILED] == [
        r.sample for r in whole.results if r.outcome is Outcome.FAILED
    ]


@pytest.mark.parametrize("seed", range(30))
def test_random_tables_and_batches(seed):
    dice = random.Random(seed)  # noqa: S311 - rows of a test

    def some(first, count):
        made = rows(range(first, first + count))
        for row in made:
            if dice.random() < dice.choice([0, 0, 0.02]):
                row[dice.choice(["id", "kind", "place"])] = None
            if dice.random() < dice.choice([0, 0.01]):
                row.update(dice.choice([{"kind": "z"}, {"id": 3}, {"place": "p1"}, {"amount": -3}]))
        return made

    whole, parts, _ = both(some(0, dice.randint(1, 80)), some(100, dice.randint(1, 30)))
    assert parts.digest == whole.digest


def test_what_was_not_clean_before_is_looked_at_whole():
    published = rows(range(50), kind=None, amount=9)  # within the threshold of half
    whole, parts, _ = both(published, rows(range(50, 60)))
    missing = next(r for r in parts.results if r.name == "c.yml:columns.kind.checks.missing")
    assert whole.passed
    assert parts.digest == whole.digest
    assert missing.failing_rows == 1
    assert missing.message == ""


def test_without_an_earlier_audit_every_row_is_looked_at():
    _, parts, asked = both(rows(range(50)), rows(range(50, 60)), earlier={})
    assert parts.passed
    assert asked == ["orders"]


def test_an_empty_batch_is_audited_whole():
    whole, parts, _ = both(rows(range(50)), [])
    assert parts.digest == whole.digest


def test_soda_that_looks_at_other_rows_of_the_batch_is_not_believed():
    published, batch = rows(range(50)), rows(range(50, 60))
    earlier = earlier_of(published)
    with duckdb.connect() as con:
        relation = relation_of(con, published, batch)
        short = {**relation.rows, "orders__batch": 9}
        soda = Soda()
        judged(replace(relation, earlier=earlier, rows=short), SodaAuditor(verify=soda.verify))
    assert soda.asked == ["orders__batch", "orders"]  # and then all of it, on the whole table


def names(text):
    contract = parse_contract(text, "c.yml")
    earlier = earlier_of(rows(range(9)), contract)
    return {r.relative_path for r in standing(contract, "orders", earlier)}


def one(check, more=""):
    return f"dataset: lake/main/orders\n{more}columns: []\nchecks:\n- {check}\n"


def of_kind(check):
    return f"dataset: lake/main/orders\ncolumns:\n- name: kind\n  checks:\n  - {check}\n"


@pytest.mark.parametrize(
    "expression",
    [
        "amount < 0",
        "kind NOT IN ('a', 'b', 'c') AND day IS NOT NULL",
        "length(lower(kind)) > 3 OR abs(amount) > 999",
        "day < DATE '2020-01-01'",
        "CASE WHEN kind = 'a' THEN amount < 0 ELSE FALSE END",
    ],
)
def test_a_condition_of_one_row_stands(expression):
    assert names(one(f'failed_rows: {{expression: "{expression}"}}'))
    assert names(of_kind('missing: {filter: "amount > 0"}'))


@pytest.mark.parametrize(
    "expression",
    [
        "amount < (SELECT min(amount) FROM orders) ",
        "id IN (SELECT -1)",
        "day > current_date",
        "day > now()",
        "random() > 2",
        "orders.amount < 0",
        "amount < 0 AND EXISTS (SELECT 1 FROM orders WHERE FALSE)",
    ],
)
def test_a_condition_that_may_look_elsewhere_does_not(expression):
    check = f'failed_rows: {{expression: "{expression}"}}'
    assert not names(one(check))
    assert not names(of_kind(f'missing: {{filter: "{expression}"}}'))
    assert not names(one('failed_rows: {expression: "amount < 0"}', f'filter: "{expression}"\n'))


def test_neither_do_another_relation_reference_data_or_a_filtered_key():
    batch = one("failed_rows: {expression: amount < 0}").replace(
        "main/orders", "main/orders__batch"
    )
    assert not names(batch)
    assert not names(one('duplicate: {columns: [id, kind], filter: "amount > 0"}'))
    reference = "{valid_reference_data: {dataset: lake/main/orders__batch, column: kind}}"
    assert not names(of_kind(f"invalid: {reference}"))
