"""Held runs through their doors: who decides, what readers see meanwhile, and kills in between.

One shop for all of them: each test brings rows of its own.
"""

import itertools
import json
import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import PIPELINE, WAP_TOML, Shop
from tests.e2e.test_maintain import AT_ONCE, SHORT
from wap.maintenance import maintain
from wap.project import load_project

CONTRACT = """\
dataset: wap/shop/orders
columns:
  - name: id
    checks:
      - missing:
checks:
  - row_count:
  - duplicate: {columns: [id]}
"""
#: Of the new rows only, so that what was waived once does not fail in every later run.
BATCH = """\
dataset: wap/shop/orders__batch
columns:
  - name: amount
    checks:
      - invalid: {valid_min: 0}
"""
CHECK = "contracts/orders.batch.yml:columns.amount.checks.invalid"

#: First ids of batches: each batch has ten, and they never meet.
FIRST = itertools.count(1000, 100)


class Counter(Shop):
    """A shop whose runs are held, with the doors through which they are decided."""

    def batch(self, first: int, amount: str = "-1.00") -> Path:
        return self.orders(f"more-{first}.csv", range(first, first + 10), amount=amount)

    def held(self, **env: str) -> tuple[Path, dict[str, Any]]:
        """A run of ten orders below zero."""
        file = self.batch(next(FIRST))
        return file, self.result("orders", "--source", str(file), code=5, **env)

    def decide(self, command: str, run: str, *args: str, code: int = 0, **env: str) -> Any:
        told = ("--reason", "credit notes", "--author", "ann", "--json")
        done = self.wap(command, run, *told, *args, **env)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if done.stdout else done.stderr

    def result_of(self, run: str) -> dict[str, Any]:
        """What the ledger tells of a run."""
        runs = json.loads(self.wap("status", "--json").stdout)["runs"]
        (found,) = (r["result"] for r in runs if r["result"]["run_id"] == run)
        return dict(found)

    def sees(self, file: Path) -> int:
        """How many rows of a batch a reader sees; each of them once."""
        first = int(file.stem.removeprefix("more-"))
        ((rows),) = self.query(
            "select count(*) as n, count(distinct id) as d from shop.orders "
            f"where id between {first} and {first + 9}"
        )
        assert rows["n"] == rows["d"]
        return int(rows["n"])


def declare(shop: Shop, settings: str = WAP_TOML) -> None:
    """Orders that are held when a new one is below zero."""
    shop.write("wap.toml", settings)
    pipeline = PIPELINE.format(write="{mode: append}", on_change="strict")
    contracts = "contracts: [contracts/orders.yml, contracts/orders.batch.yml]\non_failure: hold"
    pipeline = pipeline.replace("contracts: [contracts/orders.yml]", contracts)
    shop.write("pipelines/orders.yml", pipeline)
    # Another pipeline of the same table, for it must not be the held run that is followed.
    shop.write(
        "pipelines/notes.yml", pipeline.replace("contracts/orders.batch.yml", "contracts/notes.yml")
    )
    shop.write("contracts/orders.yml", CONTRACT)
    shop.write("contracts/orders.batch.yml", BATCH)
    shop.write("contracts/notes.yml", BATCH.replace("valid_min: 0", "valid_min: -5"))
    shop.orders("orders-1.csv", range(10))


def stop(shop: Shop) -> None:
    """Kill the server that held runs leave."""
    server = shop.server()
    if server is not None and server.pid is not None:
        os.kill(server.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Counter]:
    shop = Counter(tmp_path_factory.mktemp("held") / "shop")
    declare(shop)
    shop.result("orders")
    yield shop
    stop(shop)


def test_a_held_run_is_seen_by_those_who_decide_until_it_is_approved(shop):
    file, held = shop.held()
    run = held["run_id"]
    assert held["ending"] == "held"
    assert [c["name"] for c in held["held"]["checks"]] == [CHECK]
    assert shop.server() is None, "the run waits without a server"
    assert [str(b.branch) for b in shop.branches()] == [f"wap/{run}"]
    newest = json.loads(shop.wap("status", "--json").stdout)["runs"][0]
    assert (newest["result"]["ending"], newest["ended_at"]) == ("held", None)
    assert f"wap approve {run}" in (shop.root / held["report"]).read_text()
    again = shop.run("orders", "--source", str(file))
    assert (again.returncode, f"wap approve {run}" in again.stdout) == (5, True)
    assert shop.sees(file) == 0

    approved = shop.decide("approve", run)
    assert approved["ending"] == "published"
    assert (approved["held"], approved["waiver"]["person"]) == (None, "ann")
    assert shop.sees(file) == 10
    assert shop.branches() == []
    assert "waiver by ann" in shop.wap("status").stdout
    proof = json.loads(shop.wap("verify", "--json").stdout)
    assert proof["ok"] is True
    waived = proof["tables"][0]["waived"]
    assert [w["snapshot"] for w in waived] == [approved["snapshot"]["after"]]
    assert "the run is over: published" in shop.decide("approve", run, code=2)


def test_a_ledger_that_was_lost_is_told_again_of_what_is_held(shop):
    file, told = shop.held()
    for part in (shop.root / ".wap").glob("ledger.db*"):
        part.unlink()
    assert "no run" in shop.decide("approve", told["run_id"], code=2)
    done = shop.wap("rebuild-ledger")
    assert done.returncode == 0, done.stderr
    assert "0 runs" in shop.wap("rebuild-ledger").stdout  # all of it is there again
    assert shop.result_of(told["run_id"])["ending"] == "held"
    assert shop.decide("approve", told["run_id"])["ending"] == "published"
    assert shop.sees(file) == 10
    assert "0 runs" in shop.wap("rebuild-ledger").stdout


def test_decisions_that_do_not_fit_are_refused_and_the_run_stays_held(shop):
    file, held = shop.held()
    run = held["run_id"]
    for args, said in (
        (["--check", "contracts/orders.yml:columns.id.checks.missing"], "does not name every"),
        (["--until", "soon"], "no date"),
        (["--report", "0" * 64], "audited again"),
    ):
        assert said in shop.decide("approve", run, *args, code=2)
    assert f"held: {run}" in shop.decide("approve", "nobody", code=2)
    rejected = shop.decide("reject", run)
    assert rejected["ending"] == "rejected"
    assert "rejected by ann: credit notes" in rejected["reason"]
    assert shop.branches() == []
    assert shop.sees(file) == 0
    assert not any(run in name for name in shop.files())


def test_main_that_moved_while_the_run_was_held(shop):
    """An approved run follows main; what the waiver does not cover there is held again."""
    (one, first), (two, second) = shop.held(), shop.held()
    # Somebody publishes, among others, ids of the second run: that it has seen none of.
    shop.batch(int(two.stem.removeprefix("more-")) + 5, "1.00")
    both = shop.root / f"data/more-{int(two.stem.removeprefix('more-')) + 5}.csv"
    other = shop.result("orders", "--source", str(both))
    approved = shop.decide("approve", first["run_id"])
    assert approved["ending"] == "published"
    assert approved["snapshot"]["before"] == other["snapshot"]["after"]
    assert approved["waiver"]["report_digest"] != first["held"]["report_digest"]
    assert shop.sees(one) == 10
    # The later report tells the waiver that is in force: its readers see those rows as well.
    again = shop.decide("approve", second["run_id"], code=5)
    assert again["ending"] == "held"
    assert len(again["held"]["checks"]) == 2
    for face in (".html", ".md", ".json"):
        assert first["run_id"] in (shop.root / again["report"]).with_suffix(face).read_text()
    assert shop.decide("reject", second["run_id"])["ending"] == "rejected"
    assert shop.sees(two) == 5


def test_an_input_that_another_run_published_is_not_approved(shop):
    file, held = shop.held()
    shop.result("notes", "--source", str(file))
    assert "overtaken" in shop.decide("approve", held["run_id"], code=2)
    assert shop.decide("reject", held["run_id"])["ending"] == "rejected"
    assert shop.sees(file) == 10


@pytest.mark.parametrize("years", [-10, 10])
def test_a_clean_up_whose_clock_is_years_off_takes_nothing_of_a_held_run(shop, years):
    """Who is at work is told by Temporal; a clock only says how old a file looks."""
    file, held = shop.held()
    before, later = shop.sees(file), datetime.now(UTC) + timedelta(days=365 * years)
    done = maintain(load_project(shop.root, {**AT_ONCE, **SHORT}), now=later)
    assert held["run_id"] not in {run.run_id for run in done.runs if run.action == "removed"}
    assert shop.sees(file) == before
    assert shop.decide("approve", held["run_id"])["ending"] == "published"
    assert shop.sees(file) == 10
    assert json.loads(shop.wap("verify", "--json").stdout)["ok"] is True


# --- kills ---------------------------------------------------------------------------------------


def test_killed_while_it_is_being_held(shop):
    """Door and server die; the same request finds the run held, and it is decided as ever."""
    file = shop.batch(next(FIRST))
    killed = shop.run("orders", "--source", str(file), WAP_DRILL="hold:after")
    assert killed.returncode == -signal.SIGKILL
    os.kill(shop.server().pid, signal.SIGKILL)
    held = shop.result("orders", "--source", str(file), code=5)
    assert shop.sees(file) == 0
    assert shop.decide("approve", held["run_id"])["ending"] == "published"
    assert shop.sees(file) == 10


@pytest.mark.parametrize("boundary", ["seal:after", "publish:after"])
def test_killed_while_it_is_approved_then_approved_again(shop, boundary):
    file, held = shop.held()
    run = held["run_id"]
    shop.decide("approve", run, code=-signal.SIGKILL, WAP_DRILL=boundary)
    again = shop.decide("approve", run)
    assert again["ending"] == "published"
    assert again["waiver"]["person"] == "ann"
    assert shop.sees(file) == 10


def test_killed_while_it_is_rejected_then_rejected_again(shop):
    file, held = shop.held()
    run = held["run_id"]
    shop.decide("reject", run, code=-signal.SIGKILL, WAP_DRILL="drop_branch:after")
    assert shop.decide("reject", run)["ending"] == "rejected"
    assert not any(run in name for name in shop.files())
    assert shop.sees(file) == 0


def test_a_run_that_nobody_decides_in_time_is_rejected_by_the_next_door(shop):
    pipeline = shop.root / "pipelines/orders.yml"
    pipeline.write_text(pipeline.read_text() + "hold: {max_hours: 0.0003}\n")  # about a second
    file, held = shop.held()
    run = held["run_id"]
    while (result := shop.result_of(run))["ending"] == "held":
        shop.run("orders", "--source", str(file))
    assert result["ending"] == "rejected"
    assert "nobody decided until" in result["reason"]
    assert "the run is over: rejected" in shop.decide("approve", run, code=2)
    assert not any(run in name for name in shop.files())
