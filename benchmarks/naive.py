"""Writers that share a table and know no queue, each a process of its own."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog import Catalog, load_catalog
from pyiceberg.exceptions import CommitFailedException

NAME = ("shop", "orders")
SCHEMA = pa.schema([("o_orderkey", pa.int64()), ("o_custkey", pa.int64()), ("o_total", pa.int64())])
#: So often a commit that lost is tried again.
TRIES = 1000


def catalog_in(folder: Path) -> Catalog:
    return load_catalog(
        "naive", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}/data"
    )


def rows_of(number: int, rows: int) -> pa.Table:
    """Orders that no other writer has."""
    keys = range(number * rows, (number + 1) * rows)
    return pa.table([keys, [k % 100 for k in keys], [k % 977 for k in keys]], schema=SCHEMA)


def _alone(catalog: Catalog, batch: pa.Table, _name: str) -> int:
    """What pyiceberg does by itself, its own retries included."""
    catalog.load_table(NAME).append(batch)
    return 1


def _branch(catalog: Catalog, batch: pa.Table, name: str) -> int:
    """Write to a branch, then point main to it, again and again until nobody objects."""
    written = False
    for tries in range(1, TRIES):
        try:
            table = catalog.load_table(NAME)
            if name not in table.refs():
                head = table.current_snapshot()
                assert head is not None
                table.manage_snapshots().create_branch(head.snapshot_id, name).commit()
            if not written:
                table.append(batch, branch=name)
                written = True
            table = catalog.load_table(NAME)
            table.manage_snapshots().set_current_snapshot(ref_name=name).commit()
        except (CommitFailedException, ValueError):
            continue
        return tries
    raise SystemExit(1)


def _redo(catalog: Catalog, batch: pa.Table, _name: str) -> int:
    """Append by compare-and-swap; who loses writes its data once more."""
    for tries in range(1, TRIES):
        try:
            catalog.load_table(NAME).append(batch)
        except (CommitFailedException, ValueError):
            continue
        return tries
    raise SystemExit(1)


SIDES = {"alone": _alone, "branch": _branch, "redo": _redo}


def main() -> None:
    side, folder, number, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    catalog, batch = catalog_in(folder), rows_of(number, rows)
    print("ready", flush=True)
    while not (folder / "go").exists():
        time.sleep(0.005)
    print(SIDES[side](catalog, batch, f"b{number}"), flush=True)


if __name__ == "__main__":
    main()
