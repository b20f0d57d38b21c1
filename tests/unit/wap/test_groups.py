"""What a group may be made of, and what a catalog must be able to do for it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from catalog.errors import UnauditedError
from catalog.memory import MemoryCatalog
from catalog.refs import AuditedHead, Branch, TableName
from wap.errors import ConfigError, GroupRefusedError
from wap.group_activities import check_beside
from wap.groups import check_able, declared_group, request_of, with_contracts
from wap.membership import member_id, member_of, owner_of
from wap.project import load_project
from wap.workflow import run_id_of

PIPELINE = """\
table: nyc.{table}
source: {{kind: files, path: "data/{table}.csv", format: csv}}
write: {{mode: append}}
schema: {{columns: {{id: long}}}}
contracts: [contracts/{table}.yml]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for table in ("planes", "flights"):
        write(tmp_path, f"pipelines/{table}.yml", PIPELINE.format(table=table))
        contract = f"dataset: wap/nyc/{table}\ncolumns: []\nchecks:\n  - row_count:\n"
        write(tmp_path, f"contracts/{table}.yml", contract)
    return tmp_path


def write(folder: Path, name: str, text: str) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)


def opened(folder: Path, groups: str):
    write(folder, "wap.toml", f"[groups.{groups}\n")
    return load_project(folder, {})


def test_a_group_is_asked_for_with_its_pipelines_in_order(folder):
    project = opened(folder, 'nyc]\npipelines = ["planes", "flights"]')
    request = request_of(project, "nyc")
    assert (request.pipeline, request.members) == ("nyc", ("planes", "flights"))
    member = request.of_member("planes")
    assert (member.pipeline, member.members, member.project) == ("planes", (), project.id)


def test_a_members_contracts_are_its_own_and_the_groups_about_its_table(folder):
    write(
        folder,
        "contracts/more.yml",
        "dataset: wap/nyc/flights\ncolumns: []\nchecks:\n  - row_count:\n",
    )
    more = 'contracts = ["contracts/more.yml", "contracts/planes.yml"]'
    project = opened(folder, f'nyc]\npipelines = ["planes", "flights"]\n{more}')
    request = request_of(project, "nyc")
    said = [with_contracts(project, d, request.contracts) for d in declared_group(project, "nyc")]
    assert [[c.path for c in one.contracts] for one in said] == [
        ["contracts/planes.yml"], ["contracts/flights.yml", "contracts/more.yml"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ('nyc]\npipelines = ["planes", "flihts"]', "'flights'"),
        ('nyc]\npipelines = ["planes", "planes"]', "named twice"),
        ('nyx]\npipelines = ["planes"]', "did you mean 'nyx'"),
        ('nyc]\npipelines = ["planes"]\ncontracts = ["contracts/flights.yml"]', "no pipeline"),
        ('nyc]\npipelines = ["planes"]\ncontracts = ["contracts/flight.yml"]', "flights.yml"),
    ],
)
def test_a_group_that_is_wrong_says_what_and_where(folder, groups, said):
    with pytest.raises(ConfigError) as caught:
        declared_group(opened(folder, groups), "nyc")
    assert said in str(caught.value)
    assert caught.value.hint


def test_two_pipelines_of_one_table_are_no_group(folder):
    write(folder, "pipelines/more.yml", PIPELINE.format(table="planes"))
    with pytest.raises(ConfigError, match=r"both load nyc\.planes"):
        declared_group(opened(folder, 'nyc]\npipelines = ["planes", "more"]'), "nyc")


def test_a_pipeline_that_waits_for_a_person_goes_by_itself(folder):
    text = PIPELINE.format(table="planes") + "on_failure: hold\n"
    write(folder, "pipelines/planes.yml", text)
    with pytest.raises(ConfigError, match="on_failure: hold"):
        declared_group(opened(folder, 'nyc]\npipelines = ["planes", "flights"]'), "nyc")


@pytest.mark.parametrize(
    "groups",
    [
        'nyc]\npipelines = "planes"',
        "nyc]\npipelines = []",
        'nyc]\npipelines = ["planes"]\npipeline = 1',
        '"1.x"]\npipelines = ["planes"]',
    ],
)
def test_what_is_no_group_at_all_is_refused_with_its_line(folder, groups):
    with pytest.raises(ConfigError) as caught:
        opened(folder, groups)
    assert "wap.toml:" in str(caught.value)


TABLES = [TableName.parse("nyc.planes"), TableName.parse("nyc.flights")]


class Able(MemoryCatalog):
    """A catalog that says it can do less."""

    def __init__(self, folder: Path, **cannot: bool) -> None:
        super().__init__(warehouse=str(folder))
        self.capabilities = replace(MemoryCatalog.capabilities, **cannot)


def test_a_catalog_without_groups_is_told_before_anything_is_staged(tmp_path):
    with pytest.raises(GroupRefusedError, match="several tables in one step"):
        check_able(Able(tmp_path, atomic_groups=False), "nyc", TABLES)
    check_able(Able(tmp_path, atomic_groups=False), "nyc", TABLES[:1])


def test_new_tables_are_refused_where_they_cannot_be_in_a_group(tmp_path):
    with pytest.raises(GroupRefusedError, match=r"nyc\.planes, nyc\.flights"):
        check_able(Able(tmp_path, new_in_groups=False), "nyc", TABLES)
    check_able(Able(tmp_path), "nyc", TABLES)


def test_a_members_run_is_told_from_any_other(tmp_path):
    run = run_id_of("a.b c", "0123-456789ab", datetime(2026, 1, 2, tzinfo=UTC))
    assert (owner_of(run), member_of(run)) == (run, None)
    member = member_id(run, "planes")
    assert (owner_of(member), member_of(member)) == (run, "planes")


class Seen:
    """Evidence that passes, and the neighbours that were looked at."""

    declared = evaluated = frozenset({"c"})
    passed, digest = True, "d" * 64
    waivable: frozenset[str] = frozenset()

    def __init__(self, snapshot_id: int, **neighbours: int) -> None:
        self.snapshot_id = snapshot_id
        self.neighbours = tuple((f"nyc.{name}", id_) for name, id_ in neighbours.items())


def heads(**reports: Seen) -> tuple[list[AuditedHead], list[Seen]]:
    branch = Branch.of_run("nyc-1")
    made = [
        AuditedHead(branch, TableName.parse(f"nyc.{name}"), report.snapshot_id, None, report)
        for name, report in reports.items()
    ]
    return made, list(reports.values())


def test_what_an_audit_saw_beside_it_is_what_is_published_with_it():
    check_beside(*heads(planes=Seen(7), flights=Seen(8, planes=7, airlines=1)))
    with pytest.raises(UnauditedError, match=r"snapshot 6 of nyc\.planes, not at 7"):
        check_beside(*heads(planes=Seen(7), flights=Seen(8, planes=6)))
