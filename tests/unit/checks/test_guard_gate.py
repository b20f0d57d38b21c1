"""What the gate declares and shows, whatever the auditor says or leaves out."""

from __future__ import annotations

import pytest

from checks.gate import judge
from checks.own import reconcile_check, schema_check
from checks.report import Outcome

OWN = (schema_check({"id": "long"}, {"id": "long"}), reconcile_check(3, 3, 0, 0, 0, 3))


@pytest.fixture
def judged(contract, relation, told, now):
    def run(*results: object):
        return judge(
            run_id="r1",
            table="sales.orders",
            snapshot_id=7,
            expected=3,
            contracts=[contract],
            relation=relation,
            auditor=told(results),
            own=OWN,
            started_at=now,
        )

    return run


def test_what_the_auditor_leaves_out_is_declared_all_the_same(judged, contract):
    report = judged()
    assert report.declared == contract.declared | {"wap:schema", "wap:rows"}
    assert report.evaluated == {"wap:schema", "wap:rows"}


@pytest.mark.parametrize("worse_first", [True, False])
def test_of_two_results_the_worse_is_shown(judged, contract, make_result, worse_first):
    name = min(contract.declared)
    both = [make_result(name, Outcome.FAILED), make_result(name)]
    report = judged(*(both if worse_first else both[::-1]))
    (shown,) = [r for r in report.results if r.name == name]
    assert shown.outcome is Outcome.FAILED
