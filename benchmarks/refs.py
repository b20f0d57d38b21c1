"""What moving, making and dropping branches costs: ``python -m benchmarks.refs``."""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pyarrow as pa
from pyiceberg.io.pyarrow import schema_to_pyarrow
from pyiceberg.manifest import DataFile
from pyiceberg.schema import Schema
from pyiceberg.types import LongType, NestedField

from benchmarks.machine import described
from catalog import AuditedHead, Branch, Seal, TableName, open_catalog
from catalog.base import BranchCatalog, Change, Staging, TableShape
from catalog.retention import Keep
from tests.servers.iceberg_rest import IcebergRest
from tests.servers.nessie import Nessie
from tests.servers.postgres import Postgres
from wap.engines.data_files import DataFiles

CATALOGS = ("sqlite", "postgres", "rest", "nessie")
FILES = (1, 10, 100, 1000)
#: Snapshots in main's history; a published run makes three: opened, staged, sealed.
HISTORY = (10, 100, 1000)
PER_RUN = 3
AT_ONCE = 8
SHAPE = TableShape(Schema(NestedField(1, "id", LongType(), required=False)))
TABLE = TableName.parse("bench.refs")
#: Later than anything that is made here.
LATER = datetime.now(UTC) + timedelta(days=1)
#: Public figures of another system's branches, ms: on average, and with eight at once.
PUBLIC = "83 | 195"


@dataclass(frozen=True)
class Passed:
    """An audit that passed: this measures the catalog, not the audit."""

    snapshot_id: int
    digest: str = "d" * 64
    passed: bool = True
    declared: frozenset[str] = frozenset({"none"})
    evaluated: frozenset[str] = frozenset({"none"})
    waivable: frozenset[str] = frozenset()


class Run:
    """One run, step by step."""

    def __init__(self, catalog: BranchCatalog, run_id: str) -> None:
        self.catalog, self.branch = catalog, Branch.of_run(run_id)

    def open(self) -> Staging:
        self.staging = self.catalog.open_branch(self.branch, TABLE, SHAPE)
        return self.staging

    def stage(self, files: int) -> None:
        change = Change([_file(self.staging, n) for n in range(files)])
        self.staging = self.catalog.stage(self.staging, change)

    def seal(self) -> None:
        report = Passed(self.staging.head)
        self.head = AuditedHead(
            self.branch, TABLE, self.staging.head, self.staging.expected, report
        )
        facts = Seal(self.branch.run_id, self.head.head, "c" * 64, report.digest, "s" * 64)
        self.catalog.seal(self.head, facts)

    def publish(self) -> None:
        self.catalog.publish([self.head])

    def rebase(self) -> None:
        self.staging = self.catalog.rebase(self.branch, TABLE)

    def drop(self) -> None:
        self.catalog.drop(self.branch, TABLE)

    def whole(self) -> None:
        self.open()
        self.stage(1)
        self.seal()
        self.publish()


def _file(staging: Staging, number: int) -> DataFile:
    files = DataFiles.of(staging, f"part-{number}")
    one = files.begin()
    one.write(pa.table({"id": [number]}, schema=schema_to_pyarrow(staging.schema)))
    return one.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.refs", description=__doc__)
    parser.add_argument("--catalogs", nargs="+", default=["sqlite"], choices=CATALOGS)
    parser.add_argument("--files", type=int, nargs="*", default=list(FILES))
    parser.add_argument("--history", type=int, nargs="+", default=list(HISTORY))
    parser.add_argument("--repeat", type=int, default=5, help="of each cell; medians count")
    parser.add_argument("--branches", type=int, default=48, help="branches made and dropped")
    parser.add_argument(
        "--warm", type=int, default=200, help="branches before: a Java server compiles as it goes"
    )
    arguments = parser.parse_args()
    print(f"{described()}\n")
    for kind in arguments.catalogs:
        with (
            _served(kind) as (properties, java),
            closing(_open(kind, properties)) as catalog,
        ):
            print(f"### {kind}\n")
            if arguments.files:
                _moves(catalog, arguments.files, arguments.history, arguments.repeat)
            _warm(catalog, arguments.warm)
            _branches(catalog, kind, properties, arguments.branches, java)


# --- publish and rebase -------------------------------------------------------------------------


def _moves(
    catalog: BranchCatalog, files: Sequence[int], history: Sequence[int], repeat: int
) -> None:
    print("| snapshots of history | files of the batch | publish ms | most | rebase ms | most |")
    print("|---:|---:|---:|---:|---:|---:|")
    numbers = iter(range(10**9))
    for length in sorted(history):
        for count in files:
            publish, rebase = [], []
            for turn in range(repeat):
                _bring_to(catalog, length, numbers)
                run = Run(catalog, f"run-{next(numbers)}")
                run.open()
                run.stage(count)
                Run(catalog, f"rival-{next(numbers)}").whole()
                rebase.append(_timed(run.rebase))
                run.seal()
                publish.append(_timed(run.publish))
                print(f"{length} {count} {turn + 1}/{repeat}", file=sys.stderr)
            print(f"| {length:,} | {count:,} | {_figures(publish)} | {_figures(rebase)} |")
    print(flush=True)


def _bring_to(catalog: BranchCatalog, length: int, numbers: Iterator[int]) -> None:
    """Make or forget history until it is about so long."""
    runs = max(1, length // PER_RUN)
    if catalog.published(TABLE) is not None:
        catalog.expire(TABLE, Keep(runs, LATER, LATER))
    have = len(catalog.log(TABLE)) // PER_RUN
    for _ in range(runs - have):
        Run(catalog, f"past-{next(numbers)}").whole()


# --- branches -----------------------------------------------------------------------------------


def _warm(catalog: BranchCatalog, count: int) -> None:
    """Make what branches are made of, and make and drop some; nobody measures these."""
    if catalog.published(TABLE) is None:
        Run(catalog, "first").whole()
    for number in range(count):
        _made_and_dropped(catalog, f"warm-{number}")
    catalog.expire(TABLE, Keep(1, LATER, LATER))


def _branches(
    catalog: BranchCatalog, kind: str, properties: dict[str, str], count: int, java: int | None
) -> None:
    """Every branch of one table: what is there then is a published table of a few snapshots."""
    print("| branches of one table | create ms, average | most | drop ms, average | most |")
    print("|---|---:|---:|---:|---:|")
    print(f"| another system, as published (average; {AT_ONCE} at once) | {PUBLIC} | | |")
    before = time.process_time(), _cpu_of(java)
    serial = [_made_and_dropped(catalog, f"serial-{n}") for n in range(count)]
    after = time.process_time(), _cpu_of(java)
    _print_branches("one after the other", serial)
    context = get_context("spawn")
    together = context.Barrier(AT_ONCE)
    with ProcessPoolExecutor(
        AT_ONCE, context, initializer=_join, initargs=(kind, properties, together)
    ) as pool:
        shares = [range(n, count - count % AT_ONCE, AT_ONCE) for n in range(AT_ONCE)]
        burst = [one for found in pool.map(_burst, shares) for one in found]
        _print_branches(f"{AT_ONCE} at once: each makes one; then each drops it", burst)
        loop = [one for found in pool.map(_loop, shares) for one in found]
        _print_branches(f"{AT_ONCE} at once, without a pause: make, drop, make, …", loop)
    _print_branches("chained: each on what the one before has published", _chain(catalog, count))
    mine, servers = (1000 * (b - a) / count for a, b in zip(before, after, strict=True))
    print(f"\nOne branch, made and dropped, takes {mine:.0f} ms of a core here", end="")
    print("." if java is None else f" and {servers:.0f} ms in the server.", flush=True)
    print()


def _cpu_of(process: int | None) -> float:
    """Seconds of CPU that a process and its threads have had, as Linux counts them; None: 0."""
    if process is None:
        return 0.0
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class _Joined:
    """What a process of :func:`_branches` has."""

    catalog: BranchCatalog
    together: Barrier


def _join(kind: str, properties: dict[str, str], together: Barrier) -> None:
    _Joined.catalog, _Joined.together = _open(kind, properties), together


def _burst(numbers: Sequence[int]) -> list[tuple[float, float]]:
    """What each of them waits for when all ask in the same moment, and nothing else goes on."""
    found = []
    _Joined.catalog.log(TABLE)  # what is loaded once is loaded
    for number in numbers:
        run = Run(_Joined.catalog, f"burst-{number}")
        _Joined.together.wait()
        made = _timed(run.open)
        _Joined.together.wait()
        found.append((made, _timed(run.drop)))
    return found


def _loop(numbers: Sequence[int]) -> list[tuple[float, float]]:
    _Joined.together.wait()
    return [_made_and_dropped(_Joined.catalog, f"loop-{n}") for n in numbers]


def _made_and_dropped(catalog: BranchCatalog, run_id: str) -> tuple[float, float]:
    run = Run(catalog, run_id)
    return _timed(run.open), _timed(run.drop)


def _chain(catalog: BranchCatalog, count: int) -> list[tuple[float, float]]:
    """A branch is made, written to and published, and its leftovers dropped; then the next one."""
    found = []
    for number in range(count):
        run = Run(catalog, f"chain-{number}")
        made = _timed(run.open)
        run.stage(1)
        run.seal()
        run.publish()
        found.append((made, _timed(run.drop)))
    return found


def _print_branches(what: str, found: Sequence[tuple[float, float]]) -> None:
    made, dropped = zip(*found, strict=True)
    # Averages, for that is what the public figures are.
    figures = " | ".join(f"{statistics.mean(f):.1f} | {max(f):.1f}" for f in (made, dropped))
    print(f"| {what} | {figures} |")


# --- measuring ----------------------------------------------------------------------------------


def _timed(step: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    step()
    return 1000 * (time.perf_counter() - began)


def _figures(milliseconds: Sequence[float]) -> str:
    return f"{statistics.median(milliseconds):.1f} | {max(milliseconds):.1f}"


def _open(kind: str, properties: dict[str, str]) -> BranchCatalog:
    return open_catalog(kind, "refs", properties)


@contextmanager
def _served(kind: str) -> Iterator[tuple[dict[str, str], int | None]]:
    """An empty folder with the catalog's server, if it has one.

    Yields:
        How to open it, and the process of a Java server.
    """
    folder = Path(tempfile.mkdtemp(prefix="refs-"))
    folder.chmod(0o711)  # PostgreSQL runs as a user of its own
    server = _server(kind, folder)
    try:
        if server is not None:
            server.start()
        yield {"uri": _uri(server, folder), "warehouse": str(folder / "warehouse")}, _java(server)
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(folder)


def _java(server: Postgres | Nessie | IcebergRest | None) -> int | None:
    if not isinstance(server, Nessie | IcebergRest) or server.server.process is None:
        return None
    return server.server.process.pid


def _server(kind: str, folder: Path) -> Postgres | Nessie | IcebergRest | None:
    made = {"postgres": Postgres, "nessie": Nessie, "rest": IcebergRest}.get(kind)
    return made(folder / "server") if made is not None else None


def _uri(server: Postgres | Nessie | IcebergRest | None, folder: Path) -> str:
    if server is None:
        return f"sqlite:///{folder / 'catalog.db'}"
    return server.url(server.database()) if isinstance(server, Postgres) else server.uri


if __name__ == "__main__":
    main()
