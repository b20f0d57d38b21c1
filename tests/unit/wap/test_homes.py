"""A report that lies elsewhere is brought here once, and again as long as its run is held."""

from __future__ import annotations

import json

import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from wap.homes import RunHome


@pytest.fixture
def report(tmp_path):
    """Write a report of an ending elsewhere, and say what is read here after it was fetched."""
    elsewhere = RunHome(tmp_path / "state", f"file://{tmp_path}/elsewhere", PyArrowFileIO())

    def put(ending: str) -> str:
        folder = tmp_path / "another machine" / "r1"
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("report.md", "junit.xml", "report.html"):
            (folder / name).write_text(ending)
        (folder / "report.json").write_text(json.dumps({"run": {"ending": ending}}))
        (tmp_path / "elsewhere/reports/r1").mkdir(parents=True, exist_ok=True)
        elsewhere.keep_report(folder)
        elsewhere.fetch_report("r1", tmp_path / "here")
        return (tmp_path / "here/r1/report.md").read_text()

    return put


def test_the_last_report_replaces_that_of_the_held_run(report):
    assert report("held") == "held"
    assert report("held") == "held"
    assert report("published") == "published"


def test_a_last_report_is_brought_once(report):
    assert report("rejected") == "rejected"
    assert report("published") == "rejected", "it is here already"
