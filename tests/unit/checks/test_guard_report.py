"""The report's verdict and digest, fact by fact: two different audits never look like one."""

from __future__ import annotations

import pytest

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


def test_another_check_does_not_stand_in(build, make_result):
    assert not build(results=(make_result("a"), make_result("c"))).passed


def test_a_skipped_check_is_not_evaluated(build, make_result):
    skipped = make_result("b", Outcome.NOT_EVALUATED)
    assert build(results=(make_result("a"), skipped)).evaluated == {"a"}


def test_the_digest_is_over_every_fact(build, make_result):
    a, b = make_result("a"), make_result("b")
    different = [
        build(),
        build(table="sales.returns"),
        build(snapshot_id=8),
        build(contracts=(ContractRef(path="d.yml", digest="ab" * 32),)),
        build(contracts=(ContractRef(path="c.yml", digest="cd" * 32),)),
        build(declared=frozenset({"a", "b", "c"})),
        build(errors=("odd",)),
        build(results=(a,)),
        build(results=(a, make_result("c"))),
        build(results=(a, make_result("b", Outcome.WARNED))),
        build(results=(a, make_result("b", expected="something else"))),
        build(results=(a, make_result("b", measured="1 of 3 rows"))),
        build(results=(a, make_result("b", failing_rows=1))),
        build(results=(a, make_result("b", blocking=False))),
    ]
    assert len({report.digest for report in different}) == len(different)
    assert build(results=(b, a)).digest == build().digest
