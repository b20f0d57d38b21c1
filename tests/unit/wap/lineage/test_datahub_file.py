"""What DataHub is told about a run, read back with DataHub's own tools."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from datahub.cli.json_file import check_mce_file

from wap.errors import LineageUnavailableError
from wap.lineage.datahub_file import DataHubFileSink
from wap.model import (
    CheckCounts,
    CheckFact,
    ColumnFact,
    Ending,
    InputFact,
    Quarantined,
    Rows,
    RunFacts,
    RunResult,
    SetAside,
    SnapshotMove,
    StepFacts,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TABLE = "urn:li:dataset:(urn:li:dataPlatform:iceberg,lake.nyc.flights,PROD)"
ASIDE = "urn:li:dataset:(urn:li:dataPlatform:iceberg,lake.nyc.flights__quarantine,PROD)"
#: Of the quarantine table.
WAITING = (ColumnFact(name="wap_row", type="string"), ColumnFact(name="tailnum", type="string"))
SOURCE = "urn:li:dataset:(urn:li:dataPlatform:file,lake.data/flights-*.csv,PROD)"


def check(name: str, outcome: str, **changes: Any) -> CheckFact:
    known: dict[str, Any] = {
        "kind": "missing", "column": "tailnum", "title": "tailnum is never missing",
        "expected": "0 rows", "measured": "3 rows", "value": 3.0, "failing_rows": 3,
        "blocking": outcome != "warned",
    }  # fmt: skip
    return CheckFact(name=name, outcome=outcome, **{**known, **changes})


def facts(ending: Ending = Ending.PUBLISHED, **changes: Any) -> RunFacts:
    result = RunResult(
        run_id="flights-1",
        pipeline="flights",
        table="nyc.flights",
        ending=ending,
        reason="" if ending is Ending.PUBLISHED else "tailnum is missing",
        rows=Rows(read=10, staged=9, quarantined=1, published=9),
        snapshot=SnapshotMove(before=1, after=2),
        checks=CheckCounts(passed=1, failed=1, warned=1, not_evaluated=1),
        nothing_new=changes.pop("nothing_new", False),
    )
    known: dict[str, Any] = {
        "pipeline_digest": "p" * 64,
        "source_kind": "files",
        "source_location": "data/flights-*.csv",
        "source_columns": (
            ColumnFact(name="tailnum", type="string"),
            ColumnFact(name="only in the source", type="int"),
        ),
        "columns": (
            ColumnFact(name="tailnum", type="string", tags=("pii", "plane")),
            ColumnFact(name="price (€), a.b", type="decimal(38, 4)"),
            ColumnFact(name="stops", type="list<struct<x: int>>"),
        ),
        "owners": ("data-eng", "ada@example.com"),
        "contact": "#data",
        "inputs": (InputFact(path="data/flights-1.csv", bytes=9),),
        "checks": (
            check("c.yml:a", "passed"),
            check("c.yml:b", "failed"),
            check("c.yml:c", "warned", column=None),
            check("wap:schema", "not_evaluated", value=None, failing_rows=None),
        ),
        "report_digest": "r" * 64,
        "contract_digest": "c" * 64,
        "steps": (StepFacts(name="stage", started_at=AT, seconds=1.5),),
        "location": "file:///warehouse/nyc/flights",
        "started_at": AT,
        "ended_at": AT + timedelta(seconds=42),
    }
    return RunFacts(result=result, **{**known, **changes})


def record(
    folder: Path, told: RunFacts, aside: Sequence[ColumnFact] = (), **options: Any
) -> list[dict[str, Any]]:
    sink = DataHubFileSink(folder, platform_instance="lake", **options)
    found: list[dict[str, Any]] = json.loads(Path(sink.record(told, aside)).read_text())
    return found


def aspects(records: Iterable[dict[str, Any]], urn: str) -> dict[str, Any]:
    """The last aspect of each name about a thing."""
    return {
        r["aspectName"]: r["aspect"]["json"] if "json" in r["aspect"] else r["aspect"]
        for r in records
        if r["entityUrn"] == urn
    }


def of_type(records: Iterable[dict[str, Any]], kind: str, aspect: str) -> list[Any]:
    return [
        r["aspect"]["json"] for r in records if (r["entityType"], r["aspectName"]) == (kind, aspect)
    ]


def test_datahubs_own_command_takes_the_file(tmp_path):
    file = DataHubFileSink(tmp_path).record(facts(Ending.REJECTED))
    command = [sys.executable, "-m", "datahub", "check", "metadata-file", file]
    # In a process of its own: the command sets up logging for everyone in its process.
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "DATAHUB_TELEMETRY_ENABLED": "false"},
    )
    assert done.returncode == 0, done.stderr
    assert "all valid" in done.stdout


@pytest.mark.parametrize("ending", list(Ending))
def test_datahubs_own_check_takes_the_file(tmp_path, ending):
    assert "all valid" in check_mce_file(DataHubFileSink(tmp_path).record(facts(ending)))


def test_datahubs_own_check_finds_a_damaged_file(tmp_path):
    file = Path(DataHubFileSink(tmp_path).record(facts()))
    file.write_text(file.read_text().replace('"timestampMillis"', '"timestamp"'))
    with pytest.raises(Exception, match="missing required field: timestampMillis"):
        check_mce_file(str(file))


def test_the_same_facts_give_the_same_file_and_no_second_one(tmp_path):
    first = Path(DataHubFileSink(tmp_path / "f").record(facts()))
    content = first.read_bytes()
    assert DataHubFileSink(tmp_path / "f").record(facts()) == str(first)
    assert first.read_bytes() == content
    assert [f.name for f in (tmp_path / "f").iterdir()] == ["nyc.flights__flights-1.json"]


def test_a_name_that_is_no_file_name_stays_in_the_folder(tmp_path):
    told = facts()
    odd = told.with_result(
        told.result.model_copy(update={"table": 'n.a/../"b"', "run_id": "../../x\n"})
    )
    file = Path(DataHubFileSink(tmp_path / "f").record(odd))
    assert file.parent == tmp_path / "f"


@pytest.mark.parametrize("name", ["é" * 120, "x" * 900])
def test_of_a_long_name_the_file_keeps_the_beginning_and_the_run(tmp_path, name):
    told = facts()
    long = told.with_result(told.result.model_copy(update={"table": f"n.{name}"}))
    file = Path(DataHubFileSink(tmp_path).record(long))
    assert file.is_file()
    assert file.name.startswith(f"n.{name[:100]}")
    assert file.name.endswith(f"__{told.run_id}.json")


def test_the_table_has_schema_tags_and_the_evidence(tmp_path):
    table = aspects(record(tmp_path, facts()), TABLE)
    fields = {f["fieldPath"]: f for f in table["schemaMetadata"]["fields"]}
    assert list(fields) == ["tailnum", "price (€), a.b", "stops"]
    assert [t["tag"] for t in fields["tailnum"]["globalTags"]["tags"]] == [
        "urn:li:tag:pii",
        "urn:li:tag:plane",
    ]
    assert {n: next(iter(f["type"]["type"])).rpartition(".")[2] for n, f in fields.items()} == {
        "tailnum": "StringType",
        "price (€), a.b": "NumberType",
        "stops": "ArrayType",
    }
    assert fields["stops"]["nativeDataType"] == "list<struct<x: int>>"
    assert table["operation"]["numAffectedRows"] == 9
    assert table["operation"]["operationType"] == "INSERT"
    assert table["operation"]["timestampMillis"] == 1767323087000


def test_what_others_write_about_the_table_is_patched_not_replaced(tmp_path):
    records = record(tmp_path, facts())
    kinds = {r["aspectName"]: r["changeType"] for r in records if r["entityUrn"] == TABLE}
    assert kinds["datasetProperties"] == "PATCH"
    assert kinds["upstreamLineage"] == "PATCH"
    assert kinds["ownership"] == "PATCH"
    patch = aspects(records, TABLE)["datasetProperties"]
    paths = {o["path"]: o["value"] for o in patch}
    assert paths["/customProperties/wap.snapshot"] == "2"
    assert paths["/customProperties/wap.report"] == "r" * 64


def test_columns_come_from_the_columns_of_the_same_name(tmp_path):
    job = of_type(record(tmp_path, facts()), "dataJob", "dataJobInputOutput")[0]
    assert job["inputDatasets"] == [SOURCE]
    assert job["outputDatasets"] == [TABLE]
    assert [(f["upstreams"], f["downstreams"]) for f in job["fineGrainedLineages"]] == [
        ([f"urn:li:schemaField:({SOURCE},tailnum)"], [f"urn:li:schemaField:({TABLE},tailnum)"])
    ]


def set_aside(told: RunFacts) -> RunFacts:
    checks = (SetAside(name="c.yml:a", title="tailnum is never missing", rows=1),)
    aside = Quarantined(table="nyc.flights__quarantine", rows=1, checks=checks)
    return told.with_result(told.result.model_copy(update={"quarantine": aside}))


def test_the_quarantine_table_is_a_second_output_with_columns_and_run(tmp_path):
    records = record(tmp_path, set_aside(facts()), WAITING)
    table = aspects(records, ASIDE)
    assert [f["fieldPath"] for f in table["schemaMetadata"]["fields"]] == ["wap_row", "tailnum"]
    paths = {o["path"]: o["value"] for o in table["datasetProperties"]}
    assert paths["/customProperties/wap.run"] == "flights-1"
    assert SOURCE in json.dumps(table["upstreamLineage"])
    job = of_type(records, "dataJob", "dataJobInputOutput")[0]
    assert job["outputDatasets"] == [TABLE, ASIDE]
    assert [f["downstreams"] for f in job["fineGrainedLineages"]] == [
        [f"urn:li:schemaField:({TABLE},tailnum)"], [f"urn:li:schemaField:({ASIDE},tailnum)"],
    ]  # fmt: skip
    (run,) = of_type(records, "dataProcessInstance", "dataProcessInstanceOutput")
    assert run["outputs"] == [TABLE, ASIDE]


def test_a_run_that_sets_nothing_aside_writes_no_quarantine_table(tmp_path):
    records = record(tmp_path, facts(), WAITING)
    assert aspects(records, ASIDE) == {}
    # The job may write it; this run did not.
    job = of_type(records, "dataJob", "dataJobInputOutput")[0]
    assert job["outputDatasets"] == [TABLE, ASIDE]
    (run,) = of_type(records, "dataProcessInstance", "dataProcessInstanceOutput")
    assert run["outputs"] == [TABLE]


def test_a_replay_reads_the_quarantine_table_and_the_job_keeps_its_source(tmp_path):
    told = facts(source_kind="replay", source_columns=())
    records = record(tmp_path, told, WAITING)
    (run,) = of_type(records, "dataProcessInstance", "dataProcessInstanceInput")
    assert run["inputs"] == [ASIDE]
    (run,) = of_type(records, "dataProcessInstance", "dataProcessInstanceOutput")
    assert run["outputs"] == [TABLE, ASIDE]
    assert not of_type(records, "dataJob", "dataJobInputOutput")
    assert "upstreamLineage" not in aspects(records, ASIDE)


@pytest.mark.parametrize("kind", ["files", "replay"])
def test_datahubs_own_check_takes_what_was_set_aside(tmp_path, kind):
    told = set_aside(facts(source_kind=kind))
    assert "all valid" in check_mce_file(DataHubFileSink(tmp_path).record(told, WAITING))


def test_owners_are_groups_and_people(tmp_path):
    owners = of_type(record(tmp_path, facts()), "dataFlow", "ownership")[0]["owners"]
    assert [o["owner"] for o in owners] == [
        "urn:li:corpGroup:data-eng",
        "urn:li:corpuser:ada@example.com",
    ]


@pytest.mark.parametrize(
    ("told", "result"),
    [
        (facts(), "SUCCESS"),
        (facts(nothing_new=True), "SKIPPED"),
        (facts(Ending.REJECTED), "FAILURE"),
        (facts(Ending.ROLLED_BACK), "FAILURE"),
    ],
)
def test_a_run_starts_and_ends(tmp_path, told, result):
    events = of_type(record(tmp_path, told), "dataProcessInstance", "dataProcessInstanceRunEvent")
    assert [e["status"] for e in events] == ["STARTED", "COMPLETE"]
    assert events[1]["timestampMillis"] - events[0]["timestampMillis"] == 42_000
    assert events[1]["result"]["type"] == result


def test_every_check_is_an_assertion_with_its_result(tmp_path):
    records = record(tmp_path, facts())
    results = of_type(records, "assertion", "assertionRunEvent")
    assert [r["result"]["type"] for r in results] == ["SUCCESS", "FAILURE", "FAILURE", "ERROR"]
    assert [r["result"]["nativeResults"]["blocking"] for r in results] == [
        "true", "true", "false", "true",
    ]  # fmt: skip
    assert {r["asserteeUrn"] for r in results} == {TABLE}
    infos = of_type(records, "assertion", "assertionInfo")
    assert infos[0]["customAssertion"]["field"] == f"urn:li:schemaField:({TABLE},tailnum)"
    assert "field" not in infos[2]["customAssertion"]
    assert infos[3]["customAssertion"]["type"] == "wap.missing"


def test_a_check_keeps_its_name_from_run_to_run(tmp_path):
    one, other = facts(), facts()
    other = other.with_result(other.result.model_copy(update={"run_id": "flights-2"}))

    def urns(told: RunFacts, kind: str) -> list[str]:
        return [r["entityUrn"] for r in record(tmp_path, told) if r["entityType"] == kind]

    assert urns(one, "assertion") == urns(other, "assertion")
    assert len(set(urns(one, "assertion"))) == 4
    assert set(urns(one, "dataProcessInstance")).isdisjoint(urns(other, "dataProcessInstance"))


@pytest.mark.parametrize(
    "told", [facts(Ending.REJECTED), facts(Ending.ROLLED_BACK), facts(nothing_new=True)]
)
def test_a_run_that_published_nothing_says_nothing_about_the_table(tmp_path, told):
    records = record(tmp_path, told)
    assert aspects(records, TABLE) == {}
    outputs = of_type(records, "dataProcessInstance", "dataProcessInstanceOutput")
    assert outputs == [{"outputs": []}]


@pytest.mark.parametrize("ending", list(Ending))
def test_an_incident_tells_of_a_rejection_and_of_nothing_else(tmp_path, ending):
    incidents = of_type(record(tmp_path, facts(ending)), "incident", "incidentInfo")
    assert [i["entities"] for i in incidents] == ([[TABLE]] if ending is Ending.REJECTED else [])


@pytest.mark.parametrize(
    ("location", "urn"),
    [
        ("s3a://bucket/in/*.parquet", "urn:li:dataPlatform:s3,bucket/in/*.parquet,PROD"),
        ("gs://bucket/in", "urn:li:dataPlatform:gcs,bucket/in,PROD"),
        ("https://u:hunter2@h/x.csv?sig=hunter2#f", "urn:li:dataPlatform:file,lake.https://h/x.csv,PROD"),
        ("s3://u:hunter2@b/x, s3://u:hunter2@b/y?t=hunter2", "urn:li:dataPlatform:s3,b/x%2C s3://b/y,PROD"),
        ("kafka://h:9092,i:9092/orders.v1", "urn:li:dataPlatform:kafka,orders.v1,PROD"),
        ("jdbc:postgresql://h/shop/a.orders", "urn:li:dataPlatform:postgres,shop.a.orders,PROD"),
        ("a,b (c)/d.csv", "urn:li:dataPlatform:file,lake.a%2Cb %28c%29/d.csv,PROD"),
    ],
)  # fmt: skip
def test_a_source_is_named_as_datahub_does_and_without_secrets(tmp_path, location, urn):
    records = record(tmp_path, facts(source_location=location))
    assert f"urn:li:dataset:({urn})" in {r["entityUrn"] for r in records}
    assert "hunter2" not in json.dumps(records)


def test_another_write_mode_is_named(tmp_path):
    operation = aspects(record(tmp_path, facts(write_mode="replace")), TABLE)["operation"]
    assert (operation["operationType"], operation["customOperationType"]) == ("CUSTOM", "REPLACE")


def test_a_run_with_nothing_known_is_recorded_too(tmp_path):
    bare = RunFacts(
        result=RunResult(run_id="r", pipeline="p", table="n.t", ending=Ending.ROLLED_BACK),
        pipeline_digest="",
        source_kind="files",
        source_location="x",
        started_at=AT,
    )
    events = of_type(record(tmp_path, bare), "dataProcessInstance", "dataProcessInstanceRunEvent")
    assert [e["status"] for e in events] == ["STARTED"]


def test_a_folder_that_cannot_be_made_is_an_error_the_saga_can_warn_of(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LineageUnavailableError, match="cannot be written"):
        DataHubFileSink(tmp_path / "file" / "lineage").record(facts())


def test_datahub_is_imported_when_a_run_is_recorded_and_not_before():
    code = (
        "import sys, wap.lineage, wap.lineage.datahub_file, wap.lineage.datahub_rest;"
        "sys.exit(any(m.partition('.')[0] == 'datahub' for m in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
