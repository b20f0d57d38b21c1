"""What waits to be written is bounded, and DuckDB is held to the budget."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.unit.wap.engines.staging import rows_of, staging, write
from tests.unit.wap.sources.feeding import Project
from wap.engines.arrow import ArrowEngine
from wap.engines.base import Written
from wap.engines.data_files import DataFiles
from wap.engines.writing import Limits, PlainWriting


def test_row_groups_that_wait_are_no_more_than_there_are_threads(tmp_path: Path):
    table = pa.table({"id": range(1000)})
    where = staging(tmp_path, table.schema)
    files = DataFiles.of(where, "batch")
    (batch,) = [b.cast(files.arrow) for b in table.to_batches()]
    with PlainWriting(files, Limits(group=1, file=1 << 20, threads=2)) as writing:
        for _ in range(20):
            writing.add(batch)
            assert len(writing._writing) <= 2
        written = Written(writing.finish())
    assert rows_of(written, where).num_rows == 20_000


def test_a_row_group_has_no_more_rows_than_it_may(tmp_path: Path, monkeypatch):
    monkeypatch.setattr("wap.engines.writing.GROUP_ROWS", 300)
    table = pa.table({"id": range(1000)})
    where = staging(tmp_path, table.schema)
    files = DataFiles.of(where, "batch")
    (batch,) = [b.cast(files.arrow) for b in table.to_batches()]
    with PlainWriting(files, Limits(group=1 << 30, file=1 << 30, threads=1)) as writing:
        writing.add(batch)
        (file,) = writing.finish()
    footer = pq.read_metadata(file.file_path.removeprefix("file://"))
    groups = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    assert groups == [300, 300, 300, 100]


def test_duckdb_is_held_to_the_budget_and_to_the_folder(tmp_path: Path):
    table = pa.table({"id": range(10)})
    pq.write_table(table, tmp_path / "in.parquet")
    source = Project(tmp_path).source("in.parquet", "parquet")
    where = staging(tmp_path, table.schema)
    engine = ArrowEngine(123 << 20, temp_directory=tmp_path / "spill")
    with source.open(source.plan(None, everything=False), table.schema) as extract:
        write(extract, where, engine)
        assert extract.sql is not None
        query = "SELECT current_setting('memory_limit'), current_setting('temp_directory')"
        found = extract.sql.connection.execute(query).fetchone()
    assert found == ("123.0 MiB", str(tmp_path / "spill"))
