"""What each side does: ``python -m benchmarks.contenders NAME FILE FORMAT FOLDER``."""
# ruff: noqa: PLC0415 - a side loads what it needs and no more

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb

from benchmarks.project import AUDIT_SQL, DUCKDB_TYPES

#: tpchgen writes no types into CSV; every side is told the same.
_COLUMNS = "{" + ", ".join(f"'{n}': '{t}'" for n, t in DUCKDB_TYPES.items()) + "}"


def _relation(source: Path, form: str) -> str:
    if form == "parquet":
        return f"read_parquet('{source}')"
    return f"read_csv('{source}', header = true, auto_detect = false, columns = {_COLUMNS})"


def floor(source: Path, form: str, folder: Path) -> int:
    target = folder / "out.parquet"
    con = duckdb.connect()
    statement = (
        f"COPY (FROM {_relation(source, form)}) TO '{target}' (FORMAT parquet, COMPRESSION zstd)"
    )
    (rows,) = con.execute(statement).fetchone()  # type: ignore[misc]
    return int(rows)


def floor_audit(source: Path, form: str, folder: Path) -> int:
    rows = floor(source, form, folder)
    con = duckdb.connect()
    con.execute(f"CREATE VIEW lineitem AS FROM read_parquet('{folder}/out.parquet')")
    for query in AUDIT_SQL:
        (failing,) = con.execute(query).fetchone()  # type: ignore[misc]
        assert not failing, query
    return rows


def append(source: Path, form: str, folder: Path) -> int:
    import pyarrow as pa
    import pyarrow.csv as pa_csv
    import pyarrow.parquet as pq
    from pyiceberg.catalog.sql import SqlCatalog

    from benchmarks.project import arrow_schema

    if form == "parquet":
        # Parquet's string views have to be cast: pyiceberg does not take them.
        schema = pa.schema([(f.name, f.type) for f in arrow_schema()])
        table = pq.read_table(source).cast(schema)
    else:
        options = pa_csv.ConvertOptions(column_types=arrow_schema())
        table = pa_csv.read_csv(source, convert_options=options)
    catalog = SqlCatalog("b", uri=f"sqlite:///{folder}/c.db", warehouse=f"file://{folder}/w")
    catalog.create_namespace("tpch")
    made = catalog.create_table("tpch.lineitem", table.schema)
    made.append(table)
    return int(made.scan().count())


def write(source: Path, form: str, folder: Path) -> int:
    from pyiceberg.io.pyarrow import PyArrowFileIO
    from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC

    from benchmarks.project import arrow_schema
    from catalog.base import Staging
    from catalog.refs import Branch, TableName
    from wap.engines.arrow import ArrowEngine
    from wap.source_sections import FilesSource
    from wap.sources import open_source
    from wap.types import from_arrow, to_arrow

    spec = FilesSource.model_validate({"kind": "files", "path": source.name, "format": form})
    reader = open_source(spec, source.parent)
    plan = reader.plan(None, everything=False)
    reader.schema(plan)  # a run infers before it reads, also what is declared
    schema = from_arrow(arrow_schema())
    staging = Staging(
        Branch.of_run("bench"), TableName.parse("tpch.lineitem"), None, 1, False, schema,
        UNPARTITIONED_PARTITION_SPEC, f"file://{folder}/table", PyArrowFileIO(), {},
    )  # fmt: skip
    with reader.open(plan, to_arrow(schema)) as extract:
        written = ArrowEngine(temp_directory=folder).write(
            extract, staging, report=lambda _: None, cancelled=lambda: False
        )
        assert extract.finish().read == written.rows
    return written.rows


CONTENDERS: dict[str, Callable[[Path, str, Path], int]] = {
    "floor": floor,
    "floor-audit": floor_audit,
    "append": append,
    "write": write,
}

if __name__ == "__main__":
    name, given, form_given, folder_given = sys.argv[1:]
    count = CONTENDERS[name](Path(given), form_given, Path(folder_given))
    print(json.dumps({"rows": count}))
