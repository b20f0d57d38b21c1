"""Whose seal a snapshot is: this run's, of this head, for this report, or nobody's."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from pyiceberg.table.snapshots import Operation, Summary
from pyiceberg.table.snapshots import Snapshot as IcebergSnapshot

from catalog import AuditedHead, Branch, Seal, TableName, UnsealedError
from catalog.proof import check_one_change, is_about

FACTS = Seal("r", 7, "c", "d", "s").to_summary()
CHECKS = frozenset({"flights: no duplicates"})
REPORT = SimpleNamespace(snapshot_id=7, declared=CHECKS, evaluated=CHECKS, passed=True, digest="d")
AUDITED = AuditedHead(Branch.of_run("r"), TableName.parse("ns.t"), 7, 6, REPORT)


def snapshot(summary: dict[str, str]) -> IcebergSnapshot:
    return IcebergSnapshot.model_validate(
        {
            "snapshot-id": 8,
            "parent-snapshot-id": 7,
            "timestamp-ms": 0,
            "manifest-list": "m",
            "summary": Summary(Operation.APPEND, **summary),
        }
    )


def test_the_seal_of_this_audit():
    assert is_about(snapshot(FACTS), AUDITED)


@pytest.mark.parametrize(
    "other",
    [
        {"wap.run": "somebody-else"},
        {"wap.audited": "6"},
        {"wap.report": "e"},
        {"wap.waiver": "by ann"},
    ],
)
def test_a_seal_is_about_one_run_head_and_report(other):
    assert not is_about(snapshot({**FACTS, **other}), AUDITED)


@pytest.mark.parametrize(
    "odd", [{"wap.role": "stage"}, {"wap.contract": ""}, {"wap.source": ""}, {"wap.report": ""}]
)
def test_what_is_no_seal_is_about_nothing(odd):
    assert not is_about(snapshot({**FACTS, **odd}), AUDITED)


def test_a_run_has_one_change_and_one_seal():
    again = ["seal", "seal", "stage"]  # audited and sealed again where it stood
    for roles in (["seal", "stage", "open"], ["seal", "rebase"], ["seal", "open"], again):
        check_one_change(roles, AUDITED)
    for roles in (["seal", "stage", "seal", "open"], ["seal", "stage", "rebase"]):
        with pytest.raises(UnsealedError, match="one change"):
            check_one_change(roles, AUDITED)
