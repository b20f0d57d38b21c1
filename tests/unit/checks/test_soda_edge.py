"""What we rely on in Soda, one test a name, so that an upgrade fails here and nowhere else."""

from __future__ import annotations

import logging
import logging.config
import os
import subprocess
import sys
from datetime import UTC, datetime

import duckdb
import pytest

from checks import soda_edge

GOOD = {
    "dataset": "lake/main/orders",
    "columns": [{"name": "id", "data_type": "integer", "checks": [{"missing": None}]}],
    "checks": [
        {"schema": None},
        {"row_count": None},
        {"freshness": {"column": "at", "threshold": {"must_be_less_than": 1e9}}},
        {"failed_rows": {"expression": "id < 0"}},
    ],
}


@pytest.fixture
def connection():
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(
            "CREATE TABLE orders AS "
            "SELECT range::INT AS id, TIMESTAMPTZ '2020-01-01 12:00:00+00' AS at FROM range(3)"
        )
        yield con


@pytest.fixture
def logs_as_they_were():
    """Put every switch back that a test turns, whatever becomes of the test."""
    logger, root, disabled = logging.getLogger("soda"), logging.root, logging.root.manager.disable
    before = (logger.level, logger.propagate, logger.disabled, list(logger.filters), logger.parent)
    root_before = (root.level, [(h, h.level, list(h.filters)) for h in root.handlers])
    yield
    logging.disable(disabled)
    logger.setLevel(before[0])
    logger.propagate, logger.disabled, logger.filters, logger.parent = before[1:]
    root.setLevel(root_before[0])
    for handler, level, filters in root_before[1]:
        handler.setLevel(level)
        handler.filters = filters


def test_a_result_has_the_names_we_read(connection):
    verdict = soda_edge.verify(connection, "lake", GOOD)
    assert (verdict.status, verdict.errors) == ("FAILED", ())
    found = {f.path: f for f in verdict.findings}
    assert sorted(found) == [
        "checks.failed_rows", "checks.freshness", "checks.row_count", "checks.schema",
        "columns.id.checks.missing",
    ]  # fmt: skip
    missing = found["columns.id.checks.missing"]
    assert (missing.outcome, missing.value) == ("PASSED", 0.0)
    assert missing.counts["missing_count"] == 0
    assert missing.counts["check_rows_tested"] == 3
    assert missing.counts["dataset_rows_tested"] == 3
    assert found["checks.failed_rows"].counts["failed_rows_count"] == 0
    assert found["checks.schema"].outcome == "FAILED"
    assert found["checks.schema"].notes == ("not listed: at",)
    assert f"{found['checks.freshness'].newest:%Y-%m-%d %H:%M}" == "2020-01-01 12:00"


def test_a_schema_result_names_every_difference(connection):
    columns = [{"name": "at", "data_type": "integer"}, {"name": "id"}, {"name": "gone"}]
    data = {"dataset": "lake/main/orders", "columns": columns, "checks": [{"schema": None}]}
    (finding,) = soda_edge.verify(connection, "lake", data).findings
    assert finding.notes == (
        "missing: gone",
        "at: timestamp with time zone instead of integer",
        "the columns stand in another order",
    )


def test_names_are_quoted_by_us_and_not_by_soda(connection):
    connection.execute('CREATE TABLE odd AS SELECT 1 AS "a""; DROP TABLE orders; --"')
    name = 'a"; DROP TABLE orders; --'
    data = {"dataset": "lake/main/odd", "columns": [{"name": name, "checks": [{"missing": None}]}]}
    verdict = soda_edge.verify(connection, "lake", data)
    assert [f.outcome for f in verdict.findings] == ["PASSED"]
    assert connection.execute("SELECT count(*) FROM orders").fetchone() == (3,)


def test_what_soda_raises_is_a_verdict_and_not_a_pass(connection):
    verdict = soda_edge.verify(connection, "lake", {"dataset": "lake/main/orders"})
    assert verdict.status == "RAISED"
    assert verdict.errors


def test_an_engine_error_is_among_the_errors(connection):
    verdict = soda_edge.verify(connection, "lake", {**GOOD, "dataset": "lake/main/absent"})
    assert verdict.status == "ERROR"
    assert any("absent" in e for e in verdict.errors)


def test_an_age_is_taken_from_the_time_we_name(connection):
    at = datetime(2020, 1, 1, 15, tzinfo=UTC)
    verdict = soda_edge.verify(connection, "lake", GOOD, at)
    (age,) = [f.value for f in verdict.findings if f.newest is not None]
    assert age == 3, "hours after the newest row"


def test_with_logs_as_they_are_soda_is_heard(logs_as_they_were):
    assert soda_edge.deaf() is None


def quiet(**changes: object):
    def turn():
        for name, value in changes.items():
            setattr(logging.getLogger("soda"), name, value)

    return turn


def deafen_the_ear():
    logs = soda_edge.api().logs
    for handler in logging.root.handlers:
        if isinstance(handler, logs._RootCapturer):
            handler.setLevel(logging.CRITICAL)


def filter_the_ear():
    logs = soda_edge.api().logs
    for handler in logging.root.handlers:
        if isinstance(handler, logs._RootCapturer):
            handler.addFilter(lambda _: False)


SILENT = {
    "the logger's level": lambda: logging.getLogger("soda").setLevel(logging.CRITICAL),
    "the root's level": lambda: logging.root.setLevel(logging.CRITICAL),
    "logging.disable": lambda: logging.disable(logging.ERROR),
    "no propagation": quiet(propagate=False),
    "disabled": quiet(disabled=True),
    "dictConfig with its default": lambda: logging.config.dictConfig({"version": 1}),
    "a filter on the logger": lambda: logging.getLogger("soda").addFilter(lambda _: False),
    "another parent": quiet(parent=logging.getLogger("island")),
    "the ear's level": deafen_the_ear,
    "a filter on the ear": filter_the_ear,
}


@pytest.mark.parametrize("turn", SILENT.values(), ids=SILENT.keys())
def test_each_way_to_silence_soda_is_noticed(turn, logs_as_they_were):
    assert soda_edge.deaf() is None
    turn()
    assert soda_edge.deaf()


@pytest.mark.parametrize(
    "name", ["the logger's level", "logging.disable", "no propagation", "disabled"]
)
def test_soda_itself_passes_an_error_when_silenced(name, connection, logs_as_they_were):
    """Why deaf() exists: when this test fails, Soda has mended its verdict."""
    SILENT[name]()
    data = {"dataset": "lake/main/orders", "columns": [], "checks": [{"no_such_check": None}]}
    assert soda_edge.verify(connection, "lake", data).status == "PASSED"


ALONE = """
import os, sys
os.chdir(sys.argv[1])
from checks import soda_edge
soda_edge.api()
from opentelemetry import trace
print(type(trace.get_tracer_provider()).__name__)
print(os.environ.get("FROM_DOTENV"), os.environ.get("PYTHON_DOTENV_DISABLED"))
print(soda_edge.deaf())
"""


def test_importing_soda_leaves_the_process_alone(tmp_path):
    """No tracer provider of Soda's, no .env file read, nothing left in the environment."""
    (tmp_path / ".env").write_text("FROM_DOTENV=leaked\n")
    environment = {k: v for k, v in os.environ.items() if k != "PYTHON_DOTENV_DISABLED"}
    environment["PYTHONPATH"] = os.getcwd()  # noqa: PTH109 - a text is what the variable takes
    environment.pop("SODA_CORE_TELEMETRY_ENABLED", None)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path)],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["ProxyTracerProvider", "None None", "None"]


def test_the_gate_is_imported_without_soda():
    code = "import sys, checks; print(any(m.startswith(('soda', 'duckdb')) for m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
