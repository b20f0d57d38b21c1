"""TPC-H lineitem, made once by tpchgen-cli and kept under benchmarks/data (not committed)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq

DATA = Path(__file__).parent / "data"


def lineitem(scale: float, form: str) -> Path:
    """The file of a scale factor, ``parquet`` or ``csv``."""
    folder = DATA / f"sf{scale:g}"
    path = folder / f"lineitem.{form}"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        print(f"making {path} …", file=sys.stderr)
        generator = Path(sys.executable).parent / "tpchgen-cli"
        command = [
            generator,
            form,
            "-s",
            f"{scale:g}",
            "--tables=lineitem",
            f"--output-dir={folder}",
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return path


def rows_of(scale: float) -> int:
    """Rows of a scale factor's lineitem."""
    return int(pq.read_metadata(lineitem(scale, "parquet")).num_rows)
