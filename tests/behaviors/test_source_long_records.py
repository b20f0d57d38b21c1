"""Records longer than the chunks a parser works in are records like any other."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tests.unit.wap.sources.feeding import Project
from wap.errors import BatchRefusedError

LONG = "é" * 1_500_000


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    return Project(root)


SCHEMA = pa.schema({"id": pa.int64(), "text": pa.string()})


def test_a_value_of_megabytes_comes_through_whole(project: Project) -> None:
    project.put("x.csv", f'id,text\n1,a\n2,"{LONG}\n"\n3,{LONG}\n4,d\n')
    read = project.read("x.csv", schema=SCHEMA)
    assert [r["id"] for r in read.rows] == [1, 2, 3, 4]
    assert [r["text"] for r in read.rows] == ["a", f"{LONG}\n", LONG, "d"]


def test_a_bad_record_beside_a_long_one_is_named_once(project: Project) -> None:
    project.put("x.csv", f"id,text\nx,a\n2,b,c\n3,{LONG}\n4,d\n")
    with pytest.raises(BatchRefusedError) as caught:
        project.read("x.csv", schema=SCHEMA)
    assert [d.partition(",")[2].partition(":")[0].strip() for d in caught.value.differences] == [
        "line 2, column id", "line 3",
    ]  # fmt: skip
