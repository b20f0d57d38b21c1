"""The examples: they load, their contracts pass on their data and fail on spoiled data."""

from __future__ import annotations

import importlib.util
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import duckdb
import pyarrow.parquet as pq
import pytest

from checks.base import Relation
from checks.contract import check_columns, parse_contract
from checks.report import CheckResult, Outcome
from checks.soda import SodaAuditor
from wap.field_map import duckdb_type, literal, quoted
from wap.pipeline import Pipeline
from wap.project import Project, load_project
from wap.relations import connect
from wap.schema import desired_schema
from wap.type_texts import parse_type
from wap.types import column_texts

EXAMPLES = Path(__file__).parents[3] / "examples"
NAMES = sorted(p.parent.name for p in EXAMPLES.glob("*/wap.toml"))
SEEDS = sorted(p.parent.name for p in EXAMPLES.glob("*/generate.py"))


def script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@dataclass
class Lake:
    """An example's tables as an audit sees them, loaded straight from its files."""

    project: Project
    con: duckdb.DuckDBPyConnection
    scratch: Path
    columns: dict[str, dict[str, str]] = field(default_factory=dict)

    def load(self, pipeline: Pipeline) -> None:
        schema, name = pipeline.table.split(".")
        self.con.execute(f"CREATE SCHEMA IF NOT EXISTS {quoted(schema)}")
        table = f"{quoted(schema)}.{quoted(name)}"
        self.con.execute(f"CREATE TABLE {table} AS FROM {self.reader(pipeline)}")
        self.con.execute(f"CREATE VIEW {schema}.{name}__batch AS FROM {table}")
        self.con.execute(f"CREATE TABLE {schema}.{name}__published AS FROM {table} LIMIT 0")
        inferred = self.con.sql(f"FROM {table}").limit(0).to_arrow_table().schema
        wanted, read = desired_schema(pipeline, inferred, None)
        assert read == tuple(inferred.names)
        self.columns[pipeline.name] = column_texts(wanted)

    def reader(self, pipeline: Pipeline) -> str:
        source = pipeline.source
        files = [str(self.plain(p)) for glob in source.paths for p in self.project.root.glob(glob)]
        assert files, f"{source.path} matches nothing"
        listed = f"[{', '.join(map(literal, sorted(files)))}]"
        if source.format == "parquet":
            return f"read_parquet({listed})"
        types = {n: duckdb_type(parse_type(t)) for n, t in pipeline.columns.columns.items()}
        columns = ", ".join(f"{literal(n)}: {literal(t)}" for n, t in types.items())
        if source.format == "ndjson":
            return f"read_json({listed}, columns = {{{columns}}})"
        nulls = f"[{', '.join(map(literal, source.null))}]"
        return (
            f"read_csv({listed}, columns = {{{columns}}}, nullstr = {nulls}, header = true, "
            f"auto_detect = false, delim = {literal(source.delimiter or ',')})"
        )

    def plain(self, path: Path) -> Path:
        if path.suffix != ".zip":
            return path
        with zipfile.ZipFile(path) as archive:
            return Path(archive.extract(archive.namelist()[0], self.scratch))

    def audit(self, pipeline: Pipeline, *more: str) -> tuple[CheckResult, ...]:
        schema, name = pipeline.table.split(".")
        paths = (*pipeline.contracts, *more)
        contracts = [parse_contract(self.project.contract_text(p), p) for p in paths]
        for contract in contracts:
            check_columns(contract, self.columns[pipeline.name])
        rows = {
            v: self.con.sql(f"SELECT count(*) FROM {schema}.{v}").fetchall()[0][0]
            for v in (name, f"{name}__batch", f"{name}__published")
        }
        relation = Relation(
            connection=self.con,
            source="wap",
            schema=schema,
            table=name,
            columns=self.columns[pipeline.name],
            rows=rows,
            masked=pipeline.masked,
        )
        found = SodaAuditor().audit(relation, contracts)
        assert found.errors == ()
        return found.results


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Lake]]:
    opened = {}
    for name in NAMES:
        scratch = tmp_path_factory.mktemp(name)
        root = shutil.copytree(
            EXAMPLES / name,
            scratch / name,
            ignore=shutil.ignore_patterns("data", ".wap", "warehouse"),
        )
        if (root / "fetch.py").exists():
            script(root / "fetch.py").fetch(root / "data")
        project = load_project(root, {})
        lake = Lake(project, connect(temp_directory=scratch / "tmp"), scratch)
        for pipeline in project.pipelines():
            lake.load(project.pipeline(pipeline))
        opened[name] = lake
    yield opened
    for lake in opened.values():
        lake.con.close()


def names_of(results: tuple[CheckResult, ...], *outcomes: Outcome) -> set[str]:
    return {r.name for r in results if r.outcome in outcomes}


WARNED = {
    "airports": {"contracts/airports.yml:columns.lon.checks.invalid.americas"},
    "weather": {"contracts/weather.yml:columns.wind_speed.checks.invalid"},
}


@pytest.mark.parametrize("name", NAMES)
def test_the_contracts_pass_on_the_examples_own_data(lakes: dict[str, Lake], name: str) -> None:
    lake = lakes[name]
    for pipeline in lake.project.pipelines():
        results = lake.audit(lake.project.pipeline(pipeline))
        assert results
        assert names_of(results, Outcome.FAILED, Outcome.NOT_EVALUATED) == set()
        assert names_of(results, Outcome.WARNED) == WARNED.get(pipeline, set())


@pytest.mark.parametrize(
    ("name", "pipeline", "contract"),
    [
        ("nycflights", "flights", "contracts/flights.references.yml"),
        ("dealership", "purchases", "contracts/purchases.references.yml"),
    ],
)
def test_references_hold_once_the_neighbours_are_published(
    lakes: dict[str, Lake], name: str, pipeline: str, contract: str
) -> None:
    lake = lakes[name]
    results = lake.audit(lake.project.pipeline(pipeline), contract)
    assert names_of(results, Outcome.FAILED, Outcome.NOT_EVALUATED) == set()


#: Example, pipeline, what happens to its table, and the checks (ends of names) that notice.
SPOILED = [
    ("nycflights", "flights", "UPDATE nyc.flights SET carrier = NULL WHERE flight = 1545",
     {"columns.carrier.checks.missing"}),
    ("nycflights", "flights", "INSERT INTO nyc.flights FROM nyc.flights LIMIT 1",
     {"checks.duplicate"}),
    ("nycflights", "flights", "DELETE FROM nyc.flights WHERE hash(rowid) % 2 = 0",
     {"checks.failed_rows.thin_days"}),
    ("nycflights", "flights", "DELETE FROM nyc.flights WHERE month = 2 AND day = 9",
     {"checks.metric.days_without_flights"}),
    ("nycflights", "flights",
     "UPDATE nyc.flights SET dep_time = NULL, arr_time = NULL, air_time = NULL WHERE month < 3",
     {"columns.dep_time.checks.missing"}),
    ("nycflights", "flights", "UPDATE nyc.flights SET origin = dest WHERE flight = 1545",
     {"columns.origin.checks.invalid", "checks.failed_rows.same_place"}),
    ("nycflights", "flights", "DELETE FROM nyc.flights",
     {"flights.yml:checks.row_count", "batch.yml:checks.row_count"}),
    ("nycflights", "weather", "UPDATE nyc.weather SET dewp = temp + 1 WHERE day = 1",
     {"checks.failed_rows.dew_point"}),
    ("nycflights", "planes", "UPDATE nyc.planes SET tailnum = 'D-ABCD' WHERE year = 1956",
     {"columns.tailnum.checks.invalid"}),
    ("dealership", "purchases", "UPDATE dealer.purchases SET vin = 'I' || vin[2:]",
     {"columns.vin.checks.invalid"}),
    ("dealership", "purchases", "UPDATE dealer.purchases SET price = price / 100",
     {"columns.price.checks.invalid", "columns.price.checks.aggregate"}),
    ("dealership", "disputes", "UPDATE dealer.disputes SET refund = 5 WHERE kind = 'cancellation'",
     {"checks.failed_rows.refund"}),
    ("dealership", "customers", "UPDATE dealer.customers SET email = 'nobody'",
     {"columns.email.checks.duplicate", "columns.email.checks.invalid"}),
    ("launchpad", "events", "UPDATE launchpad.events SET week = '2024-W53'",
     {"checks.failed_rows.week"}),
    ("launchpad", "events", "DELETE FROM launchpad.events WHERE id = 'lp-01-0000'",
     {"checks.failed_rows.parent"}),
    ("launchpad", "events", "DELETE FROM launchpad.events WHERE rowid > 40",
     {"batch.yml:checks.row_count"}),
    ("launchpad", "events", "UPDATE launchpad.events SET metrics = [{name: 'm', value: -1}]",
     {"checks.failed_rows.negative"}),
    ("ingestion", "payments", "UPDATE bank.payments SET amount = 0 WHERE payer = 'A0001'",
     {"columns.amount.checks.invalid"}),
    ("ingestion", "payments", "UPDATE bank.payments SET payee = payer",
     {"checks.failed_rows.to_oneself"}),
    ("ingestion", "fx_rates", "INSERT INTO bank.fx_rates FROM bank.fx_rates LIMIT 1",
     {"checks.duplicate"}),
    ("ingestion", "accounts",
     "INSERT INTO bank.accounts__published FROM bank.accounts; "  # noqa: ISC004 - one statement text
     "DELETE FROM bank.accounts WHERE rowid < 5",
     {"checks.metric.shrunk"}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "pipeline", "spoil", "noticed_by"), SPOILED, ids=[f"{s[1]}: {s[2]}" for s in SPOILED]
)
def test_spoiled_data_is_noticed(
    lakes: dict[str, Lake], name: str, pipeline: str, spoil: str, noticed_by: set[str]
) -> None:
    lake = lakes[name]
    lake.con.execute("BEGIN")
    try:
        for statement in spoil.split("; "):
            lake.con.execute(statement)
        failed = names_of(lake.audit(lake.project.pipeline(pipeline)), Outcome.FAILED)
    finally:
        lake.con.execute("ROLLBACK")
    for check in noticed_by:
        assert any(f.endswith(check) for f in failed), f"{check} did not fail, but {failed} did"


@pytest.mark.parametrize("name", SEEDS)
def test_the_committed_data_is_what_the_script_makes(name: str, tmp_path: Path) -> None:
    script(EXAMPLES / name / "generate.py").generate(tmp_path)
    committed = {p.name: p for p in (EXAMPLES / name / "landing").iterdir()}
    assert committed.keys() == {p.name for p in tmp_path.iterdir()}
    for made in tmp_path.iterdir():
        if made.suffix == ".parquet":  # its footer names the writer's version
            assert pq.read_table(made).equals(pq.read_table(committed[made.name]))
        else:
            assert made.read_bytes() == committed[made.name].read_bytes()


def test_the_flights_are_those_that_the_r_package_documents(lakes: dict[str, Lake]) -> None:
    counts = lakes["nycflights"].con.sql(
        "SELECT count(*), round(avg(dep_delay), 6), count(*) - count(dep_time) FROM nyc.flights"
    )
    assert counts.fetchall() == [(336_776, 12.639070, 8_255)]


def test_fetching_again_copies_nothing_and_keeps_times(tmp_path: Path) -> None:
    module = script(EXAMPLES / "nycflights" / "fetch.py")
    first = module.fetch(tmp_path / "data")
    assert {p.name for p in first} == set(module.FILES)
    original = module.package_data()
    assert all(p.stat().st_mtime_ns == (original / p.name).stat().st_mtime_ns for p in first)
    assert module.fetch(tmp_path / "data") == []


@pytest.mark.parametrize("name", NAMES)
def test_every_example_says_how_it_is_run(name: str) -> None:
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    assert f"--project examples/{name}" in text
    assert "python run_workflow.py" in text
