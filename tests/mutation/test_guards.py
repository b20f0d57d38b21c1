"""Every guard of laws 2 and 3 bites: break it in a copy of the source, and its test turns red."""

from __future__ import annotations

import ast
import compileall
import os
import py_compile
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.mutation import of_branches, of_checks, of_publishing, of_wap
from tests.mutation.guard import Guard

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGES = ("catalog", "checks", "wap")
#: Side by side; each is a whole interpreter with pyarrow and pyiceberg in it.
PROCESSES = 2
GUARDS = (*of_publishing.GUARDS, *of_branches.GUARDS, *of_checks.GUARDS, *of_wap.GUARDS)

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
        spec = importlib.util.find_spec(name)
        for place in spec.submodule_search_locations:
            if not pathlib.Path(place).is_relative_to(HERE):
                raise pytest.UsageError(f"{name} is imported from {place}, not from the copy")


def pytest_sessionfinish(session):
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name.split(".")[0] in ("catalog", "checks", "wap") and file:
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


def _pytest(copy: Path, *nodes: str) -> subprocess.CompletedProcess[str]:
    options = ("-x", "-q", "-p", "no:cacheprovider", "-p", "the_copy", "-p", "pytest_timeout")
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            *options,
            f"--basetemp={copy / 'tests-write-here'}",
            *nodes,
        ],
        cwd=copy,
        # Plugins that come of themselves cost a second of each mutant's three.
        env={**os.environ, "PYTHONPATH": str(copy), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def _broken(guard: Guard, source: str) -> str:
    """The source without the guard; the table has rotted when its text is not there once."""
    assert source.count(guard.text) == 1, (
        f"{guard.text!r} is there {source.count(guard.text)} times"
    )
    broken = source.replace(guard.text, guard.broken)
    assert ast.dump(ast.parse(broken)) != ast.dump(ast.parse(source)), "it means the same"
    return broken


def _mutate_and_test(guard: Guard, base: Path, copy: Path) -> subprocess.CompletedProcess[str]:
    shutil.copytree(base, copy)
    file = copy / guard.file
    file.write_text(_broken(guard, file.read_text()))
    try:
        return _pytest(copy, guard.test)
    finally:
        shutil.rmtree(copy)


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
    base: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[dict[Guard, Future[subprocess.CompletedProcess[str]]]]:
    """The runs of all chosen guards' tests without their guard, begun side by side."""
    chosen = [item.callspec.params["guard"] for item in request.session.items
              if isinstance(item, pytest.Function) and "mutants" in item.fixturenames]  # fmt: skip
    folder = tmp_path_factory.mktemp("mutants")
    with ThreadPoolExecutor(PROCESSES) as pool:
        yield {
            guard: pool.submit(_mutate_and_test, guard, base, folder / str(number))
            for number, guard in enumerate(chosen)
        }
        pool.shutdown(cancel_futures=True)


def test_no_guard_stands_twice():
    assert len({str(guard) for guard in GUARDS}) == len(GUARDS)
    assert len({(guard.file, guard.text, guard.broken) for guard in GUARDS}) == len(GUARDS)


def test_with_every_guard_in_place_all_is_green(base):
    run = _pytest(base, *sorted({guard.test for guard in GUARDS}))
    assert run.returncode == pytest.ExitCode.OK, run.stdout + run.stderr
    assert "skipped" not in run.stdout.splitlines()[-1]


@pytest.mark.parametrize("guard", GUARDS, ids=str)
def test_guard_bites(guard, mutants):
    run = mutants[guard].result()
    told = run.stdout + run.stderr
    assert run.returncode == pytest.ExitCode.TESTS_FAILED, f"{guard.test} did not notice\n{told}"
    assert not NONSENSE.search(told), told
