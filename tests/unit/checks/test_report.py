"""The report's verdict and its digest."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from checks.errors import ReportError
from checks.report import ContractRef, Outcome, Report

CONTRACT = ContractRef(path="c.yml", digest="ab" * 32)


@pytest.fixture
def build(make_result, now):
    def report(**changes: object) -> Report:
        facts = {
            "run_id": "r1", "table": "sales.orders", "snapshot_id": 7, "expected": 3,
            "contracts": (CONTRACT,), "declared": frozenset({"a", "b"}),
            "results": (make_result("a"), make_result("b")), "started_at": now, "seconds": 1.0,
        }  # fmt: skip
        return Report.model_validate({**facts, **changes})

    return report


def test_passes_when_all_is_there(build):
    assert build().passed


def test_passes_on_nothing_less(build, make_result):
    a, b = make_result("a"), make_result("b")
    for changes in (
        {"snapshot_id": None},
        {"errors": ("odd",)},
        {"contracts": ()},
        {"declared": frozenset(), "results": ()},
        {"results": (a,)},
        {"results": (a, b, b)},
        {"results": (a, a)},
        {"declared": frozenset({"a", "b", "c"})},
        {"results": (a, make_result("b", Outcome.FAILED))},
        {"results": (a, make_result("b", Outcome.FAILED, blocking=False))},
        {"results": (a, make_result("b", Outcome.NOT_EVALUATED))},
    ):
        assert not build(**changes).passed, changes


def test_reads_back_what_it_wrote(build):
    report = build(masked=frozenset({"z", "a"}))
    assert Report.from_json(report.to_json(), digest=report.digest) == report
    assert json.loads(report.to_json())["masked"] == ["a", "z"]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"outcome": "passed"', '"outcome": "failed"'),
        ('"measured": "0 of', '"measured": "1 of'),
        ('"expected": "no missing', '"expected": "some missing'),
        ('"snapshot_id": 7', '"snapshot_id": 8'),
        ('"blocking": true', '"blocking": false'),
        ("abab", "acab"),
    ],
)
def test_a_changed_report_is_not_read_back(build, old, new):
    text = build().to_json()
    assert old in text
    with pytest.raises(ReportError, match="digest"):
        Report.from_json(text.replace(old, new, 1))


def test_another_digest_than_the_seals_is_refused(build):
    with pytest.raises(ReportError, match="digest"):
        Report.from_json(build().to_json(), digest="00" * 32)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"digest": "a", "passed": true}', "null"])
def test_what_is_no_report_is_refused(text):
    with pytest.raises(ReportError):
        Report.from_json(text)


def test_times_are_not_in_the_digest(build, now):
    later = build(started_at=now + timedelta(hours=1), seconds=9.0)
    assert later.digest == build().digest


def test_samples_are_not_in_the_digest(build, make_result):
    """Which five of many failing rows are shown is not evidence, and not always the same."""
    shown = build(results=(make_result("a", sample=({"id": "1"},)), make_result("b")))
    assert shown.digest == build().digest


def test_what_failed_may_be_waived_when_it_is_all_that_is_wrong(build, make_result):
    failed = make_result("b", Outcome.FAILED)
    assert build().waivable == frozenset()
    assert build(results=(make_result("a"), failed)).waivable == {"b"}
    both = (make_result("a", Outcome.FAILED), failed)
    assert build(results=both).waivable == {"a", "b"}


def test_nothing_else_may_be_waived(build, make_result):
    a, failed = make_result("a"), make_result("b", Outcome.FAILED)
    own = make_result("wap:rows", Outcome.FAILED)
    for changes in (
        {"snapshot_id": None},
        {"errors": ("odd",)},
        {"contracts": ()},
        {"declared": frozenset({"a", "b", "c"})},
        {"results": (failed,)},
        {"results": (failed, failed)},
        {"results": (make_result("a", Outcome.NOT_EVALUATED), failed)},
        {"results": (a, failed, make_result("b", Outcome.NOT_EVALUATED))},
        {"declared": frozenset({"a", "b", "wap:rows"}), "results": (a, failed, own)},
    ):
        assert build(**{"results": (a, failed), **changes}).waivable == frozenset(), changes
