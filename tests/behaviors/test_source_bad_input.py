"""Bad input gives a clear error: what, in which file, at which line, and what to do."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.wap.sources.feeding import COMPRESS, Project, zipped
from wap.errors import (
    BatchRefusedError,
    ConfigError,
    NotInstalledError,
    SourceError,
    SourceUnavailableError,
)

ID = pa.schema([("id", pa.int64())])
PAIR = pa.schema([("id", pa.int64()), ("name", pa.string())])


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    return Project(root)


def test_a_missing_file(project: Project):
    with pytest.raises(SourceError) as caught:
        project.read("in/*.csv")
    assert caught.value.where == "in/*.csv"
    assert "source: {path: …}" in caught.value.hint


def test_a_folder_is_no_file(project: Project):
    (project.root / "in").mkdir()
    with pytest.raises(SourceError, match="is a folder") as caught:
        project.read("in")
    assert "in/*" in caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(project: Project):
    project.put("a.csv", "id\n1\n").chmod(0)
    with pytest.raises(SourceError, match="may not be read"):
        project.read("a.csv")


@pytest.mark.parametrize("form", ["csv", "ndjson", "json", "parquet"])
def test_an_empty_file(project: Project, form: str):
    project.put("a", b"")
    with pytest.raises(SourceError, match=r"empty \(0 bytes\)"):
        project.read("a", form)


def test_an_empty_file_in_an_archive(project: Project):
    project.put("a.csv.gz", COMPRESS[".gz"](b""))
    with pytest.raises(SourceError, match="holds no line"):
        project.read("a.csv.gz")


def test_two_files_in_one_archive(project: Project):
    project.put("a.zip", zipped(b"id\n1\n", "one.csv", "two.csv"))
    with pytest.raises(SourceError, match=r"2 files.*one\.csv, two\.csv"):
        project.read("a.zip")


@pytest.mark.parametrize("ending", [".gz", ".zip", ".zst"])
def test_a_damaged_archive(project: Project, ending: str):
    rows = b"id\n" + b"".join(b"%d\n" % (i * 7919 % 10007) for i in range(20_000))
    whole = COMPRESS[ending](rows)
    project.put(f"a.csv{ending}", whole[: len(whole) // 2])
    with pytest.raises(SourceError, match=r"not valid|cut off"):
        project.read(f"a.csv{ending}", schema=ID)


@pytest.mark.parametrize("ending", [".gz", ".zip", ".zst"])
def test_a_file_that_is_no_archive(project: Project, ending: str):
    project.put(f"a.csv{ending}", b"id\n1\n")
    with pytest.raises(SourceError, match="not valid"):
        project.read(f"a.csv{ending}")


def test_text_in_another_encoding(project: Project):
    project.put("a.csv", "id,name\n1,Zoë\n".encode("latin-1"))
    with pytest.raises(BatchRefusedError, match="one row") as caught:
        project.read("a.csv", schema=PAIR)
    assert "is not UTF-8 text" in caught.value.differences[0]
    project.put("b.csv", b"id,name\n1,\xff\n")
    with pytest.raises(SourceError, match="not in ascii"):
        project.read("b.csv", encoding="ascii")


def test_files_with_other_columns(project: Project):
    project.put("a.csv", "id,name\n1,x\n")
    project.put("b.csv", "id,nom,price\n1,x,2\n")
    with pytest.raises(BatchRefusedError) as caught:
        project.read(["a.csv", "b.csv"])
    assert caught.value.differences == (
        "- name: only in a.csv",
        "+ nom: only in b.csv",
        "+ price: only in b.csv",
    )


def test_parquet_files_with_other_types(project: Project):
    pq.write_table(pa.table({"id": ["x"]}), project.root / "a.parquet")
    pq.write_table(pa.table({"id": [1]}), project.root / "b.parquet")
    with pytest.raises(BatchRefusedError) as caught:
        project.read("*.parquet", "parquet")
    assert caught.value.differences == ("~ id: string in a.parquet, int64 in b.parquet",)


def test_parquet_files_with_wider_types(project: Project):
    pq.write_table(pa.table({"id": pa.array([1], pa.int32())}), project.root / "a.parquet")
    pq.write_table(pa.table({"id": [2**40]}), project.root / "b.parquet")
    assert [r["id"] for r in project.read("*.parquet", "parquet").rows] == [1, 2**40]


@pytest.mark.parametrize("header", ["id,id,name", "id,,name", 'id," ",name'])
def test_a_header_that_does_not_name_every_column_once(project: Project, header: str):
    project.put("a.csv", f"{header}\n1,2,3\n")
    with pytest.raises(BatchRefusedError, match="does not name every column once") as caught:
        project.read("a.csv")
    assert caught.value.where == "a.csv:1"


def test_a_parquet_file_that_names_a_column_twice(project: Project):
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["id", "id"])
    pq.write_table(table, project.root / "a.parquet")
    with pytest.raises(BatchRefusedError, match="once"):
        project.read("a.parquet", "parquet")


def test_no_parquet_at_all(project: Project):
    project.put("a.parquet", "id,name\n1,x\n")
    with pytest.raises(SourceError, match="not valid Parquet"):
        project.read("a.parquet", "parquet")


def test_a_parquet_file_that_was_cut_off(project: Project):
    pq.write_table(pa.table({"id": list(range(1000))}), project.root / "a.parquet")
    whole = (project.root / "a.parquet").read_bytes()
    project.put("a.parquet", whole[:-100])
    with pytest.raises(SourceError, match="not valid Parquet"):
        project.read("a.parquet", "parquet")


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_column_that_is_asked_for_and_not_there(project: Project, form: str):
    project.put("a.csv", "id\n1\n")
    pq.write_table(pa.table({"id": [1]}), project.root / "a.parquet")
    with pytest.raises(BatchRefusedError, match="lacks columns") as caught:
        project.read(f"a.{form}", form, schema=PAIR)
    assert caught.value.differences == (f"- name: not in a.{form}",)


def test_a_large_row_group_is_read_in_parts_and_counted_whole(project: Project):
    table = pa.table({"id": range(300_000)})
    pq.write_table(table, project.root / "a.parquet", row_group_size=300_000)
    read = project.read("a.parquet", "parquet")
    assert read.table == table
    assert read.counts.read == 300_000


MALFORMED = [
    ("1,x\n2\n3,z\n", [1, 3], [(3, "columns: 1, where 2 are expected")]),
    ("1,x\n2,y,z\n3,z\n", [1, 3], [(3, "columns: 3, where 2 are expected")]),
    ("1,x\ntwo,y\n3,z\n", [1, 3], [(3, "'two' does not fit long (64 bits)")]),
    ('1,"x\n2,y\n3,"z"\n4,w\n', [4], [(2, "never closed"), (3, "never closed"), (4, "never")]),
    ('1,x\n2,"y\n3,z\n', [1], [(3, "never closed"), (4, "never closed")]),
    ('1,x\n2,"y"z\n3,w\n', [1, 3], [(3, "never closed")]),
    ("1,x\n2,y\rq\n3,z\n", [1, 3], [(3, "carriage return")]),
    ('1,"a\nb"\ntwo,"c\nd"\n3,z\n', [1, 3], [(4, "'two' does not fit")]),
]


@pytest.mark.parametrize(("text", "good", "bad"), MALFORMED)
def test_malformed_rows_of_csv(
    project: Project, text: str, good: list[int], bad: list[tuple[int, str]]
):
    project.put("a.csv", f"id,name\n{text}")
    with pytest.raises(BatchRefusedError) as caught:
        project.read("a.csv", schema=PAIR)
    assert len(caught.value.differences) == len(bad)
    for said, (line, reason) in zip(caught.value.differences, bad, strict=True):
        assert said.startswith(f"a.csv, line {line}")
        assert reason in said
    kept = project.read("a.csv", schema=PAIR, malformed="set_aside")
    assert [r["id"] for r in kept.rows] == good
    assert [(r.line, r.reason) for r in kept.counts.rejects] == [
        (line, next(r.reason for r in kept.counts.rejects if r.line == line)) for line, _ in bad
    ]
    assert kept.counts.read == len(good) + len(bad) == len(good) + kept.counts.rejected


BROKEN_LINES = ["{", "[1]", "null", "7", '"x"', '{"id": 1}{"id": 2}', '{"id": 1, "id": 2}', "nul"]


@pytest.mark.parametrize("line", BROKEN_LINES)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_malformed_lines_of_json(project: Project, line: str, place: int):
    lines = ['{"id": 1}', '{"id": 2}']
    lines.insert(place, line)
    project.put("a.ndjson", "\n".join(lines))
    with pytest.raises(BatchRefusedError) as caught:
        project.read("a.ndjson", "ndjson", schema=ID)
    assert caught.value.differences[0].startswith(f"a.ndjson, line {place + 1}")
    kept = project.read("a.ndjson", "ndjson", schema=ID, malformed="set_aside")
    assert [r["id"] for r in kept.rows] == [1, 2]
    assert (kept.counts.read, kept.counts.rejected) == (3, 1)
    assert kept.counts.rejects[0].line == place + 1


def test_blank_lines_are_no_records(project: Project):
    project.put("a.ndjson", '\n{"id": 1}\n  \n\r\n {"id": 2}\n\n')
    read = project.read("a.ndjson", "ndjson")
    assert ([r["id"] for r in read.rows], read.counts.read) == ([1, 2], 2)
    project.put("a.csv", "id,name\n\n1,x\n\r\n2,y\n\n")
    assert project.read("a.csv").counts.read == 2
    project.put("one.csv", "id\n1\n\n3\n")
    assert [r["id"] for r in project.read("one.csv").rows] == [1, None, 3]


BROKEN_ARRAYS = [
    '[{"id": 1}',
    '[{"id": 1} {"id": 2}]',
    '[{"id": 1},]',
    '[{"id": 1}] x',
    '[{"id": 1}] {"id": 2}',
    "[1]",
]


@pytest.mark.parametrize("malformed", ["fail", "set_aside"])
@pytest.mark.parametrize("text", BROKEN_ARRAYS)
def test_a_broken_array_is_never_read_in_part(project: Project, text: str, malformed: str):
    project.put("a.json", f"\n{text}\n")
    with pytest.raises(BatchRefusedError) as caught:
        project.read("a.json", "json", schema=ID, malformed=malformed)
    assert caught.value.where.startswith("a.json:")


def test_input_without_a_record_has_no_columns(project: Project):
    project.put("a.json", "[]")
    with pytest.raises(SourceError, match="holds no record"):
        project.read("a.json", "json")


def test_many_bad_rows_are_listed_in_part_and_kept_in_full(project: Project, tmp_path: Path):
    rows = "".join(f"{'x' if i % 2 else i},n\n" for i in range(5000))
    project.put("a.csv", f"id,name\n{rows}")
    with pytest.raises(BatchRefusedError) as caught:
        project.read("a.csv", schema=PAIR)
    assert len(caught.value.differences) == 20
    path = tmp_path / "rejects.jsonl"
    kept = project.read("a.csv", schema=PAIR, malformed="set_aside", rejects=path)
    assert (len(kept.rows), kept.counts.rejected, len(kept.counts.rejects)) == (2500, 2500, 1000)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["line"] for line in lines] == list(range(3, 5003, 2))
    assert lines[0] == {
        "file": "a.csv", "line": 3, "column": "id", "text": "x,n",
        "reason": "'x' does not fit long (64 bits)",
    }  # fmt: skip


def test_a_later_line_is_still_the_right_line(project: Project):
    """Blocks are parsed apart; lines are counted through."""
    filler = "x" * 100
    rows = [f'{i},"{filler}\n{filler}"' for i in range(60_000)]
    rows[50_000] = f"bad,{filler}"
    project.put("a.csv", "id,name\n" + "\n".join(rows))
    with pytest.raises(BatchRefusedError) as caught:
        project.read("a.csv", schema=PAIR)
    assert caught.value.where == f"a.csv:{2 + 2 * 50_000}"


@pytest.mark.parametrize("mark", ["delimiter", "quote"])
def test_a_mark_that_cannot_be_one(project: Project, mark: str):
    project.put("a.csv", "id\n1\n")
    with pytest.raises(ConfigError, match="one ASCII character"):
        project.read("a.csv", **{mark: "§"})


SECRET = "hunter2"  # noqa: S105 - it guards nothing


@pytest.mark.parametrize(
    ("url", "error"),
    [
        (f"ftp://me:{SECRET}@127.0.0.1:1/in.csv", SourceUnavailableError),
        (f"s3://bucket/in.csv?key={SECRET}", SourceUnavailableError),
        (f"nosuch://me:{SECRET}@127.0.0.1:1/in.csv", SourceError),
        (f"gs://me:{SECRET}@bucket/in.csv", NotInstalledError),
    ],
)
def test_a_store_that_does_not_answer_tells_no_secret(
    project: Project, monkeypatch: pytest.MonkeyPatch, url: str, error: type[Exception]
):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "nobody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(error) as caught:
        project.read(url)
    assert type(caught.value) is error
    assert SECRET not in str(caught.value)
    assert SECRET not in repr(caught.value)
    assert url.partition("://")[0] in str(caught.value)


def test_reading_stops_when_cancelled(project: Project):
    project.put("a.csv", "id\n1\n")
    source = project.source("a.csv")
    plan = source.plan(None, everything=False)
    with (
        source.open(plan, ID, cancelled=lambda: True) as extract,
        pytest.raises(SourceError, match="cancelled"),
    ):
        list(extract.batches())


def test_books_that_do_not_balance_are_an_error(project: Project):
    project.put("a.csv", "id\n" + "1\n" * 10)
    source = project.source("a.csv")
    with source.open(source.plan(None, everything=False), ID) as extract:
        list(extract.batches())
        extract.counts.read += 1  # a record that the parser never gave
        with pytest.raises(SourceError, match="do not balance"):
            extract.finish()
