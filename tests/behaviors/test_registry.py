"""Pipelines in database tables, on SQLite and on Postgres: every change is a version."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from checks.errors import ContractError
from wap.declared import Proved, of_version, prove
from wap.errors import ConfigError, VersionMovedError
from wap.ledger import open_ledger, open_registry
from wap.ledger.registry import Registry
from wap.project import Project, load_project
from wap.versions import ContractText, Version, make_change, make_draft

PIPELINE = """\
table: nyc.flights
source: {kind: files, path: [data/f*.csv, "s3://lake/in/*.csv"], format: csv}
write: {mode: append}
contracts: [contracts/flights.yml]
owners: [data-eng, ops]
"""
CONTRACT = """\
dataset: wap/nyc/flights
columns:
- name: carrier
  checks:
  - missing:
checks:
- row_count: {threshold: {level: warn, must_be_greater_than: 5}}
"""
BY = make_change("ann", "because")


def proved(name: str = "flights", note: str = "", contract: str = CONTRACT) -> Proved:
    text = f"{PIPELINE}description: {note}\n" if note else PIPELINE
    contracts = [ContractText(path="contracts/flights.yml", text=contract)]
    return prove(make_draft(name, text, contracts), f"pipeline {name}, draft")


@pytest.fixture
def registry(url: str) -> Iterator[Registry]:
    with closing(open_registry(url)) as opened:
        opened.migrate()
        yield opened


@pytest.fixture
def select(url: str) -> Iterator[Callable[[str], list[Any]]]:
    """What an auditor's own SQL sees."""
    engine = sa.create_engine(url)

    def ask(sql: str) -> list[Any]:
        with engine.connect() as connection:
            return [tuple(row) for row in connection.execute(sa.text(sql))]

    yield ask
    engine.dispose()


def test_a_version_is_read_back_as_it_was_stored(registry):
    made = registry.put(proved(note="«ünïcode» 🛫"), BY, expected=None)
    assert (made.version, made.author, made.reason) == (1, "ann", "because")
    assert registry.latest("flights") == registry.version("flights", 1) == made
    assert made.pipeline.endswith("«ünïcode» 🛫\n")
    assert registry.names() == ["flights"]


def test_what_was_never_stored_is_none(registry):
    assert registry.latest("flights") is None
    assert registry.version("flights", 1) is None
    assert (registry.names(), registry.pipelines(), registry.history("flights")) == ([], [], [])
    assert registry.delete("flights", BY, expected=None) is None


def test_every_change_is_a_version_and_the_earlier_ones_stay(registry):
    stored = [registry.put(proved(note=f"n{n}"), BY, expected=n or None) for n in range(3)]
    assert [v.version for v in stored] == [1, 2, 3]
    assert [registry.version("flights", n) for n in (1, 2, 3)] == stored
    assert registry.latest("flights") == stored[-1]
    assert [v.version for v in registry.history("flights")] == [3, 2, 1]


def test_a_change_of_a_contract_alone_is_a_version(registry):
    registry.put(proved(), BY, expected=None)
    other = CONTRACT + "- duplicate: {columns: [carrier]}\n"
    made = registry.put(proved(contract=other), BY, expected=1)
    assert (made.version, made.contracts[0].text) == (2, other)


def test_the_same_text_again_is_no_version(registry):
    """A put whose answer was lost is sent again; what it expects is then the past."""
    first = registry.put(proved(), BY, expected=None)
    assert registry.put(proved(), make_change("bob", "again"), expected=None) == first
    assert len(registry.history("flights")) == 1


@pytest.mark.parametrize(("expected", "found"), [(None, 2), (1, 2), (3, 2)])
def test_whoever_saw_another_version_is_refused(registry, expected, found):
    registry.put(proved(note="a"), BY, expected=None)
    registry.put(proved(note="b"), BY, expected=1)
    with pytest.raises(VersionMovedError) as caught:
        registry.put(proved(note="c"), BY, expected=expected)
    assert caught.value.found == found
    with pytest.raises(VersionMovedError):
        registry.delete("flights", BY, expected=expected)
    assert len(registry.history("flights")) == 2


def test_of_many_at_once_one_is_stored(registry):
    registry.put(proved(), BY, expected=None)

    def one(n: int) -> Version | None:
        try:
            return registry.put(proved(note=f"n{n}"), BY, expected=1)
        except VersionMovedError:
            return None

    with ThreadPoolExecutor(8) as pool:
        stored = [made for made in pool.map(one, range(16)) if made is not None]
    assert len(stored) == 1
    assert registry.latest("flights") == stored[0]
    assert [v.version for v in registry.history("flights")] == [2, 1]


def test_two_that_saw_one_version_meet_at_its_key(postgres):
    """On Postgres both may have read before either writes: the second adds nothing."""
    name = postgres.database()
    with closing(open_registry(postgres.url(name))) as registry:
        registry.migrate()
        registry.put(proved(note="a"), BY, expected=None)
        with ThreadPoolExecutor(1) as pool, registry._database.write() as connection:
            connection.execute(
                sa.text(
                    "INSERT INTO versions (name, version, deleted, author, created_at, reason,"
                    " digest) SELECT name, 2, true, author, created_at, reason, '' FROM versions"
                )
            )
            late = pool.submit(registry.put, proved(note="b"), BY, expected=1)
            waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            with registry._database.read() as other:
                while not late.done() and not other.scalar(waits):
                    pass
            connection.commit()
            with pytest.raises(VersionMovedError):
                late.result()
        assert [v.version for v in registry.history("flights")] == [2, 1]
    postgres.drop(name)


def test_deleted_is_a_version_that_says_so(registry):
    registry.put(proved(), BY, expected=None)
    gone = registry.delete("flights", make_change("bob", "moved away"), expected=1)
    assert gone is not None
    assert (gone.version, gone.deleted, gone.author, gone.reason) == (2, True, "bob", "moved away")
    assert (registry.latest("flights"), registry.names(), registry.pipelines()) == (None, [], [])
    assert registry.version("flights", 1) is not None
    again = registry.delete("flights", BY, expected=1)
    assert again is not None
    assert again.version == 2, "what is gone stays as it is"
    back = registry.put(proved(), BY, expected=None)
    assert (back.version, registry.latest("flights")) == (3, back)


def test_lists_come_page_by_page(registry):
    for name in ("c", "a", "b"):
        registry.put(proved(name), BY, expected=None)
    assert [v.name for v in registry.pipelines(limit=2)] == ["a", "b"]
    assert [v.name for v in registry.pipelines(after="b", limit=2)] == ["c"]
    registry.put(proved("a", note="x"), BY, expected=1)
    registry.put(proved("a", note="y"), BY, expected=2)
    assert [v.version for v in registry.history("a", limit=2)] == [3, 2]
    assert [v.version for v in registry.history("a", before=2)] == [1]


@pytest.mark.parametrize("table", ["versions", "version_contracts", "version_checks"])
@pytest.mark.parametrize("sql", ["UPDATE {} SET name = 'x'", "DELETE FROM {}"])
def test_nobody_changes_a_version_by_sql_either(registry, url, table, sql):
    registry.put(proved(), BY, expected=None)
    engine = sa.create_engine(url)
    with pytest.raises(sa.exc.DBAPIError, match="never changed"), engine.begin() as connection:
        connection.execute(sa.text(sql.format(table)))
    engine.dispose()
    assert registry.latest("flights") is not None


def test_what_is_declared_can_be_asked_for_in_sql(registry, select):
    registry.put(proved(), BY, expected=None)
    assert select(
        "SELECT table_name, source_kind, source_location, write_mode, owners FROM versions"
    ) == [("nyc.flights", "files", "data/f*.csv, s3://lake/in/*.csv", "append", "data-eng, ops")]
    checks = "SELECT check_name, kind, column_name, blocking FROM version_checks ORDER BY position"
    assert [(n.partition(":")[2], k, c, bool(b)) for n, k, c, b in select(checks)] == [
        ("columns.carrier.checks.missing", "missing", "carrier", True),
        ("checks.row_count", "row_count", None, False),
    ]


def test_the_question_in_the_docs_is_answered(registry, select):
    registry.put(proved("bare"), BY, expected=None)
    checked = CONTRACT + "- duplicate: {columns: [carrier]}\n"
    registry.put(proved("checked", contract=checked), BY, expected=None)
    registry.put(proved("gone"), BY, expected=None)
    registry.delete("gone", BY, expected=1)
    docs = (Path(__file__).parents[2] / "docs" / "server.md").read_text()
    question = docs.partition("```sql\n")[2].partition("```")[0]
    assert select(question) == [("bare", "nyc.flights")]


def _insert(url: str, name: str, definition: str | None, contract: str) -> None:
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        connection.execute(
            sa.text(
                "INSERT INTO versions (name, version, deleted, author, created_at, reason, digest,"
                " definition) VALUES (:n, 1, false, 'sql', '2026-01-02 03:04:05', 'r', '', :d)"
            ),
            {"n": name, "d": definition},
        )
        connection.execute(
            sa.text("INSERT INTO version_contracts VALUES (:n, 1, 0, :p, :c)"),
            {"n": name, "p": "contracts/flights.yml", "c": contract},
        )
    engine.dispose()


def test_a_pipeline_may_be_declared_by_sql(registry, url):
    _insert(url, "flights", PIPELINE, CONTRACT)
    latest = registry.latest("flights")
    assert latest is not None
    said = of_version(latest)
    assert (said.version, said.pipeline.table, said.contracts[0].text) == (
        1, "nyc.flights", CONTRACT,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("definition", "contract", "error", "said"),
    [
        (PIPELINE.replace("append", "apend"), CONTRACT, ConfigError, "key write.mode"),
        (PIPELINE, "dataset: wap/nyc/flights\ncolumns: []\n", ContractError, "no check"),
        (PIPELINE, CONTRACT.replace("nyc", "nyk"), ContractError, "loads nyc.flights"),
        (PIPELINE.replace("f*.csv", "https://u:p@h/x"), CONTRACT, ConfigError, "may hold a secret"),
    ],
)
def test_what_sql_stored_is_proved_before_it_is_used(
    registry, url, definition, contract, error, said
):
    text = definition.replace("data/https", "https")
    _insert(url, "flights", text, contract)
    latest = registry.latest("flights")
    assert latest is not None
    with pytest.raises(error, match="pipeline flights, version 1") as caught:
        of_version(latest)
    assert said in str(caught.value)


def test_a_version_without_a_text_is_a_clear_error_and_can_be_followed_by_another(registry, url):
    _insert(url, "flights", None, CONTRACT)
    latest = registry.latest("flights")
    assert latest is not None
    with pytest.raises(ConfigError, match="found nothing") as caught:
        of_version(latest)
    assert caught.value.where == "pipeline flights, version 1"
    assert registry.put(proved(), BY, expected=1).version == 2


def test_ledger_and_registry_share_a_database(registry, url):
    registry.put(proved(), BY, expected=None)
    with closing(open_ledger(url)) as ledger:
        ledger.migrate()
        assert list(ledger.runs()) == []


# --- a project that reads them -------------------------------------------------------------------


def _project(root: Path, url: str, source: str) -> Project:
    root.mkdir(exist_ok=True)
    (root / "wap.toml").write_text(f'[pipelines]\nfrom = "{source}"\n')
    return load_project(root, {"WAP_LEDGER__URL": url})


def _file(root: Path, name: str) -> None:
    for folder, text in (("pipelines", PIPELINE), ("contracts", CONTRACT)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / f"{name}.yml").write_text(text)


def test_a_project_reads_where_it_is_told_to(registry, url, tmp_path):
    root = tmp_path / "project"
    _file(root, "flights")
    registry.put(proved("stored"), BY, expected=None)
    assert _project(root, url, "files").pipelines() == ["flights"]
    assert _project(root, url, "database").pipelines() == ["stored"]
    both = _project(root, url, "both")
    assert both.pipelines() == ["flights", "stored"]
    assert [both.pipeline(n).name for n in both.pipelines()] == ["flights", "stored"]
    assert (both.stored("flights"), both.stored("stored")) == (None, registry.latest("stored"))


def test_one_name_in_both_places_is_an_error_that_says_so(registry, url, tmp_path):
    root = tmp_path / "project"
    _file(root, "flights")
    registry.put(proved(), BY, expected=None)
    project = _project(root, url, "both")
    for ask in (project.pipelines, lambda: project.pipeline("flights")):
        with pytest.raises(ConfigError, match="declared twice, in a file and in the database"):
            ask()
    registry.delete("flights", BY, expected=1)
    assert project.pipelines() == ["flights"]


def test_a_pipeline_that_is_not_in_the_database(url, tmp_path):
    project = _project(tmp_path / "project", url, "database")
    with pytest.raises(ConfigError, match="no pipeline 'flights'") as caught:
        project.pipeline("flights")
    assert "wap pipelines put" in caught.value.hint


def test_columns_of_a_stored_pipeline_are_masked(registry, url, tmp_path):
    text = PIPELINE + "tags: {carrier: [pii]}\n"
    contracts = [ContractText(path="contracts/flights.yml", text=CONTRACT)]
    registry.put(prove(make_draft("flights", text, contracts), "x"), BY, expected=None)
    assert _project(tmp_path / "p", url, "database").masked("nyc.flights") == {"carrier"}
