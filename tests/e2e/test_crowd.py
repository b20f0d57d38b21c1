"""Many runs of one table at once, by several processes: every row of a good one is there once."""

import json
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.conftest import Shop, environment
from wap.history import sealed_facts
from wap.ports import open_ports
from wap.project import load_project

_DOOR = """
import json, os, sys
from pathlib import Path
from wap.doors import run_requests
from wap.model import RunRequest
from wap.project import load_project
project = load_project(Path(sys.argv[1]), os.environ)
requests = [
    RunRequest(project=project.id, pipeline="orders", inputs=(file,), heartbeat_seconds=3)
    for file in sys.argv[2:]
]
watched = run_requests(project, requests, changed=lambda _: None, server_found=lambda _: None)
print(json.dumps([one.result.model_dump(mode="json") for one in watched]), flush=True)
os._exit(0)
"""
RUNS, DOORS, ROWS = 12, 3, 10
BAD = (3, 8)


def _door(shop: Shop, files: list[Path], **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _DOOR, str(shop.root), *map(str, files)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(env, shop.root),
    )  # fmt: skip


def _files(shop: Shop, *, published: bool = True) -> list[Path]:
    """A file for each run; two of them hold a row without its key.

    Args:
        published: behind a first load; else every run finds no table, and one makes it.
    """
    if published:
        shop.orders("orders-0.csv", range(ROWS))
        assert shop.result("orders")["ending"] == "published"
    return [
        shop.orders(f"in/{n}.csv", range(n * 100, n * 100 + ROWS), **({"id": ""} if bad else {}))
        for n in range(1, RUNS + 1)
        for bad in [n in BAD]
    ]


def _ended(door: subprocess.Popen[str]) -> list[dict[str, object]]:
    out, err = door.communicate(timeout=240)
    assert door.returncode == 0, err
    return list(json.loads(out))


def _whole(shop: Shop, results: list[dict[str, object]], first: int = 1) -> None:
    """Ten published, two rejected, every row once, nothing left, and all of it proved."""
    endings = Counter(r["ending"] for r in results)
    assert endings == {"published": RUNS - len(BAD), "rejected": len(BAD)}, results
    rows = (RUNS - len(BAD) + first) * ROWS
    counted = shop.query("select count(*) as n, count(distinct id) as d from shop.orders")
    assert counted == [{"n": rows, "d": rows}]
    assert shop.branches() == []
    # A run's batch is one file, and no other was ever written in its place.
    assert len(shop.data_files()) == RUNS - len(BAD) + first
    proof = json.loads(shop.wap("verify", "--json").stdout)
    assert proof["ok"] is True, proof
    assert list((shop.root / ".wap" / "runs").glob("*")) == []
    assert shop.server() is None


def _told(shop: Shop, result: dict[str, object]) -> None:
    """DataHub hears of every run by its own name, whoever published its batch."""
    (file,) = (shop.root / "lineage").glob(f"*__{result['run_id']}.json")
    said = {p["aspectName"]: p["aspect"]["json"] for p in json.loads(file.read_text())}
    ending = result["ending"]
    assert said["dataProcessInstanceRunEvent"]["result"]["nativeResultType"] == ending
    outputs = said["dataProcessInstanceOutput"]["outputs"]
    assert ["shop.orders" in one for one in outputs] == ([True] if ending == "published" else [])
    figures = said["dataProcessInstanceProperties"]["customProperties"]
    assert figures["wap.rows.published"] == str(ROWS if ending == "published" else 0)


@pytest.mark.slow
@pytest.mark.parametrize("first", [1, 0], ids=["on_a_table", "that_makes_the_table"])
def test_a_crowd_in_several_processes_is_published_whole(shop, first):
    files = _files(shop, published=bool(first))
    doors = [_door(shop, files[n::DOORS]) for n in range(DOORS)]
    results = [result for door in doors for result in _ended(door)]
    _whole(shop, results, first)
    for result in results:
        _told(shop, result)
    project = load_project(shop.root, {})
    with open_ports(project) as ports:
        runs = [facts for facts in ports.ledger.runs(limit=100) if facts.run_id in
                {r["run_id"] for r in results}]  # fmt: skip
        audits = sum(s.attempts for facts in runs for s in facts.steps if s.name == "audit")
        published = {f.run_id for table in ports.catalog.tables()
                     for f in sealed_facts(ports.catalog, table)}  # fmt: skip
    assert audits <= 2 * RUNS
    assert {r["run_id"] for r in results if r["ending"] == "published"} <= published


@pytest.mark.slow
@pytest.mark.parametrize("boundary", ["enlist:after", "unite:after", "dissolve:before"])
def test_a_worker_that_is_killed_over_the_queue_loses_nothing(shop, boundary):
    """Runs, keeper and union are all at work then; another door takes every one of them up."""
    files = _files(shop)
    dying = _door(shop, files, WAP_DRILL=boundary)
    dying.communicate(timeout=240)
    assert dying.returncode == -signal.SIGKILL
    _whole(shop, _ended(_door(shop, files)))
