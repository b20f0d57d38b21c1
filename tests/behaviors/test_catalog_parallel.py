"""Several runs at once: threads, processes, and random interleavings of their steps."""

from __future__ import annotations

import random
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from catalog import CatalogError, HeadMovedError
from catalog.base import Change

#: What another process can open.
SHARED = pytest.mark.kinds("sqlite", "portable", "nessie")

RUNS = 6


def _to_the_end(run, ids):
    """A run as the saga would drive it: rebase and audit again while main keeps moving."""
    run.open()
    run.stage(ids)
    for _ in range(50):
        try:
            return run.finish()
        except HeadMovedError:
            run.rebase()
    raise AssertionError("main moved fifty times")


@pytest.mark.parametrize("first_load", [True, False])
def test_threads_that_publish_to_one_table_lose_nothing(lake, first_load):
    expected = [] if first_load else [0]
    if not first_load:
        lake.publish([0])
    runs = [lake.run(f"run-{chr(97 + i)}") for i in range(RUNS)]
    with ThreadPoolExecutor(RUNS) as pool:
        list(pool.map(_to_the_end, runs, [[10 * i + 1, 10 * i + 2] for i in range(RUNS)]))
    expected += [10 * i + j for i in range(RUNS) for j in (1, 2)]
    assert lake.ids() == sorted(expected)
    assert lake.catalog.branches() == []
    assert lake.catalog.verify(runs[0].table) == []


def test_handles_of_their_own_race_by_compare_and_swap_alone(lake):
    """No lock of one process helps here: every run has its own catalog object."""
    lake.publish([0])
    lakes = [lake.again() for _ in range(RUNS)]
    runs = [own.run(f"run-{chr(97 + i)}") for i, own in enumerate(lakes)]
    with ThreadPoolExecutor(RUNS) as pool:
        list(pool.map(_to_the_end, runs, [[i + 1] for i in range(RUNS)]))
    assert lake.ids() == list(range(RUNS + 1))
    assert lake.catalog.verify(runs[0].table) == []


@SHARED
def test_main_that_moves_again_right_behind_a_rebase_is_left_to_the_next_one(lake):
    lake.publish([0])
    run = lake.run()
    run.open()
    run.stage([1])
    other = lake.again()
    other.publish([2])
    lake.faults.after = [lambda: other.publish([3])]
    run.rebase()
    assert lake.faults.after == []
    with pytest.raises(HeadMovedError):
        run.finish()
    run.rebase()
    run.finish()
    assert lake.ids() == [0, 1, 2, 3]
    assert lake.catalog.verify(run.table) == []


def test_staging_side_by_side_meets_the_sequence_number_race(lake):
    """Branches of one table share its sequence numbers; all six changes must land."""
    lake.publish([0])
    runs = [lake.again().run(f"run-{chr(97 + i)}") for i in range(RUNS)]
    with ThreadPoolExecutor(RUNS) as pool:
        list(pool.map(lambda run: run.open(), runs))
        list(pool.map(lambda run: run.stage([7]), runs))
    assert len(lake.catalog.branches()) == RUNS
    assert all(lake.catalog.staging(r.branch, r.table).staged for r in runs)


def test_one_run_published_by_many_attempts_at_once_is_published_once(lake):
    lake.publish([0])
    run = lake.run()
    run.open()
    run.stage([1])
    run.seal()
    audited = run.audited()
    handles = [lake.again().catalog for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda c: c.publish([audited]), handles))
    assert all(a == answers[0] for a in answers)
    assert lake.ids() == [0, 1]


def test_publish_races_drop_and_one_of_them_wins_whole(lake):
    for i in range(6):
        run = lake.run(f"run-{chr(97 + i)}")
        run.open()
        run.stage([i])
        run.seal()
        audited = run.audited()
        other = lake.again()
        with ThreadPoolExecutor(2) as pool:
            publishing = pool.submit(lambda c=lake.catalog, a=audited: c.publish([a]))
            pool.submit(other.catalog.drop, run.branch, run.table).result()
        before = lake.ids() or []
        assert (i in before) == (publishing.exception() is None)
        assert lake.catalog.branches() == []
    if lake.catalog.tables():
        assert lake.catalog.verify(run.table) == []


STEPS = ("stage", "seal", "publish", "rebase", "drop", "again")


@pytest.mark.parametrize("seed", range(6))
def test_any_order_of_steps_keeps_main_sealed_and_whole(lake, seed):
    """Random steps of three runs, in any order: refused or done, never in between."""
    dice = random.Random(seed)  # noqa: S311 - repeatable on purpose
    runs = {letter: lake.run(f"run-{letter}") for letter in "abc"}
    staged: dict[str, int] = {}
    published: set[int] = set()
    for number in range(40):
        letter = dice.choice("abc")
        run = runs[letter]
        if run.staging is None:
            run.open()
            continue
        step = dice.choice(STEPS)
        try:
            if step == "stage":
                file = run.write([number], f"batch-{number}")
                run.staging = run.catalog.stage(run.now, Change([file]))
                staged[run.branch.name] = number
            elif step == "seal":
                run.seal()
            elif step == "publish":
                run.catalog.publish([run.audited()])
                published |= {staged[b] for b in (run.branch.name,) if b in staged}
            elif step == "rebase":
                run.rebase()
            elif step == "drop":
                run.drop()
                runs[letter] = lake.run(f"run-{letter}-{number}")
            else:
                run.staging = run.catalog.staging(run.branch, run.table)
        except CatalogError:
            continue
        finally:
            assert set(lake.ids() or []) == published
            assert lake.catalog.verify(run.table) == []
    for run in runs.values():
        run.drop()
    assert set(lake.ids() or []) == published
    assert lake.catalog.branches() == []
    data = [f for f in lake.files() if f.endswith(".parquet")]
    assert len(data) == len(published)


_PROCESS = """
import sys
from pathlib import Path
import importlib.util
spec = importlib.util.spec_from_file_location("kit", sys.argv[1])
kit = importlib.util.module_from_spec(spec)
sys.modules["kit"] = kit
spec.loader.exec_module(kit)
from catalog import HeadMovedError
lake = kit.open_lake(sys.argv[2], Path(sys.argv[3]))
for i in map(int, sys.argv[4:]):
    run = lake.run(f"proc-{i}")
    run.open()
    run.stage([i])
    while True:
        try:
            run.finish()
            break
        except HeadMovedError:
            run.rebase()
"""


@SHARED
def test_two_processes_lose_nothing(lake, request):
    lake.publish([0])
    kit = str(request.path.with_name("conftest.py"))
    commands = [
        [sys.executable, "-c", _PROCESS, kit, lake.kind, str(lake.root), *map(str, ids)]
        for ids in (range(1, 6), range(6, 11))
    ]
    running = [subprocess.Popen(c, cwd=request.config.rootpath) for c in commands]
    assert [p.wait(timeout=120) for p in running] == [0, 0]
    assert lake.ids() == list(range(11))
    assert lake.catalog.verify(lake.run().table) == []
