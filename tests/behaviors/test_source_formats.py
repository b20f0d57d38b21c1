"""The source ``files`` gives the same rows whatever the format, the compression and the place."""

from __future__ import annotations

import datetime as dt
import io
import json
import uuid
from decimal import Decimal
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.wap.sources.feeding import COMPRESS, Project

ROWS = [
    {"id": 1, "name": "a,b", "price": 1.5, "on": True, "day": "2013-01-01"},
    {"id": 2, "name": 'say "hi"\nthere', "price": None, "on": False, "day": None},
    {"id": 3, "name": None, "price": -0.25, "on": None, "day": "9999-12-31"},
]
SCHEMA = pa.schema(
    [
        ("id", pa.int64()),
        ("name", pa.string()),
        ("price", pa.float64()),
        ("on", pa.bool_()),
        ("day", pa.date32()),
    ]
)
EXPECTED = [{**row, "day": row["day"] and dt.date.fromisoformat(str(row["day"]))} for row in ROWS]


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(EXPECTED, SCHEMA), out)
    return out.getvalue()


def separated(delimiter: str) -> bytes:
    lines = [delimiter.join(SCHEMA.names)]
    for row in ROWS:
        cells = []
        for value in row.values():
            text = "" if value is None else str(value).lower() if value in (True, False) else value
            text = str(text)
            quoted = '"' + text.replace('"', '""') + '"'
            cells.append(quoted if any(c in text for c in ',\t"\n') else text)
        lines.append(delimiter.join(cells))
    return ("\n".join(lines) + "\n").encode()


CONTENT = {
    "csv": separated(","),
    "tsv": separated("\t"),
    "ndjson": "".join(json.dumps(r) + "\n" for r in ROWS).encode(),
    "json": json.dumps(ROWS, indent=2).encode(),
    "parquet": parquet(),
}
CASES = [(f, c) for f in CONTENT for c in COMPRESS if f != "parquet" or not c]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    return Project(root)


@pytest.mark.parametrize(("form", "ending"), CASES)
def test_rows_and_types_are_the_same(project: Project, form: str, ending: str):
    project.put(f"in.{form}{ending}", COMPRESS[ending](CONTENT[form]))
    read = project.read(f"in.{form}{ending}", form)
    assert read.table.schema == SCHEMA
    assert read.rows == EXPECTED
    assert (read.counts.read, read.counts.rejected, read.counts.discarded) == (3, 0, 0)
    assert read.counts.bytes > 0


@pytest.mark.parametrize(("form", "ending"), CASES)
def test_a_url_is_read_like_a_path(project: Project, form: str, ending: str):
    files = fsspec.filesystem("memory")
    name = f"/{uuid.uuid4()}/in.{form}{ending}"
    files.pipe(name, COMPRESS[ending](CONTENT[form]))
    read = project.read(f"memory:/{name}", form)
    assert read.rows == EXPECTED
    files.rm(name)


def test_compression_may_be_declared(project: Project):
    project.put("in.dat", COMPRESS[".zst"](CONTENT["csv"]))
    assert project.read("in.dat", compression="zstd").rows == EXPECTED


def test_objects_in_a_row_are_json_too(project: Project):
    project.put("in.json", '{"a": 1}\n{\n "a": 2}{"a": 3}')
    assert [r["a"] for r in project.read("in.json", "json").rows] == [1, 2, 3]


def test_a_nested_value_stays_nested(project: Project):
    project.put("in.ndjson", '{"s": {"x": 1, "l": [1, null, 2]}}\n{"s": {"y": "q"}}\n')
    read = project.read("in.ndjson", "ndjson")
    assert read.rows == [
        {"s": {"x": 1, "l": [1, None, 2], "y": None}},
        {"s": {"x": None, "l": None, "y": "q"}},
    ]


def test_nested_columns_of_parquet(project: Project):
    table = pa.table(
        {
            "l": pa.array([[1, 2], None, []], pa.list_(pa.int64())),
            "s": pa.array([{"x": 1}, None, {"x": None}], pa.struct([("x", pa.int64())])),
            "m": pa.array([[("k", 1)], None, []], pa.map_(pa.string(), pa.int64())),
        }
    )
    pq.write_table(table, project.root / "in.parquet")
    assert project.read("in.parquet", "parquet").rows == table.to_pylist()


def test_unusual_parquet_types_become_plain_ones(project: Project):
    table = pa.table(
        {
            "view": pa.array(["a", None], pa.string_view()),
            "large": pa.array(["b", "c"], pa.large_string()),
            "dictionary": pa.array(["d", "d"]).dictionary_encode(),
            "u32": pa.array([2**32 - 1, 0], pa.uint32()),
            "u64": pa.array([2**64 - 1, 0], pa.uint64()),
            "wide": pa.array([Decimal("1" * 38), None], pa.decimal128(38, 0)),
        }
    )
    pq.write_table(table, project.root / "in.parquet")
    read = project.read("in.parquet", "parquet")
    assert read.rows == table.to_pylist()
    assert read.table.schema == pa.schema(
        [
            ("view", pa.string()),
            ("large", pa.string()),
            ("dictionary", pa.string()),
            ("u32", pa.int64()),
            ("u64", pa.decimal128(20, 0)),
            ("wide", pa.decimal128(38, 0)),
        ]
    )


def test_text_in_another_encoding(project: Project):
    project.put("in.csv", "id,name\n1,Zoë\n2,€\n".encode("utf-16"))
    assert [r["name"] for r in project.read("in.csv", encoding="utf-16").rows] == ["Zoë", "€"]


def test_a_byte_order_mark_is_no_part_of_the_first_name(project: Project):
    project.put("in.csv", b"\xef\xbb\xbfid,name\n1,x\n")
    assert project.read("in.csv").rows == [{"id": 1, "name": "x"}]


def test_columns_are_mapped_by_name_not_by_place(project: Project):
    project.put("a.csv", "id,name\n1,x\n")
    project.put("b.csv", "name,id\ny,2\n")
    rows = project.read(["a.csv", "b.csv"]).rows
    assert rows == [{"id": 1, "name": "x"}, {"id": 2, "name": "y"}]


def test_columns_that_are_not_asked_for_are_not_read(project: Project):
    project.put("in.csv", "id,name,odd\n1,x,not a number\n")
    read = project.read("in.csv", schema=pa.schema([("name", pa.string()), ("id", pa.int32())]))
    assert read.rows == [{"name": "x", "id": 1}]


def test_a_file_without_a_header(project: Project):
    project.put("in.csv", "1;x\n2;y\n")
    read = project.read("in.csv", header=False, delimiter=";")
    assert read.rows == [{"column0": 1, "column1": "x"}, {"column0": 2, "column1": "y"}]


def test_a_header_alone_is_no_row(project: Project):
    project.put("in.csv", "id,name\n")
    read = project.read("in.csv")
    assert (read.rows, read.counts.read) == ([], 0)


NAMES = ["a b", "a.b", 'say "x"', "größe", "select", "l'eau", "Δ", "a;b", "%s", "A", "__row"]


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_names_are_kept_exactly(project: Project, form: str):
    names = [*NAMES, *(f"column {i}" for i in range(300))]
    row = {name: i for i, name in enumerate(names)}
    if form == "csv":
        header = ",".join('"' + n.replace('"', '""') + '"' for n in names)
        project.put("in.csv", header + "\n" + ",".join(map(str, row.values())) + "\n")
    elif form == "ndjson":
        project.put("in.ndjson", json.dumps(row) + "\n")
    else:
        pq.write_table(pa.Table.from_pylist([row]), project.root / "in.parquet")
    assert project.read(f"in.{form}", form).rows == [row]


@pytest.mark.parametrize("name", ["a b.csv", "ä.csv", "it's.csv", "100%.csv", "[x].csv", "a#b.csv"])
def test_file_names_are_names_not_patterns(project: Project, name: str):
    project.put(name, "id\n1\n")
    assert project.read(name).rows == [{"id": 1}]
