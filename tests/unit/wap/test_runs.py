"""A run's folder: documents whole or not at all, steps added up."""

from datetime import UTC, datetime

import pytest

from checks.errors import ReportError
from checks.gate import refused
from wap.errors import RunNotFoundError
from wap.model import Rows, StepFacts
from wap.runs import Books, RunFolder

AT = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path, "orders-1")


def test_books_come_back_as_they_were(folder):
    books = Books(rows=Rows(read=3, staged=2, quarantined=1), files=1, bytes=10)
    assert not folder.has_books(0)
    folder.save_books(0, books)
    assert folder.has_books(0)
    assert folder.books(0) == books


def test_document_that_is_gone_is_named(folder):
    with pytest.raises(RunNotFoundError, match=r"plan-0\.json") as caught:
        folder.plan(0)
    assert "Hint:" in str(caught.value)


def test_report_that_was_changed_is_not_taken(folder):
    folder.save_report(refused(run_id="orders-1", table="a.b", differences=["- x"]))
    digest = folder.report().digest
    path = folder.path / "report.json"
    path.write_text(path.read_text().replace("1 difference", "0 differences"))
    with pytest.raises(ReportError):
        folder.report(digest)


def test_another_audits_report_is_not_taken(folder):
    folder.save_report(refused(run_id="orders-1", table="a.b", differences=["- x"]))
    with pytest.raises(ReportError):
        folder.report("0" * 64)


def test_attempts_of_one_step_are_added_up(folder):
    for seconds, peak in ((1.0, 10), (2.0, 30), (0.5, 20)):
        folder.add_step(
            StepFacts(
                name="stage", started_at=AT, seconds=seconds, cpu_seconds=seconds,
                peak_memory_bytes=peak,
            )
        )  # fmt: skip
    folder.add_step(StepFacts(name="audit", started_at=AT, seconds=1.0))
    stage, audit = folder.steps()
    assert (stage.seconds, stage.cpu_seconds, stage.attempts) == (3.5, 3.5, 3)
    assert stage.peak_memory_bytes == 30
    assert audit.attempts == 1


def test_removed_folder_is_gone(folder):
    folder.save_books(0, Books(rows=Rows(), files=0, bytes=0))
    folder.remove()
    assert not folder.path.exists()
    assert folder.steps() == ()
