"""Flights of New York with broken rows: set aside, corrected and replayed, the worker killed."""

import csv
import io
import json
import os
import shutil
import signal
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT, Shop

EXAMPLE = ROOT / "examples" / "nycflights"
BROKEN = 100
KEY = ("day", "origin", "flight", "sched_dep_time")


class Flights(Shop):
    """The example, with the flights of January; each 250th lost its carrier."""

    def deliver(self) -> dict[tuple[str, ...], str]:
        """Write the file; the carriers that were lost, by :data:`KEY`."""
        sys.path.insert(0, str(EXAMPLE))
        try:
            from fetch import package_data  # noqa: PLC0415 - the example's own script
        finally:
            sys.path.pop(0)
        with zipfile.ZipFile(package_data() / "flights.csv.zip") as packed:
            text = packed.read(packed.namelist()[0]).decode()
        reader = csv.DictReader(io.StringIO(text))
        assert reader.fieldnames is not None
        out, lost = io.StringIO(), {}
        writer = csv.DictWriter(out, reader.fieldnames, lineterminator="\n")
        writer.writeheader()
        for number, row in enumerate(r for r in reader if r["month"] == "1"):
            if number % 250 == 0 and len(lost) < BROKEN:
                lost[tuple(row[name] for name in KEY)] = row["carrier"]
                row["carrier"] = ""
            writer.writerow(row)
        target = self.root / "data" / "flights-01.csv.zip"
        target.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("flights.csv", out.getvalue())
        return lost


@pytest.fixture
def flights(tmp_path: Path):
    root = tmp_path / "nycflights"
    shutil.copytree(EXAMPLE, root, ignore=shutil.ignore_patterns("data", "warehouse", ".wap"))
    flights = Flights(root)
    pipeline = root / "pipelines" / "flights.yml"
    more = "on_failure: quarantine\nquarantine: {max_percent: 1}\n"
    pipeline.write_text(pipeline.read_text() + more)
    yield flights
    server = flights.server()
    if server is not None and server.pid is not None:
        os.kill(server.pid, signal.SIGKILL)


def test_broken_flights_wait_are_corrected_and_fly_once(flights):
    lost = flights.deliver()
    killed = flights.run("flights", "--json", WAP_DRILL="quarantine:after")
    assert killed.returncode == -signal.SIGKILL
    result = flights.result("flights")
    rows = result["rows"]
    assert (rows["read"], rows["staged"], rows["quarantined"]) == (27_004, 27_004 - BROKEN, BROKEN)
    assert result["quarantine"]["table"] == "nyc.flights__quarantine"
    assert flights.query("select count(*) n, count(carrier) c from nyc.flights") == [
        {"n": 27_004 - BROKEN, "c": 27_004 - BROKEN}
    ]
    assert f"{BROKEN} rows in nyc.flights__quarantine" in flights.wap("report", "flights").stdout
    assert flights.branches() == []

    assert f"{BROKEN} rows wait in nyc.flights__quarantine" in flights.wap("status").stdout
    waiting = flights.query(f"select wap_row, {', '.join(KEY)} from nyc.flights__quarantine")
    lines = [f"{w['wap_row']},{lost[tuple(str(w[name]) for name in KEY)]}" for w in waiting]
    file = flights.write("corrected.csv", "\n".join(["wap_row,carrier", *lines]) + "\n")
    killed = flights.wap("replay", "nyc.flights", "--file", str(file), WAP_DRILL="stage:after")
    assert killed.returncode == -signal.SIGKILL
    done = flights.wap("replay", "nyc.flights", "--file", str(file), "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    again = json.loads(done.stdout)
    assert (again["rows"]["read"], again["rows"]["published"]) == (BROKEN, BROKEN)
    assert flights.query("select count(*) n, count(carrier) c from nyc.flights") == [
        {"n": 27_004, "c": 27_004}
    ]
    went = flights.query("select distinct wap_replayed_run r from nyc.flights__quarantine")
    assert went == [{"r": again["run_id"]}]
    done = flights.wap("replay", "nyc.flights")
    assert (done.returncode, "NOTHING NEW" in done.stdout) == (0, True)
    assert json.loads(flights.wap("verify", "--json").stdout)["ok"] is True
    assert flights.branches() == []
