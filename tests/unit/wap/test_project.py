"""Projects: layers of settings, what is refused and where, and paths that stay inside."""

from __future__ import annotations

from pathlib import Path

import pytest

from wap.errors import ConfigError
from wap.paths import inside, resolved_sqlite, without_password
from wap.project import Project, load_project
from wap.settings import Settings, size_in_bytes

ROOT = Path(__file__).parents[3]
PIPELINE = """\
table: nyc.flights
source: {kind: files, path: data/f.csv, format: csv}
write: {mode: append}
contracts: [contracts/flights.yml]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "my project"
    (root / "pipelines").mkdir(parents=True)
    (root / "contracts").mkdir()
    (root / "wap.toml").touch()
    (root / "pipelines" / "flights.yml").write_text(PIPELINE, encoding="utf-8")
    (root / "contracts" / "flights.yml").write_text("dataset: x\n", encoding="utf-8")
    return root


def load(folder: Path, toml: str = "", env: dict[str, str] | None = None, **flags: str) -> Project:
    (folder / "wap.toml").write_text(toml, encoding="utf-8")
    return load_project(folder, env or {}, {k.replace("__", "."): v for k, v in flags.items()})


def error(
    folder: Path, toml: str = "", env: dict[str, str] | None = None, **flags: str
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(folder, toml, env, **flags)
    return caught.value


def test_an_empty_file_is_a_whole_project(folder: Path) -> None:
    project = load(folder)
    assert project.name == "my-project"
    assert project.state == folder / ".wap"
    assert project.reports == folder / "reports"
    assert project.catalog_properties == {
        "uri": f"sqlite:///{folder}/.wap/catalog.db",
        "warehouse": str(folder / "warehouse"),
    }
    assert project.ledger.url == f"sqlite:///{folder}/.wap/ledger.db"
    assert project.lineage.folder == str(folder / "lineage")
    assert project.engine.memory == 400_000_000
    assert project.pipelines() == ["flights"]
    assert project.pipeline("flights").table == "nyc.flights"
    assert project.contract_text("contracts/flights.yml") == "dataset: x\n"
    assert not project.state.exists(), "opening a project writes nothing"


def test_flags_win_over_the_environment_and_that_over_the_file(folder: Path) -> None:
    toml = '[audit]\nsample_rows = 1\n[engine]\nmemory = "1GiB"\n'
    env = {"WAP_AUDIT__SAMPLE_ROWS": "2"}
    assert load(folder, toml).audit.sample_rows == 1
    assert load(folder, toml, env).audit.sample_rows == 2
    assert load(folder, toml, env, audit__sample_rows="3").audit.sample_rows == 3
    assert load(folder, toml, env).engine.memory == 2**30


def test_properties_of_the_catalog(folder: Path) -> None:
    toml = '[catalog.properties]\n"s3.endpoint" = "http://a"\n'
    env = {"WAP_CATALOG__PROPERTIES__S3__ACCESS_KEY_ID": "key"}
    project = load(folder, toml, env, **{"catalog__properties__s3.region": "eu"})
    assert project.catalog.properties == {
        "s3.endpoint": "http://a",
        "s3.access-key-id": "key",
        "s3.region": "eu",
    }


def test_temporals_own_variables_are_read(folder: Path) -> None:
    env = {"TEMPORAL_ADDRESS": "t:7233", "TEMPORAL_NAMESPACE": "n", "TEMPORAL_API_KEY": "secret"}
    temporal = load(folder, '[temporal]\naddress = "x:1"\n', env).temporal
    assert (temporal.address, temporal.namespace) == ("t:7233", "n")
    assert temporal.api_key is not None
    assert temporal.api_key.get_secret_value() == "secret"
    ours = load(folder, "", {**env, "WAP_TEMPORAL__ADDRESS": "w:1"}).temporal
    assert ours.address == "w:1"


BAD_FILES = [
    ("[catalgo]\n", "unknown key 'catalgo'", "wap.toml:1", "did you mean 'catalog'?"),
    ("\n[catalog]\nurl = 'x'\n", "unknown key 'url'", "wap.toml:3", "did you mean 'uri'?"),
    ("[audit]\nsample_rows = 'x'\n", "a whole number is expected", "wap.toml:2", ""),
    ("[audit]\nsample_rows = -1\n", "greater than or equal to 0", "wap.toml:2", ""),
    ("[lineage]\nkind = 'datahup'\n", "not one of", "wap.toml:2", "did you mean 'datahub'?"),
    ("[engine]\nmemory = '400'\n", "not a size; write 400MB", "wap.toml:2", ""),
    ("[engine]\nmemory = '1MB'\n", "less than 64MB", "wap.toml:2", ""),
    ("[audit]\nmemory = 'much'\n", "not a size", "wap.toml:2", ""),
    ("[temporal]\naddress = 'http://x'\n", "should match pattern", "wap.toml:2", ""),
    ("[project]\nname = 'a b'\n", "should match pattern", "wap.toml:2", ""),
    ("audit = 3\n", "a mapping of keys is expected", "wap.toml:1", ""),
    ("[audit\n", "not valid TOML", "wap.toml:1", ""),
    ("a = 1\na = 2\n", "not valid TOML", "wap.toml:2", ""),
    ("[catalog]\nwarehouse = '../x'\n", "leads out of the project", "wap.toml:2", "file:///"),
    ("[catalog]\nwarehouse = '/tmp/x'\n", "leads out of the project", "wap.toml:2", "file:///"),
    ("[catalog]\nuri = 'sqlite:///../x.db'\n", "leads out of the project", "wap.toml:2", ""),
    ("[ledger]\nurl = 'sqlite:///../x.db'\n", "leads out of the project", "wap.toml:2", ""),
    ("[ledger]\nurl = 'hunter2'\n", "a database URL is expected", "wap.toml:2", ""),
    ("[spark]\nremote = 'sc://h:1/;token=hunter2=='\n", "with = as %3D", "wap.toml:2", ""),
    ("[spark]\nremote = 'sc://h:1/;hunter2'\n", "sc://host:port is", "wap.toml:2", ""),
    ("[spark]\nremote = 'sc://me:hunter2@h:1'\n", "sc://host:port is", "wap.toml:2", ""),
    ("[lineage]\nurl = 'http://me:hunter2@h'\n", "without user", "wap.toml:2", ""),
    ("[lineage]\nurl = 'http://h?token=hunter2'\n", "without user", "wap.toml:2", ""),
    ("[lineage]\nurl = 'http://me:[hunter2@h'\n", "without user", "wap.toml:2", ""),
    ("[temporal]\naddress = 'me:hunter2@h:7233'\n", "should match", "wap.toml:2", ""),
    ("[catalog]\nwarehouse = 'https://h/x'\n", "no table can lie in https", "wap.toml:2", "s3,"),
    ("[catalog]\nwarehouse = 'gs://me:hunter2@b/x'\n", "name or password", "wap.toml:2", ""),
    ("[catalog]\nwarehouse = 'hdfs://hunter2@b/x'\n", "name or password", "wap.toml:2", ""),
    ("[lineage]\nfolder = '..'\n", "leads out of the project", "wap.toml:2", ""),
]


@pytest.mark.parametrize(
    ("toml", "what", "where", "hint"), BAD_FILES, ids=[b[0] for b in BAD_FILES]
)
def test_a_slip_in_the_file(folder: Path, toml: str, what: str, where: str, hint: str) -> None:
    found = error(folder, toml)
    assert what in found.what
    assert found.where == where
    assert hint in found.hint
    assert "hunter2" not in str(found)


def _catalog(kind: str, **settings: str) -> str:
    lines = [f"{key} = {value!r}" for key, value in {"kind": kind, **settings}.items()]
    return "\n".join(["[catalog]", *lines, ""])


PG = "postgresql://me:hunter2@db/cat"
NESSIE = "http://localhost:19120/api/v2"
BAD_CATALOGS = [
    (_catalog("mysql"), "not one of", "wap.toml:2", ""),
    (_catalog("sqlite", uri=PG), "no uri for a catalog of kind 'sqlite'", "wap.toml:3", "postgres"),
    (_catalog("postgres"), "needs a uri", "wap.toml:2", "postgresql://user@host:5432/database"),
    (_catalog("postgres", uri="sqlite:///a.db"), "no uri for", "wap.toml:3", 'kind = "sqlite"'),
    (
        _catalog("postgres", uri="postgresql+asyncpg://me:hunter2@h/d"),
        "no uri for",
        "wap.toml:3",
        "",
    ),
    (
        _catalog("postgres", uri="postgresql://me:hunter2@db"),
        "no uri for",
        "wap.toml:3",
        "database",
    ),
    (_catalog("postgres", uri=PG, warehouse="../x"), "leads out", "wap.toml:4", "file:///"),
    (_catalog("rest"), "needs a uri", "wap.toml:2", "https://host/path"),
    (_catalog("rest", uri=PG), "no uri for", "wap.toml:3", 'kind = "postgres"'),
    (_catalog("rest", uri="http://[::1/x"), "no uri for", "wap.toml:3", "https://host/path"),
    (_catalog("rest", uri="https://me:hunter2@h"), "credentials", "wap.toml:3", "TOKEN"),
    (_catalog("glue"), "needs a warehouse", "wap.toml:2", "s3://"),
    (
        _catalog("glue", uri="https://h", warehouse="s3://b"),
        "has no uri",
        "wap.toml:3",
        "glue.region",
    ),
    (_catalog("hive", warehouse="s3://b"), "needs a uri", "wap.toml:2", "thrift://"),
    (_catalog("hive", uri="thrift://h:9083"), "needs a warehouse", "wap.toml:2", "s3://"),
    (_catalog("hive", uri="thrift://h", warehouse="s3://b"), "no uri for", "wap.toml:3", "9083"),
    (_catalog("nessie"), "needs a uri", "wap.toml:2", "http://host:19120/api/v2"),
    (_catalog("nessie", uri=NESSIE, warehouse="../x"), "leads out", "wap.toml:4", "file:///"),
    (_catalog("nessie", uri="http://me:hunter2@h"), "credentials", "wap.toml:3", "TOKEN"),
]


@pytest.mark.parametrize(
    ("toml", "what", "where", "hint"), BAD_CATALOGS, ids=[repr(b[0]) for b in BAD_CATALOGS]
)
def test_a_catalog_that_cannot_be_opened(folder, toml, what, where, hint) -> None:
    test_a_slip_in_the_file(folder, toml, what, where, hint)


GOOD_CATALOGS = [
    ("nessie", {"uri": NESSIE}, {"uri": NESSIE, "warehouse": "{folder}/warehouse"}),
    (
        "nessie",
        {"uri": NESSIE, "warehouse": "s3://b/w"},
        {"uri": NESSIE, "warehouse": "s3://b/w"},
    ),
    ("postgres", {"uri": PG}, {"uri": PG, "warehouse": "{folder}/warehouse"}),
    ("rest", {"uri": "https://h/c"}, {"uri": "https://h/c"}),
    ("rest", {"uri": "https://h", "warehouse": "lake"}, {"uri": "https://h", "warehouse": "lake"}),
    ("glue", {"warehouse": "s3://b/w"}, {"warehouse": "s3://b/w"}),
    (
        "hive",
        {"uri": "thrift://h:9083", "warehouse": "s3://b/w"},
        {"uri": "thrift://h:9083", "warehouse": "s3://b/w"},
    ),
]


@pytest.mark.parametrize(("kind", "given", "properties"), GOOD_CATALOGS)
def test_what_a_catalog_is_opened_with(folder, kind, given, properties) -> None:
    project = load(folder, _catalog(kind, **given))
    expected = {k: v.replace("{folder}", str(folder)) for k, v in properties.items()}
    assert project.catalog_properties == expected
    env = {"WAP_CATALOG__KIND": kind, **{f"WAP_CATALOG__{k.upper()}": v for k, v in given.items()}}
    assert load(folder, "", env).catalog_properties == expected


BAD_VARIABLES = [
    ("WAP_CATALOG__URX", "did you mean 'WAP_CATALOG__URI'?"),
    ("WAP_CATALOGUE__URI", "did you mean 'WAP_CATALOG__URI'?"),
    ("WAP_CATALOG_URI", "did you mean WAP_CATALOG__URI? Two underscores nest"),
    ("WAP_CATALOG__URI__X", "did you mean 'WAP_CATALOG__URI'?"),
    ("WAP_X__Y", ""),
]


@pytest.mark.parametrize(("name", "hint"), BAD_VARIABLES)
def test_a_slip_in_a_variable(folder: Path, name: str, hint: str) -> None:
    found = error(folder, env={name: "hunter2"})
    assert found.where == f"environment variable {name}"
    assert hint in found.hint
    assert "hunter2" not in str(found)


@pytest.mark.parametrize("key", ["token", "auditor_token"])
def test_a_token_of_the_api_in_a_file_is_refused(folder: Path, key: str) -> None:
    found = error(folder, f'[api]\n{key} = "hunter2"\n')
    assert (found.what, found.where) == (f"{key} may not stand in a file", "wap.toml:2")
    assert f"WAP_API__{key.upper()}" in found.hint
    assert "hunter2" not in str(found)


def test_other_programs_variables_are_left_alone(folder: Path) -> None:
    load(folder, env={"WAP_REQUIRE_SERVERS": "1", "WAPPEN__X": "1", "PATH": "x"})


def test_a_bad_value_names_its_variable_or_flag(folder: Path) -> None:
    assert error(folder, env={"WAP_AUDIT__SAMPLE_ROWS": "x"}).where == "WAP_AUDIT__SAMPLE_ROWS"
    assert error(folder, audit__sample_rows="x").where == "flag audit.sample_rows"
    assert error(folder, audit__sampel_rows="3").hint == "did you mean 'audit.sample_rows'?"


def test_every_setting_can_be_given_by_variable_and_by_flag(folder: Path) -> None:
    for section, field in Settings.model_fields.items():
        for key in field.default.written_keys():
            if (section, key) == ("catalog", "properties"):
                continue
            for found in (
                error(folder, env={f"WAP_{section}__{key}".upper() + "X": "1"}),
                error(folder, **{f"{section}__{key}x": "1"}),
            ):
                assert key in found.hint.lower()


SECRETS = {
    "WAP_CATALOG__KIND": "postgres",
    "WAP_CATALOG__URI": "postgresql+psycopg://me:hunter2@db/cat",
    "WAP_LEDGER__URL": "postgresql+psycopg2://me:hunter2@db/led",
    "WAP_CATALOG__PROPERTIES__S3__SECRET_ACCESS_KEY": "hunter2",
    "WAP_LINEAGE__TOKEN": "hunter2",
    "WAP_TEMPORAL__API_KEY": "hunter2",
}


@pytest.mark.parametrize(
    "url", ["sc://h", "sc://h:15002", "sc://[::1]:15002/", "sc://h:1/;token=a%3D;use_ssl=true"]
)
def test_a_connect_server_is_taken_as_pyspark_takes_it(folder: Path, url: str) -> None:
    assert load(folder, env={"WAP_SPARK__REMOTE": url}).spark.remote == url


def test_secrets_are_never_shown(folder: Path) -> None:
    project = load(folder, env=SECRETS)
    assert "hunter2" in project.catalog_properties["uri"]
    for shown in (repr(project), str(project), repr(project.settings), project.id):
        assert "hunter2" not in shown
    bad = error(folder, env={**SECRETS, "WAP_AUDIT__SAMPLE_ROWS": "x"})
    assert "hunter2" not in f"{bad} {bad.__cause__!r}".replace(repr(bad.__cause__), str(bad))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pw@host:1/db?sslkey=pw", "postgresql://me@host:1/db"),
        ("postgresql://me:p[w@host:1/db", "postgresql://me@host:1/db"),
        ("https://host/x?token=pw", "https://host/x"),
        ("https://host?token=pw", "https://host"),
        ("https://host/x#token=pw", "https://host/x"),
        ("sqlite:////a/b.db", "sqlite:////a/b.db"),
        ("s3://bucket/key", "s3://bucket/key"),
        ("plain/path", "plain/path"),
    ],
)
def test_urls_are_shown_without_secrets(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_the_id_follows_the_tables_not_the_folder(folder: Path, tmp_path: Path) -> None:
    shared = {
        "WAP_CATALOG__KIND": "postgres",
        "WAP_CATALOG__URI": "postgresql://me:a@db/c",
        "WAP_CATALOG__WAREHOUSE": "s3://b",
    }
    toml = '[project]\nname = "shop"\n'
    other = tmp_path / "clone"
    other.mkdir()
    assert load(folder, toml, shared).id == load(other, toml, shared).id
    changed = {**shared, "WAP_CATALOG__URI": "postgresql://me:b@db/c"}
    assert load(folder, toml, changed).id == load(folder, toml, shared).id, "a new password"
    assert load(folder, toml).id != load(other, toml).id, "catalogs of their own"
    assert load(folder, toml, shared).id != load(folder, "", shared).id, "another name"
    assert len(load(folder).id) == 12


@pytest.mark.parametrize(
    ("name", "expected"), [("2024 Übersicht!", "project-2024-bersicht"), ("a.b", "a-b")]
)
def test_a_folders_name_becomes_a_projects_name(tmp_path: Path, name: str, expected: str) -> None:
    (tmp_path / name).mkdir()
    assert load(tmp_path / name).name == expected


def test_not_a_project(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        load_project(tmp_path / "gone", {})
    with pytest.raises(ConfigError, match="not a project") as caught:
        load_project(tmp_path, {})
    assert "wap init" in caught.value.hint


def test_pipelines_are_found_by_name(folder: Path) -> None:
    (folder / "pipelines" / "README.md").touch()
    (folder / "pipelines" / ".hidden.yml").touch()
    (folder / "pipelines" / "weather.yaml").write_text(PIPELINE, encoding="utf-8")
    project = load(folder)
    assert project.pipelines() == ["flights", "weather"]
    with pytest.raises(ConfigError, match="no pipeline 'fligths'") as caught:
        project.pipeline("fligths")
    assert caught.value.hint == "did you mean 'flights'?"
    with pytest.raises(ConfigError, match="no pipeline"):
        project.pipeline("../pipelines/flights")


def test_two_files_of_one_name_and_odd_names(folder: Path) -> None:
    twin = folder / "pipelines" / "flights.yaml"
    twin.touch()
    with pytest.raises(ConfigError, match="two files declare"):
        load(folder).pipelines()
    twin.rename(twin.with_name("a b.yml"))
    with pytest.raises(ConfigError, match="'a b' cannot name a pipeline"):
        load(folder).pipelines()
    twin.with_name("a b.yml").rename(twin.with_name(f"{'a' * 150}.yml"))
    assert "a" * 150 in load(folder).pipelines()
    twin.with_name(f"{'a' * 150}.yml").rename(twin.with_name(f"{'a' * 151}.yml"))
    with pytest.raises(ConfigError, match="cannot name a pipeline"):
        load(folder).pipelines()


def test_an_empty_project_says_how_to_begin(tmp_path: Path) -> None:
    project = load(tmp_path)
    assert project.pipelines() == []
    with pytest.raises(ConfigError) as caught:
        project.pipeline("flights")
    assert "wap init" in caught.value.hint


def test_a_pipelines_contracts_must_be_there(folder: Path) -> None:
    text = PIPELINE.replace("contracts/flights.yml", "contracts/flight.yml")
    (folder / "pipelines" / "flights.yml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"no contract 'contracts/flight\.yml'") as caught:
        load(folder).pipeline("flights")
    assert caught.value.where == "pipelines/flights.yml:4"
    assert caught.value.hint == "did you mean 'contracts/flights.yml'?"


@pytest.mark.parametrize("path", ["../secret.yml", "/etc/passwd", "contracts/../../secret.yml", ""])
def test_a_contract_outside_is_refused(folder: Path, path: str) -> None:
    (folder.parent / "secret.yml").write_text("x", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"leads out of the project|is not a path"):
        load(folder).contract_text(path)


def test_links_that_lead_out_are_refused(folder: Path) -> None:
    outside = folder.parent / "secret.yml"
    outside.write_text("x", encoding="utf-8")
    (folder / "contracts" / "link.yml").symlink_to(outside)
    (folder / "pipelines" / "link.yml").symlink_to(outside)
    (folder / "loop").symlink_to("loop")
    project = load(folder)
    for refused in (
        lambda: project.contract_text("contracts/link.yml"),
        lambda: project.pipeline("link"),
        lambda: inside(folder, "loop/x", where="here"),
    ):
        with pytest.raises(ConfigError):
            refused()


def test_a_project_behind_a_link_is_the_project_itself(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder, target_is_directory=True)
    project = load_project(tmp_path / "link", {})
    assert project.root == folder.resolve()
    assert project.contract_text("contracts/flights.yml") == "dataset: x\n"


def test_sqlite_urls_are_taken_from_the_projects_folder(tmp_path: Path) -> None:
    def resolved(url: str) -> str:
        return resolved_sqlite(url, tmp_path, where="x")

    assert resolved("sqlite:///a/b.db?timeout=3") == f"sqlite:///{tmp_path}/a/b.db?timeout=3"
    for url in ("sqlite:////abs.db", "sqlite://", "sqlite:///:memory:", "postgresql://h/d"):
        assert resolved(url) == url


@pytest.mark.parametrize(
    ("text", "size"), [("400MB", 400_000_000), ("1.5 GiB", 1_610_612_736), ("1tb", 10**12)]
)
def test_sizes(text: str, size: int) -> None:
    assert size_in_bytes(text) == size


def test_every_setting_is_in_the_docs() -> None:
    docs = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    for section, field in Settings.model_fields.items():
        assert f"`[{section}]`" in docs
        for key in field.default.written_keys():
            assert f"`{key}`" in docs, f"docs/pipelines.md does not explain {section}.{key}"


def test_the_docs_name_no_setting_that_is_gone() -> None:
    docs = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    table = docs.split("## wap.toml")[1].split("\n## ")[0]
    rows = [line.split("|")[1:3] for line in table.splitlines() if line.startswith("| ")]
    section, named = "", set()
    for first, keys in rows[1:]:
        section = first.strip().strip("`[]") or section
        named |= {(section, key.strip(" `")) for key in keys.split(",")}
    assert named == {
        (section, key)
        for section, field in Settings.model_fields.items()
        for key in field.default.written_keys()
    }
