"""``wap init``: what it makes of a file, what it leaves alone, and what it owns up to."""

from __future__ import annotations

import gzip
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from checks.contract import check_columns, parse_contract
from wap.errors import ConfigError, SourceError
from wap.init import Initialised, init_project
from wap.pipeline import Pipeline
from wap.project import load_project

ORDERS = "order_id,customer,status,amount,email,placed_at,note\n" + "".join(
    f"{n},c{n % 70},{('open', 'paid', 'void')[n % 3]},{n * 1.5},u{n}@x.org,"
    f"2024-01-{n % 28 + 1:02d}T10:00:00Z,{'NA' if n % 4 else n}\n"
    for n in range(100)
)


def init(
    folder: Path, name: str = "orders.csv", text: str = ORDERS
) -> tuple[Initialised, Pipeline]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(text.encode())
    made = init_project(folder, folder / name)
    return made, load_project(folder, {}).pipeline(made.pipeline)


def contract(folder: Path, made: Initialised) -> str:
    text = (folder / "contracts" / f"{made.pipeline}.yml").read_text(encoding="utf-8")
    pipeline = load_project(folder, {}).pipeline(made.pipeline)
    parsed = parse_contract(text, f"contracts/{made.pipeline}.yml")
    assert parsed.declared
    check_columns(parsed, pipeline.columns.columns)
    return text


def test_a_project_from_one_file(tmp_path: Path) -> None:
    made, pipeline = init(tmp_path)
    assert made.table == pipeline.table == "raw.orders"
    assert made.key == ("order_id",)
    assert made.rows == 100
    assert pipeline.source.paths == ("orders.csv",)
    assert pipeline.source.null == ["", "NA"]
    assert pipeline.write.keys == ["order_id"]
    assert pipeline.masked == {"email"}
    assert pipeline.columns.columns == {
        "order_id": "long",
        "customer": "string",
        "status": "string",
        "amount": "double",
        "email": "string",
        "placed_at": "timestamptz",
        "note": "long",
    }
    assert sorted(p.relative_to(tmp_path).as_posix() for p in made.written) == [
        ".gitignore",
        "contracts/orders.yml",
        "pipelines/orders.yml",
        "pipelines/pipeline.schema.json",
        "wap.toml",
    ]


def test_the_contract_guards_what_the_data_suggests(tmp_path: Path) -> None:
    made, _ = init(tmp_path)
    text = contract(tmp_path, made)
    assert "- name: order_id\n    checks:\n      - missing:\n      - duplicate:\n" in text
    assert "valid_values: [open, paid, void]" in text
    assert "- name: note\n    checks:\n      - invalid: {valid_min: 0}\n" in text, (
        "nulls are allowed"
    )
    assert "  - row_count:" in text
    assert "  - schema:" in text
    assert "@x.org" not in text, "values about persons do not belong in a contract"


def test_what_the_contract_does_not_guard_is_said_in_it_and_to_the_caller(tmp_path: Path) -> None:
    made, _ = init(tmp_path)
    said = "\n".join(made.not_guarded)
    for word in (
        "age",
        "completeness",
        "another table",
        "averages",
        "any share of nulls passes in note",
    ):
        assert word in said
    assert "money wants a declared decimal: amount" in said
    assert "any text passes in customer, email" in said
    text = contract(tmp_path, made)
    assert all(f"# - {line}\n" in text for line in made.not_guarded)


def test_a_key_of_several_columns_is_found(tmp_path: Path) -> None:
    rows = "".join(f"{d},{s},{d * s % 7}\n" for d in range(1, 30) for s in range(1, 9))
    made, _ = init(tmp_path, text="day,store,sales\n" + rows)
    assert made.key == ("day", "store")
    assert "duplicate: {columns: [day, store]}" in contract(tmp_path, made)


def test_without_a_key_it_says_so(tmp_path: Path) -> None:
    made, pipeline = init(tmp_path, text="a,b\n1,2\n1,2\n3,4\n")
    assert made.key == ()
    assert pipeline.write.keys == []
    assert made.not_guarded[0].startswith("duplicates: no column")
    assert "duplicate" not in contract(tmp_path, made).split("dataset:")[1]


def test_a_measure_is_no_key(tmp_path: Path) -> None:
    made, _ = init(tmp_path, text="temperature\n1.5\n2.5\n3.5\n")
    assert made.key == ()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    init(tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match=r"pipelines/orders\.yml is there already"):
        init_project(tmp_path, tmp_path / "orders.csv")
    made = init_project(tmp_path, tmp_path / "orders.csv", "shop.sales")
    assert {p.name for p in made.kept} == {"wap.toml", ".gitignore", "pipeline.schema.json"}
    assert all(p.read_bytes() == content for p, content in before.items())
    assert load_project(tmp_path, {}).pipelines() == ["orders", "sales"]


def test_a_contract_that_is_there_stops_it_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "contracts").mkdir()
    (tmp_path / "contracts" / "orders.yml").write_text("mine\n")
    with pytest.raises(ConfigError, match=r"contracts/orders\.yml is there already"):
        init(tmp_path)
    assert not (tmp_path / "wap.toml").exists()


def test_a_file_elsewhere_is_not_copied_and_the_first_run_is_given_it(tmp_path: Path) -> None:
    data = tmp_path / "elsewhere" / "or ders.csv"
    data.parent.mkdir()
    data.write_text(ORDERS)
    project = tmp_path / "project"
    made = init_project(project, data)
    assert load_project(project, {}).pipeline(made.pipeline).source.paths == ("data/or ders.csv",)
    assert made.first_run == f"wap run or_ders --project {project} --source '{data}'"
    assert not list(project.rglob("*.csv"))


def test_the_command_for_a_file_inside_needs_no_source(tmp_path: Path) -> None:
    made, _ = init(tmp_path)
    assert made.first_run == f"wap run orders --project {tmp_path}"


def write(path: Path) -> None:
    """One small file in the format and compression that its name says."""
    rows = [{"id": n, "tags": [f"t{n}"], "at": {"x": n}} for n in range(5)]
    text = "id\tname\n" + "".join(f"{n}\tn{n}\n" for n in range(5))
    kinds = {
        "csv": text.replace("\t", ","),
        "tsv": text,
        "ndjson": "".join(json.dumps(r) + "\n" for r in rows),
        "json": json.dumps(rows),
    }
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return
    content = kinds[path.suffixes[0].removeprefix(".")].encode()
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("member", content)
        return
    pack = {".gz": gzip.compress, ".zst": zstandard.ZstdCompressor().compress}
    path.write_bytes(pack[path.suffix](content) if path.suffix in pack else content)


@pytest.mark.parametrize(
    ("name", "fmt", "compression"),
    [
        ("a.csv", "csv", "auto"),
        ("a.tsv", "tsv", "auto"),
        ("a.ndjson", "ndjson", "auto"),
        ("a.json", "json", "auto"),
        ("a.parquet", "parquet", "auto"),
        ("a.csv.gz", "csv", "gzip"),
        ("a.csv.zst", "csv", "zstd"),
        ("a.csv.zip", "csv", "zip"),
        ("a.ndjson.zip", "ndjson", "zip"),
        ("a.ndjson.gz", "ndjson", "gzip"),
    ],
)
def test_every_format_and_compression(
    tmp_path: Path, name: str, fmt: str, compression: str
) -> None:
    write(tmp_path / name)
    made = init_project(tmp_path, tmp_path / name)
    pipeline = load_project(tmp_path, {}).pipeline(made.pipeline)
    assert (pipeline.source.format, pipeline.source.compression) == (fmt, compression)
    assert made.key == ("id",)
    columns = pipeline.columns.columns
    assert columns["id"] == "long"
    if fmt in ("json", "ndjson", "parquet"):
        assert columns == {"id": "long", "tags": "list<string>", "at": "struct<x: long>"}
    contract(tmp_path, made)


def test_a_delimiter_is_told_to_the_pipeline(tmp_path: Path) -> None:
    _, pipeline = init(tmp_path, text="a;b\n1;x\n2;y\n")
    assert pipeline.source.delimiter == ";"


ODD = [
    *(
        'a "quoted" name',
        "sélect",
        "select",
        "null",
        "yes",
        "a: {b}",
        "# no comment",
        "a.b",
        "it's",
    ),
    *("- dash", " padded ", "line\nbreak", "*alias", "!!tag"),
]


def test_odd_column_names_come_through_both_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({n: pa.array([1, 2, 2]) for n in ODD}), tmp_path / "odd.parquet")
    made = init_project(tmp_path, tmp_path / "odd.parquet")
    pipeline = load_project(tmp_path, {}).pipeline(made.pipeline)
    assert list(pipeline.columns.columns) == ODD
    contract(tmp_path, made)


def test_texts_that_say_no_value_are_named(tmp_path: Path) -> None:
    rows = "".join(f"{n},{('x', 'NA')[n % 2]}\n" for n in range(100))
    made, _ = init(tmp_path, text="id,zone\n" + rows)
    assert "a text that says «no value» is taken for a value in zone" in made.not_guarded


@pytest.mark.parametrize(
    ("name", "table"),
    [("2024 Sales-Übersicht.csv", "raw.t_2024_sales_übersicht"), (".x.csv", "raw.x")],
)
def test_a_files_name_becomes_a_tables_name(tmp_path: Path, name: str, table: str) -> None:
    made, _ = init(tmp_path, name)
    assert made.table == table


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("gone.csv", None, SourceError, "no such file"),
        ("a.csv", b"", SourceError, "empty"),
        ("a.xlsx", b"x", ConfigError, "cannot be told from its name"),
        ("a", b"x", ConfigError, "cannot be told from its name"),
        ("a.parquet", b"not parquet", SourceError, "not readable as parquet"),
        ("a.json", b"{", SourceError, "not readable as json"),
        ("a.csv.zip", b"not a zip", SourceError, "not a readable zip"),
        ("a.csv", b"1,2\n3,4\n", SourceError, "does not name the columns"),
    ],
)
def test_what_cannot_be_read_is_told_and_nothing_is_written(
    tmp_path: Path, name: str, content: bytes | None, error: type[Exception], message: str
) -> None:
    data = tmp_path / "in" / name
    data.parent.mkdir()
    if content is not None:
        data.write_bytes(content)
    with pytest.raises(error, match=message):
        init_project(tmp_path / "project", data)
    assert not (tmp_path / "project").exists()


def test_an_archive_of_two_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
        archive.writestr("b.csv", "b\n1\n")
    with pytest.raises(SourceError, match="holds 2 files"):
        init_project(tmp_path, tmp_path / "a.csv.zip")


def test_a_bad_table_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a\n1\n")
    with pytest.raises(ConfigError, match="not a table name"):
        init_project(tmp_path, tmp_path / "a.csv", "flights")


def test_a_column_that_no_contract_can_name_stops_it(tmp_path: Path) -> None:
    data = tmp_path / "a.csv"
    data.write_text("${env.HOME},b\n1,2\n")
    with pytest.raises(ConfigError, match="no contract can be proposed"):
        init_project(tmp_path / "project", data)
    assert not (tmp_path / "project").exists()


def test_values_about_persons_are_not_listed_however_few(tmp_path: Path) -> None:
    rows = "".join(f"{n},+49-{n % 2}\n" for n in range(100))
    made, pipeline = init(tmp_path, text="id,phone\n" + rows)
    assert pipeline.masked == {"phone"}
    assert "+49" not in contract(tmp_path, made)


def test_a_key_is_proved_on_all_rows_not_on_the_first(tmp_path: Path) -> None:
    rows = "".join(f"{n}\n" for n in range(50_010)) + "50009\n"
    made, _ = init(tmp_path, text="id\n" + rows)
    assert made.rows == 50_011
    assert made.key == ()


def test_a_line_break_in_a_name_does_not_end_the_comment_it_stands_in(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a\ndataset: x/y/z": ["u", "v"]}), tmp_path / "odd.parquet")
    made = init_project(tmp_path, tmp_path / "odd.parquet")
    text = contract(tmp_path, made)
    assert [n for n in text.splitlines() if n.startswith("dataset:")] == ["dataset: wap/raw/odd"]
