"""Values of the catalog: names, seals, and the audited head that cannot be built from less."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest

from catalog import AuditedHead, Branch, CatalogConfigError, Seal, Snapshot, TableName
from catalog.errors import HeadMovedError, UnauditedError, UnsealedError


@dataclass(frozen=True)
class Report:
    snapshot_id: int = 7
    declared: frozenset[str] = frozenset({"a", "b"})
    evaluated: frozenset[str] = frozenset({"a", "b"})
    passed: object = True
    waivable: frozenset[str] = frozenset()
    digest: str = "d"


@dataclass(frozen=True)
class Waiver:
    run_id: str = "r"
    report_digest: str = "d"
    checks: frozenset[str] = frozenset({"a"})
    person: str = "ann"
    reason: str = "mended by Friday"
    text: str = "all of it"


FAILED = Report(passed=False, waivable=frozenset({"a"}))


def waived(report: Report = FAILED, **changes: object) -> AuditedHead:
    waiver = replace(Waiver(), **changes)
    return AuditedHead(Branch.of_run("r"), TableName.parse("ns.t"), 7, 6, report, waiver=waiver)


def head(**changes: object) -> AuditedHead:
    return AuditedHead(
        Branch.of_run("r"), TableName.parse("ns.t"), 7, 6, replace(Report(), **changes)
    )


def test_an_audited_head_from_a_whole_report():
    assert head().head == 7


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"snapshot_id": 8}, "about snapshot 8"),
        ({"declared": frozenset(), "evaluated": frozenset()}, "no check"),
        ({"evaluated": frozenset({"a"})}, "not every check was evaluated: b"),
        ({"evaluated": frozenset({"a", "b", "c"})}, "not every check was evaluated: c"),
        ({"passed": False}, "did not pass"),
        ({"passed": 1}, "did not pass"),
        ({"passed": None}, "did not pass"),
        ({"digest": ""}, "no digest"),
    ],
)
def test_no_audited_head_from_less(broken, reason):
    with pytest.raises(UnauditedError, match=reason) as raised:
        head(**broken)
    assert "ns.t on wap/r" in str(raised.value)
    assert "Hint:" in str(raised.value)


def test_a_failed_audit_with_a_waiver_of_all_that_failed():
    assert waived().waiver_text == "all of it"
    assert head().waiver_text == ""


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        ({"run_id": "another"}, "for run another"),
        ({"report_digest": "e"}, "for another report"),
        ({"checks": frozenset()}, "does not name a$"),
        ({"checks": frozenset({"a", "b"})}, "did not fail: b"),
        ({"person": " "}, "no person"),
        ({"reason": ""}, "no reason"),
    ],
)
def test_no_audited_head_from_a_waiver_of_something_else(broken, reason):
    with pytest.raises(UnauditedError) as raised:
        waived(**broken)
    assert re.search(reason, raised.value.what)
    assert "Hint:" in str(raised.value)


def test_a_waiver_of_nothing_covers_no_failed_audit():
    with pytest.raises(UnauditedError, match="nothing in the report"):
        waived(replace(FAILED, waivable=frozenset()), checks=frozenset())


@pytest.mark.parametrize(
    "broken",
    [
        {"waivable": frozenset()},
        {"waivable": frozenset({"a", "b"})},
        {"passed": True, "waivable": frozenset()},
        {"snapshot_id": 8},
        {"declared": frozenset(), "evaluated": frozenset()},
        {"evaluated": frozenset({"a"})},
        {"digest": ""},
    ],
)
def test_a_waiver_does_not_make_up_for_anything_else(broken):
    with pytest.raises(UnauditedError):
        waived(replace(FAILED, **broken))


@pytest.mark.parametrize(
    "text", ["flights", "", ".", "nyc.", ".flights", "nyc..x", "a b.c/d", " a.b"]
)
def test_what_is_no_table_name(text):
    with pytest.raises(CatalogConfigError, match="not a table name"):
        TableName.parse(text)


def test_table_names_keep_their_parts():
    name = TableName.parse("lake.nyc.flights")
    assert (name.namespace, name.name) == (("lake", "nyc"), "flights")
    assert name.identifier == ("lake", "nyc", "flights")
    assert str(name) == "lake.nyc.flights"


@pytest.mark.parametrize("name", ["", "main", "1st", "a b", "-x", "é"])
def test_what_is_no_branch(name):
    with pytest.raises(CatalogConfigError, match="staging branch"):
        Branch(name)


def test_a_branch_knows_its_run():
    assert Branch.of_run("flights-1").name == "wap/flights-1"
    assert Branch.of_run("flights-1").run_id == "flights-1"


SEAL = Seal("r", 7, "c", "d", "s", notes={"pipeline": "flights"})


@pytest.mark.parametrize("seal", [SEAL, replace(SEAL, waiver="by ann")])
def test_a_seal_survives_its_summary(seal):
    assert Seal.from_summary(seal.to_summary()) == seal


@pytest.mark.parametrize(
    "fact", ["wap.run", "wap.audited", "wap.contract", "wap.report", "wap.source"]
)
def test_a_seal_without_a_fact_is_none(fact):
    summary = SEAL.to_summary()
    for broken in ({k: v for k, v in summary.items() if k != fact}, {**summary, fact: ""}):
        assert not Seal.in_summary(broken)
        with pytest.raises(UnsealedError, match=fact):
            Seal.from_summary(broken)


def test_notes_cannot_stand_in_for_a_fact():
    notes = {"run": "somebody-else", "role": "stage", "waiver": "by ann"}
    forged = Seal.from_summary(Seal("r", 7, "c", "d", "s", notes=notes).to_summary())
    assert (forged.run_id, forged.waiver) == ("r", "")


def test_only_the_seal_itself_is_sealed():
    def snapshot(summary: dict[str, str]) -> Snapshot:
        when = datetime(2026, 1, 1, tzinfo=UTC)
        return Snapshot(TableName.parse("ns.t"), 8, 7, when, "append", 0, summary)

    assert snapshot(SEAL.to_summary()).is_sealed
    assert not snapshot({**SEAL.to_summary(), "wap.role": "stage"}).is_sealed
    assert not snapshot({}).is_sealed


def test_errors_say_what_where_and_what_next():
    error = HeadMovedError(table="ns.t", ref="main", expected=1, found=None)
    assert (error.ref, error.expected, error.found) == ("main", 1, None)
    assert str(error).splitlines() == [
        "main has moved: expected snapshot 1, found None [ns.t]",
        "Hint: rebase the branch on the new head and audit it again",
    ]
