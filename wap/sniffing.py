"""One data file, looked at for the first time: its format, dialect, nulls and rows, in DuckDB."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
from sqlglot import exp

from wap.errors import ConfigError, SourceError
from wap.field_map import quoted
from wap.types import column_texts, from_arrow

#: Rows that proposals are made from; a first look need not read a terabyte.
SAMPLE_ROWS = 2_000_000
_COMPRESSIONS = {".gz": "gzip", ".zip": "zip", ".zst": "zstd"}
_FORMATS = {
    ".csv": "csv",
    ".json": "json",
    ".jsonl": "ndjson",
    ".ndjson": "ndjson",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".tsv": "tsv",
    ".txt": "csv",
}
#: What other tools write for «no value»; taken over only where it stands among typed values.
NULL_TEXTS = ("NA", "N/A", "n/a", "NULL", "null", "None", "\\N", "nan", "NaN", "-", "?")
_SNIFF_ROWS = 100_000


@dataclass(frozen=True, slots=True)
class Sniffed:
    """A file's rows as the DuckDB table ``data``, and how they were read.

    Attributes:
        connection: holds the table; at most :data:`SAMPLE_ROWS` rows of the file.
        format, delimiter, nulls: as a pipeline's source declares them.
        columns: Iceberg types as text by column name.
        rows: rows in the table.
        whole: whether these are all rows of the file.
    """

    connection: duckdb.DuckDBPyConnection
    format: str
    columns: Mapping[str, str]
    rows: int
    whole: bool
    delimiter: str | None = None
    nulls: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def literal(value: Any) -> str:
    """A value as a DuckDB literal."""
    return str(exp.convert(value).sql("duckdb"))


def format_of(path: Path) -> tuple[str, str]:
    """Format and compression by the name's ending.

    Raises:
        ConfigError: an ending that says nothing.
    """
    endings = [s.lower() for s in path.suffixes]
    compression = _COMPRESSIONS.get(endings[-1], "none") if endings else "none"
    if compression != "none":
        endings.pop()
    if not endings or endings[-1] not in _FORMATS:
        raise ConfigError(
            f"the format of {path.name!r} cannot be told from its name",
            hint=f"known endings: {', '.join(_FORMATS)}; each also with .gz, .zip or .zst",
        )
    return _FORMATS[endings[-1]], compression


def sniff(path: Path, connection: duckdb.DuckDBPyConnection, scratch: Path) -> Sniffed:
    """Read a file into the table ``data`` of the connection.

    Args:
        path: the file.
        connection: a fresh one, with its limits set.
        scratch: an empty folder, for what has to be unpacked.

    Raises:
        ConfigError: its name does not tell its format.
        SourceError: it is missing, empty, or not in that format.
    """
    if not path.is_file():
        raise SourceError("there is no such file", where=str(path))
    if path.stat().st_size == 0:
        raise SourceError("the file is empty (0 bytes)", where=str(path))
    kind, compression = format_of(path)
    plain = _unpacked(path, scratch) if compression == "zip" else path
    try:
        return _sniffed(plain, kind, connection)
    except duckdb.Error as exc:
        reason = str(exc).splitlines()[0]
        raise SourceError(f"not readable as {kind}: {reason}", where=str(path)) from exc


def _sniffed(path: Path, kind: str, con: duckdb.DuckDBPyConnection) -> Sniffed:
    delimiter: str | None = None
    nulls: tuple[str, ...] = ()
    options: dict[str, Any] = {}
    if kind in ("csv", "tsv"):
        options = _dialect(path, con)
        nulls = _null_texts(path, con, options)
        if nulls:
            options = {**options, "nullstr": ["", *nulls]}
        default = "\t" if kind == "tsv" else ","
        delimiter = options["delim"] if options["delim"] != default else None
    whole = _load(con, _reader(path, kind, options))
    schema = con.sql("FROM data").limit(0).to_arrow_table().schema
    rows = con.sql("SELECT count(*) FROM data").fetchall()[0][0]
    return Sniffed(
        connection=con,
        format=kind,
        columns=column_texts(from_arrow(schema)),
        rows=rows,
        whole=whole,
        delimiter=delimiter,
        nulls=("", *nulls) if nulls else (),
        options=options,
    )


def _dialect(path: Path, con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    found = con.sql(
        f"SELECT Delimiter, Quote, HasHeader FROM sniff_csv({literal(str(path))})"  # noqa: S608
    ).fetchall()
    delimiter, _, has_header = found[0]
    if not has_header:
        raise SourceError(
            "the first line does not name the columns",
            where=str(path),
            hint="add a line of column names, or write the pipeline by hand with header: false",
        )
    return {"delim": delimiter, "header": True, "sample_size": _SNIFF_ROWS}


def _null_texts(
    path: Path, con: duckdb.DuckDBPyConnection, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Texts that keep a column from being typed: nulls in another tool's spelling."""
    plain = _described(con, _reader(path, "csv", options))
    trial = {**options, "nullstr": ["", *NULL_TEXTS]}
    typed = _described(con, _reader(path, "csv", trial))
    changed = [name for name, kind in plain.items() if kind == "VARCHAR" != typed.get(name)]
    if not changed:
        return ()
    text = _reader(path, "csv", {**options, "all_varchar": True})
    tests = " OR ".join(f"t = {quoted(name)}" for name in changed)
    among = ", ".join(f"({literal(t)})" for t in NULL_TEXTS)
    found = con.sql(
        f"SELECT t FROM (VALUES {among}) AS nulls(t) WHERE EXISTS "  # noqa: S608 - quoted above
        f"(SELECT 1 FROM (FROM {text} LIMIT {_SNIFF_ROWS}) WHERE {tests})"
    ).fetchall()
    return tuple(t for t in NULL_TEXTS if (t,) in found)


def _described(con: duckdb.DuckDBPyConnection, reader: str) -> dict[str, str]:
    return {row[0]: row[1] for row in con.sql(f"DESCRIBE FROM {reader}").fetchall()}


def _load(con: duckdb.DuckDBPyConnection, reader: str) -> bool:
    con.execute(f"CREATE TEMP TABLE data AS FROM {reader} LIMIT {SAMPLE_ROWS + 1}")
    rows = con.sql("SELECT count(*) FROM data").fetchall()[0][0]
    return bool(rows <= SAMPLE_ROWS)


def _reader(path: Path, kind: str, options: Mapping[str, Any]) -> str:
    """The table function that reads the file."""
    function = {"parquet": "read_parquet", "json": "read_json", "ndjson": "read_json"}.get(
        kind, "read_csv"
    )
    if kind == "ndjson":
        options = {**options, "format": "newline_delimited"}
    arguments = [literal(str(path)), *(f"{k} = {_option(v)}" for k, v in options.items())]
    return f"{function}({', '.join(arguments)})"


def _option(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(literal, value))}]"
    return literal(value)


def _unpacked(path: Path, scratch: Path) -> Path:
    """The one member of a zip archive, which DuckDB does not read by itself."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [m for m in archive.infolist() if not m.is_dir()]
            if len(members) != 1:
                raise SourceError(
                    f"the archive holds {len(members)} files; one is expected", where=str(path)
                )
            target = scratch / "member"
            with archive.open(members[0]) as packed, target.open("wb") as plain:
                shutil.copyfileobj(packed, plain, 1 << 20)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as exc:
        raise SourceError(f"not a readable zip archive: {exc}", where=str(path)) from exc
    return target
