"""Every guard of laws 2 and 3 bites: break it in a copy of the source, and its test turns red."""

from __future__ import annotations

import ast
import compileall
import json
import os
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import Queue

import pytest

from tests.mutation import (
    of_branches,
    of_checks,
    of_contracts,
    of_drill,
    of_groups,
    of_keyed,
    of_maintenance,
    of_nessie,
    of_provenance,
    of_publishing,
    of_quarantine,
    of_restaging,
    of_unions,
    of_wap,
)
from tests.mutation.guard import Guard

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("catalog", "checks", "wap")
#: Side by side; each is busy with one mutant at a time.
PROCESSES = 2
GUARDS = (
    *of_publishing.GUARDS,
    *of_branches.GUARDS,
    *of_nessie.GUARDS,
    *of_maintenance.GUARDS,
    *of_checks.GUARDS,
    *of_contracts.GUARDS,
    *of_wap.GUARDS,
    *of_provenance.GUARDS,
    *of_keyed.GUARDS,
    *of_unions.GUARDS,
    *of_groups.GUARDS,
    *of_drill.GUARDS,
    *of_quarantine.GUARDS,
    *of_restaging.GUARDS,
)

#: A broken guard must be missed by an assertion. These say that the mutant itself is nonsense.
NONSENSE = re.compile(r"^E +(?:NameError|UnboundLocalError|ImportError|SyntaxError)", re.MULTILINE)

#: Loaded into pytest inside the copy: ends with a usage error unless the copy is what is tested.
PLUGIN = """
import importlib.util
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).parent


def pytest_configure():
    for name in ("catalog", "checks", "wap", "tests"):
        # Of several places, which only the folder of tests has, the first one wins.
        place = next(iter(importlib.util.find_spec(name).submodule_search_locations))
        if not pathlib.Path(place).is_relative_to(HERE):
            raise pytest.UsageError(f"{name} is imported from {place}, not from the copy")


def pytest_sessionfinish(session):
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.split(".")[0] in ("catalog", "checks", "wap", "tests") and file:
            if not pathlib.Path(file).is_relative_to(HERE):
                raise pytest.UsageError(f"{name} was imported from {file}, not from the copy")
"""


def _copy(target: Path) -> Path:
    skip = shutil.ignore_patterns("__pycache__", ".pytest_cache", "mutation")
    for name in (*PACKAGES, "tests"):
        shutil.copytree(ROOT / name, target / name, ignore=skip)
    shutil.copy(ROOT / "pyproject.toml", target)
    (target / "the_copy.py").write_text(PLUGIN)
    return target


@dataclass(frozen=True)
class Run:
    """How pytest ended in a copy, and what it printed."""

    code: int
    told: str


class Forks:
    """One forking process; see ``forks.py``."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("forks.py")
        self._process = subprocess.Popen(
            [sys.executable, "-I", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            # Plugins that come of themselves would cost a second of each mutant.
            env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        )

    def pytest(self, copy: Path, *nodes: str) -> Run:
        options = ["-x", "-q", "-o", "timeout=120", "-p", "no:cacheprovider"]
        options += ["-p", "the_copy", "-p", "pytest_timeout"]
        output = copy / "output.txt"
        job = {
            "copy": str(copy),
            "arguments": [*options, f"--basetemp={copy / 'tests-write-here'}", *nodes],
            "output": str(output),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(job), file=self._process.stdin)
        return Run(int(self._process.stdout.readline()), output.read_text())

    def close(self) -> None:
        self._process.communicate()


def _broken(guard: Guard, source: str) -> str:
    """The source without the guard; the table has rotted when its text is not there once."""
    assert source.count(guard.text) == 1, (
        f"{guard.text!r} is there {source.count(guard.text)} times"
    )
    broken = source.replace(guard.text, guard.broken)
    assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(source)), "it means the same"
    return broken


def _mutate_and_test(guard: Guard, base: Path, copy: Path, free: Queue[Forks]) -> Run:
    shutil.copytree(base, copy)
    file = copy / guard.file
    file.write_text(_broken(guard, file.read_text()))
    forks = free.get()
    try:
        return forks.pytest(copy, guard.test)
    finally:
        free.put(forks)
        shutil.rmtree(copy)


@pytest.fixture(scope="session")
def free() -> Iterator[Queue[Forks]]:
    """The forking processes that have nothing to do."""
    queue: Queue[Forks] = Queue()
    every = [Forks() for _ in range(PROCESSES)]
    for forks in every:
        queue.put(forks)
    yield queue
    for forks in every:
        forks.close()


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An unmutated copy, compiled; what is compiled is told by content, so no mutant goes stale."""
    copy = _copy(tmp_path_factory.mktemp("base") / "copy")
    by_content = py_compile.PycInvalidationMode.CHECKED_HASH
    for name in PACKAGES:
        assert compileall.compile_dir(copy / name, quiet=1, invalidation_mode=by_content)
    return copy


@pytest.fixture(scope="session")
def mutants(
    base: Path,
    free: Queue[Forks],
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[dict[Guard, Future[Run]]]:
    """The runs of all chosen guards' tests without their guard, begun side by side."""
    chosen = [item.callspec.params["guard"] for item in request.session.items
              if isinstance(item, pytest.Function) and "mutants" in item.fixturenames]  # fmt: skip
    folder = tmp_path_factory.mktemp("mutants")
    with ThreadPoolExecutor(PROCESSES) as pool:
        yield {
            guard: pool.submit(_mutate_and_test, guard, base, folder / str(number), free)
            for number, guard in enumerate(chosen)
        }
        pool.shutdown(cancel_futures=True)


def test_no_guard_stands_twice():
    assert len({str(guard) for guard in GUARDS}) == len(GUARDS)
    assert len({(guard.file, guard.text, guard.broken) for guard in GUARDS}) == len(GUARDS)


@pytest.mark.timeout(900)  # several hundred tests in one
def test_with_every_guard_in_place_all_is_green(base, free):
    forks = free.get()
    try:
        run = forks.pytest(base, *sorted({guard.test for guard in GUARDS}))
    finally:
        free.put(forks)
    assert run.code == pytest.ExitCode.OK, run.told
    assert "skipped" not in run.told.splitlines()[-1]


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_guard_bites(guard, mutants):
    run = mutants[guard].result()
    assert run.code == pytest.ExitCode.TESTS_FAILED, f"{guard.test} did not notice\n{run.told}"
    assert not NONSENSE.search(run.told), run.told
