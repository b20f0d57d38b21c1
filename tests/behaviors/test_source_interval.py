"""A data interval: rows outside of it are left out and counted."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.unit.wap.sources.feeding import Project
from wap.errors import ConfigError
from wap.sources.base import Interval


@pytest.fixture
def project(tmp_path: Path) -> Project:
    root = tmp_path / "project"
    root.mkdir()
    return Project(root)


CASES = [
    (pa.int64(), ["1", "2", "3", ""], ("2", "3")),
    (pa.string(), ["a", "b", "c", ""], ("b", "c")),
    (pa.date32(), ["2013-01-01", "2013-01-02", "2013-01-03", ""], ("2013-01-02", "2013-01-03")),
    (
        pa.timestamp("us"),
        ["2013-01-01T23:59:59", "2013-01-02T00:00:00", "2013-01-03T00:00:00", ""],
        ("2013-01-02", "2013-01-03"),
    ),
    (
        pa.timestamp("us", "UTC"),
        ["2013-01-01T22:59:59Z", "2013-01-01T23:00:00Z", "2013-01-02T23:00:00Z", ""],
        ("2013-01-02T00:00:00+01:00", "2013-01-03T00:00:00+01:00"),
    ),
    (
        pa.timestamp("us", "UTC"),
        ["2013-01-01T23:59:59Z", "2013-01-02T00:00:00Z", "2013-01-03T00:00:00Z", ""],
        ("2013-01-02", "2013-01-03"),
    ),
]


@pytest.mark.parametrize(("want", "texts", "bounds"), CASES)
@pytest.mark.parametrize("form", ["csv", "parquet", "sql"])
def test_the_start_is_in_the_end_and_null_are_not(
    project: Project, want: pa.DataType, texts: list[str], bounds: tuple[str, str], form: str
):
    schema = pa.schema([("id", pa.int64()), ("v", want)])
    project.put("a.csv", "id,v\n" + "".join(f"{i},{t}\n" for i, t in enumerate(texts)))
    interval = Interval(column="v", start=bounds[0], end=bounds[1])
    if form != "csv":
        pq.write_table(project.read("a.csv", schema=schema).table, project.root / "a.parquet")
    source = project.source(
        "a.csv" if form == "csv" else "a.parquet", form.replace("sql", "parquet")
    )
    plan = source.plan(None, everything=False, interval=interval)
    with source.open(plan, schema) as extract:
        if form == "sql":
            assert extract.sql is not None
            ids = [r[0] for r in extract.sql.connection.sql(extract.sql.query).fetchall()]
        else:
            ids = [i for b in extract.batches() for i in b.column("id").to_pylist()]
        counts = extract.finish()
    assert ids == [1]
    assert (counts.read, counts.discarded) == (4, 3)


@pytest.mark.parametrize(("start", "end"), [("x", "y"), ("2013-01-01T10:00:00", "2013-01-02")])
def test_bounds_are_values_of_the_column(project: Project, start: str, end: str):
    project.put("a.csv", "day\n2013-01-01\n")
    with pytest.raises(ConfigError, match="no interval of day"):
        project.read("a.csv", interval=Interval(column="day", start=start, end=end))


def test_the_column_must_be_read(project: Project):
    project.put("a.csv", "day\n2013-01-01\n")
    with pytest.raises(ConfigError, match="'when' is not read"):
        project.read("a.csv", interval=Interval(column="when", start="1", end="2"))
