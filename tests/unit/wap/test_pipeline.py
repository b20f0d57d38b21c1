"""Pipeline files: what is refused, at which line, with which hint; and the exported schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from wap.errors import ConfigError
from wap.located import MAX_BYTES, read_yaml
from wap.pipeline import Pipeline, load_pipeline, parse_pipeline, pipeline_schema, split_transform

ROOT = Path(__file__).parents[3]

GOOD = """\
table: nyc.flights
source: {kind: files, path: data/flights-*.csv, format: csv}
write: {mode: append}
schema: {on_change: strict, columns: {dep_time: int, time_hour: timestamptz}}
contracts: [contracts/flights.yml]
owners: [data-eng]
tags: {tailnum: [PII]}
"""


def parse(text: str) -> Pipeline:
    return parse_pipeline(text, "flights", "pipelines/flights.yml")[0]


def error(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return caught.value


def test_the_example_of_the_readme_is_read() -> None:
    pipeline = parse(GOOD)
    assert pipeline.table_name.identifier == ("nyc", "flights")
    assert pipeline.source.paths == ("data/flights-*.csv",)
    assert pipeline.columns.columns == {"dep_time": "int", "time_hour": "timestamptz"}
    assert pipeline.masked == {"tailnum"}


def test_a_pipeline_goes_through_json_and_back() -> None:
    pipeline = parse(GOOD)
    again = Pipeline.model_validate(pipeline.model_dump(mode="json", by_alias=True))
    assert again == pipeline
    assert again.digest == pipeline.digest
    assert parse(GOOD.replace("strict", "evolve")).digest != pipeline.digest


#: What is changed in GOOD, and the message: what, line, hint.
BAD: list[tuple[str, str, str, int, str]] = [
    ("schema: {on", "shema: {on", "unknown key 'shema'", 4, "did you mean 'schema'?"),
    ("path: data", "pathh: x, path: data", "unknown key 'pathh'", 2, "did you mean 'path'?"),
    ("mode: append", "mode: apend", "'apend' is not one of append,", 3, "did you mean 'append'?"),
    ("format: csv", "format: xlsx", "'xlsx' is not one of csv,", 2, ""),
    ("[data-eng]", "data-eng", "owners: a list is expected, found text", 6, "write [data-eng]"),
    ("path: data/flights-*.csv", "path: {a: b}", "source.path: text is expected", 2, ""),
    ("path: data/flights-*.csv", "path: []", "at least one path is needed", 2, ""),
    ("dep_time: int", "dep_time: bigint", "'bigint' is not an Iceberg type", 4, ""),
    ("dep_time: int", "dep_time: 7", "text is expected, found a number", 4, "put the value in"),
    ("contracts: [contracts/flights.yml]", "contracts: []", "at least 1 item", 5, ""),
    ("[contracts/flights.yml]", "[a.yml, a.yml]", "named twice: a.yml", 5, ""),
    ("table: nyc.flights", "table: flights", "not a table name", 1, ""),
    ("table: nyc.flights", f"table: nyc.{'é' * 126}", "longer than 255 bytes", 1, ""),
    ("table: nyc.flights", "table: nyc.a__batch", "does not end in __batch", 1, ""),
    ("table: nyc.flights", "table: nyc.a__published", "or __published", 1, ""),
    ("table: nyc.flights", "table: [nyc]", "table: text is expected, found a list", 1, ""),
    ("mode: append", "mode: merge", "write mode merge needs keys", 3, ""),
    ("mode: append", "mode: append, deduplicate: true", "deduplicate needs keys", 3, ""),
    ("mode: append", "mode: replace, deduplicate: true", "belongs to write mode append", 3, ""),
    ("mode: append", "mode: merge, keys: [a, a]", "keys names a column twice", 3, ""),
    ("mode: append", "mode: append, keys: [a], order_by: b", "order_by belongs to", 3, ""),
    ("mode: append", "mode: merge, keys: [a], order_by: a", "cannot be one of them", 3, ""),
    ("mode: append", "mode: merge, keys: [a], recorded: true", "recorded belongs to", 3, ""),
    (
        "mode: append",
        "mode: append, keys: [a], delete: {column: op, values: [D]}",
        "delete belongs to write modes merge and history",
        3,
        "",
    ),
    (
        "mode: append",
        "mode: merge, keys: [op], delete: {column: op, values: [D]}",
        "is not stored",
        3,
        "",
    ),
    (
        "mode: append",
        "mode: merge, keys: [a], delete: {column: op, values: [D, 1]}",
        "the values are of several types",
        3,
        "",
    ),
    ("mode: append", "mode: append, where: a = 1", "where belongs to write mode replace", 3, ""),
    ("mode: append", "mode: replace, where: '= 1'", "is not a row filter", 3, ""),
    ("mode: append", "mode: replace, where: a = 1, interval: d", "not both", 3, ""),
    ("owners:", "partitioning: ['weekday(a)']\nowners:", "not a partition transform", 6, ""),
    ("owners:", "partitioning: ['bucket(a)']\nowners:", "take a number first", 6, ""),
    ("owners:", "freshness: {max_age_hours: 0}\nowners:", "greater than 0", 6, ""),
    ("owners:", "freshness: {hours: 3}\nowners:", "2 problems", 0, ""),
    ("owners:", "name: x\nowners:", "unknown key 'name'", 6, "named by its file"),
    ("owners:", "columns: {}\nowners:", "unknown key 'columns'", 6, "write schema:"),
    ("table: nyc.flights\n", "", "the key 'table' is missing", 0, ""),
    (", format: csv", "", "the key 'source.format' is missing", 2, ""),
    ("format: csv", "format: csv, encoding: utf-9", "'utf-9' is not an encoding", 2, ""),
    ("format: csv", "format: csv, delimiter: ';;'", "at most 1 character", 2, ""),
    ("owners:", "engine: duckdb\nowners:", "'duckdb' is not one of arrow", 6, ""),
    ("tags:", "owners: [x]\ntags:", 'duplicate key "owners"', 7, "keep one of the two"),
    ("tags: {", "tags: {]", "not valid YAML", 7, ""),
]


FILES = "source: {kind: files, path: data/flights-*.csv, format: csv}"
JDBC = """\
source: {kind: jdbc, url: 'jdbc:postgresql://h:5432/d', table: t, cursor: id}
engine: spark
"""
KAFKA = "source: {kind: kafka, servers: 'h:9092', topic: t, format: json}\n"
MODE = "mode: append"

#: A source in the place of GOOD's, what is changed then, and the message: what, hint.
BAD_SOURCES: list[tuple[str, str, str, str, str]] = [
    (JDBC, "kind: jdbc", "kind: jdbcc", "'jdbcc' is not one of files, jdbc, kafka", "'jdbc'?"),
    (JDBC, "kind: jdbc, ", "", "the key 'source.kind' is missing", ""),
    (JDBC, "cursor", "cursr", "unknown key 'cursr'", "did you mean 'cursor'?"),
    (KAFKA, "topic: t", "path: t, topic: t", "unknown key 'path'", "known: format"),
    (JDBC, "//h:", "//me:hunter2@h:", "the URL may hold no user and no secret", ""),
    (JDBC, "5432/d", "5432/d?user=me", "the URL may hold no user and no secret", ""),
    (JDBC, "5432/d", "5432/d?sslpassword=hunter2", "the URL may hold no user and no secret", ""),
    (JDBC, "jdbc:postgresql", "postgresql", "a JDBC URL is expected", ""),
    (JDBC, "table: t", "table: t, query: select 1", "either table or query", ""),
    (JDBC, "table: t, ", "", "either table or query", ""),
    (JDBC, "engine: spark\n", "", "a JDBC source is read by Spark; write engine: spark", ""),
    (JDBC, ", cursor: id", "", "append needs source.cursor", ""),
    (JDBC, MODE, "mode: merge, keys: [id]", "cannot be written by key yet", ""),
    (JDBC, MODE, "mode: replace", "does not go with write mode replace", ""),
    (JDBC, MODE, "mode: append, interval: dep_time", "needs write mode replace", ""),
    (JDBC, "cursor: id", "cursor: id, password_env: 'hunter 2'", "should match pattern", ""),
    (JDBC, "cursor: id", "cursor: id, partition: {column: id, count: 0}", "greater than or", ""),
    (KAFKA, "h:9092", "h", "should match pattern", ""),
    (KAFKA, "h:9092", "me:hunter2@h:9092", "should match pattern", ""),
    (KAFKA, ", columns: {dep_time: int, time_hour: timestamptz}", "", "columns declared", ""),
    (KAFKA, "on_change: strict", "on_change: evolve", "declare them instead", ""),
    (KAFKA, MODE, "mode: replace, interval: dep_time", "which is read by its offsets", ""),
    (KAFKA, "topic: t", "topic: t, metadata: {ofset: x}", "unknown key 'ofset'", "'offset'?"),
]


@pytest.mark.parametrize(("source", "old", "new", "what", "hint"), BAD_SOURCES)
def test_a_slip_in_a_source_is_told(source: str, old: str, new: str, what: str, hint: str) -> None:
    text = GOOD.replace(f"{FILES}\n", source)
    assert parse(text).source.kind in source
    assert old in text
    found = error(text.replace(old, new))
    assert what in found.what
    assert hint in found.hint
    assert "hunter" not in found.what


@pytest.mark.parametrize(
    "url",
    ["jdbc:postgresql://compass-db/users", "jdbc:sqlserver://h:1433;databaseName=d;encrypt=true"],
)
def test_a_url_without_a_secret_is_taken(url: str) -> None:
    text = GOOD.replace(f"{FILES}\n", JDBC).replace("jdbc:postgresql://h:5432/d", url)
    assert parse(text).source.location.startswith(url.partition(";")[0])


@pytest.mark.parametrize(("old", "new", "what", "line", "hint"), BAD, ids=[b[1] for b in BAD])
def test_a_slip_is_told_with_line_and_hint(
    old: str, new: str, what: str, line: int, hint: str
) -> None:
    assert old in GOOD
    found = error(GOOD.replace(old, new))
    assert what in found.what
    assert found.where == f"pipelines/flights.yml{f':{line}' if line else ''}"
    assert hint in found.hint


def test_all_slips_are_told_at_once() -> None:
    found = error(GOOD.replace("schema:", "shema:").replace("mode: append", "mode: x"))
    assert found.what.splitlines()[0] == "2 problems"
    assert "  pipelines/flights.yml:3: write.mode: 'x' is not one of" in found.what
    assert "  pipelines/flights.yml:4: unknown key 'shema' (did you mean 'schema'?)" in found.what


def test_a_key_of_its_own_called_null_is_not_yaml_null() -> None:
    pipeline = parse(GOOD.replace("format: csv", "format: csv, null: [NA, '']"))
    assert pipeline.source.null == ["NA", ""]


def test_no_and_off_are_texts_as_in_yaml_1_2() -> None:
    text = GOOD.replace("format: csv", "format: csv, null: [no, off, 1.10]")
    assert "text is expected" in error(text).what  # 1.10 would come back as 1.1
    assert parse(text.replace("1.10", "'1.10'")).source.null == ["no", "off", "1.10"]


def test_anchors_and_merge_keys_are_read_and_keep_their_lines() -> None:
    text = "x: &a [contracts/a.yml]\ncontracts: *a\n<<: {table: 7}\n"
    document = read_yaml(text, "f.yml")
    assert document.data == {"x": ["contracts/a.yml"], "contracts": ["contracts/a.yml"], "table": 7}
    assert document.where(("contracts", 0)) == "f.yml:1"


@pytest.mark.parametrize(
    "text",
    [
        "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)),
        "[" * 5000,
        "a: " + "[" * 300 + "]" * 300,
    ],
    ids=["billion laughs", "open brackets", "deep"],
)
def test_yaml_bombs_are_harmless(text: str) -> None:
    with pytest.raises(ConfigError):
        read_yaml(text, "f.yml")


def test_what_holds_itself_ends_in_nothing() -> None:
    assert read_yaml("a: &a [*a]\n", "f.yml").data == {"a": [None]}
    assert read_yaml("a: &a {b: *a}\n", "f.yml").data == {"a": {"b": None}}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "found nothing"),
        ("- a\n", "found a list"),
        ("just text", "found a str"),
        ("a: b\n---\nc: d\n", "not valid YAML"),
        ("a: !!python/object/apply:os.system ['true']\n", None),
        ("\x00", "not valid YAML"),
    ],
)
def test_what_is_not_one_mapping_is_refused(text: str, what: str | None) -> None:
    if what is None:  # an unknown tag is plain data, and never a call
        assert read_yaml(text, "f.yml").data == {"a": ["true"]}
        return
    with pytest.raises(ConfigError, match=what):
        read_yaml(text, "f.yml")


def test_a_file_is_named_by_its_folder_and_name(tmp_path: Path) -> None:
    path = tmp_path / "pipelines" / "flights.yml"
    path.parent.mkdir()
    path.write_text("\ufeff" + GOOD, encoding="utf-8")
    assert load_pipeline(path, "flights") == parse(GOOD)
    path.write_text(GOOD + "shema: {}\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_pipeline(path, "flights")
    assert str(caught.value).startswith("unknown key 'shema' [pipelines/flights.yml:8]\nHint: ")


def test_unreadable_files(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    with pytest.raises(ConfigError, match="no such file"):
        load_pipeline(path, "x")
    path.write_bytes(b"a: \xff\n")
    with pytest.raises(ConfigError, match="byte 3 is 0xff"):
        load_pipeline(path, "x")
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than 1 MiB"):
        load_pipeline(path, "x")
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        load_pipeline(path, "x")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("day(ts)", ("ts", "day")),
        ("bucket(16, id)", ("id", "bucket[16]")),
        ("truncate(3,a b)", ("a b", "truncate[3]")),
        ("carrier", ("carrier", "identity")),
        ("identity(odd (name))", ("odd (name)", "identity")),
    ],
)
def test_transforms(text: str, expected: tuple[str, str]) -> None:
    assert split_transform(text) == expected


@pytest.mark.parametrize("text", ["", "week(ts)", "day(3, ts)", "bucket(id)", "bucket(0, id)"])
def test_transforms_that_iceberg_does_not_have(text: str) -> None:
    with pytest.raises(ValueError, match=r"partition transform|take a number"):
        split_transform(text)


def test_the_committed_json_schema_is_current() -> None:
    committed = json.loads((ROOT / "docs" / "pipeline.schema.json").read_text(encoding="utf-8"))
    assert committed == pipeline_schema(), "python -m wap.pipeline > docs/pipeline.schema.json"


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"shema": {}}, False),
        ({"name": "x"}, False),
        ({"write": {"mode": "apend"}}, False),
        ({"contracts": []}, False),
    ],
)
def test_the_json_schema_says_what_the_model_says(change: dict[str, Any], valid: bool) -> None:
    data = {**read_yaml(GOOD, "x").data, **change}
    validator = jsonschema.Draft202012Validator(pipeline_schema())
    assert validator.is_valid(data) is valid


def test_every_key_is_explained_in_the_json_schema_and_the_docs() -> None:
    schema = pipeline_schema()
    docs = (ROOT / "docs" / "pipelines.md").read_text(encoding="utf-8")
    sections = {"": schema, **schema["$defs"]}
    for section in sections.values():
        for key, value in section["properties"].items():
            assert f"`{key}`" in docs, f"docs/pipelines.md does not explain {key}"
            assert value.get("description") or key == "kind", f"{key} has no description"
