"""Views over snapshots, against what pyiceberg itself reads from the same files."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.io import FileIO, InputFile, InputStream, OutputFile
from pyiceberg.io.pyarrow import PyArrowFileIO, schema_to_pyarrow
from pyiceberg.manifest import DataFile, DataFileContent, FileFormat
from pyiceberg.schema import Schema
from pyiceberg.table import Table
from pyiceberg.typedef import Record
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FixedType,
    FloatType,
    GeometryType,
    IntegerType,
    ListType,
    LongType,
    MapType,
    NestedField,
    StringType,
    StructType,
    TimestampType,
    TimestamptzType,
    TimeType,
    UUIDType,
)

from catalog.base import Scan
from catalog.errors import CatalogUnavailableError
from wap.errors import RelationError
from wap.field_map import literal
from wap.relations import connect, create_view


@pytest.fixture
def con(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    connection = connect(temp_directory=tmp_path / "spill")
    yield connection
    connection.close()


@pytest.fixture
def tables(tmp_path: Path) -> SqlCatalog:
    catalog = SqlCatalog("t", uri="sqlite:///:memory:", warehouse=f"file://{tmp_path}/warehouse")
    catalog.create_namespace("nyc")
    return catalog


def scan_of(table: Table) -> Scan:
    return Scan(table.schema(), [t.file for t in table.scan().plan_files()], table.io)


def field(number: int, name: str, kind: Any, *, required: bool = False) -> NestedField:
    return NestedField(number, name, kind, required=required)


def data_file(path: str, rows: int = 1, size: int = 0, **changes: Any) -> DataFile:
    return DataFile.from_args(
        content=changes.get("content", DataFileContent.DATA),
        file_path=path,
        file_format=changes.get("file_format", FileFormat.PARQUET),
        partition=Record(),
        record_count=rows,
        file_size_in_bytes=size,
    )


IDS = Schema(field(1, "id", LongType()))


def write_ids(path: Path, ids: list[int]) -> DataFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"id": ids}, schema=schema_to_pyarrow(IDS)), path)
    return data_file(str(path), len(ids), path.stat().st_size)


def ids_in(con: duckdb.DuckDBPyConnection, view: str) -> list[Any]:
    return [row[0] for row in con.execute(f"SELECT id FROM {view} ORDER BY id").fetchall()]


EVERY_TYPE = Schema(
    field(1, "bool", BooleanType()),
    field(2, "int", IntegerType()),
    field(3, "long", LongType()),
    field(4, "float", FloatType()),
    field(5, "double", DoubleType()),
    field(6, "decimal", DecimalType(38, 4)),
    field(7, "date", DateType()),
    field(8, "time", TimeType()),
    field(9, "timestamp", TimestampType()),
    field(10, "timestamptz", TimestamptzType()),
    field(11, "string", StringType()),
    field(12, "uuid", UUIDType()),
    field(13, "fixed", FixedType(3)),
    field(14, "binary", BinaryType()),
    field(15, "list", ListType(20, LongType(), element_required=False)),
    field(16, "struct", StructType(field(21, "a b", IntegerType()), field(22, "c", StringType()))),
    field(17, "map", MapType(23, StringType(), 24, DoubleType(), value_required=False)),
    field(
        18,
        "deep",
        ListType(
            25,
            StructType(field(26, "m", MapType(27, StringType(), 28, DateType()))),
            element_required=False,
        ),
    ),
)
FULL_ROW: dict[str, Any] = {
    "bool": True,
    "int": -1,
    "long": 2**40,
    "float": 0.5,
    "double": -1e300,
    "decimal": Decimal("9" * 34 + ".1234"),
    "date": date(2013, 1, 1),
    "time": time(23, 59, 59, 999999),
    "timestamp": datetime(1969, 12, 31, 23, 0, 0, 1),  # noqa: DTZ001 - timestamp has no zone
    "timestamptz": datetime(2013, 1, 1, 5, tzinfo=UTC),
    "string": "naïve 'quoted'",
    "uuid": uuid.UUID(int=7),
    "fixed": b"abc",
    "binary": b"\x00\xff",
    "list": [1, None],
    "struct": {"a b": 1, "c": None},
    "map": {"k": 1.5},
    "deep": [{"m": {"d": date(2020, 2, 29)}}],
}


def write_every(path: Path, rows: list[dict[str, Any]]) -> Scan:
    pq.write_table(pa.Table.from_pylist(rows, schema=schema_to_pyarrow(EVERY_TYPE)), path)
    return Scan(EVERY_TYPE, [data_file(str(path), len(rows))], PyArrowFileIO())


def test_every_type_reads_as_it_was_written(con, tmp_path):
    row = {**FULL_ROW, "uuid": FULL_ROW["uuid"].bytes, "map": list(FULL_ROW["map"].items())}
    row["deep"] = [{"m": list(FULL_ROW["deep"][0]["m"].items())}]

    create_view(con, "nyc", "every", write_every(tmp_path / "e.parquet", [row, {}]))

    relation = con.sql('SELECT * FROM nyc.every ORDER BY "int" NULLS LAST')
    full, empty = relation.fetchall()
    assert relation.columns == list(FULL_ROW)
    assert dict(zip(relation.columns, full, strict=True)) == FULL_ROW
    assert empty == (None,) * len(FULL_ROW)


def test_an_empty_scan_has_the_same_columns_and_types_as_a_full_one(con, tmp_path):
    create_view(con, "nyc", "full", write_every(tmp_path / "e.parquet", [{}]))
    create_view(con, "nyc", "empty", Scan(EVERY_TYPE, [], PyArrowFileIO()))

    empty, full = con.sql("SELECT * FROM nyc.empty"), con.sql("SELECT * FROM nyc.full")
    assert (empty.columns, empty.types) == (full.columns, full.types)
    assert empty.fetchall() == []


def test_a_column_is_found_by_id_after_rename_widening_move_and_replacement(con, tables):
    old = Schema(
        field(1, "kept", IntegerType()),
        field(2, "renamed", StringType()),
        field(3, "gone", LongType()),
    )
    table = tables.create_table("nyc.t", old)
    table.append(pa.table({"kept": [1], "renamed": ["x"], "gone": [9]}, schema_to_pyarrow(old)))
    with table.update_schema() as update:
        update.update_column("kept", LongType())
        update.rename_column("renamed", "name")
        update.delete_column("gone")
        update.move_first("renamed")
    with table.update_schema() as update:
        update.add_column("gone", LongType())
        update.add_column("added", DateType())

    create_view(con, "nyc", "t", scan_of(table))

    relation = con.sql("SELECT * FROM nyc.t")
    assert relation.columns == ["name", "kept", "gone", "added"]
    assert relation.fetchall() == [("x", 1, None, None)]
    assert str(relation.types[1]) == "BIGINT"


def test_nested_fields_are_found_by_id_too(con, tables):
    inner = StructType(field(5, "a", IntegerType()), field(6, "b", StringType()))
    old = Schema(field(1, "s", inner), field(2, "l", ListType(7, inner, element_required=False)))
    table = tables.create_table("nyc.t", old)
    rows = [{"s": {"a": 1, "b": "x"}, "l": [{"a": 2, "b": "y"}]}]
    table.append(pa.Table.from_pylist(rows, schema=schema_to_pyarrow(table.schema())))
    with table.update_schema() as update:
        update.rename_column(("s", "a"), "z")
        update.rename_column(("l", "element", "b"), "w")
        update.add_column(("s", "new"), LongType())

    create_view(con, "nyc", "t", scan_of(table))

    assert con.sql("SELECT s.z, s.new, l[1].w FROM nyc.t").fetchall() == [(1, None, "y")]


def test_names_sql_would_trip_over(con, tables):
    names = [
        "select",
        "a.b",
        'say "hi"',
        "it's",
        "größe",
        "日本",
        "filename",
        "rowid",
        "a b",
        "{x}",
    ]
    names += [f"column {n}" for n in range(290)]
    schema = Schema(*(field(n, name, LongType()) for n, name in enumerate(names, start=1)))
    file = Path(tables.properties["warehouse"].removeprefix("file://")) / "odd.parquet"
    file.parent.mkdir(parents=True)
    values = {name: [number] for number, name in enumerate(names)}
    pq.write_table(pa.table(values, schema=schema_to_pyarrow(schema)), file)

    create_view(con, 'my "ns".eu', "from", Scan(schema, [data_file(str(file))], PyArrowFileIO()))

    relation = con.sql('SELECT * FROM "my ""ns"".eu"."from"')
    assert relation.columns == names
    assert relation.fetchall() == [tuple(range(300))]


@pytest.mark.parametrize(
    "folder", ["plain", "region=eu/day=1", "a[1]", "what?", "st*r", "it's", "{a,b}", "a#b%20 c"]
)
@pytest.mark.parametrize("scheme", ["", "file://", "file:"])
def test_a_path_means_one_file_and_adds_no_column(con, tmp_path, folder, scheme):
    file = write_ids(tmp_path / folder / "d.parquet", [1])
    for decoy in ("a1", "whatx", "star"):
        write_ids(tmp_path / decoy / "d.parquet", [666])
    scan = Scan(IDS, [data_file(scheme + file.file_path)], PyArrowFileIO())

    paths = create_view(con, "nyc", "t", scan)

    assert con.sql("SELECT * FROM nyc.t").columns == ["id"]
    assert ids_in(con, "nyc.t") == [1]
    assert str(tmp_path / folder / "d.parquet") in paths


def test_thousands_of_files(con, tmp_path):
    file = write_ids(tmp_path / "d.parquet", [1, 2])
    create_view(con, "nyc", "t", Scan(IDS, [file] * 3000, PyArrowFileIO()))
    assert con.sql("SELECT count(*), sum(id) FROM nyc.t").fetchall() == [(6000, 9000)]


def refusals(tmp_path: Path) -> dict[str, tuple[Scan, str]]:
    good = write_ids(tmp_path / "good.parquet", [1])
    bare = tmp_path / "bare.parquet"
    pq.write_table(pa.table({"id": [1]}), bare)
    deletes = data_file(good.file_path, content=DataFileContent.POSITION_DELETES)
    avro = data_file(good.file_path, file_format=FileFormat.AVRO)
    missing = data_file(str(tmp_path / "missing.parquet"))
    case = Schema(field(1, "id", LongType()), field(2, "ID", LongType()))
    nested = Schema(field(1, "s", StructType(field(2, "x", LongType()), field(3, "X", LongType()))))
    fs = PyArrowFileIO()
    return {
        "delete files": (Scan(IDS, [good, deletes], fs), "delete files"),
        "not parquet": (Scan(IDS, [avro], fs), "not a Parquet file"),
        "no field ids": (Scan(IDS, [good, data_file(str(bare))], fs), "no Iceberg field ids"),
        "missing": (Scan(IDS, [missing], fs), "cannot read a data file"),
        "case": (Scan(case, [good], fs), "in case only"),
        "case, empty": (Scan(case, [], fs), "in case only"),
        "case, nested": (Scan(nested, [], fs), "in case only"),
        "geometry": (Scan(Schema(field(1, "g", GeometryType())), [good], fs), "geometry"),
        "default": (
            Scan(Schema(NestedField(1, "id", LongType(), initial_default=3)), [good], fs),
            "initial default",
        ),
    }


@pytest.mark.parametrize(
    "case",
    ["delete files", "not parquet", "no field ids", "missing", "case", "case, empty",
     "case, nested", "geometry", "default"],
)  # fmt: skip
def test_what_cannot_be_read_right_is_refused(con, tmp_path, case):
    scan, message = refusals(tmp_path)[case]
    with pytest.raises(RelationError, match=message):
        create_view(con, "nyc", "t", scan)
    assert con.sql("SELECT * FROM duckdb_views() WHERE schema_name = 'nyc'").fetchall() == []


@pytest.mark.parametrize("schema", ["memory", "TEMP", "system", "pg_catalog", "information_schema"])
def test_a_namespace_duckdb_keeps_for_itself_is_refused(con, schema):
    with pytest.raises(RelationError, match="keeps for itself"):
        create_view(con, schema, "t", Scan(IDS, [], PyArrowFileIO()))


def test_a_second_view_of_one_name_is_refused_not_replaced(con, tmp_path):
    create_view(
        con, "nyc", "t", Scan(IDS, [write_ids(tmp_path / "a.parquet", [1])], PyArrowFileIO())
    )
    with pytest.raises(RelationError, match="already exists"):
        create_view(con, "NYC", "T", Scan(IDS, [], PyArrowFileIO()))
    assert ids_in(con, "nyc.t") == [1]


class Bucket(FileIO):
    """Object storage in memory: what a FileIO is, over a dict of bytes."""

    def __init__(self, objects: dict[str, bytes]) -> None:
        super().__init__()
        self.objects = objects
        self.opened: list[str] = []

    def new_input(self, location: str) -> InputFile:
        return _Object(location, self)

    def new_output(self, location: str) -> OutputFile:
        raise PermissionError(location)

    def delete(self, location: str | InputFile | OutputFile) -> None:
        raise PermissionError(location)


class _Object(InputFile):
    def __init__(self, location: str, bucket: Bucket) -> None:
        super().__init__(location)
        self.bucket = bucket

    def __len__(self) -> int:
        raise AssertionError("the size is in the metadata; asking storage costs a round trip")

    def exists(self) -> bool:
        return self.location in self.bucket.objects

    def open(self, seekable: bool = True) -> InputStream:
        assert seekable
        self.bucket.opened.append(self.location)
        if not self.exists():
            raise ConnectionError("the bucket does not answer")
        return io.BytesIO(self.bucket.objects[self.location])


def remote_scan(tmp_path: Path, *, lose: str = "") -> Scan:
    files, objects = [], {}
    for name, ids in (("a=1/x[1].parquet", [1, 2]), ("a=2/é #2.parquet", [3])):
        local = write_ids(tmp_path / "remote.parquet", ids)
        location = f"s3://bucket/{name}"
        content = Path(local.file_path).read_bytes()
        files.append(data_file(location, len(ids), len(content)))
        if name != lose:
            objects[location] = content
    return Scan(IDS, files, Bucket(objects))


def test_files_behind_a_file_io_are_read_as_often_as_needed(con, tmp_path):
    create_view(con, "nyc", "t", remote_scan(tmp_path))
    create_view(con, "nyc", "u", remote_scan(tmp_path))
    assert ids_in(con, "nyc.t") == [1, 2, 3]
    assert ids_in(con, "nyc.t") == [1, 2, 3]
    assert con.sql("SELECT count(*) FROM nyc.t JOIN nyc.u USING (id)").fetchall() == [(3,)]
    assert con.sql("SELECT * FROM nyc.t").columns == ["id"]


def test_files_behind_a_file_io_can_be_the_only_ones_allowed(con, tmp_path):
    paths = create_view(con, "nyc", "t", remote_scan(tmp_path))
    con.execute(f"SET allowed_paths = [{', '.join(map(literal, paths))}]")
    con.execute("SET enable_external_access = false")
    assert ids_in(con, "nyc.t") == [1, 2, 3]


def test_storage_that_does_not_answer_is_worth_another_try(con, tmp_path):
    with pytest.raises(CatalogUnavailableError, match="cannot be read now"):
        create_view(con, "nyc", "t", remote_scan(tmp_path, lose="a=2/é #2.parquet"))


def test_nothing_but_the_scans_files_is_served(con, tmp_path):
    scan = remote_scan(tmp_path)
    create_view(con, "nyc", "t", scan)
    scan.io.objects["s3://bucket/secret.parquet"] = b"PAR1"
    with pytest.raises(duckdb.Error):
        con.execute("SELECT * FROM read_parquet('iceberg0://s3://bucket/secret.parquet')")
    assert "s3://bucket/secret.parquet" not in scan.io.opened


def test_a_connection_spills_into_its_own_folder_and_leaves_nothing(tmp_path):
    spill = tmp_path / "made" / "spill"
    one = connect(temp_directory=spill, memory_limit="60MB", threads=1)
    two = connect(temp_directory=spill, memory_limit="60MB", threads=1)
    for con in (one, two):
        con.execute("CREATE TABLE big AS SELECT hash(i) AS h FROM range(10_000_000) t(i)")
    assert len(list(spill.iterdir())) == 2
    assert one.sql("SELECT count(h) FROM big").fetchall() == [(10_000_000,)]
    one.close()
    two.close()
    assert list(spill.iterdir()) == []


def test_a_connection_installs_and_loads_nothing_by_itself(con):
    with pytest.raises(duckdb.Error):
        con.execute("SELECT * FROM read_csv('https://example.invalid/x.csv')")
    settings = dict(
        con.execute(
            "SELECT name, value FROM duckdb_settings() WHERE name IN ('TimeZone',"
            " 'autoload_known_extensions', 'autoinstall_known_extensions', 'memory_limit')"
        ).fetchall()
    )
    assert settings["TimeZone"] == "UTC"
    assert settings["autoload_known_extensions"] == "false"
    assert settings["autoinstall_known_extensions"] == "false"
    assert settings["memory_limit"] == "381.4 MiB"


def test_a_setting_duckdb_does_not_know_is_a_clear_error(tmp_path):
    with pytest.raises(RelationError, match="no DuckDB connection"):
        connect(temp_directory=tmp_path, memory_limit="a lot")
