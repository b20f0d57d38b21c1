"""Drafts: held against all that files are held against, and messages that name version and key."""

from __future__ import annotations

import sqlite3

import pytest

from checks.errors import ContractError
from wap.declared import declared, of_version, prove
from wap.errors import ConfigError
from wap.exchange import difference, export, prove_file, prove_files
from wap.located import MAX_OPEN, read_yaml
from wap.project import load_project
from wap.versions import ContractText, Version, make_change, make_draft

PIPELINE = """\
table: nyc.flights
source: {kind: files, path: data/f.csv, format: csv}
write: {mode: append}
contracts: [contracts/flights.yml]
"""
CONTRACT = "dataset: wap/nyc/flights\ncolumns: []\nchecks:\n- row_count:\n"


def version(pipeline: str = PIPELINE, number: int = 3, **contracts: str) -> Version:
    texts = contracts or {"flights": CONTRACT}
    return Version(
        name="flights", version=number, author="ann", at="2026-01-02T03:04:05Z", reason="r",
        digest="d", table="nyc.flights", pipeline=pipeline,
        contracts=tuple(ContractText(path=f"contracts/{k}.yml", text=t) for k, t in texts.items()),
    )  # fmt: skip


def test_a_version_says_what_a_file_would():
    said = of_version(version())
    assert (said.version, said.pipeline.table, said.table.name) == (3, "nyc.flights", "flights")


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("append", "apend", "pipeline flights, version 3, line 3, key write.mode"),
        ("write:", "wriet:", "pipeline flights, version 3, line 3, key wriet"),
        ("format: csv", "format: 7", "pipeline flights, version 3, line 2, key source.format"),
        ("table:", "table", "pipeline flights, version 3, line 2"),
        ("nyc.flights", f"nyc.{'x' * 999}", "pipeline flights, version 3, line 1, key table"),
    ],
)
def test_a_slip_names_version_line_and_key(old, new, where):
    with pytest.raises(ConfigError) as caught:
        of_version(version(PIPELINE.replace(old, new, 1)))
    assert caught.value.where == where or where in str(caught.value)


def test_a_slip_in_a_contract_names_version_contract_and_line():
    with pytest.raises(ContractError) as caught:
        of_version(version(flights=CONTRACT.replace("row_count", "row_cuont")))
    assert caught.value.where == "pipeline flights, version 3, contracts/flights.yml:4"


@pytest.mark.parametrize("key", ["transform", "transforms", "transformations"])
def test_transformations_are_refused_and_not_ignored(key):
    with pytest.raises(ConfigError, match="transforms no rows"):
        of_version(version(f"{PIPELINE}{key}: [a]\n"))


@pytest.mark.parametrize(
    "source",
    [
        "path: https://me:hunter2@host/f.csv",
        'path: [data/a.csv, "s3://bucket/f.csv?X-Amz-Signature=hunter2"]',
    ],
)
def test_a_secret_is_refused_and_not_repeated(source):
    text = PIPELINE.replace("path: data/f.csv", source)
    with pytest.raises(ConfigError, match="may hold a secret") as caught:
        of_version(version(text))
    assert "key source.path" in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_column_may_be_called_password():
    text = PIPELINE + "schema: {columns: {password: string}}\ntags: {password: [pii]}\n"
    assert of_version(version(text)).pipeline.masked == {"password"}


@pytest.mark.parametrize(
    ("name", "path"),
    [("../x", "c.yml"), ("", "c.yml"), ("a b", "c.yml"), ("x" * 201, "c.yml"), ("x", "../c.yml"),
     ("x", "/c.yml"), ("x", "a/../c.yml"), ("x", "a\\c.yml"), ("x", "./c.yml"), ("x", ""),
     ("x", "c\n.yml"), ("x", "c" * 201)],
)  # fmt: skip
def test_odd_names_and_paths_are_refused(name, path):
    with pytest.raises(ConfigError):
        make_draft(name, "a: b", [ContractText(path=path, text="x")])


@pytest.mark.parametrize(("author", "reason"), [("", "r"), ("a", " "), ("a\nb", "r"), ("a", "\0")])
def test_who_and_why_are_said(author, reason):
    with pytest.raises(ConfigError, match=r"one line of text|NUL character"):
        make_change(author, reason)


def test_a_text_is_bounded_before_it_is_parsed():
    for text in ("[" * 200_000, "a: " + "{" * (MAX_OPEN + 1)):
        with pytest.raises(ConfigError, match="brackets are open"):
            read_yaml(text, "x.yml")
    assert read_yaml("a: [" + "[], " * 5_000 + "]\nb: ']['\n", "x.yml").data["b"] == "]["


def test_half_a_character_is_refused_where_it_stands():
    with pytest.raises(ConfigError, match="half a character") as caught:
        read_yaml('a: x\nb: ["\\ud83d"]\n', "x.yml")
    assert caught.value.where == "x.yml:2"


def test_a_run_takes_nothing_unproved_that_sql_stored(tmp_path):
    (tmp_path / "wap.toml").write_text('[pipelines]\nfrom = "database"\n')
    project = load_project(tmp_path, {})
    proved = prove(make_draft("flights", PIPELINE, version().contracts), "draft")
    project.registry.put(proved, make_change("ann", "r"), expected=None)
    assert declared(project, "flights").version == 1
    with sqlite3.connect(tmp_path / ".wap/ledger.db") as connection:
        connection.execute(
            "INSERT INTO versions (name, version, deleted, author, created_at, reason, digest,"
            " definition) SELECT name, 2, deleted, author, created_at, reason, '', definition"
            " FROM versions"
        )
        connection.execute(
            "INSERT INTO version_contracts SELECT name, 2, position, path,"
            " 'dataset: wap/nyc/flights\ncolumns: []\n' FROM version_contracts"
        )
    connection.close()
    with pytest.raises(ContractError, match="no check"):
        declared(project, "flights")


# --- files -------------------------------------------------------------------------------------


def test_what_is_exported_is_what_was_stored(tmp_path):
    stored = version(PIPELINE + "description: «ü» 🛫\n")
    export([stored], tmp_path)
    assert (tmp_path / "pipelines/flights.yml").read_bytes() == stored.pipeline.encode()
    proved = prove_file(tmp_path / "pipelines/flights.yml", tmp_path)
    assert proved.draft == make_draft("flights", stored.pipeline, stored.contracts)
    assert prove_files(tmp_path) == [proved]
    export([stored], tmp_path)  # again: nothing to change


def test_an_export_overwrites_nothing(tmp_path):
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts/flights.yml").write_text("mine")
    with pytest.raises(ConfigError, match="another text"):
        export([version()], tmp_path)
    assert not (tmp_path / "pipelines").exists()
    assert (tmp_path / "contracts/flights.yml").read_text() == "mine"


def test_two_pipelines_that_want_one_file_are_not_exported(tmp_path):
    other = version(flights=CONTRACT + "- duplicate: {columns: [a]}\n")
    with pytest.raises(ConfigError, match="of different texts"):
        export([version(), other.model_copy(update={"name": "other"})], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_export_follows_no_link_out(tmp_path):
    (tmp_path / "project").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "project/contracts").symlink_to(tmp_path / "out")
    with pytest.raises(ConfigError, match="leads out"):
        export([version()], tmp_path / "project")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_with_a_slip_is_not_proved(tmp_path):
    (tmp_path / "pipelines").mkdir()
    (tmp_path / "pipelines/flights.yml").write_text(PIPELINE)
    with pytest.raises(ConfigError, match="no such file"):
        prove_files(tmp_path)
    with pytest.raises(ConfigError, match=r"ends in \.yml"):
        prove_file(tmp_path / "wap.toml", tmp_path)
    with pytest.raises(ConfigError, match="no pipeline's file"):
        prove_files(tmp_path / "nowhere")


def test_differences_name_files_and_versions():
    old = version()
    new = version(PIPELINE + "owners: [a]\n", number=4)
    told = difference(old, new)
    assert "--- pipelines/flights.yml (version 3)\n+++ pipelines/flights.yml (version 4)" in told
    assert "+owners: [a]\n" in told
    assert difference(old, old) == ""
    gone = old.model_copy(update={"deleted": True, "version": 5})
    assert "-table: nyc.flights\n" in difference(old, gone)


def test_a_draft_names_each_of_its_contracts():
    given = [ContractText(path="contracts/flights.yml", text=CONTRACT)]
    prove(make_draft("flights", PIPELINE, given), "draft")
    with pytest.raises(ConfigError, match=r"'contracts/flights\.yml' is missing"):
        prove(make_draft("flights", PIPELINE, []), "draft")
    more = [*given, ContractText(path="contracts/more.yml", text=CONTRACT)]
    with pytest.raises(ConfigError, match=r"does not name the contract 'contracts/more\.yml'"):
        prove(make_draft("flights", PIPELINE, more), "draft")
