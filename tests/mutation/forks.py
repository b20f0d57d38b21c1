"""A process that has the heavy libraries loaded and forks once per mutant; run as a script.

Reads jobs from its input, one JSON object a line, and answers each with pytest's exit code. Only
libraries of others are loaded before the fork: each child imports our packages from its own copy.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pathlib
import sys

LIBRARIES = (
    "pytest",
    "duckdb",
    "jsonschema",
    "pyarrow.dataset",
    "pyarrow.parquet",
    "pydantic",
    "pyiceberg.catalog.sql",
    "pyiceberg.io.pyarrow",
    "ruamel.yaml",
    "sqlglot",
    "temporalio.testing",
    "temporalio.worker",
)
OURS = ("catalog", "checks", "wap", "tests")


def _run(copy: str, arguments: list[str], output: str) -> int:
    """Pytest in a child of ours; its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 70  # of sysexits.h: the child itself broke
    try:
        with pathlib.Path(output).open("wb") as told:
            os.dup2(told.fileno(), 1)
            os.dup2(told.fileno(), 2)
        os.chdir(copy)
        sys.path.insert(0, copy)
        os.environ["PYTHONPATH"] = copy
        code = int(importlib.import_module("pytest").main(arguments))
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    finally:
        os._exit(code)  # nothing of the parent is to be finished twice


def main() -> None:
    """Load, then fork for each job until the input ends."""
    for name in LIBRARIES:
        importlib.import_module(name)
    early = [name for name in sys.modules if name.split(".")[0] in OURS]
    if early:
        sys.exit(f"loaded before the fork: {early}")
    # Pytest belongs to the children; what it prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    for line in sys.stdin:
        job = json.loads(line)
        code = _run(job["copy"], job["arguments"], job["output"])
        with contextlib.suppress(BrokenPipeError):
            print(code, file=answers)


if __name__ == "__main__":
    main()
