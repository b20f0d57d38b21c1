"""The file that a seal names: it is that very file, or it is no evidence."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pyiceberg.io.pyarrow import PyArrowFileIO

from catalog.errors import UnsealedError
from catalog.refs import Seal
from wap import evidence
from wap.evidence import Evidence
from wap.model import Ending, RunFacts, RunResult
from wap.sources.base import Cursor

IO = PyArrowFileIO()
NOTED: list[str] = []


def proof(run_id: str, report: str = "{}") -> Evidence:
    facts = RunFacts(
        result=RunResult(run_id=run_id, pipeline="p", table="a.b", ending=Ending.PUBLISHED),
        pipeline_digest="p",
        source_kind="files",
        source_location="data/*.csv",
        write_mode="append",
        started_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Evidence(cursor=Cursor(kind="files", state={}), facts=facts, report=report)


def seal(run_id: str, digest: str) -> Seal:
    return Seal(run_id, 7, "c", "d", "s", notes={evidence.NOTE: digest})


@pytest.fixture
def location(tmp_path):
    (tmp_path / "metadata").mkdir()
    return str(tmp_path)


def test_what_was_sealed_is_read_back(location):
    digest = evidence.write(IO, location, "r1", proof("r1"), NOTED.append)
    assert evidence.read(IO, location, seal("r1", digest)) == proof("r1")


def test_a_changed_file_is_no_evidence(location, tmp_path):
    digest = evidence.write(IO, location, "r1", proof("r1"), NOTED.append)
    (file,) = tmp_path.rglob("r1-*.json")
    text = file.read_text()
    file.write_text(text.replace('"source_kind":"files"', '"source_kind":"filed"'))
    assert file.read_text() != text
    with pytest.raises(UnsealedError, match="not the one"):
        evidence.read(IO, location, seal("r1", digest))


def test_a_missing_file_is_said_so(location):
    with pytest.raises(UnsealedError, match="missing") as caught:
        evidence.read(IO, location, seal("r1", "0" * 64))
    assert "backup" in caught.value.hint


def test_a_late_attempt_writes_beside_what_is_sealed(location):
    sealed = evidence.write(IO, location, "r1", proof("r1"), NOTED.append)
    evidence.write(IO, location, "r1", proof("r1", report='{"late": true}'), NOTED.append)
    assert evidence.read(IO, location, seal("r1", sealed)) == proof("r1")


def test_discard_leaves_other_runs_alone(location, tmp_path):
    for run_id in ("r1", "r2"):
        evidence.write(IO, location, run_id, proof(run_id), NOTED.append)
    evidence.discard(IO, location, "r1")
    assert [f.name[:3] for f in tmp_path.rglob("*.json")] == ["r2-"]
