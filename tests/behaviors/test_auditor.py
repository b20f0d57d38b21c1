"""What every auditor does: the outcome of each check type on good and bad rows, and nothing odd."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

import duckdb
import pytest

from checks.base import Auditor, Relation
from checks.conditions import quoted
from checks.contract import Contract, parse_contract
from checks.gate import judge
from checks.masking import MASK
from checks.own import reconcile_check, schema_check
from checks.report import CheckResult, Outcome, Report
from checks.soda import SodaAuditor
from checks.spark import SparkConnection

PASSED, FAILED, WARNED = Outcome.PASSED, Outcome.FAILED, Outcome.WARNED
NOT_EVALUATED = Outcome.NOT_EVALUATED

COLUMNS = {
    "id": "long", "email": "string", "status": "string", "amount": "decimal(9, 2)",
    "customer": "int", "stamp": "timestamptz",
}  # fmt: skip
ROWS = """
    SELECT * FROM (VALUES
      (1::BIGINT, 'ann@example.org', 'new',  1.50::DECIMAL(9,2), 1,
       '2026-01-01 00:00:00+00'::TIMESTAMPTZ),
      (2,         'bob@example.org', 'paid', 2.50,  2,
       '2026-01-02 00:00:00+00'::TIMESTAMPTZ),
      (2,         NULL,              'new',  -3.00, 2,
       '2026-01-03 00:00:00+00'::TIMESTAMPTZ),
      (3,         'eve at home',     'lost', 4.00,  9,
       '2026-01-04 00:00:00+00'::TIMESTAMPTZ)
    ) AS t(id, email, status, amount, customer, stamp)
"""


@pytest.fixture(params=[SodaAuditor], ids=["soda"])
def auditor(request) -> Auditor:
    return request.param()


def fill(connection, kind: str) -> None:
    connection.execute("CREATE SCHEMA sales")
    for name, query in {
        "orders": ROWS,
        "orders__batch": f"{ROWS} WHERE id = 3",
        "notes": "SELECT email AS note, status FROM sales.orders",
        "customers": "SELECT * FROM (VALUES (1), (2)) AS c(cid)",
    }.items():
        connection.execute(f"CREATE {kind} sales.{name} AS {query}")


@pytest.fixture
def connection():
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        fill(con, "VIEW")
        yield con


@pytest.fixture(scope="module")
def spark_connection(spark):
    with spark.session({}) as session:
        fill(SparkConnection(session), "TABLE")
        yield SparkConnection(session)
        session.sql("DROP DATABASE sales CASCADE")


@pytest.fixture
def relation(connection) -> Relation:
    return orders(connection)


def orders(connection) -> Relation:
    rows = {"orders": 4, "orders__batch": 1}
    return Relation(connection, "lake", "sales", "orders", COLUMNS, rows)


@pytest.fixture(params=["duckdb", "spark"])
def anywhere(request) -> Relation:
    """The relation on every connection that an audit may have."""
    name = "connection" if request.param == "duckdb" else "spark_connection"
    return orders(request.getfixturevalue(name))


def contract(
    *checks: Mapping[str, object], relation: str = "orders", rows: str = "", **columns: object
) -> Contract:
    listed = [{"name": n, "checks": c if isinstance(c, list) else [c]} for n, c in columns.items()]
    data = {"dataset": f"lake/sales/{relation}", "columns": listed}
    data |= {"filter": rows} if rows else {}
    data |= {"checks": list(checks)} if checks else {}
    return parse_contract(json.dumps(data), "orders.yml")


def only(auditor: Auditor, relation: Relation, contract: Contract) -> CheckResult:
    audit = auditor.audit(relation, [contract])
    assert audit.errors == ()
    (result,) = audit.results
    assert result.name in contract.declared
    assert result.relation == contract.relation
    assert result.title
    assert result.expected
    return result


def must(**comparison: float) -> dict[str, object]:
    return {"threshold": dict(comparison)}


#: contract, outcome, what was measured, failing rows
OUTCOMES = [
    (contract(id={"missing": None}), PASSED, "0 of 4 rows (0.00 %)", 0),
    (contract(email={"missing": None}), FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(email={"missing": {"threshold": {"metric": "percent", "must_be_less_than": 30}}}),
     PASSED, "1 of 4 rows (25.00 %)", 1),
    (contract(status={"missing": {"missing_values": ["lost"]}}),
     FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(status={"missing": {"missing_format": {"name": "l", "regex": "^l"}}}),
     FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(email={"missing": {"filter": "id < 2"}}), PASSED, "0 of 1 rows (0.00 %)", 0),
    (contract(email={"missing": None}, rows="id <> 2"), PASSED, "0 of 2 rows (0.00 %)", 0),
    (contract(amount={"invalid": {"valid_min": 0}}), FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(amount={"invalid": {"valid_max": 4}}), PASSED, "0 of 4 rows (0.00 %)", 0),
    (contract(status={"invalid": {"valid_values": ["new", "paid"]}}),
     FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(status={"invalid": {"invalid_values": ["lost"]}}),
     FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(email={"invalid": {"valid_format": {"name": "e-mail", "regex": "^[^@]+@[^@]+$"}}}),
     FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(email={"invalid": {"invalid_format": {"name": "space", "regex": " "}}}),
     FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(status={"invalid": {"valid_length": 4}}), FAILED, "2 of 4 rows (50.00 %)", 2),
    (contract(status={"invalid": {"valid_min_length": 3, "valid_max_length": 4}}),
     PASSED, "0 of 4 rows (0.00 %)", 0),
    (contract(customer={"invalid": {"valid_reference_data":
                                    {"dataset": "lake/sales/customers", "column": "cid"}}}),
     FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(id={"duplicate": None}), FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract(email={"duplicate": None}), PASSED, "0 of 3 rows (0.00 %)", 0),
    (contract({"duplicate": {"columns": ["id", "status"]}}), PASSED, "0 of 4 rows (0.00 %)", 0),
    (contract({"duplicate": {"columns": ["id", "customer"]}}), FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract({"row_count": None}), PASSED, "4 rows", None),
    (contract({"row_count": must(must_be_greater_than=4)}), FAILED, "4 rows", None),
    (contract({"row_count": must(must_be=1)}, relation="orders__batch"), PASSED, "1 rows", None),
    (contract(amount={"aggregate": {"function": "avg", **must(must_be=1.25)}}),
     PASSED, "1.25", None),
    (contract(amount={"aggregate": {"function": "min", **must(must_be_greater_than=0)}}),
     FAILED, "-3", None),
    (contract(status={"aggregate": {"function": "maxLength", **must(must_be=4)}}),
     PASSED, "4", None),
    (contract({"metric": {"expression": "MAX(amount) - MIN(amount)", **must(must_be=7)}}),
     PASSED, "7", None),
    (contract({"metric": {"query": "SELECT count(*) FROM sales.orders", **must(must_be=3)}}),
     FAILED, "4", None),
    (contract({"failed_rows": {"expression": "amount < 0"}}), FAILED, "1 of 4 rows (25.00 %)", 1),
    (contract({"failed_rows": {"expression": "amount < -9"}}), PASSED, "0 of 4 rows (0.00 %)", 0),
    (contract({"failed_rows": {"query": "SELECT * FROM sales.orders WHERE amount < 0"}}),
     FAILED, "1 rows", 1),
    (contract({"failed_rows": {"query": "SELECT * FROM sales.orders WHERE amount < 0",
                               "rows_tested_query": "SELECT count(*) FROM sales.orders",
                               "threshold": {"metric": "percent", "must_be_less_than": 30}}}),
     PASSED, "1 of 4 rows (25.00 %)", 1),
    (contract({"freshness": {"column": "stamp", "threshold": {"unit": "day",
                                                           "must_be_less_than": 99999}}}),
     PASSED, "newest: 2026-01-04 00:00:00 UTC", None),
    (contract({"freshness": {"column": "stamp", "threshold": {"unit": "minute",
                                                           "must_be_less_than": -1e9}}}),
     FAILED, "newest: 2026-01-04 00:00:00 UTC", None),
    (contract({"schema": {"allow_extra_columns": True}}, id={"missing": None}),
     PASSED, "as listed", None),
    (contract({"schema": None}, id={"missing": None}), FAILED,
     "; ".join(f"not listed: {name}" for name in list(COLUMNS)[1:]), None),
]  # fmt: skip


@pytest.mark.parametrize(("contract", "outcome", "measured", "failing"), OUTCOMES)
def test_outcomes(auditor, anywhere, contract, outcome, measured, failing):
    audit = auditor.audit(anywhere, [contract])
    assert audit.errors == ()
    found = {r.name: r for r in audit.results}
    assert found.keys() == contract.declared
    kind = contract.rules[-1].kind
    (result,) = [r for r in audit.results if r.kind == kind]
    assert (result.outcome, result.measured, result.failing_rows) == (outcome, measured, failing)
    assert result.blocking


def test_a_warn_threshold_warns_and_does_not_block(auditor, anywhere):
    for kind, column in (("missing", "email"), ("duplicate", "id")):
        checks = contract(**{column: {kind: {"threshold": {"must_be": 0, "level": "warn"}}}})
        result = only(auditor, anywhere, checks)
        assert (result.outcome, result.blocking) == (WARNED, False)
        assert result.expected.startswith("warns unless")


def test_two_thresholds_warn_between_them(auditor, anywhere):
    threshold = {"must_be_less_than": 2, "additional": {"must_be": 0, "level": "warn"}}
    result = only(auditor, anywhere, contract(id={"duplicate": {"threshold": threshold}}))
    assert (result.outcome, result.blocking) == (WARNED, True)


def test_failing_rows_are_shown_key_and_column_first(auditor, anywhere):
    checks = contract(id={"duplicate": None}, amount={"invalid": {"valid_min": 0}})
    results = {r.column: r for r in auditor.audit(anywhere, [checks]).results}
    assert results["id"].sample == ({"id": "2", "(copies)": "2"},)
    (row,) = results["amount"].sample
    assert list(row) == ["id", "amount", "email", "status", "customer", "stamp"]
    assert row["amount"] == "-3.00"
    assert row["email"] is None


@pytest.mark.parametrize(
    "check",
    [
        contract(customer={"invalid": {"valid_reference_data":
                                       {"dataset": "lake/sales/customers", "column": "cid"}}}),
        contract({"failed_rows": {"query": "SELECT * FROM sales.orders WHERE customer = 9"}}),
        contract({"failed_rows": {"expression": "customer = 9 OR status = 'lost'"}}),
        contract(status={"invalid": {"valid_values": ["new", "paid"]}}),
    ],
)  # fmt: skip
def test_the_sample_of_each_kind_is_the_bad_row(auditor, anywhere, check):
    (row,) = only(auditor, anywhere, check).sample
    assert (row["id"], row["status"]) == ("3", "lost")


def test_at_most_five_rows_twelve_columns_and_eighty_characters(auditor, connection):
    names = [f"c{n}" for n in range(20)]
    columns = ", ".join(f"repeat('x', 200) AS {n}" for n in names)
    connection.execute(f"CREATE VIEW sales.wide AS SELECT {columns} FROM range(9)")
    relation = Relation(connection, "lake", "sales", "wide", dict.fromkeys(names, "string"))
    checks = contract(c19={"invalid": {"valid_max_length": 9}}, relation="wide")
    sample = only(auditor, relation, checks).sample
    assert len(sample) == 5
    assert len(sample[0]) == 12
    assert "c19" in sample[0]
    assert {len(v) for row in sample for v in row.values()} == {80}


def test_a_sample_can_be_switched_off(relation):
    checks = contract(amount={"invalid": {"valid_min": 0}})
    assert only(SodaAuditor(sample_rows=0), relation, checks).sample == ()


# Law 3: what cannot be evaluated is said to be so.


def errors_of(auditor, relation, *contracts: Contract) -> tuple[str, ...]:
    audit = auditor.audit(relation, contracts)
    assert audit.errors
    assert not any(r.outcome in (PASSED, WARNED) for r in audit.results)
    return audit.errors


@pytest.mark.parametrize(
    "bad",
    [
        contract({"failed_rows": {"expression": "no_such_column < 0"}}),
        contract({"failed_rows": {"expression": "amount <"}}),
        contract({"failed_rows": {"query": "SELECT * FROM sales.no_such_table"}}),
        contract({"metric": {"expression": "no_such_function(amount)", **must(must_be=1)}}),
        contract({"metric": {"query": "SELECT 'text'", **must(must_be=1)}}),
        contract(id={"missing": {"filter": "no_such_column = 1"}}),
        contract(id={"duplicate": {"filter": "no_such_column = 1"}}),
        contract(id={"duplicate": None}, rows="no_such_column = 1"),
        contract(status={"aggregate": {"function": "sum", **must(must_be=1)}}),
        contract(customer={"invalid": {"valid_reference_data":
                                       {"dataset": "lake/sales/nobody", "column": "cid"}}}),
        contract(email={"invalid": {"valid_format": {"name": "broken", "regex": "("}}}),
    ],
)  # fmt: skip
def test_what_the_engine_cannot_run_is_an_error(auditor, anywhere, bad):
    errors_of(auditor, anywhere, bad)


@pytest.mark.parametrize("name", ["lake/sales/customers", "sea/sales/orders", "lake/main/orders"])
def test_a_contract_about_another_relation_is_an_error(auditor, relation, name):
    text = json.dumps({"dataset": name, "columns": [], "checks": [{"row_count": None}]})
    (error,) = errors_of(auditor, relation, parse_contract(text, "c.yml"))
    assert "lake/sales/orders" in error


@pytest.mark.parametrize("check", [{"row_count": None}, {"duplicate": {"columns": ["id"]}}])
def test_other_rows_than_the_snapshot_has_are_an_error(auditor, anywhere, check):
    other = replace(anywhere, rows={"orders": 5})
    audit = auditor.audit(other, [contract(check)])
    assert any("4 rows were looked at, orders has 5" in e for e in audit.errors)


def test_silenced_logs_are_an_error(auditor, relation):
    logging.disable(logging.CRITICAL)
    try:
        errors = errors_of(auditor, relation, contract({"row_count": None}))
    finally:
        logging.disable(logging.NOTSET)
    assert "silences errors" in errors[0]


def test_logs_silenced_while_it_ran_are_an_error(auditor, relation):
    def hush(number: int) -> int:
        logging.disable(logging.CRITICAL)
        return number

    relation.connection.create_function("hush", hush)
    try:
        check = contract({"failed_rows": {"expression": "hush(customer) < 0"}})
        audit = auditor.audit(relation, [check])
    finally:
        logging.disable(logging.NOTSET)
    assert any("silences errors" in e for e in audit.errors)


def test_an_aggregate_of_no_rows_is_not_evaluated(auditor, anywhere):
    check = contract(amount={"aggregate": {"function": "avg", **must(must_be=1)}}, rows="id > 99")
    audit = auditor.audit(anywhere, [check])
    (result,) = audit.results
    assert result.outcome is NOT_EVALUATED
    assert "no row" in result.message


def test_an_empty_relation(auditor, connection):
    connection.execute(f"CREATE VIEW sales.none AS {ROWS} WHERE false")
    relation = Relation(connection, "lake", "sales", "none", COLUMNS, {"none": 0})
    checks = contract(
        {"row_count": None}, {"duplicate": {"columns": ["id", "status"]}},
        relation="none", id=[{"missing": None}, {"duplicate": None}],
    )  # fmt: skip
    results = {r.name.partition(":")[2]: r for r in auditor.audit(relation, [checks]).results}
    assert results["columns.id.checks.missing"].outcome is PASSED
    assert results["columns.id.checks.duplicate"].outcome is PASSED
    assert results["checks.duplicate"].outcome is PASSED
    assert results["checks.row_count"].outcome is FAILED


# Names.

ODD = ["a b", "a.b", 'it"s', "o'clock", "größe", "select", "${x}", "`", "a/b", "日本", "\\", "a\nb",
       "<script>"]  # fmt: skip


def test_odd_names_are_audited_like_any_other(auditor, connection):
    schema, table = "odd ns", 'or"ders'
    columns = ", ".join(f"range::INT AS {quoted(n)}" for n in ODD)
    connection.execute(f"CREATE SCHEMA {quoted(schema)}")
    connection.execute(
        f"CREATE VIEW {quoted(schema)}.{quoted(table)} AS SELECT {columns} FROM range(10)"
    )
    checks = [{"missing": None}, {"duplicate": None}, {"invalid": {"valid_max": 8}},
              {"aggregate": {"function": "max", **must(must_be=9)}}]  # fmt: skip
    data = {
        "dataset": f"lake/{schema}/{table}",
        "columns": [{"name": n, "data_type": "integer", "checks": checks} for n in ODD],
        "checks": [{"schema": None}, {"duplicate": {"columns": ODD}}],
    }
    odd = parse_contract(json.dumps(data), "odd.yml")
    relation = Relation(connection, "lake", schema, table, dict.fromkeys(ODD, "int"), {table: 10})
    audit = auditor.audit(relation, [odd])
    assert audit.errors == ()
    assert {r.name for r in audit.results} == odd.declared
    for result in audit.results:
        assert result.outcome is (FAILED if result.kind == "invalid" else PASSED), result.name
        if result.kind == "invalid":
            assert result.sample[0][result.column] == "9"


def test_three_hundred_columns(auditor, connection):
    names = [f"column {n}" for n in range(300)]
    columns = ", ".join(f"range AS {quoted(n)}" for n in names)
    connection.execute(f"CREATE VIEW sales.wide AS SELECT {columns} FROM range(3)")
    relation = Relation(
        connection, "lake", "sales", "wide", dict.fromkeys(names, "long"), {"wide": 3}
    )
    wide = contract({"schema": None}, relation="wide", **{n: {"missing": None} for n in names})
    audit = auditor.audit(relation, [wide])
    assert audit.errors == ()
    assert [r.outcome for r in audit.results] == [PASSED] * 301


# Our names are Soda's, our uniqueness is Soda's.


def every_check_type() -> Contract:
    return contract(
        {"schema": {"allow_extra_columns": True, "allow_other_column_order": True}},
        {"row_count": {"qualifier": "q1"}},
        {"freshness": {"column": "stamp", "qualifier": "3", **must(must_be_less_than=1e9)}},
        {"failed_rows": {"expression": "id < 0"}},
        {"failed_rows": {"qualifier": "q 2", "query": "SELECT 1 WHERE false"}},
        {"metric": {"expression": "COUNT(*)", **must(must_be=4)}},
        {"metric": {"qualifier": "ü", "query": "SELECT 4", **must(must_be=4)}},
        id=[{"missing": None}, {"missing": {"qualifier": "a.b"}}, {"invalid": {"valid_min": 0}}],
        customer={"invalid": {"qualifier": "ref", "valid_reference_data": {
            "dataset": "lake/sales/customers", "column": "cid"}}},
        amount=[{"aggregate": {"function": "avg", **must(must_be=1)}},
                {"failed_rows": {"expression": "amount < -9"}},
                {"metric": {"expression": "MAX(amount)", **must(must_be=4)}}],
    )  # fmt: skip


def test_our_names_of_checks_are_those_of_the_engine(auditor, anywhere):
    audit = auditor.audit(anywhere, [every_check_type()])
    assert audit.errors == ()
    assert {r.name for r in audit.results} == every_check_type().declared
    assert all(r.outcome is not NOT_EVALUATED for r in audit.results)


def test_several_contracts_on_several_relations(auditor, anywhere):
    batch = parse_contract(
        '{"dataset": "lake/sales/orders__batch", "columns": [], "checks": [{"row_count": null}]}',
        "orders.batch.yml",
    )
    audit = auditor.audit(anywhere, [contract({"row_count": None}), batch])
    assert [(r.relation, r.measured) for r in audit.results] == [
        ("orders", "4 rows"),
        ("orders__batch", "1 rows"),
    ]


# The digest, and what nobody may see.


def report_of(auditor, relation, *contracts: Contract) -> Report:
    return judge(
        run_id="r1", table="sales.orders", snapshot_id=7, expected=None, contracts=contracts,
        relation=relation, auditor=auditor, started_at=datetime.now(UTC),
        own=(schema_check(COLUMNS, COLUMNS), reconcile_check(4, 4, 0, 0, 0, 4)),
    )  # fmt: skip


def test_a_second_audit_gives_the_same_digest(auditor, anywhere):
    one = report_of(auditor, anywhere, every_check_type())
    other = report_of(auditor, anywhere, every_check_type())
    assert one.digest == other.digest
    assert one.started_at != other.started_at


SECRETS = ("ann@example.org", "bob@example.org", "eve at home", "2026-01-0", "-3", "4.00")

#: Queries that could carry a masked value under another name.
QUERIES = [
    "SELECT email AS note, stamp AS x FROM sales.orders",
    "SELECT * FROM sales.orders",
    "SELECT * FROM (SELECT email AS e FROM sales.orders)",
    "WITH w AS (SELECT email AS e FROM sales.orders) SELECT e FROM w",
    "SELECT * REPLACE (email AS status) FROM sales.orders",
    "SELECT * RENAME (email AS e) FROM sales.orders",
    "SELECT o FROM sales.orders o",
    "FROM sales.orders",
    "SELECT #2 AS id FROM sales.orders",
    "SELECT email AS status FROM sales.orders AS status",
    "SELECT status.email AS id FROM sales.orders AS status",
    "SELECT COLUMNS('e.*') FROM sales.orders",
    "SELECT unnest([email]) AS status FROM sales.orders",
    "PIVOT sales.orders ON email USING count(*)",
    "SELECT note FROM sales.notes",
    "SELECT status FROM sales.orders UNION SELECT email FROM sales.orders",
    "SELECT s FROM sales.orders AS o(a, s, c, d, e, f)",
    "SELECT status FROM sales.orders AS o(a, status, c, d, e, f)",
]  # fmt: skip

MASKING = [
    contract(email={"missing": None}),
    contract(email={"invalid": {"valid_values": ["ann@example.org"]}}),
    contract(email={"invalid": {"valid_format": {"name": "e-mail", "regex": "@"}}}),
    contract(status={"invalid": {"valid_values": ["new"]}}),
    contract(id={"duplicate": None}),
    contract(amount={"aggregate": {"function": "min", **must(must_be=1)}}),
    contract(amount={"aggregate": {"function": "max", **must(must_be=1)}}),
    contract(amount={"metric": {"expression": "MIN(amount)", **must(must_be=1)}}),
    contract({"metric": {"query": "SELECT min(AMOUNT) FROM sales.orders", **must(must_be=1)}}),
    contract({"freshness": {"column": "stamp", **must(must_be_less_than=-1e9)}}),
    contract({"failed_rows": {"expression": "amount < 0"}}),
    contract({"failed_rows": {"expression": "CAST(email AS INT) = 3"}}),
    contract({"metric": {"expression": "MAX(CAST(email AS INT))", **must(must_be=1)}}),
    *(contract({"failed_rows": {"query": query}}) for query in QUERIES),
]  # fmt: skip


@pytest.mark.parametrize("check", MASKING)
def test_a_masked_value_is_nowhere_in_the_report(auditor, relation, check):
    masked = frozenset({"email", "amount", "stamp"})
    report = report_of(auditor, replace(relation, masked=masked), check)
    assert not report.passed
    text = report.to_json().replace(report.started_at.isoformat().replace("+00:00", "Z"), "")
    text = text.replace(json.dumps(check.text), "")
    assert [s for s in SECRETS if s in text] == []


def test_a_field_of_a_masked_struct_is_no_column_of_its_name(auditor, connection):
    connection.execute(
        "CREATE VIEW sales.people AS SELECT {'status': 'ann'} AS person, 1 AS status"
    )
    columns = {"person": "struct<status: string>", "status": "int"}
    masked = frozenset({"person.status"})
    relation = Relation(connection, "lake", "sales", "people", columns, masked=masked)
    query = "SELECT person.status FROM sales.people"
    check = contract({"failed_rows": {"query": query}}, relation="people")
    assert only(auditor, relation, check).sample == ({"column 1": MASK},)


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT * FROM sales.orders", True),
        ("SELECT status FROM sales.orders WHERE id > 0", True),
        ("SELECT o.status FROM sales.orders AS o", True),
        ("SELECT o.* FROM sales.orders AS o", True),
        ("SELECT upper(status) AS status FROM sales.orders", False),
        ("SELECT status FROM sales.notes", False),
    ],
)
def test_plain_queries_show_what_is_not_masked(auditor, relation, query, shown):
    relation = replace(relation, masked=frozenset({"email"}))
    result = only(auditor, relation, contract({"failed_rows": {"query": query}}))
    assert {MASK in row.values() and "status" not in row for row in result.sample} == {not shown}


def test_a_masked_cell_shows_the_mask_and_null_stays_null(auditor, relation):
    relation = replace(relation, masked=frozenset({"email"}))
    check = contract({"failed_rows": {"expression": "id = 2"}})
    rows = only(auditor, relation, check).sample
    assert {row["email"] for row in rows} == {MASK, None}
    assert {row["status"] for row in rows} == {"new", "paid"}


def test_audits_side_by_side_do_not_disturb_each_other(auditor):
    """Soda's one YAML parser breaks when audits overlap; ours must not let them."""
    text = json.dumps(
        {
            "dataset": "lake/sales/numbers",
            "columns": [{"name": "id", "checks": [{"missing": {}}, {"invalid": {"valid_min": 0}}]}],
            "checks": [{"row_count": {"threshold": {"must_be": 10}}}],
        }
    )

    def once(number: int) -> set[Outcome]:
        with duckdb.connect() as con:
            con.execute("CREATE SCHEMA sales")
            con.execute("CREATE VIEW sales.numbers AS SELECT range AS id FROM range(10)")
            relation = Relation(con, "lake", "sales", "numbers", {"id": "long"}, {"numbers": 10})
            audit = auditor.audit(relation, [parse_contract(text, f"c{number}.yml")])
        assert not audit.errors
        return {r.outcome for r in audit.results}

    with ThreadPoolExecutor(4) as threads:
        assert set().union(*threads.map(once, range(60))) == {PASSED}
