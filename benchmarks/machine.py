"""What the benchmark ran on, in one line."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from pathlib import Path


def described() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    libraries = ", ".join(f"{n} {version(n)}" for n in ("duckdb", "pyarrow", "pyiceberg"))
    load = Path("/proc/loadavg")
    busy = f", load before {load.read_text().split()[0]}" if load.exists() else ""
    return (
        f"{os.cpu_count()} cores, {memory:.0f} GB, {platform.system()}, "
        f"Python {platform.python_version()}, {libraries}{busy}"
    )
