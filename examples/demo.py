"""``make demo``: a good batch is published, spoiled ones are blocked, consumers see no difference.

All batches are made of the real flights of New York City; the project is a copy of
``examples/nycflights`` in a temporary folder, so nothing of yours is touched.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import zipfile
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from rich.console import Console
from rich.table import Table
from rich.text import Text

HERE = Path(__file__).parent
EXAMPLE = HERE / "nycflights"
RUN = HERE.parent / "run_workflow.py"
QUERY = (
    "select count(*) as flights, max(time_hour) as newest, count(tailnum) as aircraft "
    "from nyc.flights"
)
console = Console()


def main() -> int:
    """Play the three scenes; 0 when every one went as it must."""
    with tempfile.TemporaryDirectory(prefix="wap-demo-") as folder:
        project = Path(folder) / "nycflights"
        shutil.copytree(
            EXAMPLE,
            project,
            ignore=shutil.ignore_patterns(".wap", "warehouse", "reports", "lineage"),
        )
        consumer = Consumer(project)
        flights = _flights()
        january, february = _month(flights, 1), _month(flights, 2)
        scenes = [
            ("a good batch: January as it is", _write(project, "january", january), 0),
            (
                "a spoiled batch: the column dest is lost",
                _write(project, "lost", february.drop_columns(["dest"])),
                1,
            ),
            (
                "a spoiled batch: half the rows missing, nulls in a key, duplicates",
                _write(project, "spoiled", _spoiled(february)),
                1,
            ),
            ("the same month, sound", _write(project, "february", february), 0),
        ]
        return 0 if all(_play(project, consumer, *scene) for scene in scenes) else 1


class Consumer:
    """Somebody who queries all the time; keeps what was seen."""

    def __init__(self, project: Path) -> None:
        self._project = project

    def look(self) -> str:
        """What the query shows now, as text."""
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "wap",
                "query",
                QUERY,
                "--json",
                "--project",
                str(self._project),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return "no such table"
        (row,) = json.loads(done.stdout)
        newest = str(row["newest"])[:16]
        return f"{row['flights']:,} flights until {newest}, {row['aircraft']:,} with an aircraft"

    def watch(self, stop: threading.Event) -> Counter[str]:
        """Look again and again until told to stop; how often each answer was seen."""
        seen: Counter[str] = Counter()
        while not stop.is_set():
            seen[self.look()] += 1
        return seen


def _play(project: Path, consumer: Consumer, title: str, batch: Path, expected: int) -> bool:
    console.rule(Text(title, "bold"))
    before = consumer.look()
    stop = threading.Event()
    seen: list[Counter[str]] = []
    watcher = threading.Thread(target=lambda: seen.append(consumer.watch(stop)))
    watcher.start()
    done = subprocess.run(
        [sys.executable, str(RUN), "flights", "--project", str(project), "--source", str(batch)],
        check=False,
    )
    stop.set()
    watcher.join()
    after = consumer.look()
    grid = Table(box=None, header_style="dim")
    for head in ("the consumer sees", "answer", "times"):
        grid.add_column(head)
    grid.add_row("before", before, "")
    for answer, times in seen[0].items():
        grid.add_row("during", answer, str(times))
    grid.add_row("after", after, "")
    console.print(grid)
    allowed = {before, after}
    good = (
        done.returncode == expected
        and set(seen[0]) <= allowed
        and (expected == 0) == (before != after)
    )
    console.print(
        Text("as it must be" if good else "NOT as it must be", "green" if good else "bold red")
    )
    return good


def _flights() -> pa.Table:
    with zipfile.ZipFile(EXAMPLE / "data" / "flights.csv.zip") as archive:
        text = archive.read(archive.namelist()[0])
    names = text.split(b"\n", 1)[0].decode().replace('"', "").strip().split(",")
    as_text = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
    )
    return pacsv.read_csv(pa.py_buffer(text), convert_options=as_text)


def _month(flights: pa.Table, month: int) -> pa.Table:
    return flights.filter(pc.equal(flights["month"], str(month)))


def _spoiled(month: pa.Table) -> pa.Table:
    """Every second row, the first hundred of them twice, and a hundred carriers that are null."""
    half = month.take(list(range(0, month.num_rows, 2)))
    place = half.schema.get_field_index("carrier")
    carriers = pa.chunked_array([["NA"] * 100 + half["carrier"].to_pylist()[100:]])
    return pa.concat_tables([half.set_column(place, "carrier", carriers), half.slice(500, 100)])


def _write(project: Path, name: str, rows: pa.Table) -> Path:
    path = project / "data" / f"{name}.csv"
    path.parent.mkdir(exist_ok=True)
    pacsv.write_csv(rows, path, pacsv.WriteOptions(quoting_style="none", quoting_header="none"))
    return path


if __name__ == "__main__":
    sys.exit(main())
